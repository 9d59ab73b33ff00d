# SPDX-License-Identifier: Apache-2.0
"""A fabric that is a bridge of the kernel's: functions served by the kernel's vhost-net on a tap, and by vpfd's workers where there
is none. On this machine, which has no vhost-net, and in a guest that has.

    peer: numbered.py ── veth ── bridge ── tap ── vhost-net, or a worker ── rings ── testpmd, which sends all frames back
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import frames
import pytest
from bed import paths
from bed.agent import GuestProcess, argv_of, wait_until
from bed.dpdk import PMDS, Testpmd, virtio_user
from bed.machine import need_tap
from bed.netns import Netns, run_on_host
from bed.vm import VM
from bed.vpfd import Vpfd
from frames import Wire
from traffic import Function, add_functions

HERE = Path(__file__).parent
_serial = itertools.count()


def check_numbers(text: str, least: int) -> None:
    """What numbered.py says at the end: every frame came back once, in order."""
    report = json.loads(text.splitlines()[-1])
    print(report)
    assert report["lost"] == report["twice"] == report["late"] == 0 and report["sent"] == report["back"] >= least, report


class Lan:
    """A bridge fabric "lan", and a namespace whose interface "far" is on that bridge."""

    def __init__(self, vpfd: Vpfd, out: Netns):
        need_tap()
        self.vpfd, self.out = vpfd, out
        number = f"{os.getpid() % 100000}n{next(_serial)}"
        self.bridge, self.near = f"vb{number}", f"vp{number}"
        run_on_host(["ip", "link", "add", self.near, "type", "veth", "peer", "name", "far", "netns", out.name])
        out.run("sysctl -qw net.ipv6.conf.far.disable_ipv6=1; ip link set far mtu 9000 up")
        vpfd.rpc("fabric.add", name="lan", type="bridge", bridge=self.bridge)
        run_on_host(f"sysctl -qw net.ipv6.conf.{self.bridge}.disable_ipv6=1; ip link set {self.near} mtu 9000 addrgenmode none master {self.bridge} up")
        self.mac = out.run("cat /sys/class/net/far/address").stdout.strip()
        # The kernel may tell of it up to a second later; until then links are down, and what a driver sends is dropped.
        wait_until(lambda: vpfd.rpc("fabric.show", name="lan")["uplink"]["carrier"])

    def taps(self) -> list[str]:
        return [port for port in os.listdir(f"/sys/class/net/{self.bridge}/brif") if port != self.near]

    def numbers(self, to: Function) -> subprocess.Popen[str]:
        argv = argv_of([sys.executable, str(HERE / "numbered.py"), "far", to.mac], self.out.name)
        return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def close(self) -> None:
        run_on_host(["ip", "link", "delete", self.near], check=False)


@pytest.fixture
def lan(vpfd_factory: Callable[..., Vpfd], netns_factory: Callable[[str], Netns]) -> Iterator[Lan]:
    lan = Lan(vpfd_factory(args=["--workers", "2"]), netns_factory("out"))
    yield lan
    lan.close()


def test_workers_at_a_tap(lan: Lan) -> None:
    """Where there is no vhost-net, what is left of the usual list serves. The tap is there as long as the rings are."""
    (a,) = add_functions(lan.vpfd, "pf", 1)
    assert [row["type"] for row in lan.vpfd.rpc("pf.show", name="pf")["datapaths"]] == ["vhost-net", "builtin"]
    assert lan.taps() == []
    port = a.port(size=256)
    with Wire("far", lan.out.name) as wire:
        for length in (60, 61, 1000, 1514):
            port.send_frame(frames.eth(lan.mac, a.mac, b"out", length=length))
            assert wire.receive() == frames.eth(lan.mac, a.mac, b"out", length=length)
            wire.send(frames.eth(a.mac, lan.mac, b"in", length=length))
            assert port.receive() == frames.eth(a.mac, lan.mac, b"in", length=length)
        assert a.show()["datapath"] == "builtin"
        (tap,) = lan.taps()
        # Whoever deletes it: it is made again, and the ring's next frames pass.
        events = lan.vpfd.rpc_client()
        events("events.subscribe", topics=["fabric"])
        run_on_host(["ip", "link", "delete", tap])
        events.wait_notification("event")
        events.close()
        wire.send(frames.eth(a.mac, lan.mac, b"again"))
        assert port.receive() == frames.eth(a.mac, lan.mac, b"again")
    port.close()
    run_on_host(f"while test -n \"$(ls /sys/class/net/{lan.bridge}/brif | grep -vx {lan.near})\"; do :; done", timeout=10)


def test_tap_taken_away(lan: Lan) -> None:
    """To another network namespace: nothing serves the function then, so its link is down, until a tap of its own is made again."""
    (a,) = add_functions(lan.vpfd, "pf", 1, datapaths=[{"type": "builtin"}])
    port = a.port(size=256)
    with Wire("far", lan.out.name) as wire, contextlib.closing(lan.vpfd.rpc_client()) as events:
        port.send_frame(frames.eth(lan.mac, a.mac, b"before"))
        assert wire.receive() == frames.eth(lan.mac, a.mac, b"before")
        events("events.subscribe", topics=["datapath", "link"])
        (tap,) = lan.taps()
        run_on_host(["ip", "link", "set", tap, "netns", lan.out.name])
        seen: list[str] = []
        while "bound" not in seen:
            seen.append(events.wait_notification("event")["event"])
        assert [e for e in seen if e != "failed"] == ["none", "down", "bound"], seen
        while not a.show()["link_up"]:
            pass
        assert lan.taps() == [tap]
        assert tap not in lan.out.run("ls /sys/class/net").stdout.split()
        for text in (b"in", b"more"):
            wire.send(frames.eth(a.mac, lan.mac, text))
            assert port.receive() == frames.eth(a.mac, lan.mac, text)
        port.send_frame(frames.eth(lan.mac, a.mac, b"after"))
        assert wire.receive() == frames.eth(lan.mac, a.mac, b"after")
    port.close()


@pytest.mark.parametrize("queues", [1, 2])
def test_numbers_through_workers(bed: Path, lan: Lan, queues: int) -> None:
    (a,) = add_functions(lan.vpfd, "pf", 1, queue_pairs=queues)
    args = [f"--rxq={queues}", f"--txq={queues}"]
    with Testpmd([virtio_user(0, a.socket, queues=queues, mac=a.mac)], "macswap", 0, args=args), lan.numbers(a) as peer:
        while a.stats()["rx"]["packets"] < 2000:
            assert peer.poll() is None
        assert a.show()["datapath"] == "builtin"
        check_numbers(peer.communicate()[0], 2000)


MEMORY_WORDS = ("add", "remove", "table", "untable")


def test_memory_comes_and_goes(lan: Lan) -> None:
    """While workers serve the rings: buffers in the memory that was added are served, those in what was removed are not."""
    (a,) = add_functions(lan.vpfd, "pf", 1)
    argv = [sys.executable, str(HERE / "memory_driver.py"), str(a.socket)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdin and driver.stdout and driver.stdout.readline() == "ready\n"
        while a.show()["binding"]["state"] != "bound":
            pass
        with lan.numbers(a) as peer:
            for word in MEMORY_WORDS:
                print(word, file=driver.stdin, flush=True)
                assert driver.stdout.readline() == word + "\n"
            check_numbers(peer.communicate()[0], 100)
        events = lan.vpfd.rpc_client()
        events("events.subscribe", topics=["ring"])
        print("stale", file=driver.stdin, flush=True)
        assert events.wait_notification("event")["event"] == "error"
        events.close()
        driver.stdin.close()
        assert driver.wait(20) == 0


@pytest.mark.kernels("6.12")
def test_instances_on_a_real_kernel(vm_factory: Callable[..., VM], kernel: str) -> None:
    """The unit test of the datapath, which needs a /dev/vhost-net for most of it."""
    program = paths.BUILD / "tests/unit/test_vhost_net"
    vm = vm_factory(kernel=kernel, memory="1G", files=paths.libraries_of(program))
    vm.run("modprobe vhost_net && modprobe tun && test -c /dev/vhost-net")
    result = vm.run("/build/tests/unit/test_vhost_net", timeout=120, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.findall(r"SKIPPED \] (\w+)", result.stdout) == ["test_not_here"], result.stdout
    assert vm.dmesg_warnings() == []


class GuestHost:
    """A guest that is a host: a kernel with vhost-net, its own bridge, vpfd, and a driver."""

    CTL = ("/build/vpfctl", "--socket", "/run/vpf/vpfd.sock")

    def __init__(self, vm: VM, mac: str = "02:00:00:00:0e:01"):
        self.vm, self.mac = vm, mac
        vm.run("modprobe vhost_net && modprobe tun && modprobe bridge")
        self.vpfd = vm.popen("exec /build/vpfd --run-dir /run/vpf --state-dir /run/vpf-state")
        self.vpfd.expect("is ready")
        vm.pod("out")
        vm.run("ip link add near type veth peer name far netns out")
        vm.run(f"sysctl -qw net.ipv6.conf.far.disable_ipv6=1; ip link set far address {mac} up", netns="out")
        self.ctl("fabric", "add", "lan", "--type", "bridge", "--bridge", "br0")
        vm.run("sysctl -qw net.ipv6.conf.br0.disable_ipv6=1; ip link set near addrgenmode none master br0 up")
        self.ctl("pf", "add", "pf", "--fabric", "lan", "--vfs", "1", "--queue-pairs", "2")

    def ctl(self, *args: str) -> str:
        return self.vm.run([*self.CTL, *args]).stdout

    def show(self) -> dict[str, Any]:
        return json.loads(self.ctl("--json", "vf", "show", "pf", "0"))

    def driver(self) -> GuestProcess:
        """Sends back what it gets, until its standard input ends."""
        shown = self.show()
        vdev = virtio_user(0, shown["socket"], mac=shown["mac"], queues=2)
        testpmd = self.vm.popen(
            ["stdbuf", "-oL", "dpdk-testpmd", "-d", f"/{PMDS}", "--no-pci", "--no-telemetry", "--no-huge", "--no-shconf", "-m", "64", "--lcores", "0@0,1@0",
             "--vdev", vdev, "--", "--total-num-mbufs=4096", "--rxq=2", "--txq=2", "--forward-mode=macswap", "--auto-start"], stdin=True,
        )  # fmt: skip
        testpmd.expect("Press enter to exit")
        return testpmd

    def numbers(self) -> GuestProcess:
        return self.vm.popen(["python3", "/vpf/tests/system/numbered.py", "far", self.show()["mac"]], netns="out", stdin=True)


@pytest.fixture
def guest_host(vm_factory: Callable[..., VM]) -> GuestHost:
    files = paths.libraries_of(paths.BUILD / "vpfd")
    return GuestHost(vm_factory("host", kernel="6.12", cpus=2, memory="1G", files=files))


def check_memory(host: GuestHost) -> None:
    """As test_memory_comes_and_goes, by the kernel's vhost-net."""
    driver = host.vm.popen(["python3", "/vpf/tests/system/memory_driver.py", host.show()["socket"]], stdin=True)
    driver.expect("ready")
    while host.show()["binding"]["state"] != "bound":
        pass
    peer = host.numbers()
    for word in MEMORY_WORDS:
        driver.write(f"{word}\n")
        driver.expect(f"\n{word}\n")
    peer.close_stdin()
    check_numbers(peer.wait(60, check=True).stdout, 100)
    assert host.show()["datapath"] == "vhost-net"
    driver.write("stale\n")
    host.vpfd.expect("queue 1 stopped")
    driver.close_stdin()
    driver.wait()


