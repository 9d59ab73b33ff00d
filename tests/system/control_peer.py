# SPDX-License-Identifier: Apache-2.0
"""A fake vpfd: the host's side of the control channel, scripted, for what the real one never does: it is absent, slow, forgetful, or it lies.

The PF's back-end in QEMU is a pair of UNIX datagram sockets, one datagram a frame; no other traffic passes. The format is written
down here a second time, from docs/control-channel.md and not from the C header, so that a slip in one of them shows.
"""

from __future__ import annotations

import secrets
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bed.agent import wait_until

ETHERTYPE = 0x88B5
GROUP = bytes.fromhex("0180c200000e")
SOURCE = bytes.fromhex("027670660001")
MAGIC, VERSION, HEADER = 0x31465056, 1, 32
HELLO, GET, SET, STATS, EVENT_ACK, BYE = range(1, 7)
HELLO_REPLY, REPLY, EVENT, RESET = range(0x81, 0x85)
OK, DENIED = 0, 1
GET_FIT, STATS_FIT = 34, 14
_M64 = (1 << 64) - 1


def siphash24(key: bytes, data: bytes) -> int:
    k0, k1 = struct.unpack("<QQ", key)
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def rounds(count: int) -> None:
        a, b, c, d = v
        for _ in range(count):
            a = (a + b) & _M64
            b = ((b << 13 | b >> 51) & _M64) ^ a
            a = (a << 32 | a >> 32) & _M64
            c = (c + d) & _M64
            d = ((d << 16 | d >> 48) & _M64) ^ c
            a = (a + d) & _M64
            d = ((d << 21 | d >> 43) & _M64) ^ a
            c = (c + b) & _M64
            b = ((b << 17 | b >> 47) & _M64) ^ c
            c = (c << 32 | c >> 32) & _M64
        v[:] = a, b, c, d

    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 0xFF])
    for (word,) in struct.iter_unpack("<Q", padded):
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


@dataclass
class Function:
    number: int
    mac: bytes
    flags: int = 0x01 | 0x04  # spoof check, link up
    link: int = 0
    admin_mac: bytes = bytes(6)
    vlan_mode: int = 0
    pcp: int = 0
    vid: int = 0
    tpid: int = 0x8100
    mtu: int = 1500
    min_rate: int = 0
    max_rate: int = 0
    pinned: int = 0

    def record(self) -> bytes:
        return struct.pack(
            "<HBB6s6sBBHHHIII", self.number, self.flags, self.link, self.mac, self.admin_mac, self.vlan_mode, self.pcp, self.vid,
            self.tpid, self.mtu, self.min_rate, self.max_rate, self.pinned,
        )  # fmt: skip

    def statistics(self) -> bytes:
        return struct.pack("<H6x10Q", self.number, *(1000 * self.number + counter for counter in range(1, 11)))

    def set(self, body: bytes) -> None:
        _, mask, mac, spoofchk, trust, link, pcp, vid, tpid, min_rate, max_rate = struct.unpack("<HH6sBBBBHHxxII", body)
        if mask & 0x01:
            self.admin_mac = mac
        if mask & 0x02:
            self.vlan_mode, self.vid, self.pcp, self.tpid = (1, vid, pcp, tpid) if vid else (0, 0, 0, 0x8100)
        if mask & 0x04:
            self.min_rate, self.max_rate = min_rate, max_rate
        if mask & 0x08:
            self.flags = self.flags & ~1 | spoofchk
        if mask & 0x10:
            self.flags = self.flags & ~2 | trust << 1
        if mask & 0x20:
            self.link = link


@dataclass
class Message:
    """One that the driver has sent, authentic."""

    type: int
    session: int
    sequence: int
    body: bytes


