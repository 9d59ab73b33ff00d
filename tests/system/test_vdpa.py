# SPDX-License-Identifier: Apache-2.0
"""Functions served by a kernel vhost-vdpa device, in a guest that plays the host: vpfd, a testpmd behind VDUSE as the NIC, and as
the VM another testpmd or an L2 guest on that guest's KVM.

    peer: numbered.py ── veth ── testpmd ── VDUSE ── vhost-vdpa ── rings ── testpmd, which sends all frames back
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from bed import paths
from bed.agent import GuestProcess
from bed.l1 import L1
from bed.pci import PF
from bed.vm import VM
from l1_host import RUN, L1Host

pytestmark = pytest.mark.xdist_group("large")

POOL = "vdpa:mgmtdev=vduse,builtin"


class Host(L1Host):
    """The L1 guest with vpfd, a fabric f0 and a virtual PF p0 with 2 VFs, whose VF 0 may use a VDUSE device."""

    def __init__(self, l1: L1):
        super().__init__(l1)
        self.nic: GuestProcess | None = None
        l1.run("modprobe vduse && modprobe vhost_vdpa && mkdir -p /var/run/vduse", timeout=60)
        l1.run(
            "ip link add near type veth peer name far && sysctl -qw net.ipv6.conf.near.disable_ipv6=1 net.ipv6.conf.far.disable_ipv6=1"
            " && ip link set near up && ip link set far up"
        )
        self.start_vpfd()
        self.ctl("fabric", "add", "f0")
        self.ctl("pf", "add", "p0", "--fabric", "f0", "--vfs", "2", "--spoofchk", "off")
        self.macs = [row["mac"] for row in self.json("pf", "show", "p0")["functions"]]

    def devices(self) -> list[str]:
        return sorted(self.json("vdpa", "list")["devices"], key=lambda row: row["name"])

    def testpmd(self, name: str, *vdevs: str, mode: str) -> GuestProcess:
        options = " ".join(f"--vdev {vdev}" for vdev in vdevs)
        return self.l1.popen(
            f"exec dpdk-testpmd --no-huge --no-shconf -m 128 --no-pci --no-telemetry --lcores '(0-1)@(0-1)' --file-prefix={name}"
            f" --log-level=vhost:8 {options} -- --total-num-mbufs=2048 --forward-mode={mode} --auto-start",
            stdin=True,
        )

    def start_nic(self) -> None:
        """A NIC's port that is a VDUSE device; what leaves it comes out of "far"."""
        self.nic = self.testpmd("nic", "net_vhost0,iface=/dev/vduse/d0,queues=1", "net_af_packet0,iface=near", mode="io")
        self.l1.run("while ! test -e /dev/vduse/d0; do :; done", timeout=60)

    def stop_nic(self) -> None:
        if self.nic:
            self.nic.signal(9)
            self.nic.wait(30)
            self.nic = None

    def driver(self) -> GuestProcess:
        """What a VM's driver does with VF 0: all that comes is sent back."""
        return self.testpmd("vm", f"net_virtio_user0,path={RUN}/p0/vf0.sock,queue_size=256,mac={self.macs[1]}", mode="macswap")

    def numbers(self, to: str, least: int) -> None:
        """At least LEAST numbered frames from "far": each must come back once, in order."""
        received = "cat /sys/class/net/far/statistics/rx_packets"
        end = int(self.l1.run(received).stdout) + least
        peer = self.l1.popen(f"exec python3 /vpf/tests/system/numbered.py far {to} 16", stdin=True)
        self.l1.run(f"while test $({received}) -lt {end}; do sleep 0.1; done", timeout=120)
        peer.close_stdin()
        report = json.loads(peer.wait(60, check=True).stdout.splitlines()[-1])
        print(report)
        assert report["lost"] == report["twice"] == report["late"] == 0 and report["sent"] == report["back"] >= least, report


@pytest.fixture
def host(l1_factory: Callable[..., L1]) -> Iterator[Host]:
    vpfd = paths.BUILD / "vpfd"
    host = Host(l1_factory(cpus=2, memory="3G", files=paths.libraries_of(vpfd)))
    host.start_nic()
    yield host
    print(host.vpfd.output[-4000:])


def test_service(host: Host) -> None:
    """The device is made when the driver starts and deleted when it stops. Every frame comes back once and in order, and vpfd's
    workers have no part in it; so it is after it has moved away and back."""
    # What cannot be is refused at once.
    for datapath, why in (
        ("vdpa:device=nothing", "there is no vDPA network device that matches nothing"),
        ("vdpa:mgmtdev=pci/*", "there is no vDPA network device, nor a management device that matches pci/"),
    ):
        refused = host.ctl("vf", "set", "p0", "0", "--datapath", datapath, check=False)
        assert refused.returncode != 0 and why in refused.stderr, refused.stderr
    host.ctl("vf", "set", "p0", "0", "--datapath", POOL)
    assert [row["name"] for row in host.json("vdpa", "list")["mgmtdevs"]] == ["vduse"]
    assert host.devices() == []  # nothing is had for a VF that is not used

    vm = host.driver()
    host.served_by("vdpa")
    (device,) = host.devices()
    assert (device["name"], device["driver"], device["function"]) == ("d0", "vhost_vdpa", {"pf": "p0", "vf": 0})
    before = host.json("status")["workers"]
    host.numbers(host.macs[1], 500)
    assert [row["packets"] for row in host.json("status")["workers"]] == [row["packets"] for row in before]

    for _ in range(5):
        host.ctl("vf", "set", "p0", "0", "--datapath", "builtin")
        assert host.vf()["datapath"] == "builtin" and host.devices() == []
        host.ctl("vf", "set", "p0", "0", "--datapath", POOL)
        assert host.vf()["datapath"] == "vdpa"
    host.numbers(host.macs[1], 200)

    vm.kill()
    host.served_by("none")
    host.l1.run("while vdpa dev show | grep -q d0; do :; done", timeout=20)
    check_memory(host)
    host.served_by("none")
    assert host.l1.dmesg_warnings() == []


