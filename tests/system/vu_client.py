# SPDX-License-Identifier: Apache-2.0
"""A vhost-user front-end in Python, with a virtio-net driver behind it: for frames that a guest's own stack would not send, and
for front-ends that misbehave on purpose. Nothing in it stands in the way of a wrong message or descriptor.

The wire format is QEMU's docs/interop/vhost-user.rst; rings are those of virtio 1.3 §2.7 (split) and §2.8 (packed).
"""

from __future__ import annotations

import contextlib
import mmap
import os
import select
import socket
import struct
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bed.machine import PATIENCE

GET_FEATURES, SET_FEATURES, SET_OWNER, RESET_OWNER, SET_MEM_TABLE = 1, 2, 3, 4, 5
SET_LOG_BASE, SET_LOG_FD = 6, 7
SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE = 8, 9, 10, 11
SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR = 12, 13, 14
GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, GET_QUEUE_NUM, SET_VRING_ENABLE = 15, 16, 17, 18
SEND_RARP, NET_SET_MTU, SET_BACKEND_REQ_FD = 19, 20, 21
GET_INFLIGHT_FD, SET_INFLIGHT_FD, RESET_DEVICE = 31, 32, 34
GET_MAX_MEM_SLOTS, ADD_MEM_REG, REM_MEM_REG, SET_STATUS, GET_STATUS = 36, 37, 38, 39, 40

VERSION, REPLY, NEED_REPLY = 1, 4, 8
NOFD = 0x100

F_CSUM, F_GUEST_CSUM, F_MRG_RXBUF, F_INDIRECT, F_EVENT_IDX = 1 << 0, 1 << 1, 1 << 15, 1 << 28, 1 << 29
F_PROTOCOL_FEATURES, F_VERSION_1, F_PACKED = 1 << 30, 1 << 32, 1 << 34
PF_MQ, PF_REPLY_ACK, PF_INFLIGHT, PF_MEM_SLOTS, PF_STATUS = 1 << 0, 1 << 3, 1 << 12, 1 << 15, 1 << 16

DESC_NEXT, DESC_WRITE, DESC_INDIRECT, DESC_AVAIL, DESC_USED = 1, 2, 4, 1 << 7, 1 << 15
HDR_LEN = 12  # virtio_net_hdr_mrg_rxbuf
NO_OFFLOAD = bytes(HDR_LEN)
CONTROL = bytes.fromhex("88b5")  # EtherType of the control channel
GPA = 0x1_0000_0000  # where the client's memory lies for descriptors
UVA = 0x7000_0000_0000  # and for ring addresses


class Disconnected(ConnectionError):
    """vpfd ended the connection."""


class Memory:
    """Shared memory with a bump allocator; offsets in it become guest addresses with `gpa`, front-end addresses with `uva`."""

    def __init__(self, size: int = 4 << 20):
        self.size = size
        self.fd = os.memfd_create("guest", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, size)
        self.map = mmap.mmap(self.fd, size)
        # Whole elements are stored at once through these: struct.pack_into() stores byte by byte, and vpfd reads meanwhile.
        self.u16, self.u32, self.u64 = (memoryview(self.map).cast(code) for code in "HIQ")
        self._next = 0

    def alloc(self, size: int, align: int = 64) -> int:
        offset = (self._next + align - 1) // align * align
        if offset + size > self.size:
            raise MemoryError("the client's memory is too small")
        self._next = offset + size
        return offset

    def close(self) -> None:
        for view in (self.u16, self.u32, self.u64):
            view.release()
        with contextlib.suppress(BufferError):
            self.map.close()
        os.close(self.fd)


@dataclass
class Buffer:
    """One descriptor: guest address, length, and whether the device may write it."""

    gpa: int
    length: int
    write: bool = False
    flags: int = 0  # further descriptor flags


