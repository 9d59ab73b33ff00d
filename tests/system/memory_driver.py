# SPDX-License-Identifier: Apache-2.0
"""A driver whose machine gets memory and loses it while its rings are served: memory_driver.py SOCKET

Sends back every frame that it receives, addresses exchanged, from the buffer that it came in. Obeys words on standard input, and
prints each once it is done: "add" (ADD_MEM_REG) or "table" (SET_MEM_TABLE) adds memory, and is done when all buffers that the
device has lie there, and each has been used; "remove" (REM_MEM_REG) or "untable" (SET_MEM_TABLE) is the way back, done when the
memory is gone; "stale" then sends a buffer of the memory that is gone. Ends with its input. Needs nothing but Python and
vu_client.py: it also runs in guests.
"""

from __future__ import annotations

import os
import select
import sys

from vu_client import ADD_MEM_REG, GPA, HDR_LEN, REM_MEM_REG, SET_MEM_TABLE, UVA, Buffer, Memory, Port, mem_table, region

SIZE = 64  # of the rings, and the buffers that there are in either memory: some more than are under way
FAR_GPA, FAR_UVA = 0x4_0000_0000, 0x7100_0000_0000
BUFFER = 2048


class Driver:
    def __init__(self, path: str):
        self.port = Port(path, size=SIZE, fill=False)
        self.near = self.port.mem
        self.near_at = self.near.alloc(SIZE * BUFFER, 4096)
        self.far: Memory | None = None
        self.rx: dict[int, int] = {}  # head of the ring: number of a buffer, from SIZE on in far memory
        self.tx: dict[int, int] = {}
        self.away = False  # whether buffers are to lie in far memory
        self.fresh: set[int] = set()  # far buffers that were never used
        self.post(range(SIZE))

    def place(self, number: int) -> tuple[Memory, int, int]:
        """Memory, offset in it, guest address."""
        if number < SIZE:
            offset = self.near_at + number * BUFFER
            return self.near, offset, GPA + offset
        assert self.far
        return self.far, (number - SIZE) * BUFFER, FAR_GPA + (number - SIZE) * BUFFER

    def post(self, numbers: range | list[int]) -> None:
        for number in numbers:
            number = number % SIZE + SIZE * self.away
            self.rx[self.port.rx.add([Buffer(self.place(number)[2], BUFFER, write=True)])] = number
        self.port.notify(0)

    def turn(self) -> None:
        port = self.port
        done = [self.tx.pop(head) for head, _length in port.tx.reap()]
        sent = False
        for head, length in port.rx.reap():
            number = self.rx.pop(head)
            self.fresh.discard(number)
            memory, offset, address = self.place(number)
            macs = memory.map[offset + HDR_LEN : offset + HDR_LEN + 12]
            memory.map[offset : offset + HDR_LEN] = bytes(HDR_LEN)
            memory.map[offset + HDR_LEN : offset + HDR_LEN + 12] = macs[6:] + macs[:6]
            self.tx[port.tx.add([Buffer(address, length)])] = number
            sent = True
        if sent:
            port.notify(1)
        if done:
            self.post(done)

    def is_done(self) -> bool:
        """All buffers are where they are to be."""
        held = [*self.rx.values(), *self.tx.values()]
        return all((number >= SIZE) == self.away for number in held) and not self.fresh

    def table(self) -> bytes:
        return region(GPA, self.near.size, UVA, 0)

    def far_table(self) -> bytes:
        assert self.far
        return region(FAR_GPA, self.far.size, FAR_UVA, 0)

    def begin(self, word: str) -> None:
        if word in ("add", "table"):
            self.far = Memory(SIZE * BUFFER)
            self.fresh = set(range(SIZE, 2 * SIZE))
        fds = [self.near.fd, self.far.fd] if self.far else []
        if word == "add":
            assert self.port.ack(ADD_MEM_REG, bytes(8) + self.far_table(), fds[1:])
        elif word == "table":
            assert self.port.ack(SET_MEM_TABLE, mem_table(self.table(), self.far_table()), fds)
        elif word == "stale":
            self.port.tx.add([Buffer(FAR_GPA, 60 + HDR_LEN)])
            self.port.notify(1)
            return
        self.away = word in ("add", "table")

    def finish(self, word: str) -> None:
        if word == "remove":
            assert self.port.ack(REM_MEM_REG, bytes(8) + self.far_table())
        elif word == "untable":
            assert self.port.ack(SET_MEM_TABLE, mem_table(self.table()), [self.near.fd])
        if word in ("remove", "untable"):
            assert self.far
            self.far.close()
            self.far = None

    def run(self) -> None:
        print("ready", flush=True)
        word = ""
        while True:
            ready, _, _ = select.select([*self.port.call, *([] if word else [sys.stdin])], [], [])
            for fd in ready:
                if fd is sys.stdin:
                    word = sys.stdin.readline().strip()
                    if not word:
                        return
                    self.begin(word)
                else:
                    os.eventfd_read(fd)
            self.turn()
            if word and (word == "stale" or self.is_done()):
                self.finish(word)
                print(word, flush=True)
                word = ""


if __name__ == "__main__":
    Driver(sys.argv[1]).run()
