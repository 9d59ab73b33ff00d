# SPDX-License-Identifier: Apache-2.0
"""A function changes its datapath while frames with numbers go through it: none comes twice, none overtakes another, and each
that its driver gave away was taken by one of the two datapaths, once.

    driver ──▶ vpfd: builtin ──▶ fabric ──▶ echo (testpmd, virtio-user)
      │          └ vhost-user (control only) ──▶ echo (testpmd, vhost)
      └──────────── rings ─────────────────────────┘
"""

from __future__ import annotations

import os
import random
import select
import signal
import statistics
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import frames
import pytest
from bed.dpdk import Testpmd, vhost, virtio_user
from bed.machine import PATIENCE
from bed.vpfd import Vpfd
from traffic import Function, add_functions
from vu_client import GET_VRING_BASE, GPA, HDR_LEN, NO_OFFLOAD, Buffer, Port, state

BUILTIN = {"type": "builtin"}
WINDOW = 48  # frames under way
LENGTH = 200
TYPE = b"\x88\xb6"


def wait_until(condition: Callable[[], Any], timeout: float = 20) -> Any:
    deadline = time.monotonic() + timeout * PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {timeout} s"
        time.sleep(0.002)
    return value


class Flow(threading.Thread):
    """A driver that sends numbered frames as fast as they come back. What is lost on the way is counted, and after a while without
    any frame no longer waited for."""

    def __init__(self, function: Function, to: str):
        super().__init__(name="flow", daemon=True)
        self.port = Port(function.socket)
        self.head = frames.mac(to) + frames.mac(function.mac) + TYPE
        self.back = frames.mac(function.mac)
        self.sent = self.received = self.others = self.late = self.twice = 0
        self.highest = self.written_off = -1
        self.failure: BaseException | None = None
        self._sending: dict[int, int] = {}
        self._seen: set[int] = set()
        self._last = time.monotonic()
        self._quit, self._gone = threading.Event(), threading.Event()
        self.start()

    def _send(self) -> None:
        port = self.port
        for head, _length in port.tx.reap():
            port.spare.append(self._sending.pop(head))
        added = False
        while len(port.tx.free) and self.sent - max(self.highest, self.written_off) <= WINDOW and not self._quit.is_set():
            data = NO_OFFLOAD + self.head + struct.pack("!Q", self.sent)
            offset = port.buffer()
            port.mem.map[offset : offset + len(data)] = data
            self._sending[port.tx.add([Buffer(GPA + offset, HDR_LEN + LENGTH)])] = offset
            self.sent += 1
            added = True
        if added:
            port.notify(1)

    def _receive(self) -> bool:
        port, any_frame = self.port, False
        for head, length in port.rx.reap():
            offset = port.rx_buffers.pop(head)
            frame = port.mem.map[offset + HDR_LEN : offset + length]
            port.spare.append(offset)
            if frame[:6] != self.back or frame[12:14] != TYPE:
                self.others += 1  # a back-end's announcement, sent back
                continue
            number = struct.unpack_from("!Q", frame, 14)[0]
            assert number < self.sent and len(frame) == LENGTH, f"{number} of {self.sent}, {len(frame)} bytes"
            self.twice += number in self._seen
            self._seen.add(number)
            self.late += number < self.highest
            self.highest = max(self.highest, number)
            self.received += 1
            any_frame = True
        port.fill()
        return any_frame

    def run(self) -> None:
        try:
            quiet = 0.0
            while not self._gone.is_set() and (not self._quit.is_set() or self._sending or quiet < 0.3):
                self._send()
                now = time.monotonic()
                if self._receive():
                    self._last = now
                    continue
                quiet = now - self._last
                if quiet > 0.1:
                    self.written_off = self.sent - 1
                if self._quit.is_set() and quiet > 10:
                    raise TimeoutError(f"{len(self._sending)} frames are still in the ring")
                ready, _, _ = select.select(self.port.call, [], [], 0.002)
                for fd in ready:
                    os.eventfd_read(fd)
        except BaseException as error:  # noqa: BLE001 — it is the test's to raise
            self.failure = error

    def check(self) -> None:
        if self.failure:
            raise self.failure
        assert self.is_alive() and self.twice == 0 and self.late == 0, (self.twice, self.late)

    def goes_on(self, count: int = 200, timeout: float = 10) -> None:
        """Frames come and go."""
        before = self.received

        def arrived() -> bool:
            self.check()
            return self.received > before + count

        wait_until(arrived, timeout)

    def finish(self) -> None:
        """Until nothing is under way; the connection stays."""
        self._quit.set()
        self.join()
        if self.failure:
            raise self.failure
        assert self.twice == 0 and self.late == 0

    def abandon(self) -> None:
        """The connection ends in the middle of it all."""
        self.port.socket.close()
        self._gone.set()
        self.join()
        if self.failure:
            raise self.failure


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="vpf-mv-") as name:
        yield Path(name)


