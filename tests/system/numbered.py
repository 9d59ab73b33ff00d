# SPDX-License-Identifier: Apache-2.0
"""Numbered frames to somebody who sends each one back: numbered.py INTERFACE ADDRESS [WINDOW [PATIENCE]]

Runs until standard input ends, then prints one JSON object: how many frames were sent, came back, never came, came twice,
came after a later one; and the longest time, in ms, without any. At most WINDOW frames are under way, so that none has to be
dropped for want of room; one that is not back in PATIENCE seconds is no longer waited for. Needs nothing but Python: it also runs in guests.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time
from typing import Any

ETHERTYPE = 0x88B6
PATIENCE = 10.0  # s that a frame is waited for


class Numbers:
    """A frame that is not back after `patience` seconds, or when a later one is, makes room for another one. That says nothing
    about its fate: it may still come."""

    def __init__(self, ifname: str, address: str, window: int = 16, patience: float = PATIENCE):
        self.window, self.patience = window, patience
        self.address = bytes.fromhex(address.replace(":", ""))
        self.wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.wire.setsockopt(263, 23, 1)  # SOL_PACKET, PACKET_IGNORE_OUTGOING
        self.wire.bind((ifname, ETHERTYPE))
        self.wire.setblocking(False)
        self.own = self.wire.getsockname()[4]
        self.head = self.address + self.own + struct.pack("!H", ETHERTYPE)
        self.sent = self.back = self.twice = self.late = 0
        self.waiting: dict[int, float] = {}  # number to when it was sent, in order
        self.missing: set[int] = set()  # no longer waited for
        self.highest, self.gap, self.last = -1, 0.0, time.monotonic()

    def _send(self, now: float) -> None:
        while len(self.waiting) < self.window:
            self.wire.send(self.head + struct.pack("!Q", self.sent) + bytes(46 + self.sent * 37 % 1400))
            self.waiting[self.sent] = now
            self.sent += 1

    def _write_off(self, before: int, since: float) -> None:
        for number, sent in list(self.waiting.items()):
            if number >= before and sent > since:
                return
            del self.waiting[number]
            self.missing.add(number)

    def _receive(self, now: float) -> None:
        while True:
            try:
                frame = self.wire.recv(65536)
            except BlockingIOError:
                return
            if frame[:6] != self.own or frame[6:12] != self.address:
                continue  # another's
            number = struct.unpack_from("!Q", frame, 14)[0]
            if number in self.waiting:
                del self.waiting[number]
            elif number in self.missing:
                self.missing.remove(number)
            else:
                self.twice += 1
                continue
            self._write_off(number, 0)
            self.gap, self.last = max(self.gap, now - self.last), now
            self.late += number < self.highest
            self.highest = max(self.highest, number)
            assert len(frame) == 14 + 8 + 46 + number * 37 % 1400, f"number {number} came back with {len(frame)} bytes"
            self.back += 1

    def step(self, others: list[Any], timeout: float, sending: bool = True) -> list[Any]:
        """Sends what there is room for, and takes what came within `timeout` seconds; which of `others` can be read."""
        now = time.monotonic()
        self._write_off(0, now - self.patience)
        if sending:
            self._send(now)
        ready, _, _ = select.select([self.wire, *others], [], [], timeout)
        if self.wire in ready:
            self._receive(time.monotonic())
            ready.remove(self.wire)
        return ready

    def report(self) -> dict[str, Any]:
        counts = {"sent": self.sent, "back": self.back, "lost": self.sent - self.back, "twice": self.twice, "late": self.late}
        return counts | {"gap_ms": round(self.gap * 1000, 1)}


def main() -> None:
    window = int(sys.argv[3]) if len(sys.argv) > 3 else 16
    patience = float(sys.argv[4]) if len(sys.argv) > 4 else PATIENCE
    numbers, running = Numbers(sys.argv[1], sys.argv[2], window, patience), True
    while running or numbers.waiting:
        if numbers.step([sys.stdin] if running else [], numbers.patience, running) and not sys.stdin.readline():
            running = False
    print(json.dumps(numbers.report()))


if __name__ == "__main__":
    main()
