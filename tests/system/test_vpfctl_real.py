# SPDX-License-Identifier: Apache-2.0
"""vpfctl and the real vpfd agree on methods, members and values."""

from __future__ import annotations

import json
import re

from bed.vpfd import Vpfd
from vpfctl_env import SECONDS, ctl, ok, running, table


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
