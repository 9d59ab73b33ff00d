# SPDX-License-Identifier: Apache-2.0
"""vpfd ends, in order or not, and comes back: what was set is set, what was connected goes on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import frames
import pytest
from bed.machine import need_tap
from bed.netns import Netns
from bed.process import Process
from bed.vm import VM
from bed.vpfd import Vpfd
from traffic import add_functions
from vu_client import Disconnected

SETTINGS = [
    {"mac": "02:00:00:00:00:77", "trust": True, "link": "enable", "mtu": 1400},
    {"vlan": {"mode": "access", "vid": 7, "pcp": 3, "proto": "802.1ad"}, "spoofchk": False},
    {"vlan": {"mode": "trunk", "vids": "0,7-9,4094"}},
]


def settings_of(vpfd: Vpfd) -> object:
    def lasting(shown: dict) -> dict:
        return {key: shown[key] for key in ("pf", "vf", "mac", "admin_mac", "vlan", "spoofchk", "trust", "link", "mtu")}

    pfs = [vpfd.rpc("pf.show", name=row["name"]) for row in vpfd.rpc("pf.list")]
    fabrics = [{key: f[key] for key in ("name", "learning", "ageing", "max_learned", "pfs")} for f in vpfd.rpc("fabric.list")]
    return fabrics, [(pf["name"], pf["policy"], pf["mtu"], pf["qmp"]["path"], *map(lasting, pf["functions"])) for pf in pfs]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_settings_survive(vpfd_factory: Callable[..., Vpfd], how: signal.Signals) -> None:
    vpfd = vpfd_factory()
    vpfd.rpc("fabric.add", name="lan", learning=True, ageing=17, max_learned=5)
    functions = add_functions(vpfd, "pf", 4, mtu=4000, policy={"promisc": True, "max_driver_macs": 3})
    add_functions(vpfd, "second", 1, fabric="other")
    for function, settings in zip(functions, SETTINGS, strict=False):
        function.set(**settings)
    before = settings_of(vpfd)
    port = functions[0].port()
    vpfd.stop() if how == signal.SIGTERM else vpfd.kill(how)
    port.wait_closed()
    port.close()
    if how == signal.SIGTERM:
        left = [path.name for path in vpfd.run_dir.rglob("*") if not path.is_dir()]
        assert left == ["counters", "counters"], "an orderly end removes its sockets, and keeps what it counted"
    else:
        assert functions[0].socket.exists()
    vpfd.start()
    assert settings_of(vpfd) == before
    functions[0].port().close()


def test_two_daemons_on_one_state_directory(vpfd: Vpfd, tmp_path: Path) -> None:
    add_functions(vpfd, "pf", 1)
    saved = (vpfd.state_dir / "state.json").read_bytes()
    for run_dir, state_dir, part in ((tmp_path / "run", vpfd.state_dir, vpfd.state_dir), (vpfd.run_dir, tmp_path / "state", vpfd.socket_path)):
        second = Process([str(vpfd.program), "--run-dir", str(run_dir), "--state-dir", str(state_dir)], tmp_path / "second.log")
        assert second.wait(20) == 1
        assert "another vpfd" in second.tail(1) and str(part) in second.tail(1)
    assert vpfd.rpc("status")["pfs"] == 1 and vpfd.socket_path.is_socket()
    assert (vpfd.state_dir / "state.json").read_bytes() == saved


def test_killed_while_it_saves(vpfd_factory: Callable[..., Vpfd]) -> None:
    """What was acknowledged is on disk; what was not is there in whole or not at all."""
    vpfd = vpfd_factory()
    (function,) = add_functions(vpfd, "pf", 1)
    mtu = 100
    for turn in range(8):
        acknowledged, client = mtu, vpfd.rpc_client()
        killer = threading.Timer(0.01 + 0.007 * turn, os.kill, (vpfd.process.pid, signal.SIGKILL))
        killer.start()
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                mtu += 1
                client("vf.set", pf="pf", vf=0, mtu=mtu)
                acknowledged = mtu
        killer.join()
        client.close()
        vpfd.kill()
        assert json.loads((vpfd.state_dir / "state.json").read_text())["version"] == 3
        vpfd.start()
        assert function.show()["mtu"] in (acknowledged, mtu) or acknowledged == 100
        mtu = max(acknowledged, function.show()["mtu"])


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
def test_clients_go_on_after_a_crash(vpfd_factory: Callable[..., Vpfd], packed: bool) -> None:
    """Under traffic, several times over: a front-end that connects again goes on with its rings as they are."""
    vpfd = vpfd_factory(args=["--workers", "2"])
    a, b = add_functions(vpfd, "pf", 2)
    a.set(vlan={"mode": "access", "vid": 12})
    b.set(vlan={"mode": "access", "vid": 12})
    left, right = a.port(packed=packed), b.port(packed=packed)
    rounds = 0
    for turn in range(5):
        killer = threading.Timer(0.05 + turn * 0.013, vpfd.process.signal, (signal.SIGKILL,))
        killer.start()
        with contextlib.suppress(Disconnected):
            while True:
                frame = frames.eth(b.mac, a.mac, rounds.to_bytes(8, "big"), length=500)
                left.send_frame(*[frame] * 5)
                assert right.receive_all(5) == [frame] * 5
                rounds += 1
        killer.join()
        vpfd.kill()
        vpfd.start()
        assert a.show()["vlan"]["vid"] == 12
        for port in (left, right):
            port.pending.clear()
            for ring, buffers in ((port.rx, port.rx_buffers), (port.tx, {})):
                for head, _length in ring.reap():
                    if head in buffers:
                        port.spare.append(buffers.pop(head))
            port.reconnect()
            port.fill()
        # Frames that were in the rings at the end of the last one may come first.
        mark = frames.eth(b.mac, a.mac, b"mark" + bytes([turn]), length=500)
        left.send_frame(mark)
        while right.receive() != mark:
            pass
        reply = frames.eth(a.mac, b.mac, b"back", length=70)
        right.send_frame(reply)
        while left.receive() != reply:
            pass
    assert rounds > 5
    left.close()
    right.close()


def test_a_guest_goes_on_after_a_crash(vm_factory: Callable[..., VM], vpfd_factory: Callable[..., Vpfd], netns_factory: Callable[[str], Netns]) -> None:
    """A stock guest and QEMU: vpfd is killed while they talk, and again; QEMU connects again by itself."""
    need_tap()
    vpfd, outside = vpfd_factory(), netns_factory("out")
    vpfd.rpc("fabric.add", name="lan", uplink={"type": "tap", "name": "vpft-restart"})
    outside.move("vpft-restart")
    outside.run("ip addr add 10.9.0.1/24 dev vpft-restart && ip link set vpft-restart up")
    vm = vm_factory(start=False)
    vpfd.rpc("pf.add", name="pf", fabric="lan", vfs=1, qmp=str(vm.vpfd_qmp))
    vm.args += vpfd.ctl("qemu-args", "pf", "--list").stdout.splitlines()
    vm.start()
    vm.sriov_numvfs(1)
    pod = vm.pod("pod")
    ifname = vm.netdevs("0000:01:00.1")[0]
    vm.move(ifname, pod)
    vm.run(f"ip addr add 10.9.0.2/24 dev {ifname} && ip link set {ifname} up", netns=pod)
    ping = "ping -n -c 1 -W 1 10.9.0.1"
    until = f"for i in $(seq 60); do {ping} >/dev/null && exit 0; sleep 0.2; done; exit 1"
    assert vm.run(until, netns=pod, timeout=60, check=False).returncode == 0
    for _ in range(2):
        flood = vm.popen("ping -n -f -c 100000 10.9.0.1", netns=pod)
        vpfd.kill()
        vpfd.start()  # its tap is gone with it: it makes another
        outside.move("vpft-restart")
        outside.run("ip addr add 10.9.0.1/24 dev vpft-restart && ip link set vpft-restart up")
        assert vm.run(until, netns=pod, timeout=60, check=False).returncode == 0
        flood.kill()
        assert vpfd.rpc("vf.show", pf="pf", vf=0)["connected"] and vpfd.rpc("vf.show", pf="pf", vf=None)["connected"]
    assert vm.dmesg_warnings() == []
