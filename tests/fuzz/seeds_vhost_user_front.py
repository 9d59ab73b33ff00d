#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes seeds for fuzz_vhost_user_front into the directory given: lives of a back-end, as that file's steps."""

import struct
import sys
from pathlib import Path

ANSWER, ANSWER_WITH, RAW, HANG_UP, PREPARE, START, STOP, CHANGE, USE, ERROR = range(10)

ALL = bytes([ANSWER, 255])
PREPARED = ALL
STARTED = PREPARED + bytes([START, 3]) + ALL


def answer_with(payload: bytes) -> bytes:
    return bytes([ANSWER_WITH, len(payload)]) + payload


def raw(data: bytes, descriptors: int = 0) -> bytes:
    return bytes([RAW, len(data), descriptors]) + data


def reply(request: int, payload: bytes, flags: int = 5) -> bytes:
    return struct.pack("<III", request, flags, len(payload)) + payload


def use(queue: int, index: int) -> bytes:
    return bytes([USE, queue]) + struct.pack("<H", index)


U64 = bytes(8)
SEEDS = {
    "life": STARTED + use(0, 7) + bytes([STOP, 0]) + ALL,
    "again": STARTED + bytes([STOP, 0]) + ALL + bytes([PREPARE, 1]) + ALL + bytes([START, 1]) + ALL + bytes([STOP, 0]) + ALL,
    "log": PREPARED + bytes([START, 0x83]) + ALL + bytes([STOP, 0]) + ALL + bytes([START, 1]) + ALL,
    "changes": STARTED + bytes([CHANGE, 0x01, CHANGE, 0x60, CHANGE, 0x20, CHANGE, 0x18]) + ALL + bytes([CHANGE, 0x10]) + ALL,
    "plain": answer_with(struct.pack("<Q", 1 << 30 | 1 << 29 | 1 << 32)) + answer_with(struct.pack("<Q", 1)) + ALL,
    "slots": bytes([ANSWER, 1]) + answer_with(struct.pack("<Q", 1 << 15 | 1)) + ALL + bytes([PREPARE, 1]) + ALL + bytes([PREPARE, 0]) + ALL,
    "ring error": STARTED + bytes([ERROR, 1, ERROR, 1, STOP, 0]) + ALL,
    "position": STARTED + use(1, 300) + bytes([STOP, 0, ANSWER, 0]) + answer_with(struct.pack("<II", 1, 299)) + ALL,
    "dies started": STARTED + bytes([HANG_UP, 0]),
    "dies stopping": STARTED + bytes([STOP, 0, ANSWER, 0, HANG_UP, 0]),
    "unasked": STARTED + raw(reply(1, U64)),
    "request": STARTED + raw(reply(3, U64, flags=9)),
    "descriptors": raw(reply(1, b"\xff" * 8), 2),
    "too many descriptors": raw(reply(1, b"\xff" * 8), 9),
    "half": raw(reply(1, U64)[:13]) + bytes([HANG_UP, 0]),
    "refusal": PREPARED + bytes([START, 0, ANSWER, 0]) + answer_with(struct.pack("<Q", 1)),
}

if __name__ == "__main__":
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for name, seed in SEEDS.items():
        (directory / name.replace(" ", "-")).write_bytes(seed)
