# SPDX-License-Identifier: Apache-2.0
"""vpfctl against a scripted server: what it asks, what it prints, how it fails. What the real vpfd makes of it is
tested elsewhere."""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bed import paths
from bed.machine import PATIENCE
from bed.vpfd import Vpfd
from fake_vpfd import Connection, FakeVpfd, Refusal

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


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeVpfd]:
    with FakeVpfd(tmp_path / "vpfd.sock", dict(METHODS)) as server:
        yield server


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


# What is asked, and what is printed.


def test_words_become_parameters(fake: FakeVpfd) -> None:
    assert ok(fake, "fabric", "add", "f0", "--uplink", "tap:vpf0", "--learning", "on") == ""
    assert ok(fake, "pf", "add", "pf0", "--fabric", "f0", "--vfs", "2", "--policy", "promisc=on") == ""
    assert ok(fake, "vf", "set", "pf0", "pf", "--vlan", "100:3:802.1ad", "--mac", "none") == ""
    assert fake.calls == [
        ("fabric.add", {"name": "f0", "uplink": {"type": "tap", "name": "vpf0"}, "learning": True}),
        ("pf.add", {"name": "pf0", "fabric": "f0", "vfs": 2, "policy": {"promisc": True}}),
        ("vf.set", {"pf": "pf0", "vf": None, "vlan": {"mode": "access", "vid": 100, "pcp": 3, "proto": "802.1ad"},
                    "mac": "00:00:00:00:00:00"}),
    ]  # fmt: skip


def test_relative_path_is_made_absolute(fake: FakeVpfd, tmp_path: Path) -> None:
    fake.methods["pf.set"] = PF
    subprocess.run([VPFCTL, "--socket", fake.path, "pf", "set", "pf0", "--qmp", "q.sock"], env=ENV, cwd=tmp_path, check=True)
    assert fake.calls == [("pf.set", {"name": "pf0", "qmp": f"{tmp_path}/q.sock"})]


@pytest.mark.parametrize(
    "args, expected",
    [
        (["status"], STATUS),
        (["fabric", "list"], [FABRIC]),
        (["fabric", "show", "f0"], FABRIC),
        (["fabric", "add", "f0"], FABRIC),
        (["pf", "list"], [PF_LISTED]),
        (["pf", "show", "pf0"], PF),
        (["pf", "detach", "pf0"], True),
        (["vf", "show", "pf0", "1"], VF1),
        (["vf", "show", "pf0"], PF["functions"]),
    ],
)
def test_json_is_the_result(fake: FakeVpfd, args: list[str], expected: object) -> None:
    assert json.loads(ok(fake, "--json", *args)) == expected
    assert json.loads(ok(fake, *args, "-j", "--color", "always")) == expected


def test_large_numbers_are_exact(fake: FakeVpfd) -> None:
    fake.methods["stats"] = [{**port(None, 0, 0), "tx": {**counters(0), "packets": 2**63 - 1}}]
    assert json.loads(ok(fake, "stats", "--json")) == fake.methods["stats"]
    assert "9223372036854775807 packets" in ok(fake, "stats")


def table(text: str) -> list[list[str]]:
    """Cells of an aligned table: two spaces or more are between columns."""
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]


def test_lists_are_tables(fake: FakeVpfd) -> None:
    assert table(ok(fake, "fabric", "list")) == [
        ["FABRIC", "TYPE", "UPLINK", "CARRIER", "LEARNING", "PFS", "PORTS", "MACS"],
        ["f0", "builtin", "tap vpf0", "up", "off", "1", "3", "4"],
    ]
    fake.methods["fabric.list"] = [{**FABRIC, "type": "bridge", "bridge": "br0"}]
    assert table(ok(fake, "fabric", "list"))[1][1] == "bridge br0"
    assert table(ok(fake, "pf", "list")) == [
        ["PF", "FABRIC", "VFS", "QUEUE PAIRS", "MTU", "QMP", "CONNECTED"],
        ["pf0", "f0", "2", "1", "1500", "connected", "2 of 3"],
    ]
    fake.methods["fdb.show"] = [
        {"mac": "02:00:00:00:00:10", "vlan": "any", "kind": "permanent", "pf": "pf0", "vf": 0, "age": None},
        {"mac": "02:00:00:00:aa:01", "vlan": 7, "kind": "learned", "pf": "pf0", "vf": None, "age": 12},
        {"mac": "02:00:00:00:aa:02", "vlan": 0, "kind": "driver", "pf": "pf0", "vf": 1, "age": None},
    ]
    assert table(ok(fake, "fdb", "show", "f0")) == [
        ["MAC", "VLAN", "KIND", "FUNCTION", "AGE"],
        ["02:00:00:00:00:10", "any", "permanent", "pf0 vf 0", "-"],
        ["02:00:00:00:aa:01", "7", "learned", "pf0 pf", "12 s"],
        ["02:00:00:00:aa:02", "-", "driver", "pf0 vf 1", "-"],
    ]
    assert fake.calls[-1] == ("fdb.show", {"fabric": "f0"})


def test_functions_are_a_table(fake: FakeVpfd) -> None:
    rows = table(ok(fake, "vf", "show", "pf0"))
    assert rows[0][0] == "FUNCTION"
    assert [row[0] for row in rows[1:]] == ["pf0 pf", "pf0 vf 0", "pf0 vf 1"]
    assert rows[3] == [
        "pf0 vf 1", "02:00:00:00:00:11 (conflict)", "02:00:00:00:bb:01", "100 pcp 3 802.1ad", "on", "off", "auto", "down",
        "1500", "10 to 500 Mb/s", "mac,vlan", "-", "none",
    ]  # fmt: skip
    assert rows[2][8:11] == ["1500", "-", "-"]
    # The full view of the virtual PF has the same table.
    shown = ok(fake, "pf", "show", "pf0")
    assert table(shown)[-4:] == rows
    assert re.search(r"^QMP +/run/vm/qmp.sock \(connected, the VM has the PF\)$", shown, re.M)
    assert re.search(r"^VM +node7 \(key in /run/vpf/pf0/vm.key\)$", shown, re.M)
    assert re.search(r"^Guest's requests +5 granted, 3 refused$", shown, re.M)
    assert re.search(r"^Control +by the VM's driver: vpf.ko 1.2.0, kernel 6.12.1\n +frames 12, bad_tag 3$", shown, re.M)
    policy = shown[shown.index("Policy") : shown.index("\n\n")].split("\n")
    assert [line.removeprefix("Policy").strip() for line in policy] == [
        "guest_control on", "vlans 10-20,30", "vlan_ad off", "macs list",
        "mac_list 02:00:00:00:00:01,02:00:00:00:01:00-02:00:00:00:01:ff", "trust off", "spoofchk_off off", "max_vfs 255",
        "max_rate 1000 Mb/s", "max_rate_total none", "driver_mac on", "max_driver_macs 32", "promisc off",
    ]  # fmt: skip
    counters = {"frames": 0, "bad_tag": 0}
    fake.methods["pf.show"] = {**PF, "control": {"session": False, "driver": None, "kernel": None, "counters": counters}}
    assert re.search(r"^Control +no driver of the VM has asked for it\nGuest's", ok(fake, "pf", "show", "pf0"), re.M)