@dataclass
class Peer:
    """Answers as vpfd would, as long as nothing else is asked of it:

    `silent` are types that it does not answer; `answer` replaces the messages that answer one: it gets the driver's message and
    the right answer, and returns messages (`make` makes them)."""

    directory: Path  # short: its sockets' paths have 107 bytes at most
    vfs: int
    key: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    silent: set[int] = field(default_factory=set)
    answer: Callable[[Message, bytes], list[bytes]] | None = None

    def __post_init__(self) -> None:
        self.functions = [Function(n, bytes.fromhex(f"02aa000000{n:02x}")) for n in range(self.vfs + 1)]
        self.session = 0
        self.received: list[Message] = []
        self.forged = 0  # frames of the driver that are not as they should be
        self.event_sequence = 0
        self.status, self.text = OK, b""
        self._qemu, own = str(self.directory / "pf.qemu"), str(self.directory / "pf.host")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(own)
        self.netdev = f"dgram,local.type=unix,local.path={self._qemu},remote.type=unix,remote.path={own}"
        self._stopped = False
        threading.Thread(target=self._serve, daemon=True, name="peer").start()

    def close(self) -> None:
        self._stopped = True
        self._socket.close()

    # -- to the driver

    def make(self, kind: int, body: bytes = b"", session: int | None = None, sequence: int = 0, *, magic: int = MAGIC, version: int = VERSION,
             length: int | None = None, key: bytes | None = None) -> bytes:  # fmt: skip
        length = HEADER + len(body) if length is None else length
        session = self.session if session is None else session
        head = struct.pack("<IBBHQII", magic, version, kind, length & 0xFFFF, session, sequence, 0)
        tag = siphash24(key or self.key, (head + bytes(8) + body)[: max(length, 0)])
        return head + struct.pack("<Q", tag) + body

    def frame(self, message: bytes, *, tag: bytes = b"", destination: bytes = GROUP) -> bytes:
        frame = destination + SOURCE + tag + struct.pack("!H", ETHERTYPE) + message
        return frame + bytes(max(0, 60 - len(frame)))

    def send(self, message: bytes) -> None:
        self.send_frame(self.frame(message))

    def send_frame(self, frame: bytes) -> None:
        self._socket.sendto(frame, self._qemu)

    def event(self, *numbers: int, sequence: int | None = None, records: bytes | None = None, count: int | None = None) -> int:
        """Sends one, of functions as they are now; returns its sequence."""
        if sequence is None:
            self.event_sequence += 1
            sequence = self.event_sequence
        body = b"".join(self.functions[n].record() for n in numbers) if records is None else records
        self.send(self.make(EVENT, struct.pack("<H6x", len(numbers) if count is None else count) + body, sequence=sequence))
        return sequence

    def reply(self, to: Message, status: int, first: int, records: list[bytes], text: bytes = b"", **other: int) -> bytes:
        body = struct.pack("<BBHHH120s", other.pop("request", to.type), 0, status, first, other.pop("count", len(records)), text)
        return self.make(REPLY, body + b"".join(records), to.session, other.pop("sequence", to.sequence))

    # -- from the driver

    def _serve(self) -> None:
        while not self._stopped:
            try:
                frame = self._socket.recv(65536)
            except OSError:
                return
            if struct.unpack("!H", frame[12:14])[0] != ETHERTYPE:
                continue
            message = self._open(frame)
            if message is None:
                self.forged += 1
                continue
            right = self._right_answer(message)
            self.received.append(message)
            if message.type in self.silent or right is None:
                continue
            for answer in self.answer(message, right) if self.answer else [right]:
                self.send(answer)

    def _open(self, frame: bytes) -> Message | None:
        data = frame[14:]
        if frame[:6] != GROUP or len(data) < HEADER:
            return None
        magic, version, kind, length, session, sequence, _, tag = struct.unpack("<IBBHQIIQ", data[:HEADER])
        if (magic, version) != (MAGIC, VERSION) or not HEADER <= length <= len(data) or any(data[length:]):
            return None
        if siphash24(self.key, data[: HEADER - 8] + bytes(8) + data[HEADER:length]) != tag:
            return None
        return Message(kind, session, sequence, data[HEADER:length])

    def _right_answer(self, message: Message) -> bytes | None:
        if message.type == HELLO:
            if self.session == 0 or HELLO not in self.silent:
                self.session = secrets.randbits(63) + 1
                self.event_sequence = 0
            return self.hello_reply(message)
        if message.type not in (GET, SET, STATS):
            return None
        if message.session != self.session:
            return self.make(RESET, session=message.session)
        if message.type == SET:
            number = struct.unpack("<H", message.body[:2])[0]
            if self.status == OK:
                self.functions[number].set(message.body)
            return self.reply(message, self.status, number, [self.functions[number].record()] if self.status == OK else [], self.text)
        first, count = struct.unpack("<HH", message.body[:4])
        wanted = self.functions[first : first + min(count, GET_FIT if message.type == GET else STATS_FIT)]
        return self.reply(message, OK, first, [f.record() if message.type == GET else f.statistics() for f in wanted])

    def hello_reply(self, message: Message, *, nonce: bytes | None = None, status: int = OK, vfs: int | None = None, versions: tuple[int, int, int] = (1, 1, 1)) -> bytes:
        body = struct.pack(
            "<8sHBBBBHI6sH32s32s", nonce or message.body[:8], status, *versions, 0, self.vfs if vfs is None else vfs, 0x73F,
            self.functions[0].mac, 0, b"fake", b"fake vpfd 9.9",
        )  # fmt: skip
        return self.make(HELLO_REPLY, body)

    # -- looking on

    def count(self, kind: int) -> int:
        return sum(message.type == kind for message in list(self.received))

    def await_message(self, kind: int, after: int = 0, timeout: float = 20) -> Message:
        """The first of its type behind the AFTERth message ever."""
        found = lambda: [m for m in list(self.received)[after:] if m.type == kind]  # noqa: E731
        return wait_until(found, timeout, f"a message of type {kind}")[0]

    def well(self) -> None:
        """Answers again as it should."""
        self.silent, self.answer, self.status, self.text = set(), None, OK, b""
