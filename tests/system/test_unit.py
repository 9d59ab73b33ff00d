# SPDX-License-Identifier: Apache-2.0
"""vpfd with the capabilities of the systemd unit that is shipped, and no others."""

from __future__ import annotations

import os
import re
from pathlib import Path

from bed import paths
from bed.netns import run_on_host
from bed.vpfd import Vpfd


def capabilities() -> list[str]:
    unit = (paths.ROOT / "dist" / "vpfd.service.in").read_text()
    listed = re.search(r"^CapabilityBoundingSet=(.*)$", unit, re.MULTILINE)
    assert listed
    return [name.removeprefix("CAP_").lower() for name in listed[1].split()]


def test_programs_on_a_bridge(tmp_path: Path) -> None:
    """What takes a program at the bridge's port is refused where the kernel does not let vpfd load one."""
    wrapper = tmp_path / "vpfd-in-unit"
    bounds = "".join(f",+{name}" for name in capabilities())
    wrapper.write_text(f'#!/bin/sh\nexec setpriv --no-new-privs --bounding-set=-all{bounds} {paths.BUILD / "vpfd"} "$@"\n')
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
