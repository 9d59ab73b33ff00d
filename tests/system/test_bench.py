# SPDX-License-Identifier: Apache-2.0
"""The benchmarks' harness: what it makes of figures, and that its load generator counts what really happened."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from bed import paths
from bed.vpfd import Vpfd

sys.path.insert(0, str(paths.ROOT / "bench"))

from vpfbench import kube_rules, results  # noqa: E402
from vpfbench.harness import Case, Context, Entry, Family, Missing, Plan, Report, Subject, run_family, wanted  # noqa: E402
from vpfbench.results import Metric  # noqa: E402

RATE, TIME = Metric("rate", "1/s", "higher"), Metric("time", "s", "lower", resolution=0.01)
SCHEMA = {"case", "metric", "unit", "better", "vpf", "peer", "peer_value", "ratio", "runs", "spread", "machine"}


# -- figures


def test_a_ratio_above_1_is_better() -> None:
    assert results.ratio(RATE, 8, 2) == 4
    assert results.ratio(TIME, 8, 2) == 0.25
    assert results.ratio(TIME, 0, 2) == 200, "what is too small to be told from nothing counts as the smallest that can be"
    assert results.ratio(RATE, 1, 0) is None


def test_rows_have_medians_and_the_schema(tmp_path: Path) -> None:
    samples = {"vpf": {"rate": [5.0, 1.0, 4.0]}, "a": {"rate": [2.0, 2.0, 9.0]}, "b": {"rate": [8.0, 8.0, 8.0]}}
    made = results.rows("case", [RATE], samples, "vpf", 3)
    assert [(row.peer, row.vpf, row.peer_value, row.ratio, row.spread, row.runs) for row in made] == [("a", 4, 2, 2, 1, 3), ("b", 4, 8, 0.5, 1, 3)]
    results.write_json(made, tmp_path / "results.json")
    read = json.loads((tmp_path / "results.json").read_text())
    assert [set(row) for row in read] == [SCHEMA, SCHEMA]
    assert read == [asdict(row) for row in made]
    assert "0.50" in results.table(made)
    assert results.check(tmp_path / "results.json") == []


@pytest.mark.parametrize(("name", "value"), [
    ("vpf", "5"), ("vpf", float("nan")), ("vpf", True), ("peer_value", -1), ("ratio", 0), ("runs", 0), ("runs", 1.5), ("better", "more"), ("unit", ""), ("extra", 1),
])  # fmt: skip
def test_wrong_results_are_told_from_right_ones(tmp_path: Path, name: str, value: object) -> None:
    made = [asdict(row) for row in results.rows("case", [RATE], {"vpf": {"rate": [5.0]}, "a": {"rate": [2.0]}}, "vpf", 1)]
    path = tmp_path / "results.json"
    path.write_text(json.dumps([*made, made[0] | {name: value}]))
    complaint, *more = results.check(path)
    assert complaint.startswith("row 1: ") and (name in complaint or name == "extra") and not more


def test_no_results_are_wrong(tmp_path: Path) -> None:
    results.write_json([], tmp_path / "results.json")
    assert results.check(tmp_path / "results.json") == ["there is nothing in it"]


# -- cases


class Figure(Subject):
    """Gives a figure, while it is not paused."""

    def __init__(self, value: float, error: Exception | None = None):
        self.value, self.error, self.running = value, error, True

    def pause(self) -> None:
        self.running = False

    def resume(self) -> None:
        self.running = True

    def measure(self, _plan: Plan) -> dict[str, float]:
        assert self.running
        if self.error:
            raise self.error
        return {"rate": self.value}


def family_of(**subjects: Figure | Exception) -> tuple[Family, list[Case]]:
    @contextmanager
    def start(what: Figure | Exception, _context: Context) -> Iterator[Figure]:
        if isinstance(what, Exception):
            raise what
        yield what

    cases = [Case("case", [RATE], [Entry(name, Figure.measure) for name in subjects])]
    family = Family("family", {name: lambda context, what=what: start(what, context) for name, what in subjects.items()}, cases)
    return family, cases


def ran(**subjects: Figure | Exception) -> Report:
    report = Report()
    run_family(*family_of(**subjects), Plan(quick=False), report)
    return report


def test_who_is_missing_or_fails_is_not_counted_and_hides_nobody() -> None:
    report = ran(vpf=Figure(6), good=Figure(2), absent=Missing("it is not installed"), dead=OSError("no"), late=Figure(1, Missing("no such feature")), bad=Figure(1, OSError("broke")))
    assert [(row.peer, row.ratio, row.runs) for row in report.rows] == [("good", 3, 5)]
    assert report.not_counted == ["case absent: it is not installed", "case dead: it did not start", "case late: no such feature"]
    assert report.failures == ["family: dead: OSError: no", "case bad: OSError: broke"]


def test_without_vpf_there_is_nothing_to_compare() -> None:
    report = ran(vpf=Figure(1, OSError("broke")), peer=Figure(2))
    assert report.rows == [] and report.failures == ["case vpf: OSError: broke"]
    report = ran(vpf=Missing("no"), peer=Figure(2))
    assert report.rows == [] and report.not_counted == ["case: no"]


def test_nothing_is_no_rate() -> None:
    report = ran(vpf=Figure(0), peer=Figure(2))
    assert report.rows == [] and report.failures == ["case vpf: RuntimeError: nothing arrived"]
    report = ran(vpf=Figure(2), peer=Figure(0))
    assert report.rows == [] and report.not_counted == ["case peer: nothing arrived"] and report.failures == []


def test_a_family_that_cannot_be_here_says_so() -> None:
    @contextmanager
    def impossible() -> Iterator[None]:
        raise Missing("too few CPUs")
        yield

    family, cases = family_of(vpf=Figure(1))
    report = Report()
    run_family(Family("f", family.subjects, cases, impossible), cases, Plan(True), report)
    assert report.not_counted == ["case: too few CPUs"]


def test_cases_are_chosen_by_globs() -> None:
    entries = [Entry("vpf", Figure.measure), Entry("peer", Figure.measure, quick=False)]
    cases = [Case(name, [RATE], entries, quick) for name, quick in (("switch-a", True), ("switch-b", False), ("rest", True))]
    families = [Family("f", {}, cases)]

    def names(pattern: str, quick: bool) -> list[str]:
        return [case.name for _, chosen in wanted(families, pattern, Plan(quick)) for case in chosen]

    assert names("", False) == ["switch-a", "switch-b", "rest"]
    assert names("", True) == ["switch-a", "rest"]
    assert names("switch-*", True) == ["switch-a"]
    assert names("switch-b", True) == ["switch-b"], "asked for by name"
    assert names("rest,switch-b", False) == ["switch-b", "rest"]
    assert names("nothing", False) == []

    def peers(pattern: str, quick: bool) -> list[str]:
        return [entry.peer for _, chosen in wanted(families, pattern, Plan(quick)) for case in chosen for entry in case.entries]

    assert peers("rest", False) == ["vpf", "peer"] == peers("rest", True), "asked for by name"
    assert peers("re*", True) == ["vpf"]


def test_every_chain_of_the_packet_filter_is_there() -> None:
    text = kube_rules.rules([("cali1", "198.18.3.2")], services=100)
    for table in text.split("*")[1:]:
        chains = set(re.findall(r"^:(\S+)", table, re.MULTILINE))
        targets = set(re.findall(r" -[jg] (\S+)", table))
        assert {target for target in targets - chains if not target.isupper() or target.startswith(("KUBE-", "cali-"))} == set()
    assert len(re.findall(r"^-A KUBE-SERVICES -d ", text, re.MULTILINE)) == 100


# -- the load generator


@pytest.fixture
def bench_load(vpfd_factory: Callable[..., Vpfd]) -> Callable[..., tuple[dict[str, Any], list[dict[str, Any]]]]:
    """bench_load(MODE, VFS, *OPTIONS): what it found, and what vpfd counted at each VF."""

    def run(mode: str, vfs: int, *options: str, vlans: dict[int, int] | None = None) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        vpfd = vpfd_factory()
        vpfd.rpc("fabric.add", name="lan")
        vpfd.ctl("pf", "add", "pf0", "--fabric", "lan", "--vfs", str(vfs), "--mac", "02:00:00:00:00:00")
        for vf, vid in (vlans or {}).items():
            vpfd.ctl("vf", "set", "pf0", str(vf), "--trunk", str(vid))
        shown = [vpfd.rpc("vf.show", pf="pf0", vf=vf) for vf in range(vfs)]
        ports = [f"{vf['socket']},{vf['mac']}" + (f",{vlans[n]}" if vlans and n in vlans else "") for n, vf in enumerate(shown)]
        argv = [str(paths.BUILD / "bench" / "bench-load"), mode, "--small-pages", "--warmup", "0", "--seconds", "0.3", *options, *ports]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), [row for row in vpfd.rpc("stats", pf="pf0") if row["vf"] is not None]

    return run


@pytest.mark.parametrize(("vfs", "options", "vlans"), [
    (2, ["--flows", "1000"], None), (6, ["--fanout", "3", "--ring", "64", "--window", "48", "--sizes", "64,594,1514"], None), (2, [], {0: 7, 1: 7}),
], ids=["two", "six", "tagged"])  # fmt: skip
def test_frames_go_round(bench_load: Callable[..., Any], vfs: int, options: list[str], vlans: dict[int, int] | None) -> None:
    found, counted = bench_load("circulate", vfs, *options, vlans=vlans)
    assert found["frames"] > 0 and found["foreign"] == 0
    unicast = [row["rx"]["packets"] - row["rx"]["broadcast"] for row in counted]
    assert sum(unicast) >= found["frames"] > 0.9 * sum(unicast) - 10000
    assert min(unicast) > sum(unicast) / vfs / 2, "every port gets its share"
    assert sum(row["tx"]["dropped"] for row in counted) == 0


def test_broadcast_counts_copies(bench_load: Callable[..., Any]) -> None:
    found, counted = bench_load("broadcast", 5, "--window", "64")
    received = [row["rx"]["broadcast"] for row in counted]
    assert found["frames"] > 400
    assert received[0] < 100 and min(received[1:]) > found["frames"] / 4 * 0.9


def test_round_trips_have_a_time(bench_load: Callable[..., Any]) -> None:
    found, _counted = bench_load("round-trip", 2, "--count", "200", "--idle-us", "100")
    assert found["count"] == 190 or found["count"] == 200
    assert 0 < found["there_p50_ns"] < found["round_p50_ns"] <= found["round_p99_ns"]


def test_large_frames_arrive_whole(bench_load: Callable[..., Any]) -> None:
    found, counted = bench_load("stream", 2, "--window", "8", "--ring", "256")
    assert found["frames"] > 0 and found["broken"] <= 1
    assert counted[1]["sw_segmented"] == 0