def test_one_function_in_full(fake: FakeVpfd) -> None:
    shown = ok(fake, "vf", "show", "pf0", "1")
    assert fake.calls == [("vf.show", {"pf": "pf0", "vf": 1})]
    assert re.search(r"^VLAN +100 pcp 3 802.1ad$", shown, re.M)
    assert re.search(r"^Sends +10 to 500 Mb/s$", shown, re.M)
    assert re.search(r"^Pinned +mac,vlan$", shown, re.M)
    assert re.search(r"^Guest +not connected$", shown, re.M)
    assert "another function of the fabric owns its MAC" in shown
    fake.methods["vf.show"] = FUNCTION
    shown = ok(fake, "vf", "show", "pf0", "0")
    assert re.search(r"^Guest +connected, process 4711$", shown, re.M)
    assert re.search(r"^Driver's others +02:00:00:00:aa:01$", shown, re.M)


OTHER = [{"type": "vhost-user", "path": "/b/{vf}", "server": True}, {"type": "builtin"}]
BINDING = {
    "state": "bound", "list": OTHER, "position": 1, "serving": "builtin", "binds": 3, "moves": 2, "failures": 1,
    "last_gap_us": 250, "last_error": "the back-end has gone",
}  # fmt: skip
IDLE = {**BINDING, "state": "idle", "position": None, "serving": None, "moves": 0, "failures": 0, "last_error": None}


def test_who_serves_whom(fake: FakeVpfd) -> None:
    functions = [{**PF_ITSELF, "binding": IDLE}, {**FUNCTION, "binding": BINDING, "datapaths": OTHER}]
    fake.methods["pf.show"] = {**PF, "datapaths": OTHER, "failback": True, "functions": functions}
    rows = table(ok(fake, "vf", "list"))
    assert fake.calls == [("pf.list", {}), ("pf.show", {"name": "pf0"})]
    assert rows[0] == ["FUNCTION", "GUEST", "LINK", "STATE", "DATAPATH", "WISH", "MOVES", "FAILED", "LAST FAILURE"]
    assert rows[1:] == [
        ["pf0 pf", "connected", "up", "idle", "-", "- of 2", "0", "0", "-"],
        ["pf0 vf 0", "connected", "up", "bound", "builtin", "2 of 2", "2", "1", "the back-end has gone"],
    ]
    assert ok(fake, "vf", "list", "pf0") == ok(fake, "vf", "list")
    assert json.loads(ok(fake, "vf", "list", "--json")) == functions
    shown = ok(fake, "pf", "show", "pf0")
    assert re.search(r"^Datapaths +vhost-user:path=/b/{vf}:server=on,builtin\nFailback +on$", shown, re.M)

    fake.methods["vf.show"] = functions[1]
    shown = ok(fake, "vf", "show", "pf0", "0")
    assert re.search(r"^Datapath +builtin \(2 of 2\)\nDatapaths +vhost-user:path=/b/{vf}:server=on,builtin$", shown, re.M)
    assert re.search(r"^Bound +3 times, moved 2, failed 1\nLast move +not served for 250 us$", shown, re.M)
    assert re.search(r"^Last failure +the back-end has gone$", shown, re.M)
    # Of a list that a newer vpfd has, and this vpfctl cannot write as it would read it.
    fake.methods["vf.show"] = {**FUNCTION, "binding": IDLE, "datapaths": [{"type": "nic"}]}
    assert re.search(r'^Datapath +none \(idle\)\nDatapaths +\[{"type": "nic"}\]$', ok(fake, "vf", "show", "pf0", "0"), re.M)
    assert ctl(fake, "vf", "list", "x").returncode == 0


def test_moves_are_waited_for(fake: FakeVpfd) -> None:
    def answer(failed: tuple = (), **move: object) -> None:
        fake.methods["vf.set"] = {
            **FUNCTION, "binding": BINDING, "move": {"from": "builtin", "settled": True, "failed": list(failed), **move}
        }  # fmt: skip

    args = ["vf", "set", "pf0", "0", "--datapath", "vhost-user:path=/b/{vf}:server=on,builtin"]
    answer(to="vhost-user:path=/b/{vf}", gap_us=321)
    assert ok(fake, *args) == "pf0 vf 0 moved from builtin to vhost-user:path=/b/{vf}, gap 321 us\n"
    assert fake.calls == [("vf.set", {"pf": "pf0", "vf": 0, "wait": True, "datapaths": OTHER})]
    assert json.loads(ok(fake, *args, "--json"))["move"]["gap_us"] == 321
    answer(to="builtin")
    assert ok(fake, *args) == ""
    answer(to=None, **{"from": None})
    assert ok(fake, *args) == ""
    answer(to="builtin", **{"from": None})
    assert ok(fake, *args) == "pf0 vf 0 is served by builtin\n"

    failure = {"datapath": "vhost-user:path=/b/0", "reason": "nobody listens there"}
    for move, why in [
        ({"to": "builtin", "failed": (failure,)},
         "pf0 vf 0 is served by builtin, because vhost-user:path=/b/0 failed: nobody listens there"),
        ({"to": None, "failed": (failure,)}, "pf0 vf 0 is not served, because vhost-user:path=/b/0 failed: nobody listens there"),
        ({"to": None}, "pf0 vf 0 is not served: the back-end has gone"),
        ({"to": "builtin", "settled": False}, "pf0 vf 0 is still on its way from builtin"),
    ]:  # fmt: skip
        answer(**move)
        done = ctl(fake, *args)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", f"vpfctl: {why}\n")
        done = ctl(fake, *args, "--json")
        assert done.returncode == 1 and json.loads(done.stdout)["move"]["to"] == move["to"]


