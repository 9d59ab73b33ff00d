# SPDX-License-Identifier: Apache-2.0
"""Numbered frames to somebody who sends each one back: numbered.py INTERFACE ADDRESS [WINDOW]

Runs until standard input ends, then prints one JSON object: how many frames were sent, came back, never came, came twice,
came after a later one; and the longest time, in ms, without any. At most WINDOW frames are under way, so that none has to be
dropped for want of room. Needs nothing but Python: it also runs in guests.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time

ETHERTYPE = 0x88B6
LOST_AFTER = 10.0  # s without any frame


def main() -> None:
    ifname, address = sys.argv[1], bytes.fromhex(sys.argv[2].replace(":", ""))
    window = int(sys.argv[3]) if len(sys.argv) > 3 else 16
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    wire.setsockopt(263, 23, 1)  # SOL_PACKET, PACKET_IGNORE_OUTGOING
    wire.bind((ifname, ETHERTYPE))
    wire.setblocking(False)
    own = wire.getsockname()[4]
    head = address + own + struct.pack("!H", ETHERTYPE)
    sent = back = lost = twice = late = 0
    under_way: set[int] = set()
    highest, gap, last, running = -1, 0.0, time.monotonic(), True

    while running or under_way:
        while running and len(under_way) < window:
            frame = head + struct.pack("!Q", sent)
            wire.send(frame + bytes(46 + sent * 37 % 1400))
            under_way.add(sent)
            sent += 1
        ready, _, _ = select.select([wire, sys.stdin] if running else [wire], [], [], LOST_AFTER)
        if sys.stdin in ready and not sys.stdin.readline():
            running = False
        if wire not in ready:
            if not ready:
                lost += len(under_way)
                under_way.clear()
            continue
        now = time.monotonic()
        gap, last = max(gap, now - last), now
        while True:
            try:
                frame = wire.recv(65536)
            except BlockingIOError:
                break
            if frame[:6] != own or frame[6:12] != address:
                continue  # another's
            number = struct.unpack_from("!Q", frame, 14)[0]
            if number not in under_way:
                twice += 1
                continue
            late += number < highest
            highest = max(highest, number)
            assert len(frame) == 14 + 8 + 46 + number * 37 % 1400, f"number {number} came back with {len(frame)} bytes"
            under_way.discard(number)
            back += 1
    print(json.dumps({"sent": sent, "back": back, "lost": lost, "twice": twice, "late": late, "gap_ms": round(gap * 1000, 1)}))


if __name__ == "__main__":
    main()
