# SPDX-License-Identifier: Apache-2.0
"""vpfd in a guest that plays the host, with a virtual PF p0, and what tests ask of it."""

from __future__ import annotations

import json
import time
from typing import Any

from bed.agent import GuestProcess
from bed.l1 import L1
from bed.machine import PATIENCE

RUN = "/run/vpf"
# VDUSE_DESTROY_DEV: a device whose program was killed is of no use to the next one.
_DESTROY = 'import fcntl; fcntl.ioctl(open("/dev/vduse/control", "r+b", 0), 0x41008103, b"d0".ljust(256, b"\\0"))'


class L1Host:
    def __init__(self, l1: L1):
        self.l1 = l1
        self.vpfd: GuestProcess

    def start_vpfd(self) -> None:
        self.vpfd = self.l1.popen(f"exec /build/vpfd --run-dir {RUN} --state-dir /tmp/vpfd-state --log-level debug")
        self.vpfd.expect("is ready", timeout=60)

    def ctl(self, *args: str, check: bool = True, timeout: float = 30) -> Any:
        return self.l1.run(["/build/vpfctl", *args], timeout, check=check)

    def json(self, *args: str) -> Any:
        return json.loads(self.ctl("--json", *args).stdout)

    def vf(self) -> dict[str, Any]:
        return self.json("vf", "show", "p0", "0")

    def served_by(self, datapath: str, timeout: float = 60) -> None:
        end = time.monotonic() + timeout * PATIENCE
        while (row := self.vf())["datapath"] != datapath:
            assert time.monotonic() < end, row

    def destroy_vduse(self) -> None:
        """The device d0 of a program that was killed, once everybody has let go of it."""
        self.l1.run(f"until python3 -c '{_DESTROY}' 2>/dev/null; do sleep 0.2; done", timeout=90)