def test_moves_under_traffic(guest_host: GuestHost) -> None:
    """From vhost-net to workers at the same tap, and back."""
    host = guest_host
    driver, peer = host.driver(), host.numbers()
    assert (host.show()["datapath"], host.show()["queues_enabled"]) == ("vhost-net", 4)
    for _ in range(5):
        for wanted in ("builtin", "vhost-net,builtin"):
            host.ctl("vf", "set", "pf", "0", "--datapath", wanted)
            assert host.show()["datapath"] == wanted.split(",")[0]
    peer.close_stdin()
    check_numbers(peer.wait(60, check=True).stdout, 500)
    # Whoever deletes the tap: another one is made.
    host.vm.run("ip link delete $(ls /sys/class/net/br0/brif | grep -vx near)")
    host.vpfd.expect("deleted the tap")
    peer = host.numbers()
    peer.close_stdin()
    check_numbers(peer.wait(60, check=True).stdout, 1)
    # Whoever takes it away: the next datapath of the list goes on, at a tap of its own.
    host.vm.run("ip link set $(ls /sys/class/net/br0/brif | grep -vx near) netns out")
    host.vpfd.expect("moved from vhost-net to builtin")
    peer = host.numbers()
    peer.close_stdin()
    check_numbers(peer.wait(60, check=True).stdout, 1)
    driver.write("\n")
    driver.wait()
    host.vpfd.expect("driver has left it")
    check_memory(host)
    assert host.vm.run("ls /sys/class/net/br0/brif").stdout.split() == ["near"]
    assert host.vm.dmesg_warnings() == []
    host.vpfd.signal()
    assert host.vpfd.wait().returncode == 0
