#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes seeds for fuzz_vhost_user: sessions that get as far as running rings.

    seeds_vhost_user.py DIRECTORY
"""

import pathlib
import struct
import sys

MEMORY, EVENTFD, SOCKET = 0x00, 0x20, 0x30
NEED_REPLY = 8
UVA = 0x100000
PROTOCOL = 1 << 30
VERSION_1, EVENT_IDX, PACKED, LOG_ALL = 1 << 32, 1 << 29, 1 << 34, 1 << 26
PROTOCOL_FEATURES = 0x1BC3F


def msg(request, payload=b"", fd=0, nfds=0, flags=NEED_REPLY):
    assert len(payload) % 4 == 0
    return bytes([request, flags | fd, nfds, len(payload) // 4]) + payload


def u64(request, value, **kw):
    return msg(request, struct.pack("=Q", value), **kw)


def state(request, index, num):
    return msg(request, struct.pack("=II", index, num))


def region(gpa=0x4000, size=0x10000, uva=UVA, offset=0):
    return struct.pack("=QQQQ", gpa, size, uva, offset)


def start(features):
    return msg(1) + msg(15) + u64(16, PROTOCOL_FEATURES) + msg(3) + u64(2, features | PROTOCOL)


def memory():
    return msg(5, struct.pack("=II", 1, 0) + region(), MEMORY, 1)


def ring(index, size, base, log=0):
    addr = UVA + index * 0x4000
    return (
        u64(13, index, fd=EVENTFD, nfds=1)
        + state(8, index, size)
        + state(10, index, base)
        + msg(9, struct.pack("=IIQQQQ", index, log, addr, addr + 0x3000, addr + 0x2000, 0x4000))
        + u64(12, index, fd=EVENTFD, nfds=1)
        + state(18, index, 1)
    )


def stop(index):
    return state(11, index, 0)


def inflight(size):
    return struct.pack("=QQHHI", size, 0, 2, 128, 0)


SEEDS = {
    "split": start(VERSION_1 | EVENT_IDX) + memory() + ring(0, 256, 0) + ring(1, 128, 0) + stop(0) + ring(0, 256, 0),
    "packed": start(VERSION_1 | PACKED) + memory() + ring(0, 100, 0x80008000) + stop(0) + ring(0, 100, 0x8000),
    "legacy": memory() + ring(0, 256, 0) + u64(2, VERSION_1),
    "slots": start(VERSION_1)
    + msg(36)
    + msg(37, struct.pack("=Q", 0) + region(), MEMORY, 1)
    + ring(1, 64, 0)
    + msg(37, struct.pack("=Q", 0) + region(gpa=0x80000, uva=0x900000), MEMORY, 1)
    + msg(38, struct.pack("=Q", 0) + region(), MEMORY, 1),
    "log": start(VERSION_1)
    + memory()
    + ring(0, 64, 0)
    + msg(6, struct.pack("=QQ", 0x100, 0), MEMORY, 1)
    + msg(7, b"", EVENTFD, 1)
    + u64(2, VERSION_1 | PROTOCOL | LOG_ALL)
    + ring(1, 64, 0, log=1),
    "inflight": start(VERSION_1)
    + memory()
    + msg(31, inflight(0))
    + msg(32, inflight(2 * (16 + 16 * 128)), MEMORY, 1)
    + ring(0, 128, 0),
    "inflight-packed": start(VERSION_1 | PACKED)
    + memory()
    + msg(32, inflight(2 * (32 + 32 * 128)), MEMORY, 1)
    + ring(0, 128, 0x80008000),
    "shrunk": start(VERSION_1)
    + memory()
    + ring(0, 64, 0)
    + bytes([255, 16, 0, 0])
    + stop(0)
    + ring(0, 64, 0)
    + ring(1, 64, 0)
    + bytes([255, 255, 0, 0])
    + memory(),
    "device": start(VERSION_1)
    + msg(17)
    + u64(20, 1500)
    + u64(19, 2)
    + u64(39, 15)
    + msg(40)
    + msg(21, b"", SOCKET, 1)
    + memory()
    + ring(0, 64, 0)
    + u64(39, 0)
    + msg(34)
    + msg(4)
    + u64(14, 0, fd=EVENTFD, nfds=1),
}


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for name, data in SEEDS.items():
        (out / name).write_bytes(data)


if __name__ == "__main__":
    main()
