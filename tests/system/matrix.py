# SPDX-License-Identifier: Apache-2.0
"""One VF, all four datapaths, one LAN: whatever serves it, it meets the same bridge, in a guest that plays the host.

    peer: numbered.py ── far ⇄ near ─┐
                                     │             ┌ vhost-net ─┐
                                     ├──────── tap ┤            ├───────────┐
                              bridge │             └ builtin ───┘           │
                                     ├ swa ⇄ swb ── switch ── vhost-user ───┼── rings ── testpmd, which sends all frames back
                                     └ swc ⇄ swd ── switch ── VDUSE, vdpa ──┘

The switch is a testpmd that joins two ports each. Its ports of the bridge learn nothing: who only answers has to be found without
having said anything, wherever it went.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from typing import Any

from bed.agent import GuestProcess
from bed.l1 import L1
from bed.machine import PATIENCE
from l1_host import RUN, L1Host

SWITCH_SOCKET = "/run/switch-0"
MOVER = "python3 /vpf/tests/system/mover.py"
DATAPATHS: dict[str, dict[str, Any]] = {
    "builtin": {"type": "builtin"},
    "vhost-net": {"type": "vhost-net"},
    "vhost-user": {"type": "vhost-user", "path": "/run/switch-{vf}"},
    "vdpa": {"type": "vdpa", "mgmtdev": "vduse"},
}
TEXT = {"builtin": "builtin", "vhost-net": "vhost-net", "vhost-user": "vhost-user:path=/run/switch-{vf}", "vdpa": "vdpa:mgmtdev=vduse"}


def first(name: str) -> list[str]:
    """All of them, NAME as the first one."""
    return [name, *(other for other in DATAPATHS if other != name)]


def written(*names: str) -> str:
    """A list of such names, as vpfctl takes it."""
    return ",".join(TEXT[name] for name in names)


def circuit(names: Sequence[str]) -> list[str]:
    """A way that begins and ends at the first one, and goes from each to each other one once (Hierholzer's)."""
    left = {name: [other for other in names if other != name] for name in names}
    way, stack = [], [names[0]]
    while stack:
        if left[stack[-1]]:
            stack.append(left[stack[-1]].pop())
        else:
            way.append(stack.pop())
    return way[::-1]


class Host(L1Host):
    def __init__(self, l1: L1):
        super().__init__(l1)
        self.switch: GuestProcess | None = None
        self.drivers: list[GuestProcess] = []
        self.late = 0  # how often the switch was too late for vpfd on a busy machine, and was asked again
        l1.run("modprobe -a vhost_net tun bridge vduse vhost_vdpa && mkdir -p /var/run/vduse", timeout=60)
        self.start_vpfd()
        self.ctl("fabric", "add", "lan", "--type", "bridge", "--bridge", "br0")
        l1.run(
            "set -e; sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1\n"
            "for pair in near,far swa,swb swc,swd; do ip link add ${pair%,*} up type veth peer name ${pair#*,}; ip link set ${pair#*,} up;"
            " ip link set ${pair%,*} master br0; done\n"
            "for port in swa swc; do bridge link set dev $port learning off; done"
        )
        self.ctl("pf", "add", "p0", "--fabric", "lan", "--vfs", "1", "--spoofchk", "off", "--datapath", written(*DATAPATHS))
        self.mac = self.vf()["mac"]

    def testpmd(self, name: str, *vdevs: str, mode: str) -> GuestProcess:
        """It polls; whoever has something to do goes first."""
        options = " ".join(f"--vdev {vdev}" for vdev in vdevs)
        testpmd = self.l1.popen(
            f"echo pid $$; exec nice -n 10 stdbuf -oL dpdk-testpmd --no-huge --no-shconf -m 128 --no-pci --no-telemetry --lcores '(0-1)@(0-1)'"
            f" --file-prefix={name} --log-level=vhost:8 {options}"
            f" -- --total-num-mbufs=2048 --disable-link-check --forward-mode={mode} --auto-start",
            stdin=True,
        )
        testpmd.expect("Press enter to exit", timeout=90)
        return testpmd

    def start_switch(self) -> None:
        self.switch = self.testpmd(
            "switch", f"net_vhost0,iface={SWITCH_SOCKET},queues=1", "net_af_packet0,iface=swb",
            "net_vhost1,iface=/dev/vduse/d0,queues=1", "net_af_packet1,iface=swd", mode="io",
        )  # fmt: skip
        self.l1.run("echo 6 >/sys/class/vduse/d0/msg_timeout")

    def restart_switch(self) -> None:
        """After it was killed, and everybody has let go of its device."""
        self.destroy_vduse()
        self.l1.run(f"rm -f /var/run/vduse/d0 {SWITCH_SOCKET}")
        self.start_switch()

    def driver(self) -> GuestProcess:
        """What a VM's driver does: all that comes is sent back."""
        self.drivers.append(
            self.testpmd("vm", f"net_virtio_user0,path={RUN}/p0/vf0.sock,queue_size=256,mac={self.mac}", mode="macswap")
        )
        return self.drivers[-1]

    def end_drivers(self) -> None:
        """What a test that failed has left."""
        while self.drivers:
            driver = self.drivers.pop()
            if not driver.finished:
                driver.kill()

    def served_by(self, datapath: str, timeout: float = 60) -> None:
        """Without failback vpfd does not ask a switch again that was late."""
        begin, asked = time.monotonic(), False
        while (row := self.vf())["datapath"] != datapath:
            assert time.monotonic() < begin + timeout * PATIENCE, row
            binding = row["binding"]
            if not asked and binding["position"] and (binding["last_error"] or "").endswith("in time"):
                self.late, asked = self.late + 1, True
                self.ctl("pf", "set", "p0", "--failback", "on")
        if asked:
            self.ctl("pf", "set", "p0", "--failback", "off")

    def plan(self, **more: Any) -> str:
        fixed = {"socket": f"{RUN}/vpfd.sock", "pf": "p0", "vf": 0, "interface": "far", "address": self.mac}
        return json.dumps(fixed | {"lists": {name: [DATAPATHS[other] for other in first(name)] for name in DATAPATHS}} | more) + "\n"

    def move(self, names: Sequence[str], least: int = 64, timeout: float = 600, **more: Any) -> dict[str, Any]:
        """Under load; the first of NAMES is where it starts."""
        plan = self.plan(moves=list(names), least=least, **more)
        return json.loads(self.l1.run(f"exec {MOVER}", timeout, input=plan).stdout.splitlines()[-1])

    def start(self, name: str) -> tuple[GuestProcess, dict[str, float]]:
        """A driver, and how long it took from its first queue to service and to its first answer, in µs."""
        mover = self.l1.popen(f"exec {MOVER}", stdin=True)
        mover.write(self.plan(start=name))
        mover.expect("ready")
        driver = self.driver()
        return driver, json.loads(mover.wait(90, check=True).stdout.splitlines()[-1])

    def load(self, serving: str) -> dict[str, Any]:
        """Numbered frames without a move: once the first ones are back, none may be lost."""
        report = self.move([serving, serving], 100)
        frames, (row,) = report["frames"], report["moves"]
        assert row["lost"] == frames["twice"] == frames["late"] == 0, report
        assert self.vf()["datapath"] == serving
        return frames

    def left_over(self) -> dict[str, str]:
        """What a VF has while its driver uses it: a port of the bridge, a device, a connection to the switch."""
        out = self.l1.run(
            "ls /sys/class/net/br0/brif | grep -vxE 'near|swa|swc'; echo --; vdpa dev show; echo --;"
            f" awk '$6 == \"03\" && $8 == \"{SWITCH_SOCKET}\"' /proc/net/unix"
        ).stdout
        return {what: found.strip() for what, found in zip(("tap", "device", "connection"), out.split("--"), strict=True) if found.strip()}

    def await_left(self, *wanted: str) -> None:
        """The switch closes its end of a connection, and its device, when it sees to it."""
        end = time.monotonic() + 30 * PATIENCE
        while set(found := self.left_over()) != set(wanted):
            assert time.monotonic() < end, found

    def released(self) -> None:
        self.served_by("none")
        self.await_left()


def forwarded(testpmd: GuestProcess) -> tuple[int, int]:
    """Ends it; frames that it received and sent."""
    testpmd.write("\n")
    out = testpmd.wait(60).stdout
    return tuple(int(re.findall(rf"{way}X-packets: (\d+)", out)[-1]) for way in "RT")  # type: ignore[return-value]
