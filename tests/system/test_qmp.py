# SPDX-License-Identifier: Apache-2.0
"""What vpfd does with a VM's QMP socket, with a real QEMU and guest: carrier, receive filters, a whole virtual PF plugged in and out."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bed.agent import wait_until
from bed.machine import PATIENCE
from bed.vm import VM
from bed.vpfd import RpcClient, RpcError, Vpfd

ACPI = ["-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=on"]


class Bench:
    """A vpfd with fabric "lan", and a VM whose PFs are known by QMP."""

    def __init__(self, vpfd: Vpfd, vm: VM):
        self.vpfd, self.vm = vpfd, vm
        vpfd.rpc("fabric.add", name="lan")

    def add(self, name: str, vfs: int, **settings: Any) -> None:
        self.vpfd.rpc("pf.add", name=name, fabric="lan", vfs=vfs, qmp=self.vm.vpfd_qmp, **settings)

    def start_with(self, name: str, **options: Any) -> None:
        self.vm.args += self.vpfd.rpc("pf.qemu_args", name=name, **options)["args"]
        self.vm.start()

    def patient(self) -> RpcClient:
        """A client that outlasts what a guest may take to release a PF."""
        client = self.vpfd.rpc_client()
        client.socket.settimeout(120)
        return client

    def show(self, pf: str, vf: int | None = None) -> dict[str, Any]:
        return self.vpfd.rpc("vf.show", pf=pf, vf=vf)

    def driver(self, pf: str, vf: int | None = None) -> dict[str, Any]:
        return self.show(pf, vf)["driver"]

    def qmp(self, pf: str) -> dict[str, Any]:
        return self.vpfd.rpc("pf.show", name=pf)["qmp"]

    def addresses(self) -> list[str]:
        """PCI addresses of the PFs in the guest."""
        listing = self.vm.run("ls -d /sys/bus/pci/devices/*/sriov_totalvfs", check=False).stdout
        return [path.split("/")[5] for path in listing.split()]

    def netdev(self, mac: str) -> str:
        """The guest's network device with a MAC, up."""
        name = wait_until(lambda: self._by_mac(mac), 20, f"network device {mac}")
        self.vm.run(f"ip link set {name} up")
        return name

    def _by_mac(self, mac: str) -> str:
        script = f"for d in /sys/class/net/*; do [ $(cat $d/address) = {mac} ] && echo ${{d##*/}}; done; true"
        return self.vm.run(script).stdout.strip()

    def carrier(self, netdev: str) -> int:
        return int(self.vm.run(f"cat /sys/class/net/{netdev}/carrier").stdout)

    def await_carrier(self, netdev: str, up: int) -> None:
        wait_until(lambda: self.carrier(netdev) == up, 15, f"carrier {up} of {netdev}")

    def parts(self, pf: str) -> list[str]:
        """What QEMU has of a PF: devices and chardevs."""
        devices = [entry["name"] for entry in self.vm.qmp("qom-list", path="/machine/peripheral")]
        chardevs = [entry["label"] for entry in self.vm.qmp("query-chardev")]
        return sorted(name for name in devices + chardevs if name.startswith(f"vpf-{pf}-") and "-port" not in name)


@pytest.fixture
def bench(vpfd: Vpfd, vm_factory: Callable[..., VM]) -> Bench:
    return Bench(vpfd, vm_factory("vm", start=False, hotplug=0))