def test_status(fake: FakeVpfd) -> None:
    shown = ok(fake, "status")
    assert re.search(r"^vpfd +1\.2\.3, process 4242, up 1 h 2 min$", shown, re.M)
    assert table(shown)[-1] == ["0", "3", "20", "10", "30", "1.50"]


def test_drops_are_listed_only_if_there_are_any(fake: FakeVpfd) -> None:
    uplink = {"fabric": "f0", "uplink": "vpf0", "tx": counters(0), "rx": counters(5), "ring_errors": 0}
    fake.methods["stats"] = [port(None, 1, 2), port(0, 3, 4, spoof_mac=9), uplink]
    shown = ok(fake, "stats")
    assert table(shown)[1:4] == [
        ["pf0 pf", "1", "100", "0", "2", "200", "0"],
        ["pf0 vf 0", "3", "300", "9", "4", "400", "0"],
        ["f0 uplink vpf0", "0", "0", "0", "5", "500", "0"],
    ]
    assert shown.splitlines()[4:] == ["pf0 vf 0: sent and dropped: spoof_mac 9"]

    fake.methods["stats"] = [port(0, 3, 4, spoof_mac=9)]
    shown = ok(fake, "stats", "pf0", "0")
    assert fake.calls[-1] == ("stats", {"pf": "pf0", "vf": 0})
    assert "9 dropped (spoof_mac 9)" in shown and "none dropped" in shown and "no_buffer" not in shown


def test_watch_shows_rates(fake: FakeVpfd) -> None:
    looks = iter(range(100))

    def grow(_: Connection, __: dict) -> list[dict]:
        n = next(looks)
        return [port(None, 5, 5), port(0, 100000 * n, 7), port(1, 100 * n if n else 10**9, 0)]

    fake.methods["stats"] = grow
    shown = ok(fake, "stats", "--watch", "--interval", "0.2", "--count", "2")
    views = shown.strip().split("\n\n")
    assert len(views) == 2
    for view in views:
        rows = table(view)
        assert rows[0][:2] == ["FUNCTION", "SENT/s"]
        # Idle functions are not listed. A counter that went back counts from 0.
        assert [row[0] for row in rows[1:]] == ["pf0 vf 0", "pf0 vf 1", "1 idle"]
        assert 10 < float(rows[2][1]) < 1000
        # 100000 packets of 100 bytes in 0.2 s, or in what time the machine took.
        packets, bits = (re.fullmatch(r"([0-9.]+) ([kM])", cell) for cell in rows[1][1:3])
        assert (packets[2], bits[2]) == ("k", "M")
        assert 10 < float(packets[1]) < 1000
        assert float(bits[1]) == pytest.approx(float(packets[1]) * 0.8, rel=0.01)

    lines = ok(fake, "stats", "--watch", "--interval", "0.05", "--count", "3", "--json").splitlines()
    assert [json.loads(line)[0] for line in lines] == [port(None, 5, 5)] * 3


def test_qemu_args(fake: FakeVpfd, tmp_path: Path) -> None:
    args = ["-chardev", "socket,id=c,path=/run/my vm/it's", "-device", "virtio-net-pci,id=$x", "-object", ""]
    fake.methods["pf.qemu_args"] = {"args": args}
    asked = ["qemu-args", "pf0", "--memory", "2G", "--packed", "--hotplug-ports", "2", "--bus", "rp1"]

    assert json.loads(ok(fake, *asked, "--json")) == args
    assert fake.calls == [
        ("pf.qemu_args", {"name": "pf0", "memory": "2G", "packed": True, "hotplug_ports": 2, "bus": "rp1"})
    ]
    assert ok(fake, *asked, "--list").split("\n") == [*args, ""]

    pasted = ok(fake, *asked)
    lines = pasted.rstrip("\n").split("\n")
    assert len(lines) == 3 and [line.endswith(" \\") for line in lines] == [True, True, False]
    # A shell gets exactly those words.
    shell = subprocess.run(["sh", "-c", f"printf '%s\\n' {pasted}"], capture_output=True, text=True, check=True)
    assert shell.stdout.split("\n") == [*args, ""]

    fake.methods["pf.qemu_args"] = {"args": ["a\nb"]}
    done = ctl(fake, "qemu-args", "pf0", "--list")
    assert done.returncode == 1 and done.stdout == "" and "--json" in done.stderr


# Errors.


def test_refusal_names_the_option(fake: FakeVpfd) -> None:
    def refuse(field: str, text: str) -> Callable[[Connection, dict], None]:
        def handler(_: Connection, __: dict) -> None:
            raise Refusal(text, field=field, errno="EINVAL")

        return handler

    for args, field, expected in [
        (["vf", "set", "pf0", "1", "--vlan", "5000"], "vlan.vid", "vpfctl: --vlan vid: no such VLAN\n"),
        (["vf", "set", "pf0", "1", "--trunk", "5000"], "vlan.vids", "vpfctl: --trunk vids: no such VLAN\n"),
        (["vf", "set", "pf0", "300"], "vf", "vpfctl: VF|pf: no such VLAN\n"),
        (["vf", "set", "pf0", "3"], "", "vpfctl: no such VLAN\n"),
        (["vf", "set", "pf0", "3", "--mtu", "1"], "mtu", "vpfctl: --mtu: no such VLAN\n"),
        (["vf", "set", "pf0", "3"], "other", "vpfctl: other: no such VLAN\n"),
    ]:
        # vpfd's message names the field itself; vpfctl says the option in its place.
        for text in ["no such VLAN", f"{field}: no such VLAN"] if field else ["no such VLAN"]:
            fake.methods["vf.set"] = refuse(field, text)
            done = ctl(fake, *args)
            assert (done.returncode, done.stdout, done.stderr) == (1, "", expected)

    # The table of functions asks pf.show, which calls its parameter otherwise.
    fake.methods["pf.show"] = refuse("name", "no such virtual PF")
    assert ctl(fake, "vf", "show", "pf9").stderr == "vpfctl: PF: no such virtual PF\n"


def test_usage_errors_have_status_2_and_ask_nothing(fake: FakeVpfd) -> None:
    for args, text in [
        ([], "a command is missing"),
        (["pf", "shwo"], "did you mean 'show'?"),
        (["pf", "add", "x", "--vfs", "3"], "--fabric FABRIC is missing"),
        (["vf", "set", "pf0", "1", "--trust", "yes"], "--trust: 'yes' is not one of: on, off"),
    ]:
        done = ctl(fake, *args)
        assert (done.returncode, done.stdout) == (2, ""), done
        assert text in done.stderr and "--help'" in done.stderr
    assert fake.calls == []


