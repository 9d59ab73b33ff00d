# SPDX-License-Identifier: Apache-2.0
"""From samples to rows, a table, results.json and a chart."""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

Samples = dict[str, dict[str, list[float]]]  # entry → metric → a value a round


@dataclass(frozen=True)
class Metric:
    """`better` is "higher" or "lower". `resolution` is the smallest amount that the measurement can tell from nothing: ratios
    take it for anything smaller."""

    name: str
    unit: str
    better: str
    resolution: float = 0.0

    def __post_init__(self) -> None:
        assert self.better in ("higher", "lower"), self.better


@dataclass(frozen=True)
class Row:
    """One line of results.json. `ratio` above 1: vpf is better. `spread`: of vpf's rounds, (largest - smallest) / median."""

    case: str
    metric: str
    unit: str
    better: str
    vpf: float
    peer: str
    peer_value: float
    ratio: float | None
    runs: int
    spread: float | None
    machine: str


def rounded(value: float) -> float:
    return float(f"{value:.4g}")


def ratio(metric: Metric, own: float, peer: float) -> float | None:
    """How many times better than the peer; None where that cannot be said."""
    own, peer = max(own, metric.resolution), max(peer, metric.resolution)
    above, below = (own, peer) if metric.better == "higher" else (peer, own)
    return rounded(above / below) if below else None


def rows(case: str, metrics: Sequence[Metric], samples: Mapping[str, Mapping[str, list[float]]], own: str, runs: int) -> list[Row]:
    made = []
    for metric in metrics:
        values = samples[own][metric.name]
        middle = statistics.median(values)
        spread = rounded((max(values) - min(values)) / middle) if middle else None
        for peer, theirs in samples.items():
            if peer == own:
                continue
            other = statistics.median(theirs[metric.name])
            made.append(
                Row(case, metric.name, metric.unit, metric.better, rounded(middle), peer, rounded(other),
                    ratio(metric, middle, other), runs, spread, machine())  # fmt: skip
            )
    return made


def machine() -> str:
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "?")
    return f"{model}, {os.cpu_count()} CPUs, Linux {platform.release()}"


def write_json(made: Sequence[Row], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(row) for row in made], indent=2) + "\n")


def check(path: Path) -> list[str]:
    """What is wrong with a results.json."""
    read = json.loads(path.read_text())
    if not isinstance(read, list) or not read:
        return ["there is nothing in it"]
    return [f"row {number}: {complaint}" for number, row in enumerate(read) for complaint in _complaints(row)]


def _complaints(row: object) -> list[str]:
    names = {field.name for field in fields(Row)}
    if not isinstance(row, dict) or set(row) != names:
        return [f"it has not the fields {', '.join(sorted(names))}"]

    def number(value: object) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0

    right = {
        **{name: isinstance(row[name], str) and bool(row[name]) for name in ("case", "metric", "unit", "peer", "machine")},
        **{name: number(row[name]) for name in ("vpf", "peer_value")},
        "better": row["better"] in ("higher", "lower"),
        "ratio": row["ratio"] is None or (number(row["ratio"]) and row["ratio"] > 0),
        "spread": row["spread"] is None or number(row["spread"]),
        "runs": isinstance(row["runs"], int) and row["runs"] >= 1,
    }
    return [f"{name} is {row[name]!r}" for name, good in right.items() if not good]


def table(made: Sequence[Row]) -> str:
    heading = ("case", "metric", "unit", "vpf", "peer", "", "ratio", "spread")
    lines = [heading] + [
        (row.case, row.metric, row.unit, f"{row.vpf:g}", row.peer, f"{row.peer_value:g}",
         "-" if row.ratio is None else f"{row.ratio:.2f}", "-" if row.spread is None else f"{row.spread * 100:.0f} %")  # fmt: skip
        for row in made
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heading))]
    right = {3, 5, 6, 7}
    return "\n".join(
        "  ".join(text.rjust(width) if column in right else text.ljust(width) for column, (text, width) in enumerate(zip(line, widths, strict=True))).rstrip()
        for line in lines
    )


def chart(made: Sequence[Row], path: Path) -> str | None:
    """Ratios as bars, from 1 to the better side right and the worse side left. Says why when there is none."""
    shown = [row for row in made if row.ratio]
    if not shown:
        return "there are no ratios"
    try:
        import matplotlib
    except ImportError:
        return "matplotlib is missing (python3-matplotlib)"
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(11, 1.2 + 0.28 * len(shown)), layout="constrained")
    places = range(len(shown))
    ratios = [row.ratio for row in shown]
    bars = axes.barh(places, [value - 1 for value in ratios], left=1, color=["#2a7f4f" if value >= 1 else "#b5482f" for value in ratios])
    axes.bar_label(bars, [f"{value:.3g}" for value in ratios], padding=3, fontsize=8)
    axes.set_yticks(places, [f"{row.case}: {row.metric}, to {row.peer}" for row in shown], fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.margins(x=0.12)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel(f"ratio; to the right vpf is better (median of {max(row.runs for row in shown)})\n{shown[0].machine}", fontsize=8)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return None
