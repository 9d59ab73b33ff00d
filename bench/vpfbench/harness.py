# SPDX-License-Identifier: Apache-2.0
"""What a case is, and how it is run.

A *subject* is a program (or a guest) that is measured: vpf, or a peer. A *family* is a set of cases that share their subjects, so
that these start once. In a *case* entries take turns: in each round every entry is measured once, for the machine's
moods to be the same for all. An entry is a subject and a way to measure it; the first one is vpf's. A subject that would use
CPU time while it is not its turn is paused.
"""

from __future__ import annotations

import fnmatch
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bed.machine import Missing, cpus

from .results import Metric, Row, Samples, rows

OWN = "vpf"


@dataclass(frozen=True)
class Plan:
    """How long and how often to measure. `quick` is for the function, not for figures."""

    quick: bool

    @property
    def rounds(self) -> int:
        return 1 if self.quick else 5

    @property
    def warmup(self) -> float:
        return 0.1 if self.quick else 0.4

    @property
    def seconds(self) -> float:
        return 0.3 if self.quick else 1.0

    def count(self, full: int) -> int:
        return max(full // 50, 1) if self.quick else full


@dataclass
class Context:
    """What a subject gets when it starts."""

    plan: Plan
    tmp: Path


class Subject:
    """What one entry or several measure. It comes into being paused."""

    def pause(self) -> None: ...
    def resume(self) -> None: ...


Start = Callable[[Context], AbstractContextManager[Any]]
Measure = Callable[[Any, Plan], Mapping[str, float]]


@dataclass(frozen=True)
class Entry:
    """`peer` is how results name it; `subject` is the family's name of what is measured. `quick` off: a quick run leaves it out."""

    peer: str
    measure: Measure
    subject: str = ""
    quick: bool = True

    @property
    def what(self) -> str:
        return self.subject or self.peer


@dataclass(frozen=True)
class Case:
    """`entries[0]` is vpf's; `metrics` are the names that each measurement gives. In a quick run cases with `quick` off are left
    out. `rounds` is for what takes long."""

    name: str
    metrics: Sequence[Metric]
    entries: Sequence[Entry]
    quick: bool = True
    rounds: int | None = None


@dataclass(frozen=True)
class Family:
    """`setting` is entered before anything starts; it raises Missing where the machine cannot run any of it. A subject or a
    measurement that raises it is said, and not counted."""

    name: str
    subjects: Mapping[str, Start]
    cases: Sequence[Case]
    setting: Callable[[], AbstractContextManager[object]] = nullcontext


@dataclass
class Report:
    rows: list[Row] = field(default_factory=list)
    not_counted: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def skip(self, what: str, why: object) -> None:
        self.not_counted.append(f"{what}: {why}")
        print(f"  {what}: not counted: {why}", flush=True)

    def fail(self, what: str, error: BaseException) -> None:
        self.failures.append(f"{what}: {type(error).__name__}: {error}")
        print(f"  {what}: FAILED\n{''.join(traceback.format_exception(error))}", flush=True)


def wanted(families: Sequence[Family], pattern: str, plan: Plan) -> list[tuple[Family, list[Case]]]:
    """The cases to run; PATTERN is a glob over their names, or several with commas between them. A name in full is run even if
    a quick run would leave it out, and with all entries."""
    globs = [glob for glob in pattern.split(",") if glob] or ["*"]

    def shortened(case: Case) -> Case:
        return replace(case, entries=[entry for entry in case.entries if entry.quick]) if plan.quick and case.name not in globs else case

    chosen = []
    for family in families:
        cases = [
            shortened(case) for case in family.cases
            if any(fnmatch.fnmatchcase(case.name, glob) for glob in globs) and (case.quick or not plan.quick or case.name in globs)
        ]  # fmt: skip
        if cases:
            chosen.append((family, cases))
    return chosen


def run_family(family: Family, cases: Sequence[Case], plan: Plan, report: Report) -> None:
    print(family.name, flush=True)
    started = time.monotonic()
    with ExitStack() as stack:
        try:
            stack.enter_context(family.setting())
        except Missing as why:
            for case in cases:
                report.skip(case.name, why)
            return
        tmp = Path(stack.enter_context(TemporaryDirectory(prefix="vpf-bench-")))
        subjects: dict[str, Any] = {}
        absent: dict[str, object] = {}
        for name in dict.fromkeys(entry.what for case in cases for entry in case.entries):
            directory = tmp / name
            directory.mkdir()
            try:
                subjects[name] = stack.enter_context(family.subjects[name](Context(plan, directory)))
                subjects[name].pause()
            except Missing as why:
                absent[name] = why
            except Exception as error:  # noqa: BLE001 — a peer that does not start must not end the others' measurements
                report.fail(f"{family.name}: {name}", error)
                absent[name] = "it did not start"
        print(f"  started in {time.monotonic() - started:.0f} s", flush=True)
        for case in cases:
            _run_case(case, subjects, absent, plan, report)
    print(f"  {time.monotonic() - started:.0f} s", flush=True)


def _run_case(case: Case, subjects: Mapping[str, Any], absent: Mapping[str, object], plan: Plan, report: Report) -> None:
    samples: Samples = {entry.peer: {metric.name: [] for metric in case.metrics} for entry in case.entries}
    present = [entry for entry in case.entries if entry.what in subjects]
    if not present or present[0].peer != OWN:
        report.skip(case.name, absent[case.entries[0].what])
        return
    for entry in case.entries:
        if entry.what in absent:
            report.skip(f"{case.name} {entry.peer}", absent[entry.what])
    if len(present) == 1:
        report.skip(case.name, "no peer to compare with")
    rounds = 1 if plan.quick else case.rounds or plan.rounds
    for _ in range(rounds):
        for entry in list(present):
            subject = subjects[entry.what]
            try:
                subject.resume()
                try:
                    figures = entry.measure(subject, plan)
                finally:
                    subject.pause()
                if any(metric.better == "higher" and not figures[metric.name] for metric in case.metrics):
                    raise (RuntimeError if entry.peer == OWN else Missing)("nothing arrived")
            except Missing as why:
                present.remove(entry)
                report.skip(f"{case.name} {entry.peer}", why)
                continue
            except Exception as error:  # noqa: BLE001 — the other entries' figures are still worth something
                present.remove(entry)
                report.fail(f"{case.name} {entry.peer}", error)
                continue
            for metric in case.metrics:
                samples[entry.peer][metric.name].append(figures[metric.name])
            shown = ", ".join(f"{metric.name} {figures[metric.name]:.4g} {metric.unit}" for metric in case.metrics)
            print(f"  {case.name} {entry.peer}: {shown}", flush=True)
        if not present or present[0].peer != OWN:
            return
    kept = {entry.peer: samples[entry.peer] for entry in present}
    report.rows += rows(case.name, case.metrics, kept, OWN, rounds)


def need_cpus(needed: int) -> None:
    """The calling process, and all that it starts and does not pin itself, may run on any of them; so many must be there."""
    if (have := len(cpus())) < needed:
        raise Missing(f"it needs {needed} CPUs, and this machine lends {have}")


def timed(function: Callable[[], object]) -> float:
    """Seconds that it takes."""
    started = time.monotonic()
    function()
    return time.monotonic() - started
