# SPDX-License-Identifier: Apache-2.0
"""A Linux bridge as fabric, on kernels whose bridges filter by VLAN."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from bed import paths
from bed.vm import VM
from test_vhost_net import libraries_of


@pytest.mark.kernels("6.12", "6.1")
def test_fabric_on_a_real_kernel(vm_factory: Callable[..., VM], kernel: str) -> None:
    """The unit tests of the fabric and of the programs at its taps, none of them skipped."""
    programs = ["test_bridge", "test_port_prog"]
    files = {k: v for p in programs for k, v in libraries_of(paths.BUILD / "tests/unit" / p).items()}
    vm = vm_factory(kernel=kernel, memory="1G", files=files)
    vm.run("modprobe -a tun veth bridge 8021q")
    for program in programs:
        result = vm.run(f"/build/tests/unit/{program}", timeout=120, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        assert re.findall(r"SKIPPED \] (\w+)", result.stdout) == [], result.stdout
    assert vm.dmesg_warnings() == []
