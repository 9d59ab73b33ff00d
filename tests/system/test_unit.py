# SPDX-License-Identifier: Apache-2.0
"""vpfd with the capabilities of the systemd unit that is shipped, and no others."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from bed import paths
from bed.netns import run_on_host
from bed.vm import VM
from bed.vpfd import Vpfd


def capabilities() -> list[str]:
    unit = (paths.ROOT / "dist" / "vpfd.service.in").read_text()
    listed = re.search(r"^CapabilityBoundingSet=(.*)$", unit, re.MULTILINE)
    assert listed
    return [name.removeprefix("CAP_").lower() for name in listed[1].split()]


def bounded() -> str:
    """What a command starts with to have the unit's capabilities alone."""
    return f"setpriv --no-new-privs --bounding-set=-all{''.join(f',+{name}' for name in capabilities())}"


def test_programs_on_a_bridge(tmp_path: Path) -> None:
    """What takes a program at the bridge's port is refused where the kernel does not let vpfd load one."""
    wrapper = tmp_path / "vpfd-in-unit"
    wrapper.write_text(f'#!/bin/sh\nexec {bounded()} {paths.BUILD / "vpfd"} "$@"\n')
    wrapper.chmod(0o755)
    bridge = f"vpfu{os.getpid() % 100000}"
    try:
        with Vpfd(tmp_path / "vpfd", program=wrapper) as vpfd:
            vpfd.rpc("fabric.add", name="lan", type="bridge", bridge=bridge)
            vpfd.rpc("pf.add", name="pf", fabric="lan", vfs=1)
            vpfd.rpc("vf.set", pf="pf", vf=0, max_rate=100)
            assert vpfd.rpc("vf.show", pf="pf", vf=0)["max_rate"] == 100
    finally:
        run_on_host(["ip", "link", "delete", bridge], check=False)


@pytest.mark.kernels("6.12", "6.1")
def test_programs_in_older_kernels(vm_factory: Callable[..., VM], kernel: str) -> None:
    """The same in a guest's kernel: what a program may do with CAP_BPF, and without CAP_PERFMON, differs between kernels."""
    programs = (paths.BUILD / "vpfd", paths.BUILD / "vpfctl")
    vm = vm_factory(kernel=kernel, memory="1G", files={k: v for p in programs for k, v in paths.libraries_of(p).items()})
    vm.run("modprobe -a tun bridge && mkdir /run/v")
    vm.run(f"{bounded()} /build/vpfd --run-dir /run/v --state-dir /run/v/state > /run/v/log 2>&1 &")
    ctl = "/build/vpfctl --socket /run/v/vpfd.sock"
    vm.run(f"until {ctl} status; do sleep 0.1; done")
    vm.run(f"{ctl} fabric add lan --type bridge --bridge vpfu && {ctl} pf add pf --fabric lan --vfs 1")
    set_rate = vm.run(f"{ctl} vf set pf 0 --max-rate 100", check=False)
    assert set_rate.returncode == 0, set_rate.stderr + vm.run("cat /run/v/log").stdout