def test_carrier_and_filter(bench: Bench) -> None:
    """One guest, since its boot is what takes the time."""
    vpfd, vm = bench.vpfd, bench.vm
    bench.add("pf0", 3)
    vpfd.rpc("vf.set", pf="pf0", vf=1, link="disable")  # before there is a VM
    bench.start_with("pf0")
    vm.sriov_numvfs(3)
    vf0, vf1 = (bench.netdev(bench.show("pf0", vf)["mac"]) for vf in (0, 1))

    # -- carrier: as set before the start, changed while it runs
    bench.await_carrier(vf0, 1)
    bench.await_carrier(vf1, 0)
    vpfd.rpc("vf.set", pf="pf0", vf=0, link="disable")
    bench.await_carrier(vf0, 0)
    vpfd.rpc("vf.set", pf="pf0", vf=1, link="enable")
    bench.await_carrier(vf1, 1)

    # QEMU brings links up by itself when vpfd is back: it must not stay so, whether vpfd ended well or not.
    for end in (vpfd.stop, vpfd.kill):
        end()
        bench.await_carrier(vf1, 0)
        vpfd.start()
        bench.await_carrier(vf1, 1)
        bench.await_carrier(vf0, 0)
        wait_until(lambda: bench.show("pf0", 0)["connected"], 15, "the connection of VF 0")
        time.sleep(1)  # that it stays is no event
        assert bench.carrier(vf0) == 0
        wait_until(lambda: bench.driver("pf0", 0)["known"], 15, "the filter of VF 0")
    vpfd.rpc("vf.set", pf="pf0", vf=0, link="auto")
    bench.await_carrier(vf0, 1)

    # -- what the driver asks for
    permanent = bench.show("pf0", 0)["mac"]
    assert bench.driver("pf0", 0)["mac"] == permanent
    wait_until(lambda: not bench.driver("pf0", 0)["promiscuous"], 10, "VF 0 not promiscuous")
    vm.run(f"ip link set {vf0} promisc on")
    wait_until(lambda: bench.driver("pf0", 0)["promiscuous"], 10, "VF 0 promiscuous")
    vm.run(f"ip link set {vf0} promisc off && ip link set {vf0} address 02:00:00:00:01:01")
    wait_until(lambda: bench.driver("pf0", 0)["mac"] == "02:00:00:00:01:01", 10, "the new MAC")
    vm.run(f"ip link add link {vf0} name mv0 address 02:00:00:00:01:02 type macvlan && ip link set mv0 up")
    wait_until(lambda: bench.driver("pf0", 0)["unicast"] == ["02:00:00:00:01:02"], 10, "the second MAC")
    rows = vpfd.rpc("fdb.show", fabric="lan")
    assert {row["mac"] for row in rows if row["kind"] == "driver"} >= {"02:00:00:00:01:01", "02:00:00:00:01:02"}
    # A burst: what counts is the last one.
    vm.run(f"for i in $(seq 50); do ip link set {vf0} address 02:00:00:00:02:$(printf %02x $i); done")
    wait_until(lambda: bench.driver("pf0", 0)["mac"] == "02:00:00:00:02:32", 10, "the last MAC of a burst")

    # A driver that starts anew has the permanent MAC again; QEMU sends no event for that.
    vm.run("echo 0000:01:00.1 >/sys/bus/pci/drivers/virtio-pci/unbind && echo 0000:01:00.1 >/sys/bus/pci/drivers/virtio-pci/bind")
    wait_until(lambda: bench.driver("pf0", 0)["mac"] == permanent and not bench.driver("pf0", 0)["unicast"], 10, "the old MAC")

    # -- the VM ends; vpfd waits for the next one, at no cost
    assert vm.dmesg_warnings() == []
    vm.kill()
    wait_until(lambda: not bench.qmp("pf0")["connected"], 10, "the end of QMP")
    assert not bench.driver("pf0", 0)["known"]
    before = vpfd.cpu_time()
    time.sleep(3)
    assert vpfd.cpu_time() - before < 0.1


