# SPDX-License-Identifier: Apache-2.0
"""The uplink of a fabric, tap or netdev:

    vpfd: pf 0, 1, …  ── fabric ── uplink ─┬─ tap, moved into namespace "out"
                                           └─ veth, its other end in namespace "out"
"""

from __future__ import annotations

import errno
import itertools
import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import frames
import pytest
from bed.machine import need_tap
from bed.netns import Netns, run_on_host
from bed.vpfd import RpcError, Vpfd
from frames import AD, Q, Wire
from traffic import Function, add_functions
from vu_client import F_MRG_RXBUF, F_VERSION_1

_serial = itertools.count()
PEER = "02:00:00:00:0e:01"  # an address outside


class Uplink:
    """A fabric "lan" with an uplink whose far end is interface `far` of a namespace, with address PEER."""

    def __init__(self, kind: str, vpfd: Vpfd, out: Netns):
        self.kind, self.vpfd, self.out = kind, vpfd, out
        self.far_netns: str | None = out.name
        if kind.startswith("tap"):
            need_tap()
        self.name = f"vpft{os.getpid() % 100000}{next(_serial)}"
        self.events = vpfd.rpc_client()
        self.events("events.subscribe", topics=["fabric", "link"])
        if kind == "netdev":
            self.make_veth()
        vpfd.rpc("fabric.add", name="lan", uplink={"type": kind.split()[0], "name": self.name})
        if kind.startswith("tap"):
            self.far = self.name
        if kind == "tap":
            out.move(self.name)
        if kind == "tap here":  # not moved away
            self.far_netns = None
        self.set_up()

    def make_veth(self) -> None:
        self.far = "far"
        run_on_host(["ip", "link", "add", self.name, "type", "veth", "peer", "name", "far", "netns", self.out.name])
        # No frames of its own on the wire.
        run_on_host(f"ip link set {self.name} addrgenmode none up")

    def set_up(self) -> None:
        self.run_far(f"sysctl -qw net.ipv6.conf.{self.far}.disable_ipv6=1; ip link set {self.far} address {PEER} mtu 9000 up")
        self.await_carrier(True)

    def run_far(self, command: str) -> None:
        run_on_host(command, netns=self.far_netns)

    def carrier(self) -> bool:
        return self.vpfd.rpc("fabric.show", name="lan")["uplink"]["carrier"]

    def await_carrier(self, wanted: bool) -> None:
        while self.carrier() != wanted:
            self.events.wait_notification("event")

    def stats(self) -> dict[str, Any]:
        (row,) = (row for row in self.vpfd.rpc("stats", fabric="lan") if "uplink" in row)
        return row

    def wire(self) -> Wire:
        return Wire(self.far, self.far_netns)

    def close(self) -> None:
        self.events.close()
        run_on_host(["ip", "link", "delete", self.name], check=False)


@pytest.fixture(params=["tap", "netdev"])
def uplink(request: pytest.FixtureRequest, vpfd_factory: Callable[..., Vpfd], netns_factory: Callable[[str], Netns]) -> Iterator[Uplink]:
    uplink = Uplink(request.param, vpfd_factory(args=["--workers", "2"]), netns_factory("out"))
    yield uplink
    uplink.close()


