# SPDX-License-Identifier: Apache-2.0
"""The control channel's format (docs/control-channel.md) in Python, for either end: written from the specification, not from the
C header, so that the two are checked against each other. Nothing in it stands in the way of a wrong message.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

ETHERTYPE = 0x88B5
GROUP = bytes.fromhex("0180c200000e")
HOST_SOURCE = bytes.fromhex("027670660001")
MAGIC, VERSION, MAX = 0x31465056, 1, 1400

HELLO, GET, SET, STATS, EVENT_ACK, BYE = range(0x01, 0x07)
HELLO_REPLY, REPLY, EVENT, RESET = range(0x81, 0x85)

OK, DENIED, INVALID, NO_FUNCTION, UNSUPPORTED, CONFLICT, FAILED, VERSION_UNKNOWN = range(8)

MAC, VLAN, RATE, SPOOFCHK, TRUST, LINK = (1 << n for n in range(6))
SETTINGS = 0x3F
CAP_VLAN_AD, CAP_MIN_RATE, CAP_STATS = 0x100, 0x200, 0x400
LINK_AUTO, LINK_ENABLE, LINK_DISABLE = range(3)
VLAN_NONE, VLAN_ACCESS, VLAN_TRUNK = range(3)
F_SPOOFCHK, F_TRUST, F_LINK_UP, F_STARTED = 1, 2, 4, 8

_HEADER = struct.Struct("<IBBHQIIQ")
_HELLO = struct.Struct("<QBB6x32s64s")
_HELLO_REPLY = struct.Struct("<QHBBBxHI6s2x32s32s")
_RANGE = struct.Struct("<HH4x")
_SET = struct.Struct("<HH6sBBBBHH2xII")
_REPLY = struct.Struct("<BxHHH120s")
_EVENT = struct.Struct("<H6x")
_FUNCTION = struct.Struct("<HBB6s6sBBHHHIII")
_STATS = struct.Struct("<H6x10Q")
_U64 = 0xFFFF_FFFF_FFFF_FFFF


def siphash24(key: bytes, data: bytes) -> int:
    k0, k1 = struct.unpack("<QQ", key)
    v0, v1, v2, v3 = k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573

    def rotate(x: int, bits: int) -> int:
        return (x << bits | x >> (64 - bits)) & _U64

    def rounds(n: int) -> None:
        nonlocal v0, v1, v2, v3
        for _ in range(n):
            v0, v2 = (v0 + v1) & _U64, (v2 + v3) & _U64
            v1, v3 = rotate(v1, 13) ^ v0, rotate(v3, 16) ^ v2
            v0 = rotate(v0, 32)
            v2, v0 = (v2 + v1) & _U64, (v0 + v3) & _U64
            v1, v3 = rotate(v1, 17) ^ v2, rotate(v3, 21) ^ v0
            v2 = rotate(v2, 32)

    whole = len(data) & ~7
    tail = data[whole:] + bytes(7 - len(data) % 8) + bytes([len(data) & 0xFF])
    for (word,) in struct.iter_unpack("<Q", data[:whole] + tail):
        v3 ^= word
        rounds(2)
        v0 ^= word
    v2 ^= 0xFF
    rounds(4)
    return v0 ^ v1 ^ v2 ^ v3


@dataclass
class Message:
    type: int
    session: int = 0
    sequence: int = 0
    body: bytes = b""


def encode(
    key: bytes,
    message: Message,
    *,
    source: bytes = bytes.fromhex("020000000001"),
    magic: int = MAGIC,
    version: int = VERSION,
    length: int | None = None,
    tag: int | None = None,
    reserved: int = 0,
    pad: int = 60,
) -> bytes:
    """MESSAGE as a frame; every field can be forged, and the tag is right for what is then there."""

    def header(with_tag: int) -> bytes:
        total = _HEADER.size + len(message.body) if length is None else length
        return _HEADER.pack(magic, version, message.type, total, message.session, message.sequence, reserved, with_tag)

    right = siphash24(key, header(0) + message.body)
    frame = GROUP + source + struct.pack("!H", ETHERTYPE) + header(right if tag is None else tag) + message.body
    return frame + bytes(max(0, pad - len(frame)))


def decode(key: bytes, frame: bytes) -> Message:
    """A frame's message; ValueError for one that is not as the specification says."""
    if len(frame) < 60 or struct.unpack_from("!H", frame, 12)[0] != ETHERTYPE or frame[:6] != GROUP:
        raise ValueError("no control frame")
    magic, version, kind, length, session, sequence, _reserved, tag = _HEADER.unpack_from(frame, 14)
    if magic != MAGIC or version != VERSION or not _HEADER.size <= length <= MAX or length > len(frame) - 14:
        raise ValueError(f"magic {magic:#x}, version {version}, length {length} in {len(frame)} bytes")
    message = frame[14 : 14 + length]
    if siphash24(key, message[: _HEADER.size - 8] + bytes(8) + message[_HEADER.size :]) != tag:
        raise ValueError("wrong tag")
    if any(frame[14 + length :]):
        raise ValueError("padding is not zeros")
    return Message(kind, session, sequence, message[_HEADER.size :])


