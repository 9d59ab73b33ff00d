# SPDX-License-Identifier: Apache-2.0
"""vpfctl against a scripted server: what the server knows, and how a test runs vpfctl."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bed import paths
from bed.machine import PATIENCE
from fake_vpfd import FakeVpfd

VPFCTL = paths.BUILD / "vpfctl"
ENV = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8", "TERM": "xterm"}
SECONDS = 20 * PATIENCE  # more than anything here takes

FUNCTION = {
    "pf": "pf0", "vf": 0, "mac": "02:00:00:00:00:10", "admin_mac": None, "vlan": {"mode": "none"}, "spoofchk": True,
    "trust": False, "link": "auto", "mtu": 1500, "min_rate": 0, "max_rate": 0, "pinned": [], "link_up": True,
    "mac_conflict": False, "datapath": "builtin",
    "socket": "/run/vpf/pf0/vf0.sock", "connected": True, "peer_pid": 4711, "features": "0x130007c83",
    "queues_started": 2, "queues_enabled": 2,
    "driver": {"known": True, "mac": "02:00:00:00:00:10", "promiscuous": False, "all_multicast": False,
               "unicast": ["02:00:00:00:aa:01"]},
}  # fmt: skip
PF_ITSELF = {**FUNCTION, "vf": None, "mac": "02:00:00:00:00:01", "socket": "/run/vpf/pf0/pf.sock"}
VF1 = {
    **FUNCTION, "vf": 1, "mac": "02:00:00:00:00:11", "admin_mac": "02:00:00:00:bb:01", "connected": False,
    "link_up": False, "datapath": "none", "mac_conflict": True, "driver": {"known": False},
    "vlan": {"mode": "access", "vid": 100, "pcp": 3, "proto": "802.1ad"}, "min_rate": 10, "max_rate": 500,
    "pinned": ["mac", "vlan"],
}  # fmt: skip
PF = {
    "name": "pf0", "fabric": "f0", "vfs": 2, "queue_pairs": 1, "mtu": 1500,
    "mac": "02:00:00:00:00:01",
    "qmp": {"path": "/run/vm/qmp.sock", "connected": True, "present": True},
    "vm": "node7", "key_file": "/run/vpf/pf0/vm.key", "guest_requests": {"granted": 5, "refused": 3},
    "policy": {
        "guest_control": True, "vlans": "10-20,30", "vlan_ad": False, "macs": "list",
        "mac_list": ["02:00:00:00:00:01", "02:00:00:00:01:00-02:00:00:00:01:ff"], "trust": False, "spoofchk_off": False,
        "max_vfs": 255, "max_rate": 1000, "max_rate_total": 0, "driver_mac": True, "max_driver_macs": 32, "promisc": False,
    },
    "functions": [PF_ITSELF, FUNCTION, VF1],
    "control": {"session": True, "driver": "1.2.0", "kernel": "6.12.1", "counters": {"frames": 12, "bad_tag": 3, "replayed": 0}},
}  # fmt: skip
PF_LISTED = {**{key: value for key, value in PF.items() if key not in ("functions", "control")}, "connected": 2}
FABRIC = {
    "name": "f0", "type": "builtin", "uplink": {"type": "tap", "name": "vpf0", "carrier": True}, "learning": False, "ageing": 300,
    "max_learned": 256, "pfs": ["pf0"], "ports": 3, "fdb_entries": 4, "fdb_learned": 1,
    "uplink_stats": {"tx": {"packets": 7, "bytes": 700, "dropped": 0, "drops": {}},
                     "rx": {"packets": 8, "bytes": 800, "dropped": 1, "drops": {"unknown_mac": 1, "mtu": 0}}},
}  # fmt: skip
STATUS = {
    "version": "1.2.3", "uptime_s": 3725, "pid": 4242, "fabrics": 1, "pfs": 2, "functions": 6, "connected": 3,
    "state_file": "/var/lib/vpf/state.json", "run_dir": "/run/vpf",
    "workers": [{"polls": 10, "packets": 20, "sleeps": 30, "cpu_ns": 1500000000, "queues": 3}],
}  # fmt: skip
METHODS = {
    "status": STATUS, "fabric.list": [FABRIC], "fabric.show": FABRIC, "pf.list": [PF_LISTED], "pf.show": PF,
    "vf.show": VF1, "fabric.add": FABRIC, "pf.add": PF, "vf.set": VF1, "pf.detach": True, "pf.attach": True,
}  # fmt: skip


def counters(packets: int, dropped: dict[str, int] | None = None) -> dict:
    drops = {"spoof_mac": 0, "no_buffer": 0, **(dropped or {})}
    return {
        "packets": packets, "bytes": packets * 100, "broadcast": 1, "multicast": 2, "dropped": sum(drops.values()),
        "drops": drops,
    }  # fmt: skip


def port(vf: int | None, tx: int, rx: int, **drops: int) -> dict:
    return {"pf": "pf0", "vf": vf, "tx": counters(tx, drops), "rx": counters(rx), "sw_checksum": 0, "sw_segmented": 0,
            "ring_errors": 0}  # fmt: skip


def ctl(socket: Path | FakeVpfd | None, *args: str, **env: str) -> subprocess.CompletedProcess:
    if isinstance(socket, FakeVpfd):
        socket = socket.path
    if socket:
        env["VPF_SOCKET"] = str(socket)
    return subprocess.run([VPFCTL, *args], env={**ENV, **env}, capture_output=True, text=True, timeout=SECONDS, check=False)


def ok(*args: object, **env: str) -> str:
    done = ctl(*args, **env)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


@contextlib.contextmanager
def running(socket: Path, *args: str) -> Iterator[subprocess.Popen]:
    """A vpfctl that does not end by itself."""
    with subprocess.Popen(
        [VPFCTL, *args], env={**ENV, "VPF_SOCKET": str(socket)}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def table(text: str) -> list[list[str]]:
    """Cells of an aligned table: two spaces or more are between columns."""
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]
