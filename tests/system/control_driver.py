# SPDX-License-Identifier: Apache-2.0
"""A driver of a virtual PF as far as the control channel goes, over a vhost-user connection and without a VM."""

from __future__ import annotations

import itertools
import secrets
import time
from pathlib import Path

import control_codec as codec
from bed.machine import PATIENCE
from control_codec import Function, HelloReply, Message, Reply, Settings
from vu_client import Port


def key_of(socket: Path) -> bytes:
    """The key of the VM that the virtual PF with this function's socket is for, as QEMU gets it."""
    text = (socket.parent / "vm.key").read_text()
    assert text.startswith("vpf-key=") and len(text) == 40, text
    return bytes.fromhex(text[8:])


class Driver:
    def __init__(self, port: Port, key: bytes):
        self.port, self.key = port, key
        self.session = 0
        self.sequence = 0
        self.last_event = 0
        self.reply: HelloReply | None = None
        self.functions: dict[int, Function] = {}

    # -- frames

    def frame(self, kind: int, body: bytes = b"", *, session: int | None = None, sequence: int = 0, **forged: object) -> bytes:
        return codec.encode(self.key, Message(kind, self.session if session is None else session, sequence, body), **forged)

    def send(self, *frames: bytes) -> None:
        self.port.send_frame(*frames)

    def receive(self, kind: int, timeout: float = 10) -> Message:
        """The next message of this type; events on the way are taken and acknowledged, RESETs passed over."""
        deadline = time.monotonic() + timeout * PATIENCE
        while True:
            message = codec.decode(self.key, self.port.receive_control(deadline - time.monotonic()))
            if message.type == codec.EVENT and message.session == self.session:
                self._on_event(message)
            if message.type == kind:
                return message

    def _on_event(self, message: Message) -> None:
        self.send(self.frame(codec.EVENT_ACK, sequence=message.sequence))
        if message.sequence > self.last_event:
            self.last_event = message.sequence
            self.functions |= {f.function: f for f in codec.unpack_event(message.body)}

    # -- what a driver does

    def hello(self, **options: object) -> HelloReply:
        """A pending session, which the first request makes the active one."""
        nonce = secrets.randbits(64)
        self.send(self.frame(codec.HELLO, codec.hello(nonce, **options), session=0))
        for _ in itertools.count():
            message = self.receive(codec.HELLO_REPLY)
            reply = HelloReply.unpack(message.body)
            if reply.nonce == nonce:
                self.session, self.sequence, self.last_event, self.reply = message.session, 0, 0, reply
                return reply
        raise AssertionError

    def request(self, kind: int, body: bytes = b"") -> Reply:
        self.sequence += 1
        self.send(self.frame(kind, body, sequence=self.sequence))
        return self.reply_to(self.sequence, kind)

    def reply_to(self, sequence: int, kind: int, timeout: float = 10) -> Reply:
        message = self.receive(codec.REPLY, timeout)
        reply = Reply.unpack(message.body)
        assert (message.session, message.sequence, reply.request) == (self.session, sequence, kind)
        if kind in (codec.GET, codec.SET):
            self.functions |= {f.function: f for f in reply.functions}
        return reply

    def get(self, first: int, count: int) -> Reply:
        return self.request(codec.GET, codec.request_range(first, count))

    def stats(self, first: int, count: int) -> Reply:
        return self.request(codec.STATS, codec.request_range(first, count))

    def set(self, vf: int, **settings: object) -> Reply:
        return self.request(codec.SET, Settings(vf + 1, **settings).pack())

    def start(self) -> None:
        """HELLO, and all there is to know."""
        reply = self.hello()
        assert reply.status == codec.OK
        first = 0
        while first <= reply.vfs:
            got = self.get(first, reply.vfs + 1 - first)
            assert got.status == codec.OK and got.first == first and got.functions
            first += len(got.functions)

    def await_event(self, timeout: float = 10) -> dict[int, Function]:
        """Waits for the next event that says something new; all functions as they then are."""
        before = self.last_event
        while self.last_event == before:
            self.receive(codec.EVENT, timeout)
        return self.functions

    def bye(self) -> None:
        self.send(self.frame(codec.BYE))
        self.session = 0
