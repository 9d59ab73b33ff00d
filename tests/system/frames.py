# SPDX-License-Identifier: Apache-2.0
"""Ethernet frames as bytes, and a packet socket to send and see them in a network namespace, tags included."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import socket
import struct
import time
from collections.abc import Iterator

from bed.machine import PATIENCE

ETH_IP, ETH_TEST = 0x0800, 0x88B6  # the second of the two local experimental EtherTypes: nothing answers it
Q, AD = 0x8100, 0x88A8
BROADCAST = "ff:ff:ff:ff:ff:ff"

_CLONE_NEWNET = 0x40000000
_SOL_PACKET, _PACKET_AUXDATA, _PACKET_ADD_MEMBERSHIP, _PACKET_MR_PROMISC = 263, 8, 1, 1
_PACKET_IGNORE_OUTGOING = 23
_VLAN_VALID, _TPID_VALID = 1 << 4, 1 << 6
_libc = ctypes.CDLL(None, use_errno=True)


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def eth(dst: str, src: str, payload: bytes = b"", *, tags: tuple[tuple[int, int], ...] = (), ethertype: int = ETH_TEST, length: int = 60) -> bytes:
    """A frame; TAGS are (TPID, TCI) from the outside in. Padded to LENGTH bytes without them."""
    body = struct.pack("!H", ethertype) + payload
    body += bytes(max(0, length - 12 - len(body)))
    return mac(dst) + mac(src) + b"".join(struct.pack("!HH", *tag) for tag in tags) + body


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) & ~1])) + (data[-1] << 8 if len(data) & 1 else 0)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@contextlib.contextmanager
def in_netns(name: str | None) -> Iterator[None]:
    """This thread in the namespace NAME (of `ip netns`); sockets stay in the one where they were made."""
    if name is None:
        yield
        return
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        if _libc.setns(there, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {name}")
        yield
    finally:
        if _libc.setns(home, _CLONE_NEWNET):
            raise SystemExit("cannot return to the network namespace of the test")
        os.close(there)
        os.close(home)


class Wire:
    """Sends frames out of an interface and sees what arrives there, with the tags that the kernel takes off put back. Frames of
    other EtherTypes than ETHERTYPE are passed over: an interface that comes up says things of its own."""

    def __init__(self, ifname: str, netns: str | None = None, ethertype: int = ETH_TEST):
        self.ethertype = ethertype
        with in_netns(netns):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            index = socket.if_nametoindex(ifname)
        for option in (_PACKET_AUXDATA, _PACKET_IGNORE_OUTGOING):
            self.socket.setsockopt(_SOL_PACKET, option, 1)
        membership = struct.pack("iHH8s", index, _PACKET_MR_PROMISC, 0, b"")
        self.socket.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)
        self.socket.bind((ifname, 3))  # ETH_P_ALL

    def send(self, *frames: bytes) -> None:
        for frame in frames:
            self.socket.send(frame)

    def receive(self, timeout: float = 10) -> bytes:
        deadline = time.monotonic() + timeout * PATIENCE
        while True:
            ready, _, _ = select.select([self.socket], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError("no frame")
            frame, control, _flags, _address = self.socket.recvmsg(70000, socket.CMSG_SPACE(20))
            for level, kind, data in control:
                if level == _SOL_PACKET and kind == _PACKET_AUXDATA:
                    status, _length, _snaplen, _mac, _net, tci, tpid = struct.unpack("IIIHHHH", data[:20])
                    if status & _VLAN_VALID:
                        frame = frame[:12] + struct.pack("!HH", tpid if status & _TPID_VALID else Q, tci) + frame[12:]
            offset = 12
            while frame[offset : offset + 2] in (b"\x81\x00", b"\x88\xa8"):
                offset += 4
            if struct.unpack_from("!H", frame, offset)[0] == self.ethertype:
                return frame

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