def _text(data: bytes) -> str:
    return data.split(b"\0", 1)[0].decode("ascii")


def _mac(data: bytes) -> str:
    return data.hex(":")


def _mac_bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def hello(nonce: int, driver: str = "0.1.0", kernel: str = "6.12.0", versions: tuple[int, int] = (VERSION, VERSION)) -> bytes:
    return _HELLO.pack(nonce, *versions, driver.encode(), kernel.encode())


def unpack_hello(body: bytes) -> dict:
    nonce, low, high, driver, kernel = _HELLO.unpack(body)
    return {"nonce": nonce, "versions": (low, high), "driver": _text(driver), "kernel": _text(kernel)}


@dataclass
class HelloReply:
    nonce: int
    status: int = OK
    min_version: int = VERSION
    max_version: int = VERSION
    version: int = VERSION
    vfs: int = 0
    capabilities: int = SETTINGS | CAP_VLAN_AD | CAP_MIN_RATE | CAP_STATS
    mac: str = "02:00:00:00:00:00"
    pf: str = "pf0"
    daemon: str = "0.1.0"

    def pack(self) -> bytes:
        return _HELLO_REPLY.pack(
            self.nonce, self.status, self.min_version, self.max_version, self.version, self.vfs, self.capabilities,
            _mac_bytes(self.mac), self.pf.encode(), self.daemon.encode(),
        )  # fmt: skip

    @classmethod
    def unpack(cls, body: bytes) -> HelloReply:
        nonce, status, low, high, version, vfs, capabilities, mac, pf, daemon = _HELLO_REPLY.unpack(body)
        return cls(nonce, status, low, high, version, vfs, capabilities, _mac(mac), _text(pf), _text(daemon))


def request_range(first: int, count: int) -> bytes:
    return _RANGE.pack(first, count)


def unpack_range(body: bytes) -> tuple[int, int]:
    return _RANGE.unpack(body)


