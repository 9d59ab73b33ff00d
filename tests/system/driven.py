# SPDX-License-Identifier: Apache-2.0
"""Guests with vpf.ko: what tests ask of it, and of the tools that it is for."""

from __future__ import annotations

import json
from typing import Any

from bed.agent import wait_until
from bed.vm import VM

# One kernel of three runs with memory debugging: what is freed is poisoned, what is written outside is seen.
MEMORY_DEBUGGING = "slub_debug=FZPU page_poison=1 init_on_free=0 kfence.sample_interval=50"
DEBUGGING_KERNEL = "6.12"


def boot_args(kernel: str) -> str:
    return MEMORY_DEBUGGING if kernel == DEBUGGING_KERNEL else ""


def unload(vm: VM) -> None:
    vm.run("rmmod vpf", timeout=20)


def shell_until(vm: VM, condition: str, timeout: float = 20) -> None:
    """Until a shell condition of the guest holds."""
    vm.run(f"until {condition}; do sleep 0.03; done", timeout)


def await_netdev(vm: VM, address: str, timeout: float = 20) -> str:
    """The name of the PF netdev of the PCI function, once it is there."""
    shell_until(vm, f"[ -e /sys/bus/pci/devices/{address}/net ]", timeout)
    (name,) = vm.run(f"ls /sys/bus/pci/devices/{address}/net").stdout.split()
    return name


def link(vm: VM, name: str, netns: str | None = None) -> dict[str, Any]:
    (entry,) = json.loads(vm.run(f"ip -j -s -d link show dev {name}", netns=netns).stdout)
    return entry


def vf(vm: VM, name: str, index: int) -> dict[str, Any]:
    return link(vm, name)["vfinfo_list"][index]


def counters(vm: VM, name: str) -> dict[str, int]:
    lines = vm.run(f"ethtool -S {name}").stdout.splitlines()[1:]
    return {key.strip(): int(value) for key, value in (line.split(":") for line in lines)}


def set_vf(vm: VM, name: str, index: int, what: str, error: str | None = None, timeout: float = 20) -> None:
    """`ip link set NAME vf INDEX WHAT`; with `error`, it must fail with that text."""
    done = vm.run(f"ip link set dev {name} vf {index} {what}", timeout, check=error is None)
    if error is not None:
        assert done.returncode != 0, f"{what} should have failed with {error}"
        assert error in done.stderr, f"{what}: {done.stderr}"


def await_session(vm: VM, name: str, up: bool = True, timeout: float = 20) -> None:
    wait_until(lambda: counters(vm, name)["control_session_up"] == int(up), timeout, "the control channel's session")