def test_frames_and_tags(uplink: Uplink) -> None:
    """Both ways, untagged, 802.1Q, 802.1ad and one in the other, priorities included."""
    plain, access, provider, trunk = functions = add_functions(uplink.vpfd, "pf", 4)
    access.set(vlan={"mode": "access", "vid": 100, "pcp": 5})
    provider.set(vlan={"mode": "access", "vid": 200, "pcp": 2, "proto": "802.1ad"})
    trunk.set(vlan={"mode": "trunk", "vids": "0,7,300"})
    ports = {f: f.port(packed=n % 2 == 1) for n, f in enumerate(functions)}
    with uplink.wire() as wire:
        # function, tags inside, tags outside (out), tags outside (in)
        for f, inside, out, back in (
            (plain, (), (), ()),
            (access, (), ((Q, 5 << 13 | 100),), ((Q, 1 << 13 | 100),)),
            (provider, (), ((AD, 2 << 13 | 200),), ((AD, 200),)),
            (provider, ((Q, 42),), ((AD, 2 << 13 | 200), (Q, 42)), ((AD, 200), (Q, 42))),
            (trunk, (), (), ()),
            (trunk, ((Q, 6 << 13 | 7),), ((Q, 6 << 13 | 7),), ((Q, 6 << 13 | 7),)),
            (trunk, ((Q, 300),), ((Q, 300),), ((Q, 300),)),
        ):
            for length in (60, 61, 200, 1500):
                ports[f].send_frame(frames.eth(PEER, f.mac, b"out", tags=inside, length=length))
                assert wire.receive() == frames.eth(PEER, f.mac, b"out", tags=out, length=length)
                wire.send(frames.eth(f.mac, PEER, b"in", tags=back, length=length))
                assert ports[f].receive() == frames.eth(f.mac, PEER, b"in", tags=inside, length=length)
        # Into a VLAN where the function is not: nobody has that address there.
        before = uplink.stats()["tx"]["drops"].get("unknown_mac", 0)
        wire.send(frames.eth(access.mac, PEER), frames.eth(plain.mac, PEER, tags=((Q, 100),)), frames.eth(access.mac, PEER, tags=((AD, 100),)))
        wire.send(frames.eth(trunk.mac, PEER, tags=((Q, 8),)), frames.eth(plain.mac, PEER, b"last"))
        assert ports[plain].receive() == frames.eth(plain.mac, PEER, b"last")
        await_drops(uplink, "unknown_mac", before + 4)
        # Everybody's frame, by VLAN.
        wire.send(frames.eth(frames.BROADCAST, PEER, b"all", tags=((Q, 100),)))
        assert ports[access].receive() == frames.eth(frames.BROADCAST, PEER, b"all")
        ports[access].send_frame(frames.eth(frames.BROADCAST, access.mac, b"all"))
        assert wire.receive() == frames.eth(frames.BROADCAST, access.mac, b"all", tags=((Q, 5 << 13 | 100),))
    for port in ports.values():
        port.close()


def await_drops(uplink: Uplink, reason: str, wanted: int) -> None:
    """Workers take turns at the uplink: a frame that was sent before another may be counted after it."""
    for _ in range(2000):
        if uplink.stats()["tx"]["drops"].get(reason, 0) >= wanted:
            break
    assert uplink.stats()["tx"]["drops"].get(reason, 0) == wanted


def test_unknown_addresses(uplink: Uplink) -> None:
    """From outside to nobody: dropped and counted. From a function to nobody: outside."""
    a, b = add_functions(uplink.vpfd, "pf", 2)
    left, right = a.port(), b.port()
    with uplink.wire() as wire:
        wire.send(*[frames.eth("02:00:00:00:00:99", PEER)] * 5, frames.eth(a.mac, PEER, b"last"))
        assert left.receive() == frames.eth(a.mac, PEER, b"last")
        await_drops(uplink, "unknown_mac", 5)
        left.send_frame(frames.eth("02:00:00:00:00:99", a.mac, b"?"))
        assert wire.receive() == frames.eth("02:00:00:00:00:99", a.mac, b"?")
        # Between functions nothing goes outside.
        left.send_frame(frames.eth(b.mac, a.mac, b"inside"), frames.eth(PEER, a.mac, b"outside"))
        assert right.receive() == frames.eth(b.mac, a.mac, b"inside")
        assert wire.receive() == frames.eth(PEER, a.mac, b"outside")
    left.close()
    right.close()


@pytest.mark.parametrize("uplink", ["tap here", "netdev"], indirect=True)
def test_carrier(uplink: Uplink) -> None:
    """A function's link follows the uplink's, unless it is told otherwise. (That of a tap in another namespace cannot be seen.)"""
    auto, enabled, disabled = add_functions(uplink.vpfd, "pf", 3)
    enabled.set(link="enable")
    disabled.set(link="disable")
    sender, port = enabled.port(), auto.port()
    for up in (True, False, True):
        uplink.run_far(f"ip link set {uplink.far} {'up' if up else 'down'}")
        uplink.await_carrier(up)
        assert [f.show()["link_up"] for f in (auto, enabled, disabled)] == [up, True, False]
        frame = frames.eth(auto.mac, enabled.mac, bytes([up]))
        dropped = auto.drops("rx", "link_down")
        sender.send_frame(frame)
        if up:
            assert port.receive() == frame
        else:
            assert auto.drops("rx", "link_down") == dropped + 1
    sender.close()
    port.close()


