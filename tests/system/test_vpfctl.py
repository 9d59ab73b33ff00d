# SPDX-License-Identifier: Apache-2.0
"""vpfctl against a scripted server: what it asks, and what it prints."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from fake_vpfd import Connection, FakeVpfd
from vpfctl_env import ENV, FABRIC, FUNCTION, PF, PF_ITSELF, PF_LISTED, STATUS, VF1, VPFCTL, counters, ctl, ok, port, table


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


def scaled(cell: str) -> float:
    number, _, scale = cell.partition(" ")
    return float(number) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}[scale]


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
        # 100000 packets of 100 bytes, and 100, in 0.2 s, or in what time the machine took.
        (many, bits), (few, _) = ([scaled(cell) for cell in row[1:3]] for row in rows[1:3])
        assert 10e3 < many < 10e6
        assert bits == pytest.approx(many * 800, rel=0.01)
        assert few == pytest.approx(many / 1000, rel=0.01)

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
