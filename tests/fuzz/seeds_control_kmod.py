#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes seeds for fuzz_control_kmod: what a vpfd sends, right and a little wrong.

    seeds_control_kmod.py DIRECTORY
"""

import pathlib
import struct
import sys

AS_IT_IS, HEADER, TAG = 0, 1, 3
HELLO_REPLY, REPLY, EVENT, RESET = range(0x81, 0x85)
GET, SET, STATS = 2, 3, 4


def message(kind, body=b"", mode=TAG, session=7, sequence=1):
    return bytes([mode]) + struct.pack("<IBBHQIIQ", 0x31465056, 1, kind, 32 + len(body), session, sequence, 0, 0) + body


def hello_reply(status=0, version=1, vfs=8):
    return struct.pack("<QHBBBBHI6sH32s32s", 9, status, 1, 1, version, 0, vfs, 0x73F, b"\2\0\0\0\0\1", 0, b"pf0", b"0.1.0")


def function(number, vlan=(0, 0, 0, 0x8100), link=0):
    return struct.pack("<HBB6s6sBBHHHIII", number, 13, link, b"\2\0\0\0\0\1", bytes(6), *vlan, 1500, 0, 100, 3)


def stats(number):
    return struct.pack("<H6x10Q", number, *range(10))


def reply(request, records=(), status=0, count=None, text=b""):
    return struct.pack("<BBHHH120s", request, 0, status, 0, len(records) if count is None else count, text) + b"".join(records)


def event(records, count=None):
    return struct.pack("<H6x", len(records) if count is None else count) + b"".join(records)


SEEDS = {
    "hello": message(HELLO_REPLY, hello_reply()),
    "hello-version": message(HELLO_REPLY, hello_reply(7, 0, 0), session=0),
    "get": message(REPLY, reply(GET, [function(n) for n in range(34)])),
    "vlan": message(REPLY, reply(GET, [function(1, (1, 3, 100, 0x88A8)), function(2, (2, 0, 0, 0x8100)), function(3, (1, 9, 5000, 1), 7)])),
    "set": message(REPLY, reply(SET, [function(3)])),
    "denied": message(REPLY, reply(SET, status=1, text=b"the host's policy says no\n" * 5)),
    "stats": message(REPLY, reply(STATS, [stats(n) for n in range(14)])),
    "count": message(REPLY, reply(GET, [function(0)], count=65535)),
    "event": message(EVENT, event([function(n) for n in range(37)])),
    "event-count": message(EVENT, event([function(0)], count=2)),
    "reset": message(RESET, session=0),
    "untagged": message(EVENT, event([function(0)]), mode=HEADER),
    "raw": message(RESET, mode=AS_IT_IS),
}


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for name, data in SEEDS.items():
        (out / name).write_bytes(data)


if __name__ == "__main__":
    main()
