# SPDX-License-Identifier: Apache-2.0
"""The test bed's own tests: what tests rely on is itself tested. Other kernels, migration and guests of guests have tests of their
own that do the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bed import paths
from bed.agent import CommandFailed, GuestLost
from bed.dpdk import Testpmd, flowgen_mpps, vhost
from bed.netns import Netns, veth
from bed.pci import PF
from bed.vm import VM


def hub(vfs: int) -> list[str]:
    return ["hubport,hubid=0"] * (vfs + 1)


@pytest.fixture(scope="module")
def vm(bed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VM]:
    with VM(logs=tmp_path_factory.mktemp("vm")) as vm:
        yield vm


def test_commands(vm: VM) -> None:
    assert vm.run("uname -r").stdout.strip() == paths.kernel_release(vm.kernel_name)
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


def test_failed_start_shows_why(vm_factory: Callable[..., VM]) -> None:
    with pytest.raises(GuestLost, match="no-such-device"):
        vm_factory(args=["-device", "no-such-device"])


def test_hotplug(vm: VM) -> None:
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


def test_reset_and_death(vm: VM) -> None:
    """The last one that has this VM."""
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


def test_namespaces_of_the_host(netns_factory: Callable[[str], Netns]) -> None:
    left, right = netns_factory("left"), netns_factory("right")
    veth(left, "l0", right, "r0")
    left.run("ip addr add 10.1.0.1/24 dev l0")
    right.run("ip addr add 10.1.0.2/24 dev r0")
    assert "1 received" in left.run("ping -c 1 -W 5 10.1.0.2").stdout


def test_virtio_user_needs_no_guest(bed, tmp_path) -> None:
    sockets = [tmp_path / "a", tmp_path / "b"]
    with Testpmd([vhost(i, path) for i, path in enumerate(sockets)]):
        assert flowgen_mpps(*sockets, seconds=1) > 0.001  # that frames arrive: on one CPU the two ends take turns