# SPDX-License-Identifier: Apache-2.0
"""QEMU arguments for the devices of tests: virtual PFs as composable SR-IOV devices, each on a root port of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class PF:
    """A virtual PF whose functions are vhost-user sockets: SOCKETS[0] is the PF's, SOCKETS[n] is VF n's (n from 1).

    `netdevs` takes other back-ends instead, as -netdev values without their id ("hubport,hubid=0"). `macs` gives
    addresses in the same order; `options` are added to every function ("page-per-vq=on"). `key` is the file with the VM's
    key (`<run-dir>/<pf>/vm.key` of vpfd), for the guest's vpf.ko.
    """

    id: str = "pf0"
    sockets: Sequence[str | os.PathLike[str]] = ()
    netdevs: Sequence[str] = ()
    macs: Sequence[str] = ()
    queues: int = 1
    options: str = ""
    bus: str = ""
    key: str | os.PathLike[str] | None = None
    extra: dict[int, str] = field(default_factory=dict)

    def functions(self) -> int:
        return len(self.sockets or self.netdevs)

    def netdev_id(self, function: int) -> str:
        return f"{self.id}n{function}"

    def device_id(self, function: int) -> str:
        return self.id if function == 0 else f"{self.id}vf{function - 1}"

    def backends(self) -> list[str]:
        args = []
        for function in range(self.functions()):
            ident = self.netdev_id(function)
            if self.sockets:
                queues = f",queues={self.queues}" if self.queues > 1 else ""
                args += [
                    "-chardev", f"socket,id={ident}c,path={os.fspath(self.sockets[function])},reconnect-ms=200",
                    "-netdev", f"vhost-user,id={ident},chardev={ident}c{queues}",
                ]  # fmt: skip
            else:
                kind, _, rest = self.netdevs[function].partition(",")
                args += ["-netdev", f"{kind},id={ident}" + (f",{rest}" if rest else "")]
        return args

    def device(self, function: int) -> str:
        # A function number of 0..255 in the port's ARI space: addr is "device.function" with 8 functions a device.
        addr = f"0x{function >> 3:x}.0x{function & 7:x}"
        parts = [f"virtio-net-pci,bus={self.bus or self.id + '-port'},addr={addr}", f"netdev={self.netdev_id(function)}"]
        parts.append(f"id={self.device_id(function)}")
        if function > 0:
            parts.append(f"sriov-pf={self.id}")
        if function < len(self.macs):
            parts.append(f"mac={self.macs[function]}")
        if self.queues > 1:
            parts.append(f"mq=on,vectors={2 * self.queues + 2}")
        return ",".join(p for p in [*parts, self.options, self.extra.get(function, "")] if p)

    def devices(self) -> list[str]:
        """VFs first: QEMU wants the PF of a composable device last."""
        args = []
        for function in [*range(1, self.functions()), 0]:
            args += ["-device", self.device(function)]
        return args


def root_port(ident: str, slot: int) -> list[str]:
    return ["-device", f"pcie-root-port,bus=pcie.0,id={ident},chassis={slot},slot={slot},addr=0x{slot:x}"]
