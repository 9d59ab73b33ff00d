# SPDX-License-Identifier: Apache-2.0
"""What VFs cost that do nothing, and the time until vpfd serves four virtual PFs of 255 VFs."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bed import machine
from bed.ovs import OvsDpdk
from bed.process import die_with_parent
from bed.vpfd import Vpfd

from .clients import load_argv
from .harness import Case, Context, Entry, Family, Plan, Subject, timed
from .peers import SWITCH_CORE, Switch, mac, polling
from .results import Metric

VFS = 255
PFS = 4


def cpu_seconds(pid: int) -> float:
    """Of all threads, in the scheduler's own accounts, which have nanoseconds."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir()) / 1e9


def private_bytes(pid: int) -> int:
    """Memory of its own, huge pages included; guests' memory, which it shares, is not."""
    total = 0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, value = line.partition(":")
        if name in ("Anonymous", "Private_Hugetlb"):
            total += int(value.split()[0]) * 1024
    return total


@contextmanager
def held(switch: Switch) -> Iterator[None]:
    """A driver on each port, with its receive ring full of buffers, that sends nothing."""
    argv = load_argv("hold", switch, ["--ring", "256"], range(len(switch.sockets)))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent) as client:
        assert client.stdout and client.stdin
        try:
            if client.stdout.readline() != "ready\n":
                raise RuntimeError("bench-load did not become ready")
            yield
        finally:
            client.stdin.close()


class AtRest(Switch):
    """`add_ports` makes the ports and returns their sockets; memory is compared with before."""

    def __init__(self, pid: int, add_ports: Callable[[], list[str]], pause: bool):
        super().__init__([], pid if pause else None)
        self.process = pid
        self.before = private_bytes(pid)
        self.sockets = add_ports()
        self.memory = 0.0
        self.with_drivers = False


def _measure(subject: AtRest, plan: Plan) -> Mapping[str, float]:
    with held(subject):
        time.sleep(0.3)  # what was begun for the drivers' arrival ends
        grown = private_bytes(subject.process) - subject.before
        used = cpu_seconds(subject.process)
        seconds = 1.0 if plan.quick else 5.0
        time.sleep(seconds)
        used = cpu_seconds(subject.process) - used
    return {"CPU time": used / seconds * 100, "memory a VF": max(grown, 0) / VFS / 1024}


def _vpf(context: Context) -> Iterator[AtRest]:
    with Vpfd(context.tmp / "vpfd", ["--workers", "1", "--cpus", str(machine.cpu(SWITCH_CORE))]) as vpfd:
        vpfd.ctl("fabric", "add", "bench")

        def add() -> list[str]:
            vpfd.ctl("pf", "add", "pf0", "--fabric", "bench", "--vfs", str(VFS), "--mac", mac(-1))
            return [vpfd.rpc("vf.show", pf="pf0", vf=vf)["socket"] for vf in range(VFS)]

        assert vpfd.process
        yield AtRest(vpfd.process.pid, add, pause=False)


def _ovs(context: Context) -> Iterator[AtRest]:
    with OvsDpdk(1, SWITCH_CORE, hugepages=True, logs=context.tmp) as ovs:
        pid = next(process.pid for process in ovs._processes if process.name == "vswitchd")
        subject = AtRest(pid, lambda: [str(ovs.add_port()) for _ in range(VFS)], pause=True)
        try:
            yield subject
        finally:
            subject.resume()


@contextmanager
def target(_context: Context) -> Iterator[Subject]:
    """Not a peer, but what was promised."""
    yield Subject()


class Starting(Subject):
    """A vpfd that is started and stopped with what its state file holds."""

    def __init__(self, vpfd: Vpfd):
        self.vpfd = vpfd

    def measure(self, _plan: Plan) -> Mapping[str, float]:
        seconds = timed(self.vpfd.start)
        assert self.vpfd.rpc("status")["functions"] == PFS * (VFS + 1)
        self.vpfd.stop()
        return {"time to readiness": seconds}


@contextmanager
def _starting(context: Context) -> Iterator[Starting]:
    with Vpfd(context.tmp / "vpfd") as vpfd:
        vpfd.rpc("fabric.add", name="bench")
        for number in range(PFS):
            vpfd.rpc("pf.add", name=f"pf{number}", fabric="bench", vfs=VFS)
        vpfd.stop()
        yield Starting(vpfd)


def families() -> list[Family]:
    return [
        Family(
            "at rest",
            {"vpf": contextmanager(_vpf), "ovs-dpdk": contextmanager(_ovs), "target": target},
            [
                Case(
                    f"rest-{VFS}vf",
                    [Metric("CPU time", "% of a CPU", "lower", resolution=0.001), Metric("memory a VF", "KiB", "lower", resolution=4)],
                    [Entry("vpf", _measure), Entry("ovs-dpdk", _measure, quick=False), Entry("target", lambda _subject, _plan: {"CPU time": 0.1, "memory a VF": 64.0})],
                )
            ],
            polling,
        ),
        Family(
            "start",
            {"vpf": _starting, "target": target},
            [
                Case(
                    f"start-{PFS}x{VFS}vf", [Metric("time to readiness", "s", "lower")],
                    [Entry("vpf", Starting.measure), Entry("target", lambda _subject, _plan: {"time to readiness": 1.0})],
                )
            ],
        ),
    ]  # fmt: skip
