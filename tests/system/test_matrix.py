# SPDX-License-Identifier: Apache-2.0
"""A VF goes from each of the four datapaths to each other one while its frames flow; its driver comes and goes; what serves it
dies. matrix.py draws the place."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from bed import paths
from bed.l1 import L1
from matrix import DATAPATHS, TEXT, Host, circuit, first, forwarded, written

pytestmark = pytest.mark.xdist_group("large")

MOVES = int(os.environ.get("VPF_MOVES", "108"))


@pytest.fixture(scope="module")
def host(bed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with L1("matrix", cpus=2, memory="3G", files=paths.libraries_of(paths.BUILD / "vpfd"), logs=tmp_path_factory.mktemp("matrix")) as l1:
        host = Host(l1)
        host.start_switch()
        yield host
        assert l1.dmesg_warnings() == []


@pytest.fixture(autouse=True)
def log_of_vpfd(host: Host) -> Iterator[None]:
    before = len(host.vpfd.output)
    yield
    host.end_drivers()
    print(host.vpfd.output[before:][-8000:])


def test_every_move(host: Host) -> None:
    """From each datapath to each other one and again, under load. None of it is a failure, no frame comes twice or out of order,
    and what the driver has sent is never lost."""
    way = circuit(list(DATAPATHS))
    assert len(set(itertools.pairwise(way))) == 12
    moves = (way[:-1] * (MOVES // 12 + 1))[: MOVES + 1]
    driver = host.driver()
    report = host.move(moves, timeout=60 + 10 * MOVES)
    rows, frames = report["moves"], report["frames"]
    for row in rows:
        print(row)
    print(frames)
    assert len(rows) == MOVES
    for row, (was, now) in zip(rows, itertools.pairwise(moves), strict=True):
        assert (row["from"], row["to"]) == (TEXT[was], TEXT[now]) and row["gap_us"] > 0 and row["failed"] == [], row
        if {was, now} <= {"builtin", "vhost-net"}:
            assert row["lost"] == 0, row
    assert frames["twice"] == frames["late"] == 0, frames
    binding = host.vf()["binding"]
    assert (binding["moves"], binding["failures"]) == (MOVES, 0), binding
    received, sent = forwarded(driver)
    assert received == sent == frames["back"], (received, sent, frames)
    host.released()


@pytest.mark.parametrize("name", DATAPATHS)
def test_driver_stops(host: Host, name: str) -> None:
    """A driver that dies, and one that stops in good order (for the others, tests of their own do that): the VF then has nothing,
    and all of it when it is used again."""
    wanted = {"builtin": {"tap"}, "vhost-net": {"tap"}, "vhost-user": {"connection"}, "vdpa": {"device"}}[name]
    host.ctl("vf", "set", "p0", "0", "--datapath", written(*first(name)))
    failures, late = host.vf()["binding"]["failures"], host.late
    for crash in (True, False) if name == "vdpa" else (True,):
        assert not host.left_over()
        driver = host.driver()
        host.served_by(name)
        assert set(host.left_over()) == wanted
        received = host.load(name)["back"]
        if crash:
            driver.kill()
        else:
            assert forwarded(driver) == (received, received)
        host.released()
    assert host.vf()["binding"]["failures"] == failures + host.late - late


@pytest.mark.parametrize("name", ["vhost-user", "vdpa"])
def test_switch_is_killed(host: Host, name: str) -> None:
    """The program behind vhost-user and VDUSE, at any moment of a move there or away: the next of the list serves, wholly."""
    fallback = {"vhost-user": "builtin", "vdpa": "vhost-net"}[name]
    host.ctl("vf", "set", "p0", "0", "--datapath", written(fallback, name))
    driver = host.driver()
    for turn in range(max(2, MOVES // 54)):
        begin, end = (fallback, name) if turn % 2 else (name, fallback)
        host.ctl("vf", "set", "p0", "0", "--datapath", written(begin, end))
        host.served_by(begin)
        host.load(begin)
        assert host.switch
        pid = host.switch.expect(r"^pid (\d+)")[1]
        flow = host.l1.popen(f"exec python3 /vpf/tests/system/numbered.py far {host.mac} 16 0.2", stdin=True)
        delay = random.uniform(0, 0.4)
        print(f"from {begin} to {end}, killed after {delay:.3f} s")
        move = f"/build/vpfctl vf set p0 0 --datapath {written(end, begin)}"
        host.l1.run(f"(sleep {delay}; exec kill -9 {pid}) & {move}; wait $!", timeout=60)
        host.switch.wait(30)
        host.served_by(fallback)
        flow.close_stdin()
        flow.wait(60, check=True)
        host.load(fallback)
        shown = host.vf()
        assert (shown["binding"]["state"], shown["link_up"]) == ("bound", True), shown
        host.await_left("tap")
        host.restart_switch()
    driver.kill()
    host.released()
