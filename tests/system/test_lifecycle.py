# SPDX-License-Identifier: Apache-2.0
"""What ends, restarts, comes, goes and moves while others work: guests, drivers, vpfd, virtual PFs."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bed.agent import wait_until
from bed.vm import start_all
from topology import External, Guest, Pod, Site, Stream

VFS = 2


@pytest.fixture(scope="module")
def site(bed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture(scope="module")
def guests(site: Site) -> Iterator[dict[str, Guest]]:
    """VMs a and b, each with pods of both its VFs."""
    guests = {name: Guest(site, name) for name in ("a", "b")}
    for name, guest in guests.items():
        guest.add_pf(f"pf-{name}", VFS)
    start_all(*(guest.vm for guest in guests.values()))
    for guest in guests.values():
        settle(guest)
    yield guests
    for guest in guests.values():
        complaints = guest.complaints()
        guest.close()
        assert complaints == ""


def settle(guest: Guest) -> list[Pod]:
    """Pods, after each boot."""
    guest.forget_pods()
    guest.find_pfs()
    (pf,) = guest.addresses
    guest.split(pf, VFS)
    return [guest.pod(pf, vf) for vf in range(VFS)]


@pytest.fixture(autouse=True)
def _explained(site: Site, request: pytest.FixtureRequest) -> None:
    request.node.vpf_attachments = site.texts()


@pytest.fixture
def settings(guests: dict[str, Guest]) -> Iterator[None]:
    """Puts what a test may set back to the defaults."""
    yield
    for guest in guests.values():
        for pod in guest.pods:
            pod.ctl("--vlan none --link auto")


def functions(site: Site, pf: str) -> list[dict]:
    return site.vpfd.rpc("pf.show", name=pf)["functions"]


def queues(site: Site) -> int:
    """Transmit queues that workers look after."""
    return sum(worker["queues"] for worker in site.vpfd.rpc("status")["workers"])


def test_reset_in_the_middle_of_a_transfer(site: Site, guests: dict[str, Guest]) -> None:
    a, b = guests["a"], guests["b"]
    bystander = Stream(b.pods[0], site.external)
    Stream(a.pods[0], b.pods[1])
    started = queues(site)
    a.vm.reset()
    bystander.advances()
    a0, _ = settle(a)
    a0.reaches(b.pods[1])
    a0.tcp(b.pods[1], blocks=2)
    bystander.advances()
    bystander.stop()
    assert queues(site) == started
    assert [f["connected"] for f in functions(site, "pf-a")] == [True] * (VFS + 1)


def test_qemu_killed_in_the_middle_of_a_transfer(site: Site, guests: dict[str, Guest]) -> None:
    a, b = guests["a"], guests["b"]
    bystander = Stream(b.pods[0], site.external)
    before_fds, before_queues = site.vpfd.fds(), queues(site)
    Stream(a.pods[0], b.pods[1])
    a.vm.kill()
    wait_until(lambda: not any(f["connected"] for f in functions(site, "pf-a")), 10, "disconnection")
    bystander.advances()
    assert [f["queues_started"] for f in functions(site, "pf-a")] == [0] * (VFS + 1)
    assert [f["peer_pid"] for f in functions(site, "pf-a")] == [None] * (VFS + 1)
    assert queues(site) == before_queues - (VFS + 1)
    assert [pf["connected"] for pf in site.vpfd.ctl("pf", "list", json=True) if pf["name"] == "pf-a"] == [0]
    # Its sockets, kick and call descriptors and memory are gone with it.
    assert site.vpfd.fds() <= before_fds - 3 * (VFS + 1)
    site.vms.remove(a.vm)

    again = guests["a"] = Guest(site, "a")
    again.add_pf("pf-a", VFS, create=False)
    # The functions and the settings are still there; only QMP has another path now.
    site.ctl(f"pf set pf-a --qmp {again.vm.vpfd_qmp}")
    again.start()
    a0, _ = settle(again)
    a0.reaches(b.pods[1])
    a0.tcp(b.pods[1], blocks=2)
    bystander.advances()
    bystander.stop()
    assert queues(site) == before_queues
    assert site.vpfd.fds() <= before_fds + 2


def test_driver_unbound_and_bound(site: Site, guests: dict[str, Guest]) -> None:
    a, b = guests["a"], guests["b"]
    a0, a1 = a.pods
    bystander = Stream(a1, b.pods[0])
    for _ in range(2):
        a0.server.kill()
        a.vm.run(f"echo {a0.device} >/sys/bus/pci/drivers/virtio-pci/unbind")
        assert a0.show()["queues_started"] == 0 and a0.show()["datapath"] == "none"
        bystander.advances()
        a.vm.run(f"ip netns delete {a0.name}; echo {a0.device} >/sys/bus/pci/drivers/virtio-pci/bind")
        a.pods.remove(a0)
        a0 = a.pod("pf-a", 0)
        a.pods.sort(key=lambda pod: pod.vf)
        a0.reaches(b.pods[1])
        a0.tcp(b.pods[1], blocks=1)
    bystander.stop()


@pytest.mark.parametrize("crash", [False, True], ids=["orderly", "killed"])
def test_vpfd_restarts_under_running_guests(site: Site, guests: dict[str, Guest], settings: None, crash: bool) -> None:
    """Connections of the pods survive, settings hold, and the carrier is what it should be."""
    assert site.vpfd.process, "it did not come back the last time"
    (a0, a1), (b0, b1) = guests["a"].pods, guests["b"].pods
    a1.ctl("--vlan 30 --link disable")
    b1.ctl("--vlan 30")
    a1.await_carrier(False)
    streams = [Stream(a0, b0), Stream(b0, site.external, 6)]
    if crash:
        site.vpfd.kill(signal.SIGKILL)
    else:
        site.vpfd.stop()
    wait_until(lambda: not a0.carrier(), 10, "QEMU's taking the carrier away")
    site.vpfd.start()
    a0.await_carrier(True)
    for stream in streams:
        stream.advances()
        stream.stop()
    wait_until(lambda: all(f["connected"] for f in functions(site, "pf-a") + functions(site, "pf-b")), 10, "connections")
    b1.await_carrier(True)
    # QEMU sets a link up when its connection is back, until vpfd tells it better, and starts no rings under one that is down.
    a1.await_carrier(False)
    wait_until(lambda: [f["vf"] for f in functions(site, "pf-a") if not f["queues_enabled"]] == [a1.vf], 10, "rings of all others")
    assert a1.show()["vlan"]["vid"] == 30
    a1.ctl("--link auto")
    a1.await_carrier(True)
    a1.reaches(b1)
    a1.misses(b0)
    for pod in (a1, b1):
        pod.ctl("--vlan none")
    a1.reaches(b0)


def test_hotplug_under_traffic_of_another(site: Site, guests: dict[str, Guest]) -> None:
    a, b = guests["a"], guests["b"]
    bystanders = [Stream(b.pods[0], site.external), Stream(a.pods[0], b.pods[1])]
    fds = 0
    for number in range(3):
        site.ctl(f"pf add hot --fabric lan --vfs {VFS} --qmp {a.vm.vpfd_qmp}")
        site.ctl("pf attach hot")
        a.vm.run("until [ $(ls -d /sys/bus/pci/devices/*/sriov_totalvfs | wc -l) = 2 ] && [ $(ls -d /sys/class/net/eth* | wc -l) = 2 ]; do sleep 0.05; done")
        a.addresses["hot"] = ""
        a.find_pfs()
        a.split("hot", VFS)
        pod = a.pod("hot", 1)
        pod.reaches(b.pods[1])
        pod.tcp(a.pods[1], blocks=1)
        a.pods.remove(pod)
        if number % 2:
            a.split("hot", 0)  # else it is unplugged with its VFs in use
        site.ctl("pf detach hot")
        assert a.vm.run("ls -d /sys/bus/pci/devices/*/sriov_totalvfs").stdout.count("\n") == 1
        site.ctl("pf del hot")
        a.vm.run(f"ip netns delete {pod.name}")
        del a.addresses["hot"]
        for bystander in bystanders:
            bystander.advances()
        if number == 0:
            fds = site.vpfd.fds()
    assert site.vpfd.fds() == fds
    for bystander in bystanders:
        bystander.stop()


def test_live_migration(bed: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """From one vpfd to another: connections go on, nothing that memory held is lost, and the network learns where the guest
    is now, be it by the guest's own announcement or, for a device without that, by vpfd's RARP."""
    external = External(tmp_path, uplinks=2)
    try:
        with Site(tmp_path, external, 0) as here, Site(tmp_path, external, 1) as there:
            source = Guest(here, "source", share_project=False)  # 9p shares cannot migrate
            target = Guest(there, "target", share_project=False, incoming=True)
            request.node.vpf_attachments = {f"{what} ({where})": text for where, site in (("here", here), ("there", there))
                                            for what, text in site.texts().items()}  # fmt: skip
            migrate(source, target, external)
    finally:
        external.close()


def migrate(source: Guest, target: Guest, external: External) -> None:
    devices = {"loud": "", "mute": "guest_announce=off"}
    for name, device in devices.items():
        source.add_pf(name, 1, device=device)
        target.add_pf(name, 1, f"--mac {source.site.function(name, None)['mac']}", device=device)
    source.start()
    target.vm.start()
    source.split("loud", 1)
    pods = [source.pod(name, None) for name in devices]
    vf = source.pod("loud", 0)
    vf.reaches(external)
    streams = [Stream(external, pod) for pod in pods]
    rarp = external.popen(f"-i eth0 -e -n -l -c 1 rarp and ether src {pods[1].mac}", "listening on eth0", program="tcpdump")
    source.vm.migrate_to(target.vm)
    for pod in (*pods, vf):
        pod.guest, pod.vm = target, target.vm
    source.vm.kill()
    target.addresses, target.pods = source.addresses, [*pods, vf]
    for stream in streams:
        stream.advances()
        stream.stop()
    assert rarp.wait(20) == 0
    for pod in pods:
        assert pod.carrier() and pod.show()["queues_enabled"] == 2
        pod.reaches(external)
        pod.tcp(external, blocks=2)
        assert not source.site.function(pod.pf, None)["connected"]
    vf = revived(vf)
    vf.reaches(external)
    vf.tcp(pods[0], blocks=2)
    assert target.complaints() == ""


def revived(vf: Pod) -> Pod:
    """QEMU up to 11.1 loads a PF's state after that of its VFs, enables them then, and so resets what it had loaded:
    the guest has to start their driver again."""
    if vf.show()["queues_enabled"]:
        return vf
    driver = "/sys/bus/pci/drivers/virtio-pci"
    vf.vm.run(f"echo {vf.device} >{driver}/unbind; ip netns pids {vf.name} | xargs -r kill; ip netns delete {vf.name}; echo {vf.device} >{driver}/bind")
    return vf.guest.pod(vf.pf, vf.vf)