def test_names_that_are_taken_or_missing(vpfd: Vpfd) -> None:
    need_tap()
    name = f"vpftx{os.getpid() % 10000}"
    run_on_host(f"ip tuntap add {name} mode tap")
    try:
        for uplink, code, part in (
            ({"type": "tap", "name": name}, errno.EEXIST, f"{name} exists already"),
            ({"type": "netdev", "name": "vpft-none"}, errno.ENODEV, "no netdev vpft-none"),
        ):
            with pytest.raises(RpcError) as refused:
                vpfd.rpc("fabric.add", name="lan", uplink=uplink)
            assert refused.value.code == -32000 - code and part in refused.value.message
            assert refused.value.data["field"] == "uplink.name"
            assert vpfd.rpc("fabric.list") == []
    finally:
        run_on_host(f"ip link delete {name}")
    vpfd.rpc("fabric.add", name="lan", uplink={"type": "tap", "name": name})
    vpfd.rpc("fabric.del", name="lan")
    assert run_on_host(f"ip link show {name}", check=False).returncode != 0


@pytest.mark.parametrize("uplink", ["netdev"], indirect=True)
def test_netdev_goes_and_comes_back(uplink: Uplink) -> None:
    (a,) = add_functions(uplink.vpfd, "pf", 1)
    port = a.port()
    for _ in range(3):
        run_on_host(["ip", "link", "delete", uplink.name])
        uplink.await_carrier(False)
        assert a.show()["link_up"] is False
        uplink.make_veth()
        uplink.set_up()
        with uplink.wire() as wire:
            wire.send(frames.eth(a.mac, PEER, b"in"))
            assert port.receive() == frames.eth(a.mac, PEER, b"in")
            port.send_frame(frames.eth(PEER, a.mac, b"out"))
            assert wire.receive() == frames.eth(PEER, a.mac, b"out")
    port.close()


@pytest.mark.parametrize("uplink", ["netdev"], indirect=True)
def test_start_without_the_netdev(uplink: Uplink) -> None:
    """At boot the netdev may come later than vpfd: the functions are there, and the uplink when it is."""
    vpfd = uplink.vpfd
    (a,) = add_functions(vpfd, "pf", 1)
    uplink.events.close()
    vpfd.stop()
    run_on_host(["ip", "link", "delete", uplink.name])
    vpfd.start()
    assert not uplink.carrier() and a.show()["link_up"] is False
    uplink.events = vpfd.rpc_client()
    uplink.events("events.subscribe", topics=["fabric", "link"])
    uplink.make_veth()
    uplink.set_up()
    port = a.port()
    with uplink.wire() as wire:
        port.send_frame(frames.eth(PEER, a.mac, b"out"))
        assert wire.receive() == frames.eth(PEER, a.mac, b"out")
    port.close()


def test_fabrics_never_mix(vpfd: Vpfd, netns_factory: Callable[[str], Netns]) -> None:
    """Two fabrics, the same VLANs and all kinds of frames: each sees its own only."""
    need_tap()
    out = netns_factory("out")
    sides: list[tuple[Function, Function]] = []
    wires = []
    for name in ("one", "two"):
        tap = f"vpfm{os.getpid() % 100000}{name}"[:15]
        vpfd.rpc("fabric.add", name=name, uplink={"type": "tap", "name": tap})
        out.move(tap)
        out.run(f"sysctl -qw net.ipv6.conf.{tap}.disable_ipv6=1; ip link set {tap} up")
        wires.append(Wire(tap, out.name))
        a, b = add_functions(vpfd, f"pf-{name}", 2, fabric=name)
        sides.append((a, b))
        for f in (a, b):
            f.set(link="enable", spoofchk=False)
    ports = {f: f.port() for side in sides for f in side}
    (a, _), (c, _) = sides
    for here, wire, others in (((a, sides[0][1]), wires[0], sides[1]), ((c, sides[1][1]), wires[1], sides[0])):
        sender, friend = here
        for dst in (frames.BROADCAST, "33:33:00:00:00:01", others[0].mac, "02:00:00:00:00:55"):
            frame = frames.eth(dst, sender.mac, sender.pf.encode())
            ports[sender].send_frame(frame)
            assert wire.receive() == frame
            if int(dst[:2], 16) & 1:
                assert ports[friend].receive() == frame
    for f, port in ports.items():  # nothing is left over
        with pytest.raises(TimeoutError):
            port.receive(timeout=0)
        port.close()
    for wire in wires:
        with pytest.raises(TimeoutError):
            wire.receive(timeout=0.1)
        wire.close()