@pytest.fixture
def pair(bed: Path, vpfd: Vpfd, place: Path) -> Iterator[tuple[Function, Function, dict[str, Any]]]:
    """The function that moves, the one at which the fabric's echo is, and the preference for the other echo."""
    other = {"type": "vhost-user", "path": f"{place}/{{vf}}"}
    a, b = add_functions(vpfd, "pf", 2, spoofchk=False, datapaths=[BUILTIN, other])
    with Testpmd([virtio_user(0, b.socket, mac=b.mac, queue_size=256)], "macswap", 0):
        yield a, b, other


def echo(place: Path) -> Testpmd:
    for path in place.iterdir():
        path.unlink()
    return Testpmd([vhost(0, place / "0")], "macswap", 0)


def serving(function: Function) -> str:
    return function.show()["datapath"]


def move(function: Function, *datapaths: dict[str, Any]) -> None:
    function.set(datapaths=list(datapaths))
    wait_until(lambda: serving(function) == datapaths[0]["type"])


def test_hundred_times(pair: tuple[Function, Function, dict[str, Any]], place: Path, record_property: Callable[..., None]) -> None:
    a, b, other = pair
    with echo(place) as back_end:
        flow = Flow(a, b.mac)
        flow.goes_on()
        gaps: dict[str, list[int]] = {"vhost-user": [], "builtin": []}
        for turn in range(100):
            target: dict[str, Any] = other if turn % 2 == 0 else BUILTIN
            move(a, target)
            flow.goes_on(64)
            gaps[target["type"]].append(a.show()["binding"]["last_gap_us"])
        flow.finish()
        binding = a.show()["binding"]
        assert binding["moves"] == 100 and binding["failures"] == 0
        # Each frame passed one of the two, once; and each announces the function with one when it moves there.
        ours, theirs = a.stats(), back_end.stats()[0]
        assert ours["tx"]["packets"] + theirs.rx_packets == flow.sent + 100
        assert ours["rx"]["packets"] + theirs.tx_packets == flow.received + flow.others
        for kind, values in gaps.items():
            text = f"median {statistics.median(values)} µs, longest {max(values)} µs"
            record_property(f"gap to {kind}", text)
            print(f"to {kind}: {text}")
        print(f"{flow.sent} sent, {flow.sent - flow.received} lost on the way")
        flow.port.close()


def test_back_end_killed_at_any_step(pair: tuple[Function, Function, dict[str, Any]], place: Path) -> None:
    """Before, in the middle of, and after a move to it or from it: the next of the list serves, and the traffic goes on."""
    a, b, other = pair
    random.seed(7)
    flow = Flow(a, b.mac)
    for turn in range(8):
        with echo(place) as back_end:
            move(a, BUILTIN)  # another list: the same once more would change nothing
            if turn % 2:
                move(a, other, BUILTIN)
                flow.goes_on(64)
                target = [BUILTIN]
            else:
                target = [other, BUILTIN]
            killer = threading.Timer(random.uniform(0, 0.012), os.kill, (back_end.program.pid, signal.SIGKILL))
            killer.start()
            a.set(datapaths=target)
            killer.join()
            back_end.program.popen.wait()
            wait_until(lambda: serving(a) == "builtin")
            flow.goes_on()
    assert a.show()["binding"]["state"] == "bound" and a.show()["link_up"]
    flow.finish()
    flow.port.close()


def test_guest_is_reset_while_moving(pair: tuple[Function, Function, dict[str, Any]], place: Path) -> None:
    """The driver stops a queue, starts over, or goes away, at any time; it is told where its rings stand, by whoever has them."""
    a, b, other = pair
    with echo(place):
        for turn in range(12):
            flow = Flow(a, b.mac)
            flow.goes_on(32)
            target = other if turn % 2 == 0 else BUILTIN
            a.set(datapaths=[target])
            if turn % 3 == 0:  # an orderly stop, as soon as nothing is in the rings
                flow.finish()
                for index, ring in ((0, flow.port.rx), (1, flow.port.tx)):
                    base = struct.unpack("=II", flow.port.request(GET_VRING_BASE, state(index, 0)))
                    assert base == (index, ring.position()), (turn, index)
            elif turn % 3 == 1:  # the connection ends in the middle of it
                flow.abandon()
            else:
                flow.finish()
                flow.port.restart(0)
                flow.port.restart(1)
                flow.port.fill()
                wait_until(lambda target=target: serving(a) == target["type"])
                wire = frames.mac(b.mac) + frames.mac(a.mac) + TYPE + bytes(186)
                flow.port.send_frame(wire)
                while (frame := flow.port.receive())[12:14] != TYPE:
                    pass
                assert frame[:6] == frames.mac(a.mac)
            flow.port.close()
            wait_until(lambda: serving(a) == "none")
            assert a.show()["binding"]["failures"] == 0
