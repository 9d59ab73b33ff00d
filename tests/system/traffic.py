# SPDX-License-Identifier: Apache-2.0
"""What tests of the data plane share: a vpfd with one fabric, functions to connect to, and traffic that goes on meanwhile."""

from __future__ import annotations

import struct
import threading
from pathlib import Path
from typing import Any

import frames
from bed.vpfd import Vpfd
from vu_client import Port


class Function:
    """A function of a virtual PF: VF number, or None for the PF itself."""

    def __init__(self, vpfd: Vpfd, pf: str, vf: int | None):
        self.vpfd, self.pf, self.vf = vpfd, pf, vf
        shown = self.show()
        self.mac: str = shown["mac"]
        self.socket = Path(shown["socket"])

    def show(self) -> dict[str, Any]:
        return self.vpfd.rpc("vf.show", pf=self.pf, vf=self.vf)

    def set(self, **settings: Any) -> dict[str, Any]:
        return self.vpfd.rpc("vf.set", pf=self.pf, vf=self.vf, **settings)

    def stats(self) -> dict[str, Any]:
        (row,) = self.vpfd.ctl("stats", self.pf, "pf" if self.vf is None else str(self.vf), json=True)
        return row

    def drops(self, direction: str, reason: str) -> int:
        return self.stats()[direction]["drops"].get(reason, 0)

    def port(self, **options: Any) -> Port:
        return Port(self.socket, **options)


def add_functions(vpfd: Vpfd, pf: str, vfs: int, fabric: str = "lan", **settings: Any) -> list[Function]:
    """A new virtual PF's VFs; its fabric is added if need be."""
    if fabric not in (row["name"] for row in vpfd.rpc("fabric.list")):
        vpfd.rpc("fabric.add", name=fabric)
    vpfd.rpc("pf.add", name=pf, fabric=fabric, vfs=vfs, **settings)
    return [Function(vpfd, pf, number) for number in range(vfs)]


class Pair(threading.Thread):
    """Two clients that behave, and one frame at a time from one to the other and back, each with its number in it. Any frame that
    does not arrive, and any that is not the one that was sent, is a failure, which `check` raises."""

    def __init__(self, left: Function, right: Function):
        super().__init__(name="pair", daemon=True)
        self.functions = left, right
        self.ports = left.port(packed=True), right.port()
        self.rounds = 0
        self.failure: BaseException | None = None
        self._stop_asked = threading.Event()
        self._progress = threading.Condition()
        self.start()

    def run(self) -> None:
        try:
            while not self._stop_asked.is_set():
                for here, there in ((0, 1), (1, 0)):
                    frame = frames.eth(
                        self.functions[there].mac, self.functions[here].mac, struct.pack("!Q", self.rounds) * 16, length=200
                    )
                    self.ports[here].send_frame(frame)
                    got = self.ports[there].receive()
                    assert got == frame, f"round {self.rounds}: {got[:40].hex()} arrived for {frame[:40].hex()}"
                with self._progress:
                    self.rounds += 1
                    self._progress.notify_all()
                self._stop_asked.wait(0.002)  # the pace, so that others get a share of the CPU
        except BaseException as error:  # noqa: BLE001 — it is the test's to raise
            self.failure = error
            with self._progress:
                self._progress.notify_all()

    def check(self) -> None:
        """More rounds are made, and none has failed."""
        with self._progress:
            before = self.rounds
            self._progress.wait_for(lambda: self.failure or self.rounds >= before + 3, 20)
        if self.failure:
            raise AssertionError(f"the traffic of others suffered: {self.failure!r}") from self.failure
        assert self.rounds >= before + 3, "the traffic of others has come to a standstill"
        for function in self.functions:
            assert function.show()["connected"]

    def finish_traffic(self) -> None:
        """Ends the traffic; the clients stay."""
        self._stop_asked.set()
        self.join(30)

    def finish(self) -> None:
        """All that was sent was counted as received, and no connection was lost on the way."""
        self.finish_traffic()
        try:
            if self.failure:
                raise AssertionError(f"the traffic of others suffered: {self.failure!r}") from self.failure
            for function in self.functions:
                stats = function.stats()
                assert stats["tx"]["packets"] == stats["rx"]["packets"] == self.rounds
                assert stats["tx"]["dropped"] == stats["rx"]["dropped"] == stats["ring_errors"] == 0
        finally:
            for port in self.ports:
                port.close()