def test_no_vpfd(tmp_path: Path) -> None:
    path = tmp_path / "vpfd.sock"
    done = ctl(path, "status")
    assert done.returncode == 1
    assert done.stderr == (
        f"vpfctl: vpfd is not running at {path}: start it with 'vpfd --run-dir {tmp_path}', or name its socket with --socket\n"
    )
    # A socket that a killed vpfd has left behind.
    fake = FakeVpfd(path, {})
    fake.path = tmp_path / "not this one"
    fake.close()
    assert path.exists()
    assert "vpfd is not running at" in ctl(path, "status").stderr
    assert "start it, or name its socket" in ctl(tmp_path / "other", "status").stderr
    assert "1 to 107 bytes" in ctl(Path("/" + "x" * 107), "status").stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_no_permission_says_which_group() -> None:
    directory = Path("/tmp") / f"vpfctl-test-{os.getpid()}"
    run_dir = directory / "run"
    run_dir.mkdir(parents=True)
    directory.chmod(0o755)
    gid = grp.getgrnam("daemon").gr_gid
    try:
        program = shutil.copy(VPFCTL, directory)  # the build directory may be nobody's to enter
        with FakeVpfd(run_dir / "s", dict(METHODS)) as fake:

            def status(run_dir_mode: int, socket_mode: int) -> subprocess.CompletedProcess:
                run_dir.chmod(run_dir_mode)
                fake.path.chmod(socket_mode)
                return subprocess.run(
                    [program, "--socket", fake.path, "status"],
                    env=ENV, user=65534, group=65534, extra_groups=[], cwd="/", capture_output=True, text=True, check=False,
                )  # fmt: skip

            os.chown(fake.path, 0, gid)
            os.chown(run_dir, 0, gid)
            done = status(0o755, 0o660)
            assert done.returncode == 1
            assert f"permission denied on {fake.path}: it is for group 'daemon'" in done.stderr
            assert f"permission denied on {run_dir}: it is for group 'daemon'" in status(0o750, 0o666).stderr
            assert "only its owner (user id 0)" in status(0o755, 0o600).stderr
            assert status(0o755, 0o666).returncode == 0
    finally:
        shutil.rmtree(directory)


def test_wrong_answers(fake: FakeVpfd) -> None:
    def raw(data: bytes, close: bool = False) -> Callable[[Connection, dict], object]:
        def handler(connection: Connection, _: dict) -> object:
            connection.send_raw(data)
            if close:
                connection.close()
            return FakeVpfd.NO_ANSWER

        return handler

    for handler, text in [
        (raw(b"", close=True), "vpfd has closed the connection"),
        (raw(b'{"jsonrpc": "2.0"', close=True), "vpfd has closed the connection"),
        (raw(b"hello\n"), "does not speak JSON-RPC"),
        (raw(b"[]\n"), "does not speak JSON-RPC"),
        (raw(b'{"jsonrpc": "1.0", "id": 1, "result": 1}\n'), "does not speak JSON-RPC"),
        (raw(b'{"jsonrpc": "2.0", "id": 77, "result": 1}\n'), "answered another request"),
        (raw(b'{"jsonrpc": "2.0", "id": 1}\n'), "neither a result nor an error"),
        (raw(b'{"jsonrpc": "2.0", "id": 1, "error": {}}\n'), "without a reason"),
        (raw(b"\xff\xfe\0\n"), "does not speak JSON-RPC"),
    ]:
        fake.methods["status"] = handler
        done = ctl(fake, "status")
        assert (done.returncode, done.stdout) == (1, ""), done
        assert text in done.stderr


def test_results_of_an_unknown_shape_are_shown_as_far_as_possible(fake: FakeVpfd) -> None:
    for result in [None, 1, "x", [], {}, [None], [[]], [{"name": 3, "uplink": "x", "pfs": {}}], {"functions": 3, "workers": {}}]:
        for args, method in [
            (["status"], "status"), (["fabric", "list"], "fabric.list"), (["fabric", "show", "f"], "fabric.show"),
            (["pf", "list"], "pf.list"), (["pf", "show", "p"], "pf.show"), (["vf", "show", "p"], "pf.show"),
            (["vf", "show", "p", "1"], "vf.show"), (["stats"], "stats"), (["fdb", "show", "f"], "fdb.show"),
            (["qemu-args", "p"], "pf.qemu_args"), (["qemu-args", "p", "--json"], "pf.qemu_args"),
            (["qemu-args", "p", "--list"], "pf.qemu_args"),
        ]:  # fmt: skip
            fake.methods[method] = result
            done = ctl(fake, *args)
            assert done.returncode in (0, 1), (args, result, done)


def test_names_cannot_drive_the_terminal(fake: FakeVpfd) -> None:
    fake.methods["fabric.list"] = [{**FABRIC, "name": "\x1b]0;gotcha\x07\x9b1m"}]
    shown = ok(fake, "fabric", "list")
    assert "\x1b" not in shown and "\x07" not in shown and "\x9b" not in shown


def test_output_that_cannot_be_written_is_an_error(fake: FakeVpfd) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [VPFCTL, "--socket", fake.path, "status"], env=ENV, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1 and "cannot write the output" in done.stderr


# Time.


def test_monitor_prints_events_as_they_come(fake: FakeVpfd) -> None:
    fake.methods["events.subscribe"] = True
    with running(fake.path, "monitor", "link", "function") as process:
        assert process.stderr.readline() == "vpfctl: waiting for events\n"
        connection = fake.wait_for("events.subscribe")
        assert fake.calls == [("events.subscribe", {"topics": ["link", "function"]})]
        connection.event("link", "up", time="2026-01-02T03:04:05.678Z", text="the link is up", pf="pf0", vf=3, fabric="f0")
        assert process.stdout.readline() == "2026-01-02T03:04:05.678Z link pf0 vf 3 up: the link is up\n"
        connection.event("function", "connected", time="soon", pf="pf0", vf=None, peer_pid=7, why={"a": [1]})
        assert process.stdout.readline() == 'soon function pf0 pf connected peer_pid=7 why={"a": [1]}\n'
        connection.event("fabric", "added", time="now", fabric="f0", flag=True)
        assert process.stdout.readline() == "now fabric f0 added flag=on\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == -signal.SIGINT


