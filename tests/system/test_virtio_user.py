# SPDX-License-Identifier: Apache-2.0
"""A poll mode driver as the guest: DPDK's virtio-user through vpfd, with the rings and offloads it can be asked for. And frames
that such a driver does not send, from a driver in Python: VLAN tags, sizes at the limit, every byte compared."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

import frames
import pytest
from bed.dpdk import PortStats, Testpmd, virtio_user
from bed.machine import PATIENCE
from bed.vpfd import Vpfd
from frames import AD, Q
from traffic import Function, add_functions
from vu_client import F_MRG_RXBUF, F_VERSION_1


def settled(testpmd: Testpmd, done: Callable[[dict[int, PortStats]], bool], timeout: float = 30) -> dict[int, PortStats]:
    """testpmd's counters once DONE is true of them. It has no event for that: its worker polls, and so do we."""
    deadline = time.monotonic() + timeout * PATIENCE
    while True:
        stats = testpmd.stats()
        if done(stats):
            return stats
        assert time.monotonic() < deadline, f"not within {timeout} s: {stats}"


def client(
    a: Function, b: Function, *, queues: int = 1, mode: str = "mac", args: tuple[str, ...] = (), **options: object
) -> Testpmd:
    """One testpmd with a port at each function. In mode `mac` what one port receives goes out of the other one, to the port that it
    came from, so that frames travel for ever; each with the address of the port that sends it, because of the spoof check."""
    vdevs = [virtio_user(n, f.socket, queues=queues, mac=f.mac, **options) for n, f in enumerate((a, b))]
    # Port 0 sends to port 1 and port 1 to port 0.
    peers = [f"--eth-peer=0,{b.mac}", f"--eth-peer=1,{a.mac}"]
    return Testpmd(vdevs, mode, 0, args=[f"--rxq={queues}", f"--txq={queues}", *peers, *args], start=False)


def check_counters(functions: tuple[Function, ...], stats: dict[int, PortStats]) -> None:
    for number, function in enumerate(functions):
        ours, theirs = function.stats(), stats[number]
        assert ours["tx"]["packets"] == theirs.tx_packets
        assert ours["rx"]["packets"] == theirs.rx_packets
        # testpmd counts the frame check sequence in no direction for a virtio port: bytes are those of the frames.
        assert ours["tx"]["bytes"] == theirs.tx_bytes
        assert ours["rx"]["bytes"] == theirs.rx_bytes
        assert theirs.rx_errors == 0 and ours["ring_errors"] == 0


def rest(testpmd: Testpmd, a: Function, b: Function) -> dict[int, PortStats]:
    """Ends the traffic; counters once nothing is on its way any more."""
    testpmd.command("stop")
    testpmd.command("set fwd rxonly")  # what is in the receive queues is received, and not sent again
    testpmd.command("start")
    stats = settled(
        testpmd,
        lambda stats: stats[0].tx_packets == stats[1].rx_packets == b.stats()["rx"]["packets"]
        and stats[1].tx_packets == stats[0].rx_packets == a.stats()["rx"]["packets"],
    )
    testpmd.command("stop")
    return stats


