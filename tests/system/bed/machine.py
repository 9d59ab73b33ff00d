# SPDX-License-Identifier: Apache-2.0
"""What this machine has, and lends to the tests. What one of them lacks raises Missing, which pytest reports as a skip."""

from __future__ import annotations

import functools
import os
import re
import resource
import shutil
import unittest
from pathlib import Path

CPU = Path("/sys/devices/system/cpu")
CGROUPS = Path("/sys/fs/cgroup")
MIB = 1 << 20
# Tests side by side: what one takes at its peak, and the one whose guests are large (such tests take turns).
TEST_MIB, LARGE_MIB = 1536, 2048
SIDE_BY_SIDE = 3


class Missing(unittest.SkipTest):
    """What is needed is not on this machine."""


# -- CPUs


def _topology(cpu: int) -> tuple[int, tuple[str, str]]:
    """The CPU's NUMA node, and its core."""
    directory = CPU / f"cpu{cpu}"
    node = next((int(path.name[4:]) for path in directory.glob("node[0-9]*")), 0)

    def read(name: str) -> str:
        path = directory / "topology" / name
        return path.read_text().strip() if path.exists() else str(cpu)

    return node, (read("physical_package_id"), read("core_id"))


@functools.cache
def cpus() -> tuple[int, ...]:
    """The CPUs that this process may use. What is pinned to the first ones has cores of its own on one NUMA node, as far as
    there are such."""
    allowed = sorted(os.sched_getaffinity(0))
    seen: dict[tuple[str, str], int] = {}
    order = []
    for cpu in allowed:
        node, core = _topology(cpu)
        thread = seen[core] = seen.get(core, -1) + 1
        order.append((node != _topology(allowed[0])[0], thread, cpu))
    return tuple(cpu for _far, _thread, cpu in sorted(order))


def cpu(number: int) -> int:
    """CPU NUMBER, from 0, of those that this process may use. Where there are fewer, some are given twice."""
    return cpus()[number % len(cpus())]


def numa_node(cpu: int) -> int:
    return _topology(cpu)[0]


# How many times as long as they say the tests wait: their times are enough for two CPUs, emulated guests and other work.
PATIENCE = float(os.environ.get("VPF_PATIENCE") or (1 if len(cpus()) > 1 else 2))

# -- memory


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _cgroup_room() -> list[int]:
    """What the control groups of this process still allow, version 1 or 2. Page cache that can go counts as free."""
    rooms = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            top, limit, usage = CGROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
        elif not controllers:
            top, limit, usage = CGROUPS, "memory.max", "memory.current"
        else:
            continue
        group = top / path.lstrip("/")
        for directory in [group, *group.parents]:
            if not directory.is_relative_to(top):
                break
            most, used = _number(directory / limit), _number(directory / usage)
            if most is None or used is None:
                continue
            found = re.search(r"^(?:total_)?inactive_file (\d+)$", (directory / "memory.stat").read_text(), re.MULTILINE)
            rooms.append(most - used + (int(found[1]) if found else 0))
    return rooms


def available_mib() -> int:
    """Memory that programs could still take."""
    found = re.search(r"^MemAvailable: +(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    assert found, "/proc/meminfo has no MemAvailable"
    return min([int(found[1]) << 10, *_cgroup_room()]) // MIB


def need_memory(who: str, mib: int) -> None:
    if (available := available_mib()) < mib:
        raise Missing(f"{who} needs {mib} MiB of memory, and this machine has {available} MiB left")


def need_guest_memory(name: str, size: str) -> None:
    """A guest never uses all of its memory, SIZE as QEMU takes it."""
    need_memory(f"guest {name}", mib_of(size) * 2 // 3)


def mib_of(size: str) -> int:
    found = re.fullmatch(r"(\d+)([MG]?)", size)
    if not found:
        raise ValueError(f"{size!r} is no number of megabytes (M) or gigabytes (G)")
    return int(found[1]) * (1024 if found[2] == "G" else 1)


def side_by_side() -> int:
    """How many tests this machine can run at a time: each has one to three guests, and waits most of the time."""
    return max(1, min(SIDE_BY_SIDE, 2 * len(cpus()), 1 + (available_mib() - LARGE_MIB) // TEST_MIB))


# -- rights and devices


def need_root(what: str) -> None:
    if os.geteuid() != 0:
        raise Missing(f"{what}: only root can do that")


def need_device(path: str, what: str) -> None:
    if not os.path.exists(path):
        raise Missing(f"{what} needs {path}, which this machine does not have")
    if not os.access(path, os.R_OK | os.W_OK):
        raise Missing(f"{what} needs {path}, which this user cannot open")


def need_tap() -> None:
    need_device("/dev/net/tun", "a tap")


def need_files(what: str, number: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < number:
        raise Missing(f"{what} needs {number} open files, and this process may have {hard}")


def need_programs(what: str, *names: str) -> None:
    if absent := [name for name in names if not shutil.which(name)]:
        raise Missing(f"{what} needs {' and '.join(absent)}, which this machine does not have")


def nested_kvm() -> bool:
    """Whether a guest on KVM gets a working KVM of its own."""
    modules = Path("/sys/module")
    return any(
        (modules / name / "parameters/nested").exists() and (modules / name / "parameters/nested").read_text().strip() in ("1", "Y")
        for name in ("kvm_intel", "kvm_amd")
    )