def test_monitor_json_ends_after_count(fake: FakeVpfd) -> None:
    def subscribe(connection: Connection, _: dict) -> bool:
        connection.event("pf", "added", pf="pf0")  # before the answer: must not be lost
        return True

    fake.methods["events.subscribe"] = subscribe
    with running(fake.path, "monitor", "--json", "--count", "2") as process:
        fake.wait_for("events.subscribe").event("pf", "deleted", pf="pf0")
        out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert [json.loads(line) for line in out.splitlines()] == [{"topic": "pf", "event": "added", "pf": "pf0"}, {"topic": "pf", "event": "deleted", "pf": "pf0"}]


def test_monitor_tells_that_vpfd_is_gone(fake: FakeVpfd) -> None:
    fake.methods["events.subscribe"] = lambda connection, _: threading.Timer(0.1, connection.close).start() or True
    done = ctl(fake, "monitor")
    assert done.returncode == 1 and done.stderr.endswith("vpfctl: vpfd has closed the connection\n")


def test_slow_answers_are_explained(fake: FakeVpfd) -> None:
    fake.methods["pf.detach"] = lambda *_: time.sleep(2.5) or True
    done = ctl(fake, "pf", "detach", "pf0")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "vpfctl: waiting for vpfd, 2 s so far\n")


# On a terminal.


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, *argv: object, **env: str):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(argv[0], [str(word) for word in argv], {**ENV, **env})
        self.output = ""

    def wait_for(self, pattern: str) -> None:
        end = time.monotonic() + SECONDS
        while not re.search(pattern, self.output):
            ready, _, _ = select.select([self.fd], [], [], max(0, end - time.monotonic()))
            if not ready or not self._read():
                raise AssertionError(f"no {pattern!r} in {self.output!r}")

    def _read(self) -> bool:
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False  # what a terminal says whose programs have ended
        self.output += data.decode(errors="replace")
        return bool(data)

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def end(self) -> str:
        while self._read():
            pass
        os.close(self.fd)
        os.waitpid(self.pid, 0)
        return self.output


def test_color_only_on_a_terminal(fake: FakeVpfd) -> None:
    socket = {"VPF_SOCKET": str(fake.path)}
    assert "\x1b[" not in ok(fake, "fabric", "list")
    assert "\x1b[" in ok(fake, "fabric", "list", "--color", "always", NO_COLOR="1")
    assert "\x1b[32mup\x1b[0m" in Terminal(VPFCTL, "fabric", "list", **socket).end()
    for args, env in [([], {"NO_COLOR": "1"}), ([], {"TERM": "dumb"}), (["--color=never"], {}), (["--json"], {})]:
        shown = Terminal(VPFCTL, "fabric", "list", *args, **socket, **env).end()
        assert "f0" in shown and "\x1b" not in shown


def test_progress_on_a_terminal_is_wiped(fake: FakeVpfd) -> None:
    fake.methods["pf.attach"] = lambda *_: time.sleep(2.2) or True
    shown = Terminal(VPFCTL, "pf", "attach", "pf0", VPF_SOCKET=str(fake.path)).end()
    assert re.fullmatch(r"\rvpfctl: waiting for vpfd, 2 s \r +\r", shown)


# Completion.