def test_hotplug(bench: Bench) -> None:
    """Two PFs of one VM share its only QMP socket; VFs beyond function 7 need ARI."""
    vpfd, vm = bench.vpfd, bench.vm
    bench.add("big", 20)
    bench.add("small", 2, queue_pairs=2)
    vpfd.rpc("pf.add", name="none", fabric="lan", vfs=0)
    with pytest.raises(RpcError, match="(?i)qmp"):
        vpfd.rpc("pf.attach", name="none")
    with pytest.raises(RpcError, match="not connected"):
        vpfd.rpc("pf.attach", name="big")
    bench.start_with("none", hotplug_ports=2)
    wait_until(lambda: bench.qmp("big")["connected"] and bench.qmp("small")["connected"], 10, "QMP")
    before = len(bench.addresses())
    client = bench.patient()

    for failing in ({"bus": "nosuch"}, {"bus": "vpf-none-port"}):
        with pytest.raises(RpcError) as error:
            client("pf.attach", name="big", **failing)
        assert error.value.data["field"] == "bus"
    assert bench.parts("big") == []

    # Both at once: each gets a port of its own.
    with ThreadPoolExecutor() as pool:
        attaches = [pool.submit(bench.patient(), "pf.attach", name=name) for name in ("big", "small")]
        assert [attach.result() for attach in attaches] == [True, True]
    assert bench.qmp("big")["present"] and bench.qmp("small")["present"]
    with pytest.raises(RpcError, match="already in the VM"):
        client("pf.attach", name="big")
    assert len(bench.parts("big")) == 2 * 21
    wait_until(lambda: len(bench.addresses()) == before + 2, 30, "both PFs in the guest")
    for address in bench.addresses():
        vm.run(f"cd /sys/bus/pci/devices/{address} && cat sriov_totalvfs >sriov_numvfs", timeout=120)

    # Traffic between VFs of both, the last and highest function among them.
    ends = [("big", 19), ("small", 1)]
    for number, (pf, vf) in enumerate(ends):
        vm.pod(f"pod{number}")
        netdev = bench.netdev(bench.show(pf, vf)["mac"])
        vm.move(netdev, f"pod{number}")
        vm.run(f"ip addr add 10.9.0.{number + 1}/24 dev {netdev} && ip link set {netdev} up", netns=f"pod{number}")
    vm.run("ping -c 3 -i 0.2 -W 5 10.9.0.2", netns="pod0")
    assert bench.show("small", 1)["queues_started"] == 4

    # A guest that does not run does not let go; when it runs again it does, and what is left is cleaned up.
    vm.qmp("stop")
    started = time.monotonic()
    with pytest.raises(RpcError, match="did not release"):
        client("pf.detach", name="small")
    assert time.monotonic() - started < 60 * PATIENCE
    assert bench.qmp("small")["present"]
    vm.qmp("cont")
    wait_until(lambda: not bench.parts("small") and not bench.qmp("small")["present"], 60, "the late release")
    with pytest.raises(RpcError, match="not in the VM"):
        client("pf.detach", name="small")
    assert bench.qmp("big")["present"]

    # Out and in again, with all that QEMU had of it.
    client("pf.detach", name="big")
    assert bench.parts("big") == []
    wait_until(lambda: not bench.show("big", 19)["connected"], 10, "the end of the connections")
    client("pf.attach", name="small", packed=True, rx_queue_size=1024)
    wait_until(lambda: len(bench.addresses()) == before + 1, 30, "the PF in the guest")
    client("pf.detach", name="small")
    assert vm.dmesg_warnings() == []


def test_acpi_hotplug(bench: Bench) -> None:
    """With ACPI hot-plug QEMU cannot remove VFs. They are used again."""
    vm = bench.vm
    bench.add("pf0", 3)
    bench.vpfd.rpc("pf.add", name="none", fabric="lan", vfs=0)
    vm.args += bench.vpfd.rpc("pf.qemu_args", name="none", hotplug_ports=2)["args"] + ACPI
    vm.start()
    wait_until(lambda: bench.qmp("pf0")["connected"], 10, "QMP")
    before = len(bench.addresses())
    client = bench.patient()
    for bus in ("vpf-none-port2", None):
        client("pf.attach", name="pf0", **({"bus": bus} if bus else {}))
        wait_until(lambda: len(bench.addresses()) == before + 1, 30, "the PF in the guest")
        (address,) = set(bench.addresses()) - {"0000:01:00.0"}
        vm.sriov_numvfs(3, address)
        bench.netdev(bench.show("pf0", 2)["mac"])
        wait_until(lambda: bench.show("pf0", 2)["queues_started"] == 2, 10, "the rings of VF 2")
        client("pf.detach", name="pf0")
        assert len(bench.addresses()) == before
        assert not bench.qmp("pf0")["present"]
        assert [name for name in bench.parts("pf0") if name.startswith("vpf-pf0-pf")] == []
    with pytest.raises(RpcError, match="use that port"):
        client("pf.attach", name="pf0", bus="vpf-none-port1")
    assert vm.dmesg_warnings() == []


def test_socket_in_use(bench: Bench, tmp_path: Path) -> None:
    """A monitor serves one client: vpfd says so, and goes on as soon as it is free."""
    import socket

    bench.add("pf0", 0)
    bench.vpfd.stop()
    bench.vm.launch()
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(bench.vm.vpfd_qmp)
        assert b"QMP" in other.recv(4096)
        bench.vpfd.start()
        wait_until(lambda: "sent no greeting" in bench.vpfd.output(), 15, "the reason in the log")
        assert not bench.qmp("pf0")["connected"]
    wait_until(lambda: bench.qmp("pf0")["connected"], 15, "QMP")
