# SPDX-License-Identifier: Apache-2.0
"""A vpfd with a function "bad" that is attacked, and others that behave: what an attack may cost."""

from __future__ import annotations

import frames
from bed.vpfd import Vpfd
from traffic import Pair, add_functions
from vu_client import Port


class Site:
    def __init__(self, vpfd: Vpfd):
        self.vpfd = vpfd
        (self.bad,) = add_functions(vpfd, "bad", 1)
        *both, self.friend = add_functions(vpfd, "good", 3)
        self.pair = Pair(*both)
        self.friend_port = self.friend.port()
        self.events = vpfd.rpc_client()
        self.events("events.subscribe", topics=["function", "ring"])
        self.check_good_client()
        self.mark = len(vpfd.output())
        self.fds = self.settled_fds()

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        self.events.close()
        self.friend_port.close()
        self.pair.finish()

    def settled_fds(self) -> int:
        """Descriptors of vpfd with nobody at the bad function; asked for after vpfd has dealt with all that came before."""
        self.vpfd.rpc("status")
        return self.vpfd.fds()

    def offences(self) -> list[str]:
        """Lines of warning or worse that were logged since the start or the last call."""
        self.vpfd.rpc("status")  # what came before it is logged
        text = self.vpfd.output()
        lines, self.mark = text[self.mark :].splitlines(), len(text)
        return [line for line in lines if line[:3] in ("<0>", "<1>", "<2>", "<3>", "<4>")]

    def wait_event(self, topic: str, **wanted: object) -> dict:
        while True:
            event = self.events.wait_notification("event")
            if event["topic"] == topic and event.get("pf") == "bad" and all(event.get(k) == v for k, v in wanted.items()):
                return event

    def exchange(self, port: Port) -> None:
        """A frame each way between PORT, at the bad function, and a third client that behaves."""
        self.from_bad(port)
        self.to_bad(port)

    def from_bad(self, port: Port) -> None:
        frame = frames.eth(self.friend.mac, self.bad.mac, b"from", length=300)
        port.send_frame(frame)
        assert self.friend_port.receive() == frame

    def to_bad(self, port: Port) -> None:
        frame = frames.eth(self.bad.mac, self.friend.mac, b"to", length=300)
        self.friend_port.send_frame(frame)
        assert port.receive() == frame

    def check_good_client(self) -> None:
        """The function works for who behaves, with either kind of ring."""
        for packed in (False, True):
            port = self.bad.port(packed=packed)
            try:
                self.exchange(port)
            finally:
                port.close()
            self.wait_event("function", event="disconnected")

    def check_after(self, *expected: str) -> None:
        """EXPECTED: a part of each line that the offence is worth, in order."""
        lines = self.offences()
        assert len(lines) == len(expected), f"{len(lines)} lines: {lines}"
        for part, line in zip(expected, lines, strict=True):
            assert part in line and "pf=bad vf=0" in line, line
        self.pair.check()
        self.check_good_client()
        assert self.settled_fds() == self.fds
        assert self.offences() == []