VARIANTS = {
    # Both formats with one and four queue pairs, each with every other option on and off at least once, and every queue size.
    "split": {"queue_size": 256},
    "split, no merging": {"mrg_rxbuf": 0, "queue_size": 1024},
    "split, in order": {"in_order": 1, "queue_size": 256},
    "split, in order, no merging, 64": {"in_order": 1, "mrg_rxbuf": 0, "queue_size": 64},
    "split, not in order, 64": {"in_order": 0, "queue_size": 64},
    "split, vectorized": {"in_order": 0, "mrg_rxbuf": 0, "vectorized": 1, "queue_size": 256},
    "split, 4 queues": {"queues": 4, "queue_size": 256},
    "split, 4 queues, in order, no merging": {"queues": 4, "in_order": 1, "mrg_rxbuf": 0, "queue_size": 256},
    "packed": {"packed_vq": 1, "queue_size": 256},
    "packed, no merging": {"packed_vq": 1, "mrg_rxbuf": 0, "queue_size": 1024},
    "packed, in order": {"packed_vq": 1, "in_order": 1, "queue_size": 256},
    "packed, in order, no merging, 64": {"packed_vq": 1, "in_order": 1, "mrg_rxbuf": 0, "queue_size": 64},
    "packed, not in order, 64": {"packed_vq": 1, "in_order": 0, "queue_size": 64},
    "packed, 4 queues": {"packed_vq": 1, "queues": 4, "queue_size": 256},
    "packed, 4 queues, in order, no merging": {"packed_vq": 1, "queues": 4, "in_order": 1, "mrg_rxbuf": 0, "queue_size": 1024},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_frames_go_round(bed: Path, vpfd_factory: Callable[..., Vpfd], variant: str) -> None:
    """A few frames that circulate: as many as there are, all arrive, each time round. Then every counter agrees."""
    options = dict(VARIANTS[variant])
    queues = int(options.get("queues", 1))
    vpfd = vpfd_factory(args=["--workers", "2"])
    a, b = add_functions(vpfd, "pf", 2, queue_pairs=queues)
    with client(a, b, **options) as testpmd:
        for function in (a, b):
            shown = function.show()
            assert shown["queues_started"] == shown["queues_enabled"] == 2 * queues
            features = int(shown["features"], 16)
            assert bool(features >> 34 & 1) == bool(options.get("packed_vq"))
            assert bool(features >> 15 & 1) == bool(options.get("mrg_rxbuf", 1))
            assert bool(features >> 35 & 1) == bool(options.get("in_order", 1)), "VIRTIO_F_IN_ORDER"
        testpmd.command("start tx_first 1")
        rounds = settled(testpmd, lambda stats: all(port.rx_packets > 2000 for port in stats.values()))
        assert rounds[0].rx_missed == rounds[1].rx_missed == 0
        stats = rest(testpmd, a, b)
        check_counters((a, b), stats)
        for here, there in ((a, b), (b, a)):
            ours, others = here.stats(), there.stats()
            assert ours["tx"]["dropped"] == ours["rx"]["dropped"] == 0
            assert ours["tx"]["packets"] == others["rx"]["packets"]
            assert ours["tx"]["bytes"] == others["rx"]["bytes"]


def test_many_frames_one_way(bed: Path, vpfd_factory: Callable[..., Vpfd]) -> None:
    """A sender that does not wait for the receiver: what cannot be delivered is counted, and the sum is right."""
    vpfd = vpfd_factory()
    a, b = add_functions(vpfd, "pf", 2)
    with client(a, b, mode="txonly", args=["--portlist=0", f"--eth-peer=0,{b.mac}"], packed_vq=1) as testpmd:
        testpmd.command("set txpkts 64,128,300")  # in three pieces
        testpmd.command("set txsplit on")
        testpmd.command("start")
        settled(testpmd, lambda stats: stats[0].tx_packets > 20_000)
        testpmd.command("stop")
        settled(testpmd, lambda stats: stats[0].tx_packets == a.stats()["tx"]["packets"])
        sent, received = a.stats()["tx"], b.stats()["rx"]
        assert sent["dropped"] == 0 and sent["bytes"] == 492 * sent["packets"]
        assert received["packets"] + received["dropped"] == sent["packets"]
        assert set(received["drops"]) <= {"no_buffer"}
        # The receiver had not looked at its ring; now it does.
        for command in ("set portlist 1", "set fwd rxonly", "start"):
            testpmd.command(command)
        stats = settled(testpmd, lambda stats: stats[1].rx_packets == received["packets"])
        assert stats[1].rx_bytes == received["bytes"] == 492 * received["packets"]


def test_checksums_of_frames_from_testpmd(bed: Path, vpfd: Vpfd) -> None:
    """Frames of txonly as they arrive in a driver of ours: IP and UDP lengths and checksums are right."""
    a, b = add_functions(vpfd, "pf", 2)
    receiver = b.port(size=256)
    with Testpmd(
        [virtio_user(0, a.socket, mac=a.mac, packed_vq=1)], "txonly", 0, args=[f"--eth-peer=0,{b.mac}", "--txpkts=200"], start=False
    ) as testpmd:
        testpmd.command("set burst 4")
        testpmd.command("start")
        for frame in receiver.receive_all(100):
            assert frame[:12] == frames.mac(b.mac) + frames.mac(a.mac) and len(frame) == 200
            assert frame[12:14] == b"\x08\x00"
            assert frames.checksum(frame[14:34]) == 0
            assert struct.unpack_from("!H", frame, 16)[0] == 200 - 14
            assert struct.unpack_from("!H", frame, 38)[0] == 200 - 34
    receiver.close()


# -- frames of our own


def payload(length: int) -> bytes:
    return os.urandom(length)


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
@pytest.mark.parametrize("features", [F_VERSION_1, F_VERSION_1 | F_MRG_RXBUF], ids=["plain", "merging"])
def test_every_byte_arrives(vpfd: Vpfd, packed: bool, features: int) -> None:
    """Lengths around all edges: smallest, header copied and rest not, one buffer full, several buffers, the MTU."""
    a, b = add_functions(vpfd, "pf", 2, mtu=9216)
    left, right = a.port(packed=packed, features=features), b.port(packed=not packed, features=features)
    limit = 9216 + 14
    buffers = left.BUFFER - 12
    lengths = [14, 15, 59, 60, 61, 63, 64, 65, 127, 128, 191, 192, 193, 194, 255, 256, 257, 1513, 1514, buffers - 1, buffers]
    if features & F_MRG_RXBUF:
        lengths += [buffers + 1, 2 * buffers + 11, 2 * buffers + 13, 5000, limit - 1, limit]
    for length in lengths:
        for here, there, src, dst in ((left, right, a, b), (right, left, b, a)):
            frame = frames.mac(dst.mac) + frames.mac(src.mac) + b"\x88\xb6" + payload(length - 14)
            here.send_frame(frame)
            assert there.receive() == frame, length
    if not features & F_MRG_RXBUF:
        left.send_frame(frames.eth(b.mac, a.mac, payload(buffers)))
        assert b.drops("rx", "too_big") == 1
    left.close()
    right.close()


def test_mtu(vpfd: Vpfd) -> None:
    """A longer frame than a function's MTU is dropped where it enters, or where it would leave; a tag is not counted."""
    a, b = add_functions(vpfd, "pf", 2, mtu=9216)
    left, right = a.port(), b.port()
    b.set(mtu=1500)
    fits, longer = frames.eth(b.mac, a.mac, bytes(1500)), frames.eth(b.mac, a.mac, bytes(1501))
    left.send_frame(longer, fits)
    assert right.receive() == fits
    assert b.drops("rx", "mtu") == 1 and a.stats()["tx"]["dropped"] == 0
    right.send_frame(frames.eth(a.mac, b.mac, bytes(1501)), frames.eth(a.mac, b.mac, bytes(1500)))
    assert left.receive() == frames.eth(a.mac, b.mac, bytes(1500))
    assert b.drops("tx", "mtu") == 1
    for function in (a, b):
        function.set(mtu=9216, vlan={"mode": "trunk", "vids": "5"})
    for length, passes in ((9216, True), (9217, False)):
        frame = frames.eth(b.mac, a.mac, bytes(length), tags=((Q, 5),))
        left.send_frame(frame)
        if passes:
            assert right.receive() == frame
    assert a.drops("tx", "mtu") == 1
    left.close()
    right.close()


@pytest.mark.parametrize("proto", ["802.1q", "802.1ad"])
def test_vlan_tags_in_and_out(vpfd: Vpfd, proto: str) -> None:
    """The switch puts in and takes off the tag of an access function; a trunk sees it, with the priority."""
    access, other, trunk, none = add_functions(vpfd, "pf", 4)
    ports = {f: f.port() for f in (access, other, trunk, none)}
    for function in (access, other):
        function.set(vlan={"mode": "access", "vid": 100, "pcp": 5, "proto": proto})
    trunk.set(vlan={"mode": "trunk", "vids": "0,7,100"})
    plain = frames.eth(other.mac, access.mac, b"plain")
    ports[access].send_frame(plain)
    assert ports[other].receive() == plain
    # To the trunk: tagged, if it is 802.1Q, which is all that a trunk carries.
    ports[access].send_frame(frames.eth(trunk.mac, access.mac, b"up"))
    if proto == "802.1q":
        assert ports[trunk].receive() == frames.eth(trunk.mac, access.mac, b"up", tags=((Q, 5 << 13 | 100),))
        ports[trunk].send_frame(frames.eth(access.mac, trunk.mac, b"down", tags=((Q, 3 << 13 | 100),)))
        assert ports[access].receive() == frames.eth(access.mac, trunk.mac, b"down")
    else:
        assert access.drops("tx", "no_route") == 1
        # A customer's own tag stays inside the provider's.
        inner = frames.eth(other.mac, access.mac, b"inner", tags=((Q, 42),))
        ports[access].send_frame(inner)
        assert ports[other].receive() == inner
    # What does not belong: a tag of its own, another VLAN, no VLAN.
    forbidden = access.drops("tx", "spoof_vlan")
    ports[access].send_frame(frames.eth(other.mac, access.mac, tags=((AD if proto == "802.1ad" else Q, 7),)))
    assert access.drops("tx", "spoof_vlan") == forbidden + 1
    ports[trunk].send_frame(frames.eth(access.mac, trunk.mac, tags=((Q, 8),)))
    assert trunk.drops("tx", "spoof_vlan") == 1
    ports[none].send_frame(frames.eth(access.mac, none.mac, b"from outside"))
    assert none.drops("tx", "no_route") == 1
    ports[none].send_frame(frames.eth(trunk.mac, none.mac, b"untagged"))
    assert ports[trunk].receive() == frames.eth(trunk.mac, none.mac, b"untagged")
    # Priority tags are no VLAN. Then all that was forbidden has not arrived.
    ports[none].send_frame(frames.eth(trunk.mac, none.mac, b"priority", tags=((Q, 6 << 13),)))
    assert ports[trunk].receive() == frames.eth(trunk.mac, none.mac, b"priority")
    ports[access].send_frame(plain)
    assert ports[other].receive() == plain
    ports[other].send_frame(frames.eth(access.mac, other.mac, b"last"))
    assert ports[access].receive() == frames.eth(access.mac, other.mac, b"last")
    for port in ports.values():
        port.close()


def test_broadcast_reaches_its_vlan_only(vpfd: Vpfd) -> None:
    functions = add_functions(vpfd, "pf", 4)
    ports = [f.port(packed=n % 2 == 1) for n, f in enumerate(functions)]
    for function in functions[2:]:
        function.set(vlan={"mode": "access", "vid": 9})
    for sender, others in ((0, (1,)), (1, (0,)), (2, (3,)), (3, (2,))):
        frame = frames.eth(frames.BROADCAST, functions[sender].mac, bytes([sender]) * 8)
        ports[sender].send_frame(frame)
        for other in others:
            assert ports[other].receive() == frame
    for function in functions:
        stats = function.stats()
        assert (stats["tx"]["broadcast"], stats["rx"]["broadcast"], stats["rx"]["packets"]) == (1, 1, 1)
        assert stats["rx"]["dropped"] == 0
    for port in ports:
        port.close()


def test_spoofed_frames(vpfd: Vpfd) -> None:
    a, b = add_functions(vpfd, "pf", 2)
    left, right = a.port(), b.port()
    forged = frames.eth(b.mac, "02:00:00:00:00:01", b"forged")
    left.send_frame(forged)
    assert a.drops("tx", "spoof_mac") == 1
    a.set(spoofchk=False)
    left.send_frame(forged)
    assert right.receive() == forged
    a.set(mac="02:00:00:00:00:02", spoofchk=True)
    left.send_frame(frames.eth(b.mac, "02:00:00:00:00:02", b"admin"))
    assert right.receive() == frames.eth(b.mac, "02:00:00:00:00:02", b"admin")
    left.close()
    right.close()