def candidates(fake: FakeVpfd, line: str) -> list[str]:
    done = subprocess.run(
        [VPFCTL, "__complete", " \t\n\"'><=;|&(:", line], env={**ENV, "VPF_SOCKET": str(fake.path)}, capture_output=True,
        text=True, timeout=SECONDS, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_candidates(fake: FakeVpfd) -> None:
    assert candidates(fake, "vpfctl f") == ["fabric", "fdb"]
    assert candidates(fake, "vpfctl pf ") == ["add", "set", "del", "list", "show", "attach", "detach"]
    assert candidates(fake, "vpfctl --json pf de") == ["del", "detach"]
    assert candidates(fake, "vpfctl help pf s") == ["set", "show"]
    # live names
    assert candidates(fake, "vpfctl fabric show ") == ["f0"]
    assert candidates(fake, "vpfctl pf show ") == ["pf0"]
    assert candidates(fake, "vpfctl pf add x --fabric ") == ["f0"]
    assert candidates(fake, "vpfctl vf set pf0 ") == ["pf", "0", "1"]
    assert candidates(fake, "vpfctl vf set other ") == []
    # options, those not given yet, and their values
    assert candidates(fake, "vpfctl vf set pf0 1 --t") == ["--trunk", "--trust"]
    assert candidates(fake, "vpfctl vf set pf0 1 --trust on --t") == ["--trunk"]
    assert candidates(fake, "vpfctl vf set pf0 1 --trust o") == ["on", "off"]
    assert candidates(fake, "vpfctl vf set pf0 1 --link=") == ["auto", "enable", "disable"]
    assert candidates(fake, "vpfctl vf set pf0 1 --link=d") == ["disable"]
    assert candidates(fake, "vpfctl --color n") == ["never"]
    assert candidates(fake, "vpfctl monitor link f") == ["function", "fabric", "fdb"]
    assert candidates(fake, "vpfctl pf set pf0 --policy driver_mac=on,pro") == ["on,promisc="]
    assert candidates(fake, "vpfctl pf set pf0 --policy promisc=") == ["on", "off"]
    assert candidates(fake, "vpfctl pf set pf0 --policy promisc=on,trust=of") == ["off"]
    assert candidates(fake, "vpfctl pf set pf0 --policy vlans=1,2,vlan") == ["1,2,vlans=", "1,2,vlan_ad="]
    assert candidates(fake, "vpfctl pf set pf0 --policy macs=") == ["own", "list", "any"]
    assert candidates(fake, "vpfctl pf set pf0 --policy max_vfs=") == []
    assert candidates(fake, "vpfctl pf set pf0 --policy nonsense=") == []
    assert candidates(fake, "vpfctl vf set pf0 1 --pinned mac,t") == ["mac,trust"]
    assert candidates(fake, "vpfctl fabric add f1 --uplink ") == ["none", "tap:", "netdev:"]
    assert "lo" in candidates(fake, "vpfctl fabric add f1 --uplink netdev:l")
    assert candidates(fake, "vpfctl pf set pf0 --qmp /r") == ["@files"]
    assert candidates(fake, "vpfctl fabric add f1 --type b") == ["builtin", "bridge"]
    assert "lo" in candidates(fake, "vpfctl fabric add f1 --bridge l")
    assert candidates(fake, "vpfctl vf set pf0 1 --datapath v") == ["vhost-net", "vhost-user:path=", "vdpa:device=", "vdpa:mgmtdev="]
    assert candidates(fake, "vpfctl vf set pf0 1 --datapath d") == ["default"]
    assert candidates(fake, "vpfctl pf add x --datapath vhost-net,b") == ["vhost-net,builtin"]
    assert candidates(fake, "vpfctl pf add x --datapath vhost-net,d") == []
    assert candidates(fake, "vpfctl pf add x --datapath vhost-user:") == ["path=", "server=", "offload="]
    assert candidates(fake, "vpfctl pf add x --datapath builtin,vhost-user:path=/b/{vf}:") == ["server=", "offload="]
    assert candidates(fake, "vpfctl pf add x --datapath vhost-user:path=/b:o=/x:server=o") == ["on", "off"]
    assert candidates(fake, "vpfctl pf add x --datapath vdpa:m") == ["mgmtdev="]
    assert candidates(fake, "vpfctl pf add x --datapath nic:") == []
    assert candidates(fake, "vpfctl fabric set f0 --b") == []  # fixed when added
    assert candidates(fake, "vpfctl vf list ") == ["pf0"]
    # nothing to offer
    assert candidates(fake, "vpfctl nonsense ") == []
    assert candidates(fake, "vpfctl pf add x") == []
    assert candidates(fake, "vpfctl") == candidates(fake, "") == []
    # names that could do harm on a command line
    fake.methods["fabric.list"] = [{"name": "$(reboot)"}, {"name": "-x"}, {"name": "a b"}, {}, {"name": "ok"}]
    assert candidates(fake, "vpfctl fabric del ") == ["ok"]


def test_completion_without_vpfd_is_silent_and_quick(fake: FakeVpfd) -> None:
    fake.methods["pf.list"] = lambda *_: FakeVpfd.NO_ANSWER
    started = time.monotonic()
    assert candidates(fake, "vpfctl pf show ") == []
    assert time.monotonic() - started < 5 * PATIENCE
    fake.close()
    assert candidates(fake, "vpfctl pf show ") == []


def test_completion_in_a_real_bash(fake: FakeVpfd, tmp_path: Path) -> None:
    """Keys are typed, and what bash then runs is what is looked at."""
    fake.methods["pf.set"] = PF
    (tmp_path / "my vm.sock").touch()
    (tmp_path / "vpfctl").symlink_to(VPFCTL)
    bash = Terminal(
        "/bin/bash", "--norc", "--noprofile", "-i", VPF_SOCKET=str(fake.path), PATH=f"{tmp_path}:{ENV['PATH']}", PS1="ready> ",
        INPUTRC="/dev/null", HOME=str(tmp_path), HISTFILE="",
    )  # fmt: skip
    bash.wait_for("ready> ")
    bash.type("source <(vpfctl completion bash); cd ~\n")
    bash.type("vpfctl fab\tad\tf7 --upl\ttap:\tx\n")
    fake.wait_for("fabric.add")
    bash.type("vpfctl vf se\tp\t1 --tru\b\b\b\b\b--vlan 7 --spo\tof\t\n")
    fake.wait_for("vf.set")
    bash.type("vpfctl pf se\tpf\t--policy promisc=of\t --qmp my\t\n")
    fake.wait_for("pf.set")
    bash.type("exit\n")
    bash.end()
    asked = [(method, params) for method, params in fake.calls if "list" not in method]
    assert asked == [
        ("fabric.add", {"name": "f7", "uplink": {"type": "tap", "name": "x"}}),
        ("vf.set", {"pf": "pf0", "vf": 1, "vlan": {"mode": "access", "vid": 7}, "spoofchk": False}),
        ("pf.set", {"name": "pf0", "policy": {"promisc": False}, "qmp": f"{tmp_path}/my vm.sock"}),
    ]


# Help.


def test_help_of_each_command() -> None:
    def commands(path: list[str]) -> Iterator[list[str]]:
        text = ok(None, *path, "--help")
        yield path
        section = re.search(r"^Commands:\n((?:  .*\n)+)", text, re.M)
        for name in re.findall(r"^  ([a-z-]+)", section[1], re.M) if section else []:
            yield from commands([*path, name])

    everything = list(commands([]))
    assert len(everything) > 25
    manual = (paths.ROOT / "docs" / "vpfctl.md").read_text()
    for path in everything:
        text = ok(None, *path, "--help")
        assert text.startswith(f"Usage: vpfctl{''.join(' ' + word for word in path)}")
        assert ok(None, "help", *path) == text
        if "COMMAND …" not in text:
            assert "\nExamples:\n" in text
            # The manual knows each command and each of its options.
            assert f"vpfctl {' '.join(path)}" in manual
            own = text.split("Options of every command")[0]
            for option in re.findall(r"^  (?:-\w, )?(--[a-z-]+)", own, re.M):
                assert f"`{option}" in manual, f"docs/vpfctl.md does not know {option} of {' '.join(path)}"


def test_version() -> None:
    assert re.fullmatch(r"vpfctl \d+\.\d+\.\d+\n", ok(None, "--version"))


# With the real vpfd.


def real(vpfd: Vpfd, *args: str) -> str:
    return ok(None, *args, VPF_SOCKET=str(vpfd.socket_path))


def test_every_command_is_vpfds_too(vpfd: Vpfd) -> None:
    """Each command and option reaches vpfd as it expects it. (What vpfd does then is tested with vpfd.)"""
    assert real(vpfd, "fabric", "add", "f0", "--uplink", "none", "--learning", "off", "--ageing", "60", "--max-learned", "9") == ""
    assert real(vpfd, "fabric", "set", "f0", "--learning", "on") == ""
    assert table(real(vpfd, "fabric", "list"))[1][:5] == ["f0", "builtin", "none", "down", "on"]
    assert re.search(r"^Ageing +60 s$", real(vpfd, "fabric", "show", "f0"), re.M)

    assert real(vpfd, "pf", "add", "pf0", "--fabric", "f0", "--vfs", "3", "--queue-pairs", "2", "--mac", "02:00:00:00:10:00",
                "--mtu", "9000", "--qmp", "/nowhere/qmp.sock", "--policy", "driver_mac=off,max_driver_macs=3,promisc=on") == ""  # fmt: skip
    assert table(real(vpfd, "pf", "list"))[1] == ["pf0", "f0", "3", "2", "9000", "away", "0 of 4"]
    assert real(vpfd, "pf", "set", "pf0", "--qmp", "none", "--mtu", "1400", "--mac", "02:00:00:00:20:00") == ""
    shown = real(vpfd, "pf", "show", "pf0")
    assert re.search(r"^QMP +none$", shown, re.M)
    assert re.search(r"^ +driver_mac off\n +max_driver_macs 3\n +promisc on$", shown, re.M)

    assert real(vpfd, "vf", "set", "pf0", "1", "--mac", "02:00:00:00:00:99", "--vlan", "100:3:802.1ad", "--spoofchk", "off",
                "--trust", "on", "--link", "disable", "--mtu", "1000") == ""  # fmt: skip
    assert real(vpfd, "vf", "set", "pf0", "pf", "--trunk", "0,10-20") == ""
    rows = table(real(vpfd, "vf", "show", "pf0"))
    assert rows[1][:4] == ["pf0 pf", "02:00:00:00:20:00", "-", "trunk 0,10-20"]
    assert rows[3] == ["pf0 vf 1", "02:00:00:00:20:02", "02:00:00:00:00:99", "100 pcp 3 802.1ad", "off", "on", "disable", "down",
                       "1000", "-", "-", "-", "none"]  # fmt: skip
    assert real(vpfd, "vf", "set", "pf0", "1", "--mac", "none", "--vlan", "none", "--mtu", "default") == ""
    assert table(real(vpfd, "vf", "show", "pf0"))[3][2:4] == ["-", "-"]
    assert re.search(r"^MTU +1400$", real(vpfd, "vf", "show", "pf0", "1"), re.M)

    assert real(vpfd, "pf", "set", "pf0", "--failback", "on") == ""
    other = "vhost-user:path=/nowhere/{pf}-{vf}.sock:server=on,builtin"
    done = ctl(vpfd.socket_path, "vf", "set", "pf0", "2", "--datapath", other)
    assert done.returncode == 1 and "--datapath: the datapath vhost-user:path=/nowhere" in done.stderr
    assert "cannot enforce the spoof check: turn spoofchk off there" in done.stderr
    assert real(vpfd, "vf", "set", "pf0", "2", "--datapath", other, "--spoofchk", "off") == ""
    assert re.search(rf"^Datapaths +{re.escape(other)}$", real(vpfd, "vf", "show", "pf0", "2"), re.M)
    assert table(real(vpfd, "vf", "list", "pf0"))[4][3:6] == ["idle", "-", "- of 2"]
    done = ctl(vpfd.socket_path, "vf", "set", "pf0", "2", "--spoofchk", "on")
    assert done.returncode == 1 and "vpfctl: --spoofchk: the datapath vhost-user" in done.stderr
    assert real(vpfd, "vf", "set", "pf0", "2", "--datapath", "default", "--spoofchk", "on") == ""
    done = ctl(vpfd.socket_path, "pf", "set", "pf0", "--datapath", "vhost-net")
    assert done.returncode == 1 and "vhost-net needs a tap" in done.stderr

    assert [row[:4] for row in table(real(vpfd, "fdb", "show", "f0"))][0] == ["MAC", "VLAN", "KIND", "FUNCTION"]
    assert [row[0] for row in table(real(vpfd, "stats"))[1:]] == ["pf0 pf", "pf0 vf 0", "pf0 vf 1", "pf0 vf 2"]
    assert real(vpfd, "stats", "pf0", "pf").startswith("pf0 pf\n")
    assert real(vpfd, "stats", "--fabric", "f0") == real(vpfd, "stats", "pf0")
    assert re.search(r"^Functions +4, 0 connected$", real(vpfd, "status"), re.M)

    args = json.loads(real(vpfd, "qemu-args", "pf0", "--memory", "1G", "--hotplug-ports", "1", "--chassis", "7", "--packed",
                           "--rx-queue-size", "512", "--tx-queue-size", "1024", "--json"))  # fmt: skip
    assert sum(arg.startswith("virtio-net-pci,") for arg in args) == 4
    assert real(vpfd, "qemu-args", "pf0", "--bus", "rp0", "--list").count("bus=rp0") == 4

    without = json.loads(real(vpfd, "qemu-args", "pf0", "--without-pf", "--json"))
    assert without[:2] == ["-smbios", f"type=11,path={vpfd.run_dir}/pf0/vm.key"] and "-netdev" not in without

    for command in "attach", "detach":
        done = ctl(vpfd.socket_path, "pf", command, "pf0")
        assert done.returncode == 1 and "has no QMP socket" in done.stderr

    done = ctl(vpfd.socket_path, "vf", "set", "pf0", "1", "--vlan", "5000")
    assert (done.returncode, done.stderr) == (1, "vpfctl: --vlan vid: must be an integer from 1 to 4094\n")
    done = ctl(vpfd.socket_path, "fabric", "del", "f0")
    assert done.returncode == 1 and "vpfctl: NAME: " in done.stderr
    assert real(vpfd, "pf", "del", "pf0") == real(vpfd, "fabric", "del", "f0") == ""
    assert json.loads(real(vpfd, "pf", "list", "--json")) == []


POLICY = [
    ("guest_control=off", "guest_control off", "guest_control=on", "guest_control on"),
    ("vlans=10-20,30", "vlans 10-20,30", "vlans=none", "vlans none"),
    ("vlans=all", "vlans 1-4094", "vlans=none", "vlans none"),
    ("vlan_ad=on", "vlan_ad on", "vlan_ad=off", "vlan_ad off"),
    ("macs=any", "macs any", "macs=own", "macs own"),
    ("mac_list=02:00:00:00:00:01,02:00:00:00:01:00-02:00:00:00:01:FF,macs=list",
     "mac_list 02:00:00:00:00:01,02:00:00:00:01:00-02:00:00:00:01:ff", "mac_list=none,macs=own", "mac_list none"),
    ("trust=on", "trust on", "trust=off", "trust off"),
    ("spoofchk_off=on", "spoofchk_off on", "spoofchk_off=off", "spoofchk_off off"),
    ("max_vfs=2", "max_vfs 2", "max_vfs=255", "max_vfs 255"),
    ("max_rate=1000", "max_rate 1000 Mb/s", "max_rate=none", "max_rate none"),
    ("max_rate_total=5000", "max_rate_total 5000 Mb/s", "max_rate_total=none", "max_rate_total none"),
]  # fmt: skip


def test_policy_is_set_and_taken_back(vpfd: Vpfd) -> None:
    def policy() -> dict:
        return json.loads(real(vpfd, "pf", "show", "pf0", "--json"))["policy"]

    def shown() -> list[str]:
        return [line.removeprefix("Policy").strip() for line in real(vpfd, "pf", "show", "pf0").splitlines()]

    real(vpfd, "fabric", "add", "f0")
    real(vpfd, "pf", "add", "pf0", "--fabric", "f0", "--vfs", "3")
    defaults = policy()
    for do, done, undo, undone in POLICY:
        assert real(vpfd, "pf", "set", "pf0", "--policy", do) == ""
        assert done in shown()
        vpfd.kill()
        vpfd.start()
        assert done in shown(), f"{do} is gone after a restart"
        assert real(vpfd, "pf", "set", "pf0", "--policy", undo) == ""
        assert undone in shown()
        assert policy() == defaults

    for wrong, said in [
        ("vlans=0-5", "--policy vlans: must not have 0"),
        ("vlans=5-1", "--policy vlans: the range 5-1 runs backwards"),
        ("mac_list=02:00:00:00:00:01,03:00:00:00:00:01", "--policy mac_list[1]: must have unicast MACs only"),
        ("mac_list=02:00:00:00:00:01-02:00:00:00:00:00", "--policy mac_list[0]: is a range that runs backwards"),
        ("mac_list=x", "--policy mac_list[0]: must be a MAC address"),
        ("macs=mine", "--policy macs: must be own, list or any"),
        ("max_vfs=256", "--policy max_vfs: must be an integer from 0 to 255"),
        ("max_rate=1000001", "--policy max_rate: must be an integer from 0 to 1000000"),
        ("trust=maybe", "--policy trust: must be true or false"),
        ("weather=fine", "--policy weather: is unknown"),
    ]:
        done = ctl(vpfd.socket_path, "pf", "set", "pf0", "--policy", wrong)
        assert done.returncode == 1 and done.stderr.startswith(f"vpfctl: {said}"), done
        assert policy() == defaults


def test_rates_and_pins(vpfd: Vpfd) -> None:
    def row() -> list[str]:
        return table(real(vpfd, "vf", "show", "pf0"))[2][9:11]

    real(vpfd, "fabric", "add", "f0")
    real(vpfd, "pf", "add", "pf0", "--fabric", "f0", "--vfs", "2", "--policy", "max_rate_total=1000")
    assert real(vpfd, "vf", "set", "pf0", "0", "--min-rate", "100", "--max-rate", "500", "--pinned", "rate,mac") == ""
    assert row() == ["100 to 500 Mb/s", "mac,rate"]
    done = ctl(vpfd.socket_path, "vf", "set", "pf0", "1", "--min-rate", "901")
    assert done.returncode == 1 and "vpfctl: --min-rate: " in done.stderr and "1001 Mb/s" in done.stderr
    done = ctl(vpfd.socket_path, "vf", "set", "pf0", "0", "--max-rate", "99")
    assert done.returncode == 1 and "vpfctl: --min-rate: must not be above" in done.stderr
    done = ctl(vpfd.socket_path, "pf", "set", "pf0", "--policy", "max_rate_total=none")
    assert done.returncode == 1 and "vpfctl: --policy max_rate_total: a minimum rate" in done.stderr
    done = ctl(vpfd.socket_path, "vf", "set", "pf0", "0", "--pinned", "mac,mtu")
    assert done.returncode == 1 and done.stderr.startswith("vpfctl: --pinned: must be mac, vlan")
    vpfd.kill()
    vpfd.start()
    assert row() == ["100 to 500 Mb/s", "mac,rate"]
    assert real(vpfd, "vf", "set", "pf0", "0", "--pinned", "all") == ""
    assert row()[1] == "mac,vlan,rate,spoofchk,trust,link"
    assert real(vpfd, "vf", "set", "pf0", "0", "--min-rate", "none", "--max-rate", "none", "--pinned", "none") == ""
    assert row() == ["-", "-"]
    assert real(vpfd, "pf", "set", "pf0", "--policy", "max_rate_total=none") == ""


def test_keys_of_vms(vpfd: Vpfd) -> None:
    def key(pf: str) -> str:
        path = vpfd.run_dir / pf / "vm.key"
        assert path.stat().st_mode & 0o7777 == 0o640
        text = path.read_text()
        assert re.fullmatch("vpf-key=[0-9a-f]{32}", text)
        assert f"type=11,path={path}" in json.loads(real(vpfd, "qemu-args", pf, "--json"))
        return text

    real(vpfd, "fabric", "add", "f0")
    for pf, vm in ("a", "node7"), ("b", "node7"), ("c", "default"):
        real(vpfd, "pf", "add", pf, "--fabric", "f0", "--vfs", "1", "--vm", vm)
    keys = key("a"), key("b"), key("c")
    assert keys[0] == keys[1] != keys[2]
    state = vpfd.state_dir / "state.json"
    assert state.stat().st_mode & 0o7777 == 0o600
    assert {vm["name"] for vm in json.loads(state.read_text())["vms"]} == {"node7", "c"}
    # Nowhere else: not in what the API says, not in the log.
    for secret in {text.removeprefix("vpf-key=") for text in keys}:
        assert secret not in real(vpfd, "pf", "show", "a", "--json") + real(vpfd, "pf", "list", "--json")
    vpfd.kill()
    vpfd.start()
    assert (key("a"), key("b"), key("c")) == keys

    assert real(vpfd, "pf", "set", "c", "--vm", "node7") == ""
    assert key("c") == keys[0]
    assert real(vpfd, "pf", "set", "c", "--vm", "default") == ""
    assert key("c") not in keys
    real(vpfd, "pf", "del", "a")
    assert not (vpfd.run_dir / "a").exists()
    assert key("b") == keys[1]
    real(vpfd, "pf", "del", "b")
    assert [vm["name"] for vm in json.loads(state.read_text())["vms"]] == ["c"]


def test_monitor_of_the_real_vpfd(vpfd: Vpfd) -> None:
    with running(vpfd.socket_path, "monitor", "fabric", "--count", "1") as process:
        assert process.stderr.readline() == "vpfctl: waiting for events\n"
        real(vpfd, "fabric", "add", "f0")
        out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0 and err == ""
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT[0-9:.]+Z fabric f0 \w+: .*\n", out)
