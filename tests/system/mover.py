# SPDX-License-Identifier: Apache-2.0
"""Moves a VF from datapath to datapath while numbered frames (numbered.py) go to its driver, which sends each one back.

Reads one JSON object from standard input: `socket` of vpfd's API, `pf`, `vf`; `interface` and `address` for the frames, `window` of
them, `patience` of numbered.py; `lists`: name to list of datapaths; `moves`: names, one after another; `least`: how many frames have to come back after
a move, before the next one. Prints one JSON object: `moves`, a row for each, and `frames`, what numbered.py reports. The first of
`moves` is where it starts: it has no row.

A row: `from`, `to`: what served the VF, as vpfd says; `gap_us`: for how long its rings had no server, by vpfd; `silence_us`: the longest
time without any frame back, from the request on; `took_us`: from request to answer; `lost`: frames that later ones have
overtaken since the move before; `failed`, if vpfd had to try another one. With `pid`, vpfd's: `frames` back from the answer on, and the
`ticks` of CPU time meanwhile, of its own threads and of the kernel's that serve vhost-net's rings in its name.

With `start`, the name of a list, instead of `moves`: says "ready" on a line, and awaits a driver, with the list set. Prints, in µs from its
first queue on: `bound`, when the datapath served, and `first_frame`, when the first frame was back.

Needs nothing but Python: it also runs in guests.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from pathlib import Path
from typing import Any

from numbered import Numbers

WRITE_OFF = 0.2  # s: so long a loss keeps the load smaller
LIMIT = 60.0  # s for a move, or for frames to come


class Vpfd:
    def __init__(self, path: str, numbers: Numbers):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.numbers = numbers
        self._buffer, self._id = b"", 0

    def __call__(self, method: str, **params: Any) -> dict[str, Any]:
        """Frames come and go while it waits."""
        self._id += 1
        self.socket.sendall(json.dumps({"jsonrpc": "2.0", "id": self._id, "method": method, "params": params}).encode() + b"\n")
        end = time.monotonic() + LIMIT
        while not (line := self.read()):
            assert time.monotonic() < end, f"{method}: no answer in {LIMIT:.0f} s"
        assert "result" in line, f"{method}: {line}"
        return line["result"]

    def read(self) -> dict[str, Any]:
        """What vpfd says next, or {} if it has not said anything for a while, or a frame came."""
        if b"\n" not in self._buffer and self.numbers.step([self.socket], self.numbers.patience):
            data = self.socket.recv(1 << 16)
            assert data, "vpfd closed the connection"
            self._buffer += data
        if b"\n" not in self._buffer:
            return {}
        line, self._buffer = self._buffer.split(b"\n", 1)
        return json.loads(line)


def await_frames(numbers: Numbers, first: int, least: int) -> None:
    """LEAST of the frames from number FIRST on."""
    end = time.monotonic() + LIMIT
    goal = numbers.back + least
    while numbers.back < goal or numbers.highest < first:
        assert time.monotonic() < end, f"{goal - numbers.back} of {least} frames were not back in {LIMIT:.0f} s: {numbers.report()}"
        numbers.step([], numbers.patience)


def ticks(pid: int) -> dict[str, int]:
    used = {"own": 0, "kernel": 0}
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        name, _, rest = stat.read_text().partition("(")[2].rpartition(")")
        used["kernel" if name.startswith("vhost-") else "own"] += sum(map(int, rest.split()[11:13]))
    return used


def run(plan: dict[str, Any]) -> dict[str, Any]:
    numbers = Numbers(plan["interface"], plan["address"], plan.get("window", 16), plan.get("patience", WRITE_OFF))
    vpfd = Vpfd(plan["socket"], numbers)
    function = {"pf": plan["pf"], "vf": plan["vf"]}
    rows: list[dict[str, Any]] = []
    lost_before = 0
    for turn, name in enumerate(plan["moves"]):
        numbers.gap, numbers.last = 0.0, time.monotonic()
        asked = time.monotonic()
        move = vpfd("vf.set", **function, datapaths=plan["lists"][name], wait=True)["move"]
        took = time.monotonic() - asked
        back, before = numbers.back, ticks(plan["pid"]) if "pid" in plan else {}
        await_frames(numbers, numbers.sent, plan["least"])
        lost = sum(number < numbers.highest for number in numbers.missing)
        if turn:
            rows.append({
                "from": move["from"], "to": move["to"], "wanted": name, "gap_us": move.get("gap_us"), "silence_us": round(numbers.gap * 1e6),
                "took_us": round(took * 1e6), "failed": move["failed"], "lost": lost - lost_before, "twice": numbers.twice, "late": numbers.late,
            })  # fmt: skip
            if before:
                used = ticks(plan["pid"])
                rows[-1] |= {"frames": numbers.back - back, "ticks": {who: used[who] - before[who] for who in used}}
        lost_before = lost
    end = time.monotonic() + LIMIT
    while numbers.waiting and time.monotonic() < end:
        numbers.step([], numbers.patience, sending=False)
    return {"moves": rows, "frames": numbers.report()}


def await_driver(plan: dict[str, Any]) -> dict[str, float]:
    numbers = Numbers(plan["interface"], plan["address"], plan.get("window", 16), 0.02)  # the first one that can be answered is
    vpfd = Vpfd(plan["socket"], numbers)
    vpfd("vf.set", pf=plan["pf"], vf=plan["vf"], datapaths=plan["lists"][plan["start"]])
    vpfd("events.subscribe", topics=["function", "datapath"])
    print("ready", flush=True)
    at: dict[str, float] = {}
    end = time.monotonic() + LIMIT
    while numbers.back == 0:
        assert time.monotonic() < end, f"no driver in {LIMIT:.0f} s, or no frame: {at}"
        event = vpfd.read().get("params", {}).get("event")
        if event in ("started", "bound"):
            at.setdefault(event, time.monotonic())
    return {"bound": round((at["bound"] - at["started"]) * 1e6), "first_frame": round((numbers.last - at["started"]) * 1e6)}


def main() -> None:
    plan = json.loads(sys.stdin.readline())
    print(json.dumps(await_driver(plan) if "start" in plan else run(plan)))


if __name__ == "__main__":
    main()
