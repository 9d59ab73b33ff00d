# SPDX-License-Identifier: Apache-2.0
"""A real guest whose VFs are served by another back-end or by vpfd's workers, in turn: what it, its machine and the back-end do
at the wrong moment. The other back-end is another vpfd, whose switch leads to the same network:

    guest: VFs ── vpfd: builtin ── "lan" ── uplink 0 ─────────┐
            └──── vpfd "other" (vhost-user) ── uplink 1 ── bridge: eth0 of "external"
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bed.agent import wait_until
from bed.machine import need_tap
from bed.vpfd import Vpfd
from topology import External, Guest, Pod, Site, Stream

VFS = 2
GET_PROTOCOL_FEATURES, PF_RARP = 15, 1 << 2


class Mute(threading.Thread):
    """Stands between a front-end and a back-end, and hides that the latter could announce a guest to its switch."""

    def __init__(self, path: str, to: str):
        super().__init__(name="mute", daemon=True)
        self.path, self.to = path, to
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.start()

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                front, _ = self.listener.accept()
                with front, socket.socket(socket.AF_UNIX) as back, contextlib.suppress(OSError, EOFError):
                    back.connect(self.to)
                    while True:
                        for ready in select.select([front, back], [], [])[0]:
                            self.relay(ready, back if ready is front else front)

    @staticmethod
    def relay(source: socket.socket, target: socket.socket) -> None:
        header, fds, _flags, _address = socket.recv_fds(source, 12, 8)
        if not header:
            raise EOFError
        request, flags, size = struct.unpack("=III", header)
        payload = source.recv(size, socket.MSG_WAITALL) if size else b""
        if request == GET_PROTOCOL_FEATURES and payload:
            payload = struct.pack("=Q", struct.unpack("=Q", payload)[0] & ~PF_RARP)
        socket.send_fds(target, [header + payload], fds)
        for fd in fds:
            os.close(fd)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        os.unlink(self.path)


class Lan:
    """Both switches, and a guest with two virtual PFs: "pf" on the one with the other behind it, "brpf" on a bridge."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.external = External(directory, mtu=1500, uplinks=3)
        self.bridge = f"vpfb{os.getpid() % 1000000}"
        self.site = Site(directory, self.external)
        self.other = Vpfd(directory / "other")
        try:
            need_tap()
            self.other.start()
            self.other.rpc("fabric.add", name="lan", uplink={"type": "netdev", "name": self.external.uplinks[1]})
            self.other.rpc("pf.add", name="other", fabric="lan", vfs=VFS)
            self.backs = [self.other.rpc("vf.show", pf="other", vf=vf)["socket"] for vf in range(VFS)]
            self.there = f"vhost-user:path={self.backs[0].replace('0.sock', '{vf}.sock')}:offload=on"
            self.guest = Guest(self.site, "guest", args=["-m", "slots=2,maxmem=2G"])
            self.guest.add_pf("pf", VFS, f"--spoofchk off --datapath {self.there},builtin --failback on")
            for vf in range(VFS):
                self.other.rpc("vf.set", pf="other", vf=vf, mac=self.site.function("pf", vf)["mac"])
            self.site.vpfd.rpc("fabric.add", name="bridged", type="bridge", bridge=self.bridge, uplink={"type": "netdev", "name": self.external.uplinks[2]})
            self.site.vpfd.rpc("pf.add", name="brpf", fabric="bridged", vfs=1, qmp=self.guest.vm.vpfd_qmp, datapaths=[{"type": "builtin"}])
            self.guest.add_pf("brpf", 1, create=False)
            self.guest.start()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for vm in self.site.vms:
            vm.kill()
        self.other.close()
        self.site.vpfd.close()
        self.external.close()

    def settle(self) -> list[Pod]:
        """Pods of all VFs, after each boot or split."""
        self.guest.forget_pods()
        self.guest.find_pfs()
        for pf, vfs in (("pf", VFS), ("brpf", 1)):
            self.guest.split(pf, vfs)
        return [*(self.guest.pod("pf", vf) for vf in range(VFS)), self.guest.pod("brpf", 0)]

    def back(self, vf: int) -> dict[str, Any]:
        """The VF's function of the other back-end."""
        return self.other.rpc("vf.show", pf="other", vf=vf)

    def place(self, pod: Pod) -> str:
        """The port of the outer bridge at which it has the pod."""
        rows = self.external.run(f"bridge fdb show br eth0 | grep {pod.mac}", check=False).stdout.split()
        return rows[2] if rows else ""