def test_tcp_with_segmentation_offload(uplink: Uplink, netns_factory: Callable[[str], Netns]) -> None:
    """A large segment from the kernel outside: cut and given its checksum for a driver without offloads, every byte as it was sent;
    and left whole for one that takes segments."""
    (a,) = add_functions(uplink.vpfd, "pf", 1)
    uplink.out.run(f"ip link set {uplink.far} mtu 1500")
    uplink.out.run(f"ip addr add 10.8.0.1/24 dev {uplink.far} && ip neigh replace 10.8.0.2 lladdr {a.mac} dev {uplink.far}")
    guest_csum, guest_tso4 = 1 << 1, 1 << 7
    for features, whole in ((0, False), (guest_csum | guest_tso4, True)):
        port = a.port(size=256, features=F_VERSION_1 | F_MRG_RXBUF | features)
        data = os.urandom(40_000)
        with frames.in_netns(uplink.out.name):
            tcp = socket.socket()
        tcp.setblocking(False)
        try:
            connection = TcpPeer(port, a.mac, PEER, "10.8.0.2", "10.8.0.1", 5000)
            assert tcp.connect_ex(("10.8.0.2", 5000)) == errno.EINPROGRESS
            connection.accept()
            sent, got, largest = 0, b"", 0
            while len(got) < len(data):
                if sent < len(data):
                    try:
                        sent += tcp.send(data[sent:])
                    except BlockingIOError:
                        pass
                segment = connection.receive(check=not whole)
                largest = max(largest, len(segment))
                got += segment
            assert got == data
            assert (largest > 1460) == whole, largest
        finally:
            tcp.close()
            port.close()


class TcpPeer:
    """The passive end of one TCP connection: enough of it to take what comes in order."""

    def __init__(self, port, mac: str, peer_mac: str, address: str, peer: str, number: int):
        self.port, self.macs, self.number = port, (peer_mac, mac), number
        self.addresses = socket.inet_aton(address), socket.inet_aton(peer)

    def _segment(self, check: bool = True) -> tuple[int, int, int, bytes]:
        while True:
            header, frame = self.port.receive_with_header()
            if frame[12:14] != b"\x08\x00" or frame[23] != 6:
                continue
            ip, length = frame[14:], struct.unpack_from("!H", frame, 16)[0]
            tcp = ip[20:length]
            if check:
                assert header[0] == header[1] == 0, "a driver without offloads gets none"
                assert frames.checksum(ip[:20]) == 0
                pseudo = ip[12:20] + struct.pack("!BBH", 0, 6, len(tcp))
                assert frames.checksum(pseudo + tcp) == 0
            self.peer_port, _dst, sequence, _ack, offset, flags = struct.unpack_from("!HHIIBB", tcp)
            return sequence, flags, length, tcp[(offset >> 4) * 4 :]

    def _send(self, flags: int) -> None:
        tcp = struct.pack("!HHIIBBHHH", self.number, self.peer_port, self.mine, self.next, 5 << 4, flags, 65535, 0, 0)
        source, peer = self.addresses
        value = frames.checksum(source + peer + struct.pack("!BBH", 0, 6, len(tcp)) + tcp)
        tcp = tcp[:16] + struct.pack("!H", value) + tcp[18:]
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0x4000, 64, 6, 0, source, peer)
        ip = ip[:10] + struct.pack("!H", frames.checksum(ip)) + ip[12:]
        self.port.send_frame(frames.eth(*self.macs, ip + tcp, ethertype=frames.ETH_IP))

    def accept(self) -> None:
        flags = 0
        while not flags & 2:  # the kernel may still be taking its leave of an earlier connection
            sequence, flags, _length, _data = self._segment(check=False)
        self.mine, self.next = 1000, sequence + 1 & 0xFFFFFFFF
        self._send(0x12)
        self.mine += 1

    def receive(self, check: bool) -> bytes:
        """The next data in order, acknowledged."""
        while True:
            sequence, _flags, _length, data = self._segment(check)
            if data and sequence == self.next:
                self.next = self.next + len(data) & 0xFFFFFFFF
                self._send(0x10)
                return data
            self._send(0x10)
