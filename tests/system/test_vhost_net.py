# SPDX-License-Identifier: Apache-2.0
"""vhost-net, the kernel's, on a tap; and vpfd's workers on a tap where there is none."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from bed import paths
from bed.vm import VM

LIBRARIES = "/usr/lib/x86_64-linux-gnu"


def libraries_of(program: Path) -> dict[str, Path]:
    """What PROGRAM needs, of this machine, that the bed's tree does not have: guest path to file."""
    found = re.findall(r"=> (/\S+)", subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout)
    return {f"{LIBRARIES}/{p.name}": p for p in map(Path, found) if not (paths.tree() / LIBRARIES[1:] / p.name).exists()}


@pytest.mark.kernels("6.12")
def test_instances_on_a_real_kernel(vm_factory: Callable[..., VM], kernel: str) -> None:
    """The unit test of the datapath, which needs a /dev/vhost-net for most of it."""
    program = paths.BUILD / "tests/unit/test_vhost_net"
    vm = vm_factory(kernel=kernel, memory="1G", files=libraries_of(program))
    vm.run("modprobe vhost_net && modprobe tun && test -c /dev/vhost-net")
    result = vm.run("/build/tests/unit/test_vhost_net", timeout=120, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.findall(r"SKIPPED \] (\w+)", result.stdout) == ["test_not_here"], result.stdout
    assert vm.dmesg_warnings() == []