def check_memory(host: Host) -> None:
    """Memory that comes and goes while the device serves the rings is mapped for it, and no more. A device without SUSPEND is reset for
    that, and loses what it has in hand."""
    driver = host.l1.popen(f"exec python3 /vpf/tests/system/memory_driver.py {RUN}/p0/vf0.sock", stdin=True)
    driver.expect("ready")
    host.served_by("vdpa")
    peer = host.l1.popen(f"exec python3 /vpf/tests/system/numbered.py far {host.macs[1]} 16", stdin=True)
    for word in ("add", "remove"):
        driver.write(f"{word}\n")
        driver.expect(f"\n{word}\n", timeout=90)
    peer.close_stdin()
    report = json.loads(peer.wait(60, check=True).stdout.splitlines()[-1])
    print(report)
    assert report["twice"] == report["late"] == 0 and report["back"] > 100, report
    assert host.vf()["datapath"] == "vdpa" and host.vf()["binding"]["failures"] == 0, host.vf()
    driver.close_stdin()
    driver.wait()


def test_devices_that_are_not_to_be_had(host: Host) -> None:
    """Busy, and taken away while it serves: the next in the list serves, and says why."""
    host.l1.run("vdpa dev add name d0 mgmtdev vduse && while ! test -e /dev/vhost-vdpa-0; do :; done")
    host.ctl("vf", "set", "p0", "0", "--datapath", "vdpa:device=d*,builtin")
    holder = host.l1.popen("exec python3 -c 'f = open(\"/dev/vhost-vdpa-0\", \"r+b\", 0); print(\"open\", flush=True); input()'", stdin=True)
    holder.expect("open")
    vm = host.driver()
    host.served_by("builtin")
    assert "vDPA device d0 is in use by another program" in host.vpfd.output
    holder.kill()

    host.ctl("pf", "set", "p0", "--failback", "on")
    host.served_by("vdpa")
    host.ctl("pf", "set", "p0", "--failback", "off")
    host.l1.run("vdpa dev del d0", timeout=20)  # returns when vpfd has let go of it
    host.served_by("builtin")
    assert "the vDPA device was removed" in host.vpfd.output
    vm.kill()


def test_nic_dies(host: Host) -> None:
    """The program behind the device is killed: the kernel waits for it (usually 30 s), the VF's traffic and vpfctl do not."""
    host.l1.run("echo 12 >/sys/class/vduse/d0/msg_timeout")
    host.ctl("vf", "set", "p0", "0", "--datapath", POOL)
    vm = host.driver()
    host.served_by("vdpa")
    host.stop_nic()
    host.served_by("builtin", timeout=30)
    host.ctl("vdpa", "list", timeout=5)
    assert "the VDUSE server of vDPA device d0 does not answer" in host.vpfd.output
    # Once the kernel has given it up, another one serves, without a word from anybody.
    host.destroy_vduse()
    host.l1.run("rm /var/run/vduse/d0")
    host.start_nic()
    host.ctl("pf", "set", "p0", "--failback", "on")
    host.served_by("vdpa")
    host.numbers(host.macs[1], 50)
    vm.kill()


def assert_answered(l2: VM, pings: int) -> None:
    """DPDK says that the device is ready some seconds before it looks at the rings: the first pings may go unanswered."""
    l2.run("until ping -c 1 -W 1 10.9.0.1 >/dev/null; do sleep 0.2; done", timeout=90)
    assert " 0% packet loss" in l2.run(f"ping -c {pings} -i 0.05 -W 10 10.9.0.1", timeout=90).stdout


def test_l2_guest(host: Host) -> None:
    """The whole system: a VM whose VF is a kernel vDPA device, while its PF is not."""
    host.ctl("vf", "set", "p0", "0", "--datapath", POOL)
    # Where all is emulated twice, a program behind VDUSE may be taken for dead before it has answered once.
    host.ctl("pf", "set", "p0", "--failback", "on")
    host.l1.run("ip addr add 10.9.0.1/24 dev far")
    sockets = [f"{RUN}/p0/{name}.sock" for name in ("pf", "vf0", "vf1")]
    with host.l1.l2(pfs=[PF("p0", sockets=sockets, macs=host.macs)]) as l2:
        assert host.vf()["datapath"] == "none"
        l2.sriov_numvfs(1)
        (name,) = l2.netdevs("0000:01:00.1")
        l2.run(f"ip addr add 10.9.0.2/24 dev {name} && ip link set {name} up")
        host.served_by("vdpa", timeout=60)
        assert_answered(l2, 20)
        assert host.json("pf", "show", "p0")["functions"][0]["datapath"] == "builtin"

        l2.sriov_numvfs(0)
        host.served_by("none")
        l2.sriov_numvfs(1)
        (name,) = l2.netdevs("0000:01:00.1")
        l2.run(f"ip addr add 10.9.0.2/24 dev {name} && ip link set {name} up")
        host.served_by("vdpa", timeout=60)
        assert_answered(l2, 5)
        assert l2.dmesg_warnings() == []
    host.served_by("none")
