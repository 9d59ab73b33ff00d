# SPDX-License-Identifier: Apache-2.0
"""Drivers whose rings and frames are wrong, next to two that behave, and loads that must cost others nothing; as
test_hostile.py otherwise."""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import frames
import pytest
import vu_client as vu
from attacked import Site
from bed.vpfd import Vpfd
from vu_client import GPA, Buffer, Port


@pytest.fixture
def site(vpfd_factory: Callable[..., Vpfd]) -> Iterator[Site]:
    with Site(vpfd_factory(args=["--workers", "2"])) as site:
        yield site


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


INSISTS = """
import os, sys
while True:
    for fd in sys.argv[1:]:
        os.set_blocking(int(fd), True)
"""


@contextlib.contextmanager
def insisting(fds: Sequence[int]) -> Iterator[None]:
    """A process of the front-end's makes the descriptors blocking as fast as it can."""
    with subprocess.Popen([sys.executable, "-c", INSISTS, *map(str, fds)], pass_fds=fds) as process:
        try:
            yield
        finally:
            process.kill()


def test_call_descriptor_made_to_block(site: Site) -> None:
    """The flags of a descriptor are the front-end's as much as vpfd's: it can take O_NONBLOCK away again, whenever it wants."""
    port = site.bad.port()
    for fd in port.call:
        os.set_blocking(fd, True)
        os.eventfd_write(fd, (1 << 64) - 2)
    with insisting(port.call):
        for _ in range(2000):
            site.friend_port.send_frame(frames.eth(site.bad.mac, site.friend.mac, b"to"))
            for head, _length in port.rx.reap():
                port.spare.append(port.rx_buffers.pop(head))
            port.fill()
    port.tx.add([port.frame_buffer(frames.eth(site.friend.mac, site.bad.mac, b"from"))])
    port.notify(1)
    site.friend_port.send_frame(*[frames.eth(site.bad.mac, site.friend.mac, b"to")] * 10)
    site.friend_port.receive()
    site.pair.check()
    port.close()
    site.wait_event("function", event="disconnected")
    site.check_after()
