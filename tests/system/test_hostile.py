# SPDX-License-Identifier: Apache-2.0
"""Front-ends that misbehave, by messages and by memory, next to two that behave: the offence is told in one line of the
log and ends what offended, the traffic of the others goes on, nothing is left behind, and the function serves the next
client."""

from __future__ import annotations

import os
import re
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator

import frames
import pytest
import vu_client as vu
from attacked import Site
from bed.vpfd import Vpfd, built_with_sanitizers
from vu_client import GPA, UVA, Buffer, Client, Port


@pytest.fixture
def site(vpfd_factory: Callable[..., Vpfd]) -> Iterator[Site]:
    with Site(vpfd_factory(args=["--workers", "2"])) as site:
        yield site


# -- messages


def not_an_eventfd(kind: str) -> tuple[int, int]:
    """A descriptor that is no eventfd, and another to close."""
    if kind == "pipe":
        return os.pipe()[::-1]
    if kind == "socket":
        left, right = socket.socketpair()
        return left.detach(), right.detach()
    if kind == "epoll":  # as an eventfd's, its inode has no type
        with select.epoll() as epoll:
            return os.dup(epoll.fileno()), os.dup(epoll.fileno())
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
        for kind in ("pipe", "socket", "file", "epoll")
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


# -- the log

BURST = 4000  # lines that a PF may cause at once (src/util/log_share.h)


def test_lines_of_the_log_are_shared(site: Site) -> None:
    """A line a message, as fast as vpfd takes them: the log grows by a PF's share, the others' lines are in it, and it is said how
    many were left out."""
    port = site.bad.port()
    flood = 3 * BURST
    for _ in range(flood // 1000):
        for _ in range(1000):
            port.send(vu.NET_SET_MTU, vu.u64(1))
        assert not port.ack(vu.NET_SET_MTU, vu.u64(1))
    second = Client(site.friend.socket)  # refused with a line, as there is one already
    second.wait_closed()
    time.sleep(0.2)  # two lines more
    assert not port.ack(vu.NET_SET_MTU, vu.u64(1))
    sent = flood + flood // 1000 + 1
    lines = site.offences()
    assert len(lines) < BURST + 300, "all were written"
    assert sum("pf=good" in line for line in lines) == 1
    left_out = [int(found[1]) for line in lines if (found := re.search(r"pf=bad: (\d+) lines were left out", line))]
    assert left_out and sum(left_out) + sum("NET_SET_MTU: MTU 1" in line for line in lines) == sent
    site.pair.check()
    port.close()


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
    # A regular file, on a file system of which vpfd does not know how long a page takes.
    with open("/proc/self/status", "rb") as file:
        assert not port.ack(vu.ADD_MEM_REG, bytes(8) + vu.region(0, MB, 0, 0), [file.fileno()])
    (line,) = site.offences()
    assert "on type 0x9fa0, see --memory-fs" in line
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
