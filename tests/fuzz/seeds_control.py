#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes seeds for fuzz_control: sessions with requests, retries, events and restarts.

    seeds_control.py DIRECTORY
"""

import pathlib
import struct
import sys

FRAME, SIGNED, MESSAGE, TIME, DIRTY, STATE = range(6)
HELLO, GET, SET, STATS, EVENT_ACK, BYE = range(1, 7)
PENDING, ACTIVE, NONE, UNKNOWN = range(4)
STARTED, ROOM, REFUSE, OTHER_KEY = 1, 2, 4, 8


def record(kind, argument=0, payload=b""):
    return bytes([kind, argument, len(payload)]) + payload


def message(kind, session=ACTIVE, step=1, body=b""):
    return record(MESSAGE, kind, bytes([session, step & 0xFF]) + body)


def hello(nonce=1, versions=(1, 1)):
    return message(HELLO, NONE, 0, struct.pack("<QBB6x32s64s", nonce, *versions, b"0.1.0", b"6.12.0"))


def get(session=ACTIVE, step=1, first=0, count=70, kind=GET):
    return message(kind, session, step, struct.pack("<HHI", first, count, 0))


def set_(step=1, function=3, mask=0x3F, vid=100, tpid=0x8100, link=1):
    return message(SET, ACTIVE, step, struct.pack("<HH6sBBBBHHHII", function, mask, b"\2\1\1\1\1\1", 1, 1, link, 3, vid, tpid, 0, 10, 20))


def header(kind, length, session=0, sequence=0, version=1):
    return struct.pack("<IBBHQIIQ", 0x31465056, version, kind, length, session, sequence, 0, 0)


ETHERNET = bytes.fromhex("0180c200000e02000000000188b5")
START = hello() + get(PENDING)

SEEDS = {
    "session": START + get(first=37) + get(kind=STATS) + set_() + get(first=3, count=1) + message(BYE),
    "retry": START + set_() + set_(step=0) + set_(step=0, mask=1) + get(step=0),
    "replay": START + set_(step=100) + get(step=-50) + hello() + hello(2) + get(PENDING, 100) + set_(step=-9) + get(UNKNOWN) + get(NONE),
    "refused": START + set_(function=0) + set_(function=200) + set_(mask=0xFFFF) + set_(mask=0) + set_(link=9) + set_(vid=4095)
    + record(STATE, STARTED | ROOM | REFUSE) + set_(tpid=0x88A8) + message(0x42, body=b"new"),
    "events": START + b"".join(record(DIRTY, fn) for fn in range(70)) + record(TIME, 0) + message(EVENT_ACK, step=0)
    + record(TIME, 0) + record(TIME, 3) + record(DIRTY, 5) + message(EVENT_ACK, step=0) + record(TIME, 250) + set_() + record(TIME, 1),
    "lost": START + record(DIRTY, 1) + record(TIME, 255) * 6 + message(EVENT_ACK, step=0) + hello(3) + get(PENDING),
    "restart": record(TIME, 100) + START + record(STATE, ROOM) + record(DIRTY, 3) + record(TIME, 20) + record(STATE, STARTED | ROOM)
    + record(TIME, 1) + record(STATE, ROOM) + record(TIME, 50) + record(STATE, STARTED | ROOM) + record(TIME, 80),
    "no-room": START + record(STATE, STARTED) + set_() + record(DIRTY, 1) + record(TIME, 255) + record(STATE, STARTED | ROOM) + set_(step=0),
    "key": START + record(STATE, STARTED | ROOM | OTHER_KEY) + START + record(STATE, STARTED | ROOM) + get(),
    "versions": hello(1, (2, 9)) + hello(2, (0, 255)) + hello(3, (5, 2)) + get(PENDING),
    "raw": record(FRAME, 0, ETHERNET + header(1, 144) + bytes(112)) + record(FRAME, 0, ETHERNET) + record(FRAME, 0, b""),
    "signed": record(SIGNED, 0, header(1, 144) + struct.pack("<QBB", 9, 1, 1) + bytes(102))
    + record(SIGNED, 0, header(2, 40, 100, 1) + struct.pack("<HHI", 0, 5, 0))
    + record(SIGNED, 0, header(2, 40, 100, 2, 2) + bytes(8)) + record(SIGNED, 0, header(2, 1400, 100, 3)) + record(SIGNED, 0, b"VPF1"),
}  # fmt: skip


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for name, data in SEEDS.items():
        (out / name).write_bytes(data)


if __name__ == "__main__":
    main()