class SplitRing:
    packed = False

    def __init__(self, mem: Memory, size: int):
        self.mem, self.size = mem, size
        self.desc, self.avail, self.used = mem.alloc(16 * size), mem.alloc(6 + 2 * size), mem.alloc(6 + 8 * size)
        self.free = list(range(size))
        self.avail_idx = self.used_idx = 0
        self._chains: dict[int, list[int]] = {}

    def write_desc(self, index: int, gpa: int, length: int, flags: int, following: int = 0) -> None:
        offset = self.desc + 16 * index
        self.mem.u64[offset // 8] = gpa
        self.mem.u32[offset // 4 + 2] = length
        self.mem.u16[offset // 2 + 6] = flags
        self.mem.u16[offset // 2 + 7] = following

    def add(self, chain: Sequence[Buffer]) -> int:
        """Writes a chain and makes it available; returns its head, which `reap` gives back."""
        slots = [self.free.pop(0) for _ in chain]
        for i, (slot, buffer) in enumerate(zip(slots, chain, strict=True)):
            flags = buffer.flags | (DESC_WRITE if buffer.write else 0) | (DESC_NEXT if i + 1 < len(chain) else 0)
            self.write_desc(slot, buffer.gpa, buffer.length, flags, slots[i + 1] if i + 1 < len(chain) else 0)
        self._chains[slots[0]] = slots
        self.offer(slots[0])
        return slots[0]

    def offer(self, head: int) -> None:
        """Puts HEAD into the available ring, whatever it is."""
        self.mem.u16[self.avail // 2 + 2 + self.avail_idx % self.size] = head
        self.avail_idx = (self.avail_idx + 1) & 0xFFFF
        self.mem.u16[self.avail // 2 + 1] = self.avail_idx

    def jump(self, idx: int) -> None:
        self.mem.u16[self.avail // 2 + 1] = idx & 0xFFFF

    def reap(self) -> list[tuple[int, int]]:
        done = []
        while self.used_idx != self.mem.u16[self.used // 2 + 1]:
            element = self.used // 4 + 1 + 2 * (self.used_idx % self.size)
            head, length = self.mem.u32[element], self.mem.u32[element + 1]
            self.free += self._chains.pop(head, [])
            self.used_idx = (self.used_idx + 1) & 0xFFFF
            done.append((head, length))
        return done

    def position(self) -> int:
        """How far the device is, as SET_VRING_BASE has it."""
        return self.mem.u16[self.used // 2 + 1]

    def addresses(self) -> tuple[int, int, int]:
        return self.desc, self.used, self.avail

    base = 0


class PackedRing:
    packed = True

    def __init__(self, mem: Memory, size: int):
        self.mem, self.size = mem, size
        self.desc, self.driver, self.device = mem.alloc(16 * size), mem.alloc(4), mem.alloc(4)
        self.next = self.used_next = 0
        self.wrap = self.used_wrap = True
        self.ids = list(range(size))
        self._slots: dict[int, int] = {}
        self.used_slots = 0

    @property
    def free(self) -> range:
        return range(self.size - self.used_slots)

    def _flags(self, flags: int) -> int:
        return flags | (DESC_AVAIL if self.wrap else DESC_USED)

    def add(self, chain: Sequence[Buffer], ident: int | None = None) -> int:
        """As SplitRing.add; IDENT forges the buffer id."""
        own = self.ids.pop(0)
        first, publish = self.next, 0
        for i, buffer in enumerate(chain):
            flags = self._flags(buffer.flags | (DESC_WRITE if buffer.write else 0) | (DESC_NEXT if i + 1 < len(chain) else 0))
            offset = self.desc + 16 * self.next
            self.mem.u64[offset // 8] = buffer.gpa
            self.mem.u32[offset // 4 + 2] = buffer.length
            self.mem.u16[offset // 2 + 6] = own if ident is None else ident
            if i:
                self.mem.u16[offset // 2 + 7] = flags
            else:
                publish = flags
            self.next += 1
            if self.next == self.size:
                self.next, self.wrap = 0, not self.wrap
        self._slots[own] = len(chain)
        self.used_slots += len(chain)
        self.mem.u16[(self.desc + 16 * first) // 2 + 7] = publish
        return own

    def reap(self) -> list[tuple[int, int]]:
        done = []
        while True:
            offset = self.desc + 16 * self.used_next
            flags = self.mem.u16[offset // 2 + 7]
            if bool(flags & DESC_AVAIL) != self.used_wrap or bool(flags & DESC_USED) != self.used_wrap:
                return done
            ident, length = self.mem.u16[offset // 2 + 6], self.mem.u32[offset // 4 + 2]
            slots = self._slots.pop(ident)
            self.ids.append(ident)
            self.used_slots -= slots
            self.used_next += slots
            if self.used_next >= self.size:
                self.used_next, self.used_wrap = self.used_next - self.size, not self.used_wrap
            done.append((ident, length))

    def position(self) -> int:
        """As SplitRing.position; what was used before must have been reaped."""
        return (self.used_next | self.used_wrap << 15) * 0x10001

    def addresses(self) -> tuple[int, int, int]:
        return self.desc, self.device, self.driver

    base = 0x80008000  # both wrap counters 1, both indices 0


class Client:
    """The protocol: requests out, replies in. `call` asks for an acknowledgement and raises Refused for a negative one."""

    def __init__(self, path: str | os.PathLike[str], timeout: float = 10):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.path = os.fspath(path)
        self.socket.connect(self.path)
        self.features = 0
        self.fds: list[int] = []

    def send(self, request: int, payload: bytes = b"", fds: Iterable[int] = (), flags: int = VERSION, size: int | None = None) -> None:
        header = struct.pack("=III", request, flags, len(payload) if size is None else size)
        self.send_raw(header + payload, list(fds))

    def send_raw(self, data: bytes, fds: Sequence[int] = ()) -> None:
        try:
            socket.send_fds(self.socket, [data], list(fds)) if fds else self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Disconnected from error

    def read(self) -> tuple[int, bytes, list[int]]:
        """The next reply: request, payload, descriptors."""
        header, fds = self._receive(12)
        request, _flags, size = struct.unpack("=III", header)
        payload, more = self._receive(size) if size else (b"", [])
        return request, payload, fds + more

    def _receive(self, size: int) -> tuple[bytes, list[int]]:
        data, fds = b"", []
        while len(data) < size:
            try:
                part, got, _flags, _address = socket.recv_fds(self.socket, size - len(data), 8)
            except ConnectionResetError as error:
                raise Disconnected from error
            if not part:
                raise Disconnected
            data += part
            fds += got
        return data, fds

    def request(self, request: int, payload: bytes = b"", fds: Iterable[int] = ()) -> bytes:
        """A message that has a reply of its own."""
        self.send(request, payload, fds)
        got, reply, _fds = self.read()
        assert got == request, f"reply to {got}, not to {request}"
        return reply

    def ack(self, request: int, payload: bytes = b"", fds: Iterable[int] = ()) -> bool:
        """A message with NEED_REPLY; True if it was carried out."""
        self.send(request, payload, fds, VERSION | NEED_REPLY)
        got, reply, _fds = self.read()
        assert got == request and len(reply) == 8
        return reply == bytes(8)

    def get_u64(self, request: int) -> int:
        return struct.unpack("=Q", self.request(request))[0]

    def negotiate(self, wanted: int = F_VERSION_1 | F_MRG_RXBUF, protocol: int = PF_MQ | PF_REPLY_ACK | PF_MEM_SLOTS | PF_STATUS) -> None:
        offered = self.get_u64(GET_FEATURES)
        assert wanted & ~offered == 0, f"not offered: {wanted & ~offered:#x}"
        self.features = wanted
        self.get_u64(GET_PROTOCOL_FEATURES)
        self.send(SET_PROTOCOL_FEATURES, u64(protocol))
        self.send(SET_OWNER)
        assert self.ack(SET_FEATURES, u64(wanted | F_PROTOCOL_FEATURES))

    def wait_closed(self, timeout: float = 10) -> None:
        """Awaits that vpfd closes the connection; replies that still come do not matter."""
        self.socket.settimeout(timeout)
        with contextlib.suppress(ConnectionResetError):
            while self.socket.recv(4096):
                pass

    def close(self) -> None:
        self.socket.close()
        for fd in self.fds:
            with contextlib.suppress(OSError):
                os.close(fd)
        self.fds.clear()


def u64(value: int) -> bytes:
    return struct.pack("=Q", value & 0xFFFF_FFFF_FFFF_FFFF)


def state(index: int, number: int) -> bytes:
    return struct.pack("=II", index, number)


def region(gpa: int, size: int, uva: int, offset: int) -> bytes:
    return struct.pack("=QQQQ", gpa & (1 << 64) - 1, size & (1 << 64) - 1, uva & (1 << 64) - 1, offset & (1 << 64) - 1)


def mem_table(*regions: bytes) -> bytes:
    return struct.pack("=II", len(regions), 0) + b"".join(regions)


def ring_addr(index: int, desc: int, used: int, avail: int, flags: int = 0, log: int = 0) -> bytes:
    return struct.pack("=IIQQQQ", index, flags, *(value & (1 << 64) - 1 for value in (desc, used, avail, log)))


class Port(Client):
    """A virtio-net driver on one queue pair: frames out with `send_frame`, in with `receive`. Buffers hold one frame each."""

    BUFFER = 2048

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        packed: bool = False,
        features: int = F_VERSION_1 | F_MRG_RXBUF,
        size: int = 64,
        memory: int = 4 << 20,
        fill: bool = True,
        start: bool = True,
    ):
        super().__init__(path)
        self.mem = Memory(memory)
        self.negotiate(features | (F_PACKED if packed else 0))
        self.rx, self.tx = ((PackedRing if packed else SplitRing)(self.mem, size) for _ in range(2))
        self.rx_buffers: dict[int, int] = {}
        self.spare: list[int] = []
        self.kick = [self._eventfd(), self._eventfd()]
        self.call = [self._eventfd(), self._eventfd()]
        self.pending: list[bytes] = []  # buffers that were filled
        self.data: list[tuple[bytes, bytes]] = []  # frames, with their headers
        self.control: list[bytes] = []  # frames of the control channel
        assert self.set_memory()
        if start:
            self.start(0, self.rx)
            self.start(1, self.tx)
            if fill:
                self.fill()

    def _eventfd(self) -> int:
        fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.fds.append(fd)
        return fd

    def set_memory(self) -> bool:
        return self.ack(SET_MEM_TABLE, mem_table(region(GPA, self.mem.size, UVA, 0)), [self.mem.fd])

    def start(self, index: int, ring: SplitRing | PackedRing, *, base: int | None = None, enable: bool = True) -> None:
        self.set_up(index, ring, base=base)
        assert self.ack(SET_VRING_CALL, u64(index), [self.call[index]])
        assert self.ack(SET_VRING_KICK, u64(index), [self.kick[index]])
        assert self.ack(SET_VRING_ENABLE, state(index, int(enable)))

    def set_up(self, index: int, ring: SplitRing | PackedRing, *, base: int | None = None) -> None:
        """All but the kick descriptor, which starts the queue."""
        desc, used, avail = (UVA + offset for offset in ring.addresses())
        assert self.ack(SET_VRING_NUM, state(index, ring.size))
        assert self.ack(SET_VRING_BASE, state(index, ring.base if base is None else base))
        assert self.ack(SET_VRING_ADDR, ring_addr(index, desc, used, avail))

    def restart(self, index: int) -> None:
        """A queue with a new ring, as a driver does that starts over."""
        self.request(GET_VRING_BASE, state(index, 0))
        ring = (PackedRing if self.rx.packed else SplitRing)(self.mem, self.rx.size)
        if index:
            self.tx = ring
        else:
            self.rx, self.rx_buffers = ring, {}
        self.start(index, ring)

    def reconnect(self) -> None:
        """After the back-end's end: a new connection with the same memory and rings, from where the used rings stand."""
        self.socket.close()
        timeout = self.socket.gettimeout()
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect(self.path)
        self.negotiate(self.features)
        assert self.set_memory()
        for index, ring in enumerate((self.rx, self.tx)):
            self.start(index, ring, base=ring.position())

    def buffer(self) -> int:
        return self.spare.pop() if self.spare else self.mem.alloc(self.BUFFER)

    def fill(self) -> None:
        """Gives the receive queue all the buffers that it can hold."""
        while len(self.rx.free):
            offset = self.buffer()
            self.rx_buffers[self.rx.add([Buffer(GPA + offset, self.BUFFER, write=True)])] = offset
        self.notify(0)

    def notify(self, index: int) -> None:
        os.eventfd_write(self.kick[index], 1)

    def frame_buffer(self, frame: bytes, header: bytes = NO_OFFLOAD) -> Buffer:
        """FRAME behind its header in the client's memory."""
        data = header + frame
        offset = self.buffer() if len(data) <= self.BUFFER else self.mem.alloc(len(data))
        self.mem.map[offset : offset + len(data)] = data
        return Buffer(GPA + offset, len(data))

    def send_frame(self, *frames: bytes, header: bytes = NO_OFFLOAD, wait: bool = True, timeout: float = 10) -> None:
        """Sends frames; with `wait` until vpfd has taken them all."""
        sent: dict[int, int] = {}
        for frame in frames:
            buffer = self.frame_buffer(frame, header)
            sent[self.tx.add([buffer])] = buffer.gpa - GPA
        self.notify(1)
        deadline = time.monotonic() + timeout * PATIENCE
        while wait and sent:
            for head, _length in self.tx.reap():
                offset = sent.pop(head, None)
                if offset is not None:
                    self.spare.append(offset)
            if sent:
                self._await_call(1, deadline)

    def _await_call(self, index: int, deadline: float) -> None:
        """Until the queue's call descriptor is signalled or the connection ends."""
        left = deadline - time.monotonic()
        ready, _, _ = select.select([self.call[index], self.socket], [], [], max(0.0, left))
        if self.call[index] in ready:
            os.eventfd_read(self.call[index])
        elif self.socket in ready:
            raise Disconnected
        elif left <= 0:
            raise TimeoutError(f"no call of queue {index}")

    def receive(self, timeout: float = 10) -> bytes:
        """The next frame, without its virtio-net header; TimeoutError if none comes."""
        return self.receive_with_header(timeout)[1]

    def receive_with_header(self, timeout: float = 10) -> tuple[bytes, bytes]:
        """Control frames, which a PF gets at any time, go to `control` instead."""
        deadline = time.monotonic() + timeout * PATIENCE
        while not self.data:
            self._take(deadline)
        return self.data.pop(0)

    def receive_control(self, timeout: float = 10) -> bytes:
        """The next frame of the control channel; TimeoutError if none comes."""
        deadline = time.monotonic() + timeout * PATIENCE
        while not self.control:
            self._take(deadline)
        return self.control.pop(0)

    def _take(self, deadline: float) -> None:
        """Sorts the next frame that arrives."""
        while not self.pending:
            for head, length in self.rx.reap():
                offset = self.rx_buffers.pop(head)
                self.pending.append(bytes(self.mem.map[offset : offset + length]))
                self.spare.append(offset)
            self.fill()
            if not self.pending:
                self._await_call(0, deadline)
        # A frame larger than a buffer goes over as many as its header says (virtio 1.3 §5.1.6.4).
        first = self.pending.pop(0)
        data = first
        for _ in range(struct.unpack_from("=H", first, 10)[0] - 1):
            data += self.pending.pop(0)
        header, frame = data[:HDR_LEN], data[HDR_LEN:]
        if frame[12:14] == CONTROL:
            self.control.append(frame)
        else:
            self.data.append((header, frame))

    def receive_all(self, count: int, timeout: float = 10) -> list[bytes]:
        return [self.receive(timeout) for _ in range(count)]

    def close(self) -> None:
        super().close()
        self.mem.close()
