# SPDX-License-Identifier: Apache-2.0
"""Front-ends and drivers that misbehave, next to two that behave: the offence is told in one line of the log and ends what
offended, the traffic of the others goes on, nothing is left behind, and the function serves the next client."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import frames
import pytest
import vu_client as vu
from bed.vpfd import Vpfd, built_with_sanitizers
from traffic import Pair, add_functions
from vu_client import GPA, UVA, Buffer, Client, Port


class Site:
    def __init__(self, vpfd: Vpfd):
        self.vpfd = vpfd
        (self.bad,) = add_functions(vpfd, "bad", 1)
        *both, self.friend = add_functions(vpfd, "good", 3)
        self.pair = Pair(*both)
        self.friend_port = self.friend.port()
        self.events = vpfd.rpc_client()
        self.events("events.subscribe", topics=["function", "ring"])
        self.check_good_client()
        self.mark = len(vpfd.output())
        self.fds = self.settled_fds()

    def settled_fds(self) -> int:
        """Descriptors of vpfd with nobody at the bad function; asked for after vpfd has dealt with all that came before."""
        self.vpfd.rpc("status")
        return self.vpfd.fds()

    def offences(self) -> list[str]:
        """Lines of warning or worse that were logged since the start or the last call."""
        self.vpfd.rpc("status")  # what came before it is logged
        text = self.vpfd.output()
        lines, self.mark = text[self.mark :].splitlines(), len(text)
        return [line for line in lines if line[:3] in ("<0>", "<1>", "<2>", "<3>", "<4>")]

    def wait_event(self, topic: str, **wanted: object) -> dict:
        while True:
            event = self.events.wait_notification("event")
            if event["topic"] == topic and event.get("pf") == "bad" and all(event.get(k) == v for k, v in wanted.items()):
                return event

    def exchange(self, port: Port) -> None:
        """A frame each way between PORT, at the bad function, and a third client that behaves."""
        self.from_bad(port)
        self.to_bad(port)

    def from_bad(self, port: Port) -> None:
        frame = frames.eth(self.friend.mac, self.bad.mac, b"from", length=300)
        port.send_frame(frame)
        assert self.friend_port.receive() == frame

    def to_bad(self, port: Port) -> None:
        frame = frames.eth(self.bad.mac, self.friend.mac, b"to", length=300)
        self.friend_port.send_frame(frame)
        assert port.receive() == frame

    def check_good_client(self) -> None:
        """The function works for who behaves, with either kind of ring."""
        for packed in (False, True):
            port = self.bad.port(packed=packed)
            try:
                self.exchange(port)
            finally:
                port.close()
            self.wait_event("function", event="disconnected")

    def check_after(self, *expected: str) -> None:
        """EXPECTED: a part of each line that the offence is worth, in order."""
        lines = self.offences()
        assert len(lines) == len(expected), f"{len(lines)} lines: {lines}"
        for part, line in zip(expected, lines, strict=True):
            assert part in line and "pf=bad vf=0" in line, line
        self.pair.check()
        self.check_good_client()
        assert self.settled_fds() == self.fds
        assert self.offences() == []


@pytest.fixture
def site(vpfd_factory: Callable[..., Vpfd]) -> Iterator[Site]:
    site = Site(vpfd_factory(args=["--workers", "2"]))
    try:
        yield site
    finally:
        site.events.close()
        site.friend_port.close()
        site.pair.finish()


# -- messages


def not_an_eventfd(kind: str) -> tuple[int, int]:
    """A descriptor that is no eventfd, and another to close."""
    if kind == "pipe":
        return os.pipe()[::-1]
    if kind == "socket":
        left, right = socket.socketpair()
        return left.detach(), right.detach()
    fd = os.memfd_create("file")
    return fd, os.dup(fd)


def message(request: int, payload: bytes = b"", **options: object) -> Callable[[Port], None]:
    return lambda port: port.send(request, payload, **options)


def with_wrong_fd(request: int, kind: str) -> Callable[[Port], None]:
    def offend(port: Port) -> None:
        fds = not_an_eventfd(kind)
        port.send(request, vu.u64(0), [fds[0]])
        for fd in fds:
            os.close(fd)

    return offend


def cut_short(port: Port) -> None:
    port.send(vu.SET_FEATURES, b"1234", size=8)
    port.socket.shutdown(socket.SHUT_WR)


def too_many_fds(port: Port) -> None:
    port.send(vu.SET_MEM_TABLE, vu.mem_table(*[vu.region(n << 21, 4096, n << 21, 0) for n in range(8)]), [port.mem.fd] * 12)


BAD_MESSAGES: dict[str, tuple[Callable[[Port], None], str]] = {
    "unknown request": (message(9999), "message 9999: not supported"),
    "request 0": (message(0), "message 0: not supported"),
    "wrong version": (message(vu.GET_FEATURES, flags=2), "version"),
    "a reply": (message(vu.GET_FEATURES, flags=vu.VERSION | vu.REPLY), "reply"),
    "oversized": (message(vu.SET_MEM_TABLE, size=0x7FFFFFFF), "payload longer"),
    "short": (message(vu.SET_FEATURES, b"1234"), "SET_FEATURES: payload of 4 bytes"),
    "long": (message(vu.SET_FEATURES, bytes(16)), "SET_FEATURES: payload of 16 bytes"),
    "cut short": (cut_short, "in the middle of a message"),
    "garbage": (lambda port: port.send_raw(bytes(range(256)) * 4), ""),
    "features not offered": (message(vu.SET_FEATURES, vu.u64(1 << 63)), "SET_FEATURES: features 0x8000000000000000"),
    "protocol features not offered": (message(vu.SET_PROTOCOL_FEATURES, vu.u64(1 << 40)), "SET_PROTOCOL_FEATURES"),
    "descriptors unasked for": (message(vu.GET_FEATURES, fds=[0]), "GET_FEATURES: 1 descriptors"),
    "too many descriptors": (too_many_fds, "descriptors"),
    "regions without descriptors": (message(vu.SET_MEM_TABLE, vu.mem_table(vu.region(0, 4096, 0, 0))), "SET_MEM_TABLE: 1 regions"),
    "more regions than said": (message(vu.SET_MEM_TABLE, struct.pack("=II", 3, 0) + bytes(32)), "SET_MEM_TABLE: 3 regions"),
    "regions by the billion": (message(vu.SET_MEM_TABLE, struct.pack("=II", 0xFFFFFFFF, 0)), "SET_MEM_TABLE"),
    "queue 2 of 2": (message(vu.SET_VRING_NUM, vu.state(2, 64)), "SET_VRING_NUM: queue 2 of 2"),
    "queue 4294967295": (message(vu.SET_VRING_ENABLE, vu.state(0xFFFFFFFF, 1)), "SET_VRING_ENABLE: queue 4294967295"),
    "size of a running queue": (message(vu.SET_VRING_NUM, vu.state(0, 128)), "SET_VRING_NUM: queue 0 is running"),
    "base of a running queue": (message(vu.SET_VRING_BASE, vu.state(1, 7)), "SET_VRING_BASE: queue 1 is running"),
    "enabled twice over": (message(vu.SET_VRING_ENABLE, vu.state(0, 2)), "SET_VRING_ENABLE"),
    "flags of an address": (message(vu.SET_VRING_ADDR, vu.ring_addr(0, UVA, UVA, UVA, flags=6)), "SET_VRING_ADDR: queue 0: unknown flags"),
    "inflight not negotiated": (message(vu.GET_INFLIGHT_FD, bytes(24)), "GET_INFLIGHT_FD: its protocol feature"),
    "status": (message(vu.SET_STATUS, vu.u64(0x100)), "SET_STATUS"),
    "no-descriptor flag and a descriptor": (message(vu.SET_VRING_KICK, vu.u64(vu.NOFD), fds=[0]), "SET_VRING_KICK: the no-descriptor flag"),
    "kick without a descriptor": (message(vu.SET_VRING_KICK, vu.u64(0)), "SET_VRING_KICK: the no-descriptor flag"),
    "unknown flags of a kick": (message(vu.SET_VRING_KICK, vu.u64(0x300)), "SET_VRING_KICK: unknown flags"),
    **{
        f"a {kind} as {name.lower()} descriptor": (with_wrong_fd(request, kind), f"SET_VRING_{name}: queue 0: the descriptor is not an eventfd")
        for kind in ("pipe", "socket", "file")
        for name, request in (("KICK", vu.SET_VRING_KICK), ("CALL", vu.SET_VRING_CALL), ("ERR", vu.SET_VRING_ERR))
    },
}


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
def test_bad_message_ends_the_connection(site: Site, packed: bool) -> None:
    """All of them one after the other against one daemon, each on a connection with rings that run."""
    for name, (offend, expected) in BAD_MESSAGES.items():
        port = site.bad.port(packed=packed)
        offend(port)
        port.wait_closed()
        site.wait_event("function", event="disconnected")
        port.close()
        lines = site.offences()
        assert len(lines) == 1 and "pf=bad vf=0: bad message, connection ended: " in lines[0] and expected in lines[0], (name, lines)
        assert site.settled_fds() == site.fds, name
    site.check_after()
    assert not site.bad.show()["connected"]


def test_second_client_is_refused(site: Site) -> None:
    port = site.bad.port()
    for _ in range(3):
        second = Client(site.bad.socket)
        second.wait_closed()
        second.close()
    lines = site.offences()
    assert len(lines) == 3 and all("second client" in line and f"process {os.getpid()} is connected" in line for line in lines), lines
    site.exchange(port)
    port.close()
    site.wait_event("function", event="disconnected")
    site.check_after()


def test_clients_that_come_and_go(site: Site) -> None:
    """Two hundred, each with memory and rings, some in the middle of the set-up."""
    rss = site.vpfd.rss()
    for number in range(200):
        port = site.bad.port(packed=bool(number & 1), start=number % 3 > 0, memory=1 << 20)
        port.close()
        site.wait_event("function", event="disconnected")
    grown = site.vpfd.rss() - rss
    assert grown < (256 << 20 if built_with_sanitizers() else 2 << 20), f"{grown} bytes"
    site.check_after()


# -- memory


def memfd(size: int) -> int:
    fd = os.memfd_create("small")
    os.ftruncate(fd, size)
    return fd


MB = 1 << 20
BAD_REGIONS = {
    "overlapping": [vu.region(0, 2 * MB, 0, 0), vu.region(MB, MB, 4 * MB, 0)],
    "twice the same": [vu.region(0, MB, 0, 0)] * 2,
    "wrapping guest address": [vu.region(-MB, 2 * MB, 0, 0)],
    "wrapping user address": [vu.region(0, 2 * MB, -MB, 0)],
    "wrapping offset": [vu.region(0, 2 * MB, 0, -MB)],
    "of no size": [vu.region(0, 0, 0, 0)],
    "larger than the file": [vu.region(0, 5 * MB, 0, 0)],
    "behind the file": [vu.region(0, MB, 0, 4 * MB)],
    "huge": [vu.region(0, 1 << 62, 0, 0)],
}


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
def test_bad_memory_is_refused(site: Site, packed: bool) -> None:
    """With an acknowledgement asked for: refused, and the rings go on with the memory that they had."""
    port = site.bad.port(packed=packed)
    for name, regions in BAD_REGIONS.items():
        assert not port.ack(vu.SET_MEM_TABLE, vu.mem_table(*regions), [port.mem.fd] * len(regions)), name
        lines = site.offences()
        assert len(lines) == 1 and "SET_MEM_TABLE: region" in lines[0] and "pf=bad vf=0" in lines[0], (name, lines)
        site.exchange(port)
    for name, fd in (("pipe", not_an_eventfd("pipe")[0]), ("empty file", memfd(0)), ("eventfd", os.eventfd(0))):
        assert not port.ack(vu.ADD_MEM_REG, bytes(8) + vu.region(0, MB, 0, 0), [fd]), name
        os.close(fd)
        lines = site.offences()
        assert len(lines) == 1 and "ADD_MEM_REG: region" in lines[0], (name, lines)
    assert not port.ack(vu.REM_MEM_REG, bytes(8) + vu.region(0, MB, 0, 0))
    assert len(site.offences()) == 1
    site.exchange(port)
    port.close()
    site.wait_event("function", event="disconnected")
    site.check_after()


def test_bad_memory_that_nobody_asks_about(site: Site) -> None:
    """Without an acknowledgement the front-end would go on as if it had worked: the connection ends."""
    port = site.bad.port()
    port.send(vu.SET_MEM_TABLE, vu.mem_table(vu.region(0, 5 * MB, 0, 0)), [port.mem.fd])
    port.wait_closed()
    site.wait_event("function", event="disconnected")
    port.close()
    site.check_after("SET_MEM_TABLE: region 0", "connection ended")


def test_memory_taken_away_under_the_rings(site: Site) -> None:
    port = site.bad.port()
    site.exchange(port)
    assert port.ack(vu.REM_MEM_REG, bytes(8) + vu.region(GPA, port.mem.size, UVA, 0))
    assert site.bad.show()["queues_started"] == 0
    assert port.set_memory()
    assert site.bad.show()["queues_started"] == 2
    site.exchange(port)
    port.close()
    site.wait_event("function", event="disconnected")
    site.check_after()


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
@pytest.mark.parametrize("what", ["outside", "behind the end", "unaligned", "wrapping"])
def test_bad_ring_address_is_refused(site: Site, what: str, packed: bool) -> None:
    port = site.bad.port(packed=packed, start=False)
    end = UVA + port.mem.size
    desc, used, avail = {
        "outside": (0x1000, 0x2000, 0x3000),
        "behind the end": (end - 16, end - 4, end - 4),  # the first byte is inside
        "unaligned": (UVA + 1, UVA + 4097, UVA + 8193),
        "wrapping": (-16, -16, -16),
    }[what]
    assert port.ack(vu.SET_VRING_NUM, vu.state(1, 64))
    assert port.ack(vu.SET_VRING_BASE, vu.state(1, port.tx.base))
    refused = not port.ack(vu.SET_VRING_ADDR, vu.ring_addr(1, desc, used, avail))
    if not refused:  # it is only known to be wrong when the whole ring is
        assert not port.ack(vu.SET_VRING_KICK, vu.u64(1), [port.kick[1]])
    lines = site.offences()
    assert len(lines) == 1 and "pf=bad vf=0" in lines[0] and "queue 1" in lines[0], lines
    assert site.bad.show()["queues_started"] == 0
    # The same connection, with right addresses.
    port.start(0, port.rx)
    port.start(1, port.tx)
    port.fill()
    site.exchange(port)
    port.close()
    site.wait_event("function", event="disconnected")
    site.check_after()


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
@pytest.mark.parametrize("which", ["buffers", "all"])
def test_memory_that_shrinks(site: Site, which: str, packed: bool) -> None:
    """The file behind the memory is cut off while the rings run: what touches it must not take the daemon down."""
    port = site.bad.port(packed=packed)
    site.exchange(port)
    beyond = port.mem.alloc(4096, align=4096)
    port.tx.add([Buffer(GPA + beyond, 300)])
    os.ftruncate(port.mem.fd, 0 if which == "all" else beyond)
    port.notify(1)
    site.friend_port.send_frame(frames.eth(site.bad.mac, site.friend.mac, b"to"), frames.eth(site.bad.mac, site.friend.mac, b"to"))
    port.wait_closed()
    site.wait_event("function", event="disconnected")
    port.close()
    site.check_after("connection ended: the front-end truncated the file")


# -- rings: each of these makes a queue fail. RING is the port's ring, WRITE what its buffers have to be.


def table(port: Port, entries: list[tuple[int, int, int, int]], length: int | None = None) -> Buffer:
    """An indirect table: (address, length, flags, following)."""
    offset = port.mem.alloc(max(16, 16 * len(entries)))
    for i, entry in enumerate(entries):
        struct.pack_into("=QIHH", port.mem.map, offset + 16 * i, *entry)
    return Buffer(GPA + offset, 16 * len(entries) if length is None else length, flags=vu.DESC_INDIRECT)


def one(port: Port, write: bool, **changes: int) -> Buffer:
    buffer = Buffer(GPA + port.mem.alloc(2048), 100, write)
    for name, value in changes.items():
        setattr(buffer, name, value)
    return buffer


def split_loop(port: Port, ring, write: bool) -> None:
    flags = vu.DESC_NEXT | (vu.DESC_WRITE if write else 0)
    head, other = ring.free[:2]
    ring.write_desc(head, GPA, 100, flags, other)
    ring.write_desc(other, GPA, 100, flags, head)
    ring.offer(head)


def split_next_beyond(port: Port, ring, write: bool) -> None:
    head = ring.free[0]
    ring.write_desc(head, GPA, 100, vu.DESC_NEXT | (vu.DESC_WRITE if write else 0), ring.size)
    ring.offer(head)


def split_indirect_loop(port: Port, ring, write: bool) -> None:
    flags = vu.DESC_NEXT | (vu.DESC_WRITE if write else 0)
    ring.add([table(port, [(GPA, 100, flags, 1), (GPA, 100, flags, 0)])])


def oversized_chain(port: Port, ring, write: bool) -> None:
    """All of 2^32 bytes: more than a length can say."""
    ring.add([one(port, write, gpa=GPA, length=port.mem.size)] * (2 if ring.size < 1024 else 1) + [one(port, write, length=0xFFFFFFFF)])


def wide_chain(port: Port, ring, write: bool) -> None:
    flags = vu.DESC_WRITE if write else 0
    entries = [(GPA, 1, flags | (vu.DESC_NEXT if i < 1999 else 0), i + 1) for i in range(2000)]
    ring.add([table(port, entries)])


RING_OFFENCES: dict[str, tuple[Callable[..., object], str, str]] = {
    # name: (offence, which rings, what is said of it)
    "head beyond the ring": (lambda port, ring, write: ring.offer(ring.size), "split", "beyond its table"),
    "head 65535": (lambda port, ring, write: ring.offer(0xFFFF), "split", "beyond its table"),
    "next beyond the ring": (split_next_beyond, "split", "beyond its table"),
    "loop": (split_loop, "split", "loops"),
    "loop in an indirect table": (split_indirect_loop, "split", "loops"),
    "index jumps ahead": (lambda port, ring, write: ring.jump(ring.avail_idx + ring.size + 1), "split", "jumped"),
    "index jumps back": (lambda port, ring, write: ring.jump(ring.avail_idx - ring.size - 1), "split", "jumped"),
    "address outside": (lambda port, ring, write: ring.add([one(port, write, gpa=0x1000)]), "both", "outside guest memory"),
    "address wraps": (lambda port, ring, write: ring.add([one(port, write, gpa=(1 << 64) - 50)]), "both", "outside guest memory"),
    "end outside": (lambda port, ring, write: ring.add([one(port, write, gpa=GPA + port.mem.size - 50)]), "both", "outside guest memory"),
    "wrong direction": (lambda port, ring, write: ring.add([one(port, not write)]), "both", "device-writable"),
    "no length": (lambda port, ring, write: ring.add([one(port, write, length=0)]), "both", "of no length"),
    "no length at the end": (lambda port, ring, write: ring.add([one(port, write), one(port, write, length=0)]), "both", "of no length"),
    "oversized chain": (oversized_chain, "both", ""),
    "nested table": (
        lambda port, ring, write: ring.add([table(port, [(GPA, 16, vu.DESC_INDIRECT, 0)])]), "split", "an indirect descriptor where none may be"
    ),
    "table of odd size": (lambda port, ring, write: ring.add([table(port, [(GPA, 1, 0, 0)], length=17)]), "both", "a wrong size"),
    "table of no size": (lambda port, ring, write: ring.add([table(port, [], length=0)]), "both", "a wrong size"),
    "table outside": (
        lambda port, ring, write: ring.add([Buffer(0x1000, 16, flags=vu.DESC_INDIRECT)]), "both", "an indirect table outside guest memory"
    ),
    "table and more": (
        lambda port, ring, write: ring.add([table(port, [(GPA, 100, 0, 0)]), one(port, write)]), "both", "an indirect descriptor where none may be"
    ),
    "wide chain": (wide_chain, "both", "a wrong size"),
    "buffer id beyond the ring": (lambda port, ring, write: ring.add([one(port, write)], ident=0xFFFF), "packed", "id is beyond the ring"),
    "chain longer than the ring": (
        lambda port, ring, write: ring.add([one(port, write)] * (ring.size - 1) + [one(port, write, flags=vu.DESC_NEXT)]), "packed",
        "longer than the ring",
    ),
}  # fmt: skip


def test_ring_offences(site: Site) -> None:
    """Each in the transmit and in the receive queue: that queue stops and can be set up anew, the other one goes on."""
    for packed in (False, True):
        port = site.bad.port(packed=packed, features=vu.F_VERSION_1 | vu.F_MRG_RXBUF | vu.F_INDIRECT, memory=64 << 20)
        site.exchange(port)
        for queue in (1, 0):
            for name, (offend, rings, expected) in RING_OFFENCES.items():
                if rings not in ("both", "packed" if packed else "split"):
                    continue
                what = f"{name}, {'packed' if packed else 'split'} queue {queue}"
                errors = site.bad.stats()["ring_errors"]
                if queue == 0:  # an offence must not wait behind good buffers
                    port.request(vu.GET_VRING_BASE, vu.state(0, 0))
                    port.rx, port.rx_buffers = type(port.rx)(port.mem, port.rx.size), {}
                    port.start(0, port.rx)
                offend(port, port.tx if queue else port.rx, not queue)
                port.notify(queue)
                if queue == 0:
                    site.friend_port.send_frame(frames.eth(site.bad.mac, site.friend.mac, b"to"))
                event = site.wait_event("ring")
                lines = site.offences()
                assert len(lines) == 1 and f"queue {queue} stopped" in lines[0] and expected in lines[0], (what, lines, event)
                assert site.bad.show()["queues_started"] == 1, what
                assert site.bad.stats()["ring_errors"] == errors + 1, what
                # The other queue goes on, and the one that failed does when the driver sets it up anew.
                (site.to_bad if queue else site.from_bad)(port)
                port.restart(queue)
                if queue == 0:
                    port.fill()
                site.exchange(port)
        port.close()
        site.wait_event("function", event="disconnected")
        site.pair.check()
    site.check_after()


# -- what is no offence, but must not cost others anything


def test_frames_that_are_none(site: Site) -> None:
    """Too short and too long ones, a header without a frame: dropped and counted, and the ring goes on."""
    for packed in (False, True):
        port = site.bad.port(packed=packed, features=vu.F_VERSION_1 | vu.F_MRG_RXBUF | vu.F_INDIRECT)
        before = site.bad.drops("tx", "malformed")
        place = GPA + port.mem.alloc(70000)
        header = Buffer(place, vu.HDR_LEN)
        for chain in ([header], [header, Buffer(place, 13)], [Buffer(place, 1)], [header, Buffer(place, 65601)]):
            port.tx.add(chain)
            port.notify(1)
        site.exchange(port)  # behind them in the ring
        assert site.bad.drops("tx", "malformed") == before + 4
        # A frame in many pieces is one all the same.
        frame = frames.eth(site.friend.mac, site.bad.mac, b"in pieces", length=200)
        whole = port.frame_buffer(frame)
        pieces = [Buffer(whole.gpa + n, 4) for n in range(0, whole.length, 4)]
        port.tx.add([*pieces[:50], Buffer(pieces[50].gpa, whole.length - 200)])
        port.notify(1)
        assert site.friend_port.receive() == frame
        port.close()
        site.wait_event("function", event="disconnected")
    site.check_after()


def test_offload_headers_that_lie(site: Site) -> None:
    """Checksum and segmentation requests that do not fit the frame."""
    port = site.bad.port(features=vu.F_VERSION_1 | vu.F_MRG_RXBUF | vu.F_CSUM | 1 << 11 | 1 << 12)
    frame = frames.eth(site.friend.mac, site.bad.mac, bytes(100), ethertype=frames.ETH_IP, length=120)
    before = site.bad.drops("tx", "malformed")
    lies = [
        # flags, gso_type, hdr_len, gso_size, csum_start, csum_offset
        (1, 0, 0, 0, 0xFFFF, 0),
        (1, 0, 0, 0, 118, 16),
        (1, 0, 0, 0, 0, 0xFFFF),
        (1, 0, 0, 0, 0xFFF0, 0xFFF0),
        (1, 1, 54, 0, 34, 16),
        (1, 1, 0xFFFF, 1000, 34, 16),
        (0, 1, 54, 1000, 0, 0),
        (1, 77, 54, 1000, 34, 16),
        (1, 4, 54, 1000, 34, 16),
    ]
    for lie in lies:
        port.send_frame(frame, header=struct.pack("=BBHHHHH", *lie, 0))
    assert site.bad.drops("tx", "malformed") == before + len(lies)
    site.exchange(port)
    port.close()
    site.wait_event("function", event="disconnected")
    site.check_after()


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
def test_client_that_never_takes_frames(site: Site, packed: bool) -> None:
    """Without receive buffers, then without ever giving back those that were used."""
    port = site.bad.port(packed=packed, fill=False)
    frame = frames.eth(site.bad.mac, site.friend.mac, b"nobody reads this", length=300)
    before = site.bad.drops("rx", "no_buffer")
    for _ in range(10):
        site.friend_port.send_frame(*[frame] * 50)  # returns when they are taken: the sender is not held up
    assert site.bad.drops("rx", "no_buffer") == before + 500
    port.fill()
    site.friend_port.send_frame(*[frame] * 64)
    assert site.bad.drops("rx", "no_buffer") == before + 500
    site.friend_port.send_frame(*[frame] * 64)
    assert site.bad.drops("rx", "no_buffer") == before + 564
    # It wakes up: what was delivered is all there, and from then on it gets what is sent.
    assert port.receive_all(64) == [frame] * 64
    site.exchange(port)
    port.close()
    site.wait_event("function", event="disconnected")
    site.check_after()


SENDER = """
import sys
sys.path.insert(0, {path!r})
import frames, vu_client
port = vu_client.Port({socket!r}, packed={packed})
burst = [frames.eth({dst!r}, {src!r}, bytes(1000))] * 32
port.send_frame(*burst)
print("sending", flush=True)
while True:
    port.send_frame(*burst)