@pytest.fixture(scope="module")
def lan(bed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    lan = Lan(tmp_path_factory.mktemp("lan"))
    try:
        lan.settle()
        yield lan
        complaints = lan.guest.complaints()
        lan.guest.close()
        lan.other.stop()
        lan.site.vpfd.stop()
        assert complaints == ""
    finally:
        lan.close()


@pytest.fixture(autouse=True)
def _explained(lan: Lan, request: pytest.FixtureRequest) -> None:
    request.node.vpf_attachments = lan.site.texts() | {"log of the other vpfd": lan.other.output}


def served_by(pod: Pod, datapath: str) -> None:
    wait_until(lambda: pod.show()["datapath"] == datapath and pod.show()["binding"]["state"] == "bound", 20, f"{pod.name} served by {datapath}")


def test_driver_announces(lan: Lan) -> None:
    """Where the back-end cannot do it, the guest's driver says to the new switch where it is; RARP does on a fabric."""
    pod = lan.guest.pods[0]
    mute = Mute(f"{lan.other.run_dir}/mute", lan.backs[0])
    try:
        pod.ctl("--datapath builtin")
        served_by(pod, "builtin")
        wait_until(lambda: lan.place(pod) == "port0", 20, "port0")
        arp = lan.external.popen(f"-i port1 -e -n -l -c 1 arp and ether src {pod.mac} and ether dst ff:ff:ff:ff:ff:ff", "listening on port1", program="tcpdump")
        pod.ctl(f"--datapath vhost-user:path={mute.path}:offload=on,builtin")
        served_by(pod, "vhost-user")
        assert arp.wait(20) == 0
        assert lan.place(pod) == "port1"
        # In the midst of a pause of the VM: it is found when it runs again.
        rarp = lan.external.popen(f"-i port0 -e -n -l -c 1 rarp and ether src {pod.mac}", "listening on port0", program="tcpdump")
        lan.guest.vm.qmp("stop")
        pod.ctl("--datapath builtin")
        lan.guest.vm.qmp("cont")
        assert rarp.wait(20) == 0
        served_by(pod, "builtin")
        assert lan.place(pod) == "port0"
        pod.reaches(lan.external)
    finally:
        pod.ctl("--datapath default")
        served_by(pod, "vhost-user")
        mute.close()


def test_memory_is_added(lan: Lan) -> None:
    """All datapaths go on, and serve the buffers that the guest then takes from there: its kernel prefers memory above 4 GiB,
    and is left next to none below."""
    there, here, bridged = lan.guest.pods
    here.ctl("--datapath builtin")
    served_by(here, "builtin")
    served_by(there, "vhost-user")
    vm = lan.guest.vm
    streams = [Stream(pod, lan.external) for pod in (there, here, bridged)] + [Stream(lan.external, pod) for pod in (there, here)]
    before = len(vm.run("ls -d /sys/devices/system/memory/memory*").stdout.split())
    vm.qmp("object-add", **{"qom-type": "memory-backend-memfd", "id": "more", "size": 256 << 20, "share": True})
    vm.qmp("device_add", driver="pc-dimm", id="dimm", memdev="more")
    vm.run(f"cd /sys/devices/system/memory; until [ $(ls -d memory* | wc -l) = {before + 2} ]; do sleep 0.05; done; "
           "for block in $(grep -lx Normal memory*/valid_zones | xargs dirname); do grep -qx online $block/state || echo online_kernel >$block/state; done")  # fmt: skip
    for stream in streams:
        stream.advances(6)
        stream.stop()
    taken = vm.run("awk '/^Node/ { zone = $4 } $1 == \"numa_hit\" && zone == \"Normal\" { print $2 }' /proc/zoneinfo").stdout
    assert int(taken) > 1000, "the guest's kernel takes nothing from the memory that was added"


@contextlib.contextmanager
def meanwhile(action: Callable[[], None], within: float) -> Iterator[None]:
    """At some moment of what is done with it."""
    timer = threading.Timer(random.uniform(0, within), action)
    timer.start()
    yield
    timer.join()


def move_all(lan: Lan) -> None:
    """Each VF of "pf" to where it is not."""
    with contextlib.closing(lan.site.vpfd.rpc_client()) as rpc:
        for vf in range(VFS):
            away = rpc("vf.show", pf="pf", vf=vf)["datapath"] == "vhost-user"
            rpc("vf.set", pf="pf", vf=vf, datapaths=[{"type": "builtin"}] if away else None)


def await_release(lan: Lan) -> None:
    """Nothing of the VFs is left anywhere, but their sockets and settings."""

    def free(pf: str, vf: int) -> bool:
        shown = lan.site.function(pf, vf)
        return shown["datapath"] == "none" and shown["binding"]["state"] == "idle" and shown["queues_started"] == 0

    wait_until(lambda: free("pf", 0) and free("pf", 1) and free("brpf", 0), 20, "VFs that nobody serves")
    assert not [tap for tap in os.listdir(f"/sys/class/net/{lan.bridge}/brif") if tap.endswith("-v0")]
    if lan.other.process:
        wait_until(lambda: not any(lan.back(vf)["connected"] for vf in range(VFS)), 20, "their release by the other back-end")


def check_service(lan: Lan) -> None:
    """All VFs are served by the first of their list, wholly, and by nobody else."""
    if not lan.other.process:
        lan.other.start()
    for pod in lan.guest.pods:
        wanted = pod.show()["binding"]["list"][0]["type"]
        served_by(pod, wanted)
        assert pod.show()["queues_started"] == pod.show()["queues_enabled"] == 2
        pod.reaches(lan.external, ipv6_too=False)
        if pod.pf == "pf":
            back = lan.back(pod.vf)
            assert (back["connected"], back["queues_enabled"]) == ((True, 2) if wanted == "vhost-user" else (False, 0)), pod.name


def test_vfs_come_and_go(lan: Lan) -> None:
    """sriov_numvfs 0 and back in the midst of traffic, while VFs move or their back-end dies."""
    random.seed(11)
    for disturb in (lambda: move_all(lan), lan.other.kill):
        streams = [Stream(pod, lan.external) for pod in lan.guest.pods]
        with meanwhile(disturb, 0.3):
            for pf, address in lan.guest.addresses.items():
                lan.guest.vm.sriov_numvfs(0, address)
                assert lan.guest.vfs(pf) == 0
        await_release(lan)
        for stream in streams:
            stream.stop()
        for pod in lan.guest.pods:
            pod.server.kill()
            lan.guest.vm.run(f"ip netns delete {pod.name}")
        lan.settle()
        check_service(lan)


def test_reset(lan: Lan) -> None:
    """The machine's reset in the midst of traffic, while VFs move and their back-end dies."""
    random.seed(12)
    for pod in lan.guest.pods:
        Stream(pod, lan.external)
    with meanwhile(lambda: move_all(lan), 0.2), meanwhile(lan.other.kill, 0.3):
        lan.guest.vm.reset()
    await_release(lan)
    lan.settle()
    check_service(lan)