@dataclass
class Settings:
    """The body of a SET; what is given is in the mask."""

    function: int
    mac: str | None = None
    vlan: tuple[int, int, int] | None = None  # VLAN, priority, TPID
    rate: tuple[int, int] | None = None  # minimum, maximum
    spoofchk: int | None = None
    trust: int | None = None
    link: int | None = None
    mask: int | None = None  # instead of that of what is given

    def pack(self) -> bytes:
        given = {MAC: self.mac, VLAN: self.vlan, RATE: self.rate, SPOOFCHK: self.spoofchk, TRUST: self.trust, LINK: self.link}
        mask = sum(bit for bit, value in given.items() if value is not None) if self.mask is None else self.mask
        vid, pcp, tpid = self.vlan or (0, 0, 0x8100)
        mac = _mac_bytes(self.mac or "00:00:00:00:00:00")
        return _SET.pack(self.function, mask, mac, self.spoofchk or 0, self.trust or 0, self.link or 0, pcp, vid, tpid, *(self.rate or (0, 0)))

    @classmethod
    def unpack(cls, body: bytes) -> Settings:
        function, mask, mac, spoofchk, trust, link, pcp, vid, tpid, low, high = _SET.unpack(body)
        return cls(
            function,
            _mac(mac) if mask & MAC else None,
            (vid, pcp, tpid) if mask & VLAN else None,
            (low, high) if mask & RATE else None,
            spoofchk if mask & SPOOFCHK else None,
            trust if mask & TRUST else None,
            link if mask & LINK else None,
            mask,
        )


@dataclass
class Function:
    function: int
    flags: int = F_SPOOFCHK | F_LINK_UP
    link: int = LINK_AUTO
    mac: str = "02:00:00:00:00:00"
    admin_mac: str = "00:00:00:00:00:00"
    vlan_mode: int = VLAN_NONE
    pcp: int = 0
    vid: int = 0
    tpid: int = 0x8100
    mtu: int = 1500
    min_rate: int = 0
    max_rate: int = 0
    pinned: int = 0

    def pack(self) -> bytes:
        return _FUNCTION.pack(
            self.function, self.flags, self.link, _mac_bytes(self.mac), _mac_bytes(self.admin_mac), self.vlan_mode, self.pcp,
            self.vid, self.tpid, self.mtu, self.min_rate, self.max_rate, self.pinned,
        )  # fmt: skip

    @classmethod
    def unpack(cls, data: bytes) -> Function:
        function, flags, link, mac, admin_mac, *rest = _FUNCTION.unpack(data)
        return cls(function, flags, link, _mac(mac), _mac(admin_mac), *rest)


STATS_NAMES = tuple(f"{way}_{what}" for way in ("rx", "tx") for what in ("packets", "bytes", "broadcast", "multicast", "dropped"))


def pack_stats(function: int, **values: int) -> bytes:
    return _STATS.pack(function, *(values.get(name, 0) for name in STATS_NAMES))


def unpack_stats(data: bytes) -> dict[str, int]:
    function, *values = _STATS.unpack(data)
    return {"function": function, **dict(zip(STATS_NAMES, values, strict=True))}


def _records(data: bytes, count: int, size: int) -> list[bytes]:
    if len(data) != count * size:
        raise ValueError(f"{len(data)} bytes for {count} records")
    return [data[i : i + size] for i in range(0, len(data), size)]


@dataclass
class Reply:
    request: int
    status: int = OK
    first: int = 0
    text: str = ""
    functions: list[Function] = field(default_factory=list)
    stats: list[dict[str, int]] = field(default_factory=list)

    def pack(self) -> bytes:
        records = [f.pack() for f in self.functions] + [pack_stats(**s) for s in self.stats]
        return _REPLY.pack(self.request, self.status, self.first, len(records), self.text.encode()) + b"".join(records)

    @classmethod
    def unpack(cls, body: bytes) -> Reply:
        request, status, first, count, text = _REPLY.unpack_from(body)
        data = body[_REPLY.size :]
        if request == STATS:
            return cls(request, status, first, _text(text), [], [unpack_stats(r) for r in _records(data, count, _STATS.size)])
        return cls(request, status, first, _text(text), [Function.unpack(r) for r in _records(data, count, _FUNCTION.size)])


def pack_event(functions: list[Function]) -> bytes:
    return _EVENT.pack(len(functions)) + b"".join(f.pack() for f in functions)


def unpack_event(body: bytes) -> list[Function]:
    (count,) = _EVENT.unpack_from(body)
    return [Function.unpack(r) for r in _records(body[_EVENT.size :], count, _FUNCTION.size)]
