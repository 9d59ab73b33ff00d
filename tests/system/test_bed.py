# SPDX-License-Identifier: Apache-2.0
"""The test bed's own tests: what tests rely on is itself tested."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest

from bed import paths
from bed.agent import CommandFailed, GuestLost
from bed.dpdk import Testpmd, flowgen_mpps, vhost
from bed.l1 import L1
from bed.netns import Netns, veth
from bed.pci import PF
from bed.vm import VM, start_all


def hub(vfs: int) -> list[str]:
    return ["hubport,hubid=0"] * (vfs + 1)


def test_each_kernel_boots_and_splits_a_pf(vm_factory: Callable[..., VM], kernel: str) -> None:
    vm = vm_factory(kernel=kernel, pfs=[PF(netdevs=hub(2))])
    print(f"up after {vm.boot_seconds:.0f} s")
    assert vm.run("uname -r").stdout.strip() == paths.kernel_release(kernel)
    assert vm.netdevs("0000:01:00.0") == ["eth0"]
    vm.sriov_numvfs(2)
    pod = vm.pod("pod")
    vm.move(vm.netdevs("0000:01:00.1")[0], pod)
    assert "eth1" in vm.run("ip -br link", netns=pod).stdout
    assert vm.dmesg_warnings() == []


def test_commands(vm_factory: Callable[..., VM]) -> None:
    vm = vm_factory()
    result = vm.run("echo out; echo err >&2; exit 3", check=False)
    assert (result.returncode, result.stdout, result.stderr) == (3, "out\n", "err\n")
    with pytest.raises(CommandFailed, match="exit status 3"):
        vm.run(["sh", "-c", "exit 3"])
    assert vm.run("cat", input="x" * 100_000).stdout == "x" * 100_000
    with pytest.raises(TimeoutError, match="sleep 60"):
        vm.run("sleep 60", timeout=0.5)
    # Commands run side by side, and the output of a background one can be awaited.
    echo = vm.popen("read line; echo got $line; sleep 60", stdin=True)
    assert vm.run("echo meanwhile").stdout == "meanwhile\n"
    echo.write("hello\n")
    echo.expect("got hello")
    assert echo.kill().returncode == -9
    with pytest.raises(AssertionError, match="without 'never'"):
        vm.popen("echo done").expect("never")
    # A daemon that keeps the pipes open does not keep the command from ending.
    assert vm.run("sleep 60 & echo started", timeout=10).stdout == "started\n"
    assert vm.run("ls /vpf/tools/setup").returncode == 0
    assert "read-only" in vm.run("touch /vpf/x", check=False).stderr.lower()


def test_files_and_shares(vm_factory: Callable[..., VM], tmp_path) -> None:
    (tmp_path / "key").write_text("vpf-key=00112233445566778899aabbccddeeff")
    pf = PF(netdevs=hub(0), key=tmp_path / "key")
    vm = vm_factory(files={"/etc/vpf/x": b"content"}, pfs=[pf], shares={"rw:/host": tmp_path, "fixed:/fixed": tmp_path}, share_project=False)
    assert vm.run("cat /etc/vpf/x").stdout == "content"
    assert vm.run("cat /fixed/key").stdout in vm.run("tr '\\0' '\\n' </sys/firmware/dmi/entries/11-0/raw").stdout
    vm.run("echo from the guest >/host/y")
    assert (tmp_path / "y").read_text() == "from the guest\n"
    assert vm.run("ls /vpf").stdout == ""


def test_reset_and_death(vm_factory: Callable[..., VM]) -> None:
    vm = vm_factory()
    vm.run("touch /tmp/before")
    sleeper = vm.popen("sleep 60")
    vm.reset()
    with pytest.raises(GuestLost, match="restarted"):
        sleeper.wait()
    assert vm.run("test -e /tmp/before", check=False).returncode == 1
    with pytest.raises((GuestLost, TimeoutError)) as death:
        vm.run("echo c >/proc/sysrq-trigger", timeout=20)
    assert "sysrq: Trigger a crash" in str(death.value)
    assert any("Kernel panic" in line for line in vm.dmesg_warnings())
    vm.kill()
    assert not vm.alive


def test_failed_start_shows_why(vm_factory: Callable[..., VM]) -> None:
    with pytest.raises(GuestLost, match="no-such-device"):
        vm_factory(args=["-device", "no-such-device"])


def test_two_guests_meet(vm_factory: Callable[..., VM], tmp_path) -> None:
    vms = [
        vm_factory(f"vm{i}", start=False, pfs=[PF(netdevs=[f"dgram,local.type=unix,local.path={tmp_path}/{i},"
                   f"remote.type=unix,remote.path={tmp_path}/{1 - i}"], macs=[f"02:00:00:00:00:0{i}"])])
        for i in range(2)
    ]  # fmt: skip
    start_all(*vms)
    for i, vm in enumerate(vms):
        vm.run(f"ip addr add 10.0.0.{i + 1}/24 dev eth0 && ip link set eth0 up")
    assert "3 received" in vms[0].run("ping -c 3 -i 0.2 -W 5 10.0.0.2").stdout


def test_vhost_user_pf(vm_factory: Callable[..., VM], tmp_path) -> None:
    """A PF and two VFs that dpdk-testpmd serves: what VF 0 sends comes out of VF 1."""
    sockets = [tmp_path / name for name in ("pf", "vf0", "vf1")]
    with Testpmd([vhost(i, path) for i, path in enumerate(sockets)], args=["--portlist=1,2"]) as switch:
        vm = vm_factory(pfs=[PF(sockets=sockets)])
        vm.sriov_numvfs(2)
        for number in (0, 1):
            pod = vm.pod(f"pod{number}")
            ifname = vm.netdevs(f"0000:01:00.{number + 1}")[0]
            vm.move(ifname, pod)
            vm.run(f"ip addr add 10.0.0.{number + 1}/24 dev {ifname} && ip link set {ifname} up", netns=pod)
        switch.program.expect("vf1.* virtio is now ready")
        # The packet counters, because checksum offload that testpmd does not carry through would not matter to ping.
        assert "3 received" in vm.run("ping -c 3 -i 0.2 -W 5 10.0.0.2", netns="pod0").stdout
        assert switch.stats()[1].rx_packets >= 3
        vm.sriov_numvfs(0)
        assert vm.dmesg_warnings() == []


def test_hotplug(vm_factory: Callable[..., VM]) -> None:
    vm = vm_factory()
    pf = PF("hot", netdevs=hub(3), bus="hp0")
    vm.plug(pf)
    address = vm.popen("while ! ls /sys/bus/pci/devices/*/sriov_numvfs 2>/dev/null; do sleep 0.1; done").wait(20).stdout
    found = re.search(r"0000:[0-9a-f:.]+", address)
    assert found
    vm.sriov_numvfs(3, found[0])
    assert len(vm.run("ls -d /sys/class/net/eth*").stdout.split()) == 4
    vm.unplug(pf)
    assert vm.run("ls -d /sys/class/net/eth*", check=False).stdout == ""
    assert vm.dmesg_warnings() == []


def test_migration(vm_factory: Callable[..., VM]) -> None:
    source, target = vm_factory("source"), vm_factory("target", incoming=True)
    source.run("echo here >/tmp/state")
    source.migrate_to(target)
    assert target.run("cat /tmp/state").stdout == "here\n"


def test_namespaces_of_the_host(netns_factory: Callable[[str], Netns]) -> None:
    left, right = netns_factory("left"), netns_factory("right")
    veth(left, "l0", right, "r0")
    left.run("ip addr add 10.1.0.1/24 dev l0")
    right.run("ip addr add 10.1.0.2/24 dev r0")
    assert "1 received" in left.run("ping -c 1 -W 5 10.1.0.2").stdout


def test_virtio_user_needs_no_guest(bed, tmp_path) -> None:
    sockets = [tmp_path / "a", tmp_path / "b"]
    with Testpmd([vhost(i, path) for i, path in enumerate(sockets)]):
        assert flowgen_mpps(*sockets, seconds=1) > 0.1


@pytest.mark.xdist_group("large")
def test_hypervisor_guest(l1_factory: Callable[..., L1]) -> None:
    l1 = l1_factory()
    l1.run("modprobe vduse && modprobe vhost_vdpa && modprobe vhost_net && modprobe openvswitch", timeout=60)
    started = time.monotonic()
    with l1.l2(pfs=[PF(netdevs=hub(1))]) as l2:
        assert l2.run("cat /sys/class/dmi/id/sys_vendor").stdout.strip() == "QEMU"
        l2.sriov_numvfs(1)
        assert l2.netdevs("0000:01:00.1") == ["eth1"]
    print(f"the L2 guest took {time.monotonic() - started:.0f} s")