"""


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
def test_client_killed_in_mid_transfer(site: Site, packed: bool) -> None:
    program = SENDER.format(
        path=str(Path(__file__).parent), socket=str(site.bad.socket), packed=packed, dst=site.friend.mac, src=site.bad.mac
    )
    for _ in range(3):
        sender = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        try:
            assert sender.stdout and sender.stdout.readline() == "sending\n"
            site.friend_port.receive_all(200)  # it is at it
        finally:
            sender.send_signal(signal.SIGKILL)
            sender.wait()
        site.wait_event("function", event="disconnected")
        drain(site.friend_port)
    site.check_after()


def drain(port: Port) -> None:
    """Takes what has arrived. vpfd has delivered all that there is: the connection that it came over has ended."""
    while True:
        try:
            port.receive(timeout=0)
        except TimeoutError:
            return


def test_eventfds_at_their_limit(site: Site) -> None:
    """A call descriptor that is full does not hold up anything; a kick without a reason, and a flood of them, neither."""
    port = site.bad.port()
    os.eventfd_write(port.call[0], (1 << 64) - 2)
    os.eventfd_write(port.call[1], (1 << 64) - 2)
    for _ in range(20):
        site.friend_port.send_frame(frames.eth(site.bad.mac, site.friend.mac, b"to", length=100))
    port.send_frame(frames.eth(site.friend.mac, site.bad.mac, b"from", length=100))
    site.friend_port.receive()
    assert len(port.receive_all(20)) == 20
    for _ in range(5000):
        port.notify(0)
        port.notify(1)
    site.exchange(port)
    # One descriptor for everything, and then none at all.
    for request in (vu.SET_VRING_CALL, vu.SET_VRING_ERR, vu.SET_VRING_KICK):
        for queue in (0, 1):
            assert port.ack(request, vu.u64(queue), [port.kick[0]])
    port.notify(0)
    for queue in (0, 1):
        assert port.ack(vu.SET_VRING_CALL, vu.u64(queue), [port.call[queue]])
        assert port.ack(vu.SET_VRING_KICK, vu.u64(queue | vu.NOFD))
    site.exchange(port)
    port.close()
    site.wait_event("function", event="disconnected")
    site.check_after()


def test_call_descriptor_made_to_block(site: Site) -> None:
    """The flags of a descriptor are the front-end's as much as vpfd's: it can take O_NONBLOCK away again."""
    port = site.bad.port()
    for fd in port.call:
        os.set_blocking(fd, True)
        os.eventfd_write(fd, (1 << 64) - 2)
    port.tx.add([port.frame_buffer(frames.eth(site.friend.mac, site.bad.mac, b"from"))])
    port.notify(1)
    site.friend_port.send_frame(*[frames.eth(site.bad.mac, site.friend.mac, b"to")] * 10)
    site.friend_port.receive()
    site.pair.check()
    port.close()
    site.wait_event("function", event="disconnected")
    site.check_after()
