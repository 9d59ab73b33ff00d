# SPDX-License-Identifier: Apache-2.0
"""The vhost-user datapath: functions whose rings another back-end serves, testpmd's net_vhost and Open vSwitch with DPDK, both
as servers and as clients. The guest is DPDK's virtio-user, or a driver in Python where each byte counts.

    driver ──vhost-user──▶ vpfd ──vhost-user (control only)──▶ testpmd or OVS
       └───────────── rings, kicks, calls ────────────────────────┘
"""

from __future__ import annotations

import contextlib
import mmap
import os
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import frames
import pytest
from bed.dpdk import Testpmd, vhost
from bed.machine import PATIENCE
from bed.ovs import OvsDpdk
from bed.vpfd import Vpfd
from test_virtio_user import client, settled
from traffic import Function, add_functions
from vu_client import (
    F_PROTOCOL_FEATURES,
    GPA,
    PF_MEM_SLOTS,
    PF_MQ,
    PF_REPLY_ACK,
    PF_STATUS,
    SET_FEATURES,
    SET_LOG_BASE,
    SET_PROTOCOL_FEATURES,
    SET_VRING_ADDR,
    UVA,
    Port,
    ring_addr,
    u64,
)

PF_LOG_SHMFD = 1 << 1
F_LOG_ALL = 1 << 26


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a short name, for back-ends' sockets."""
    with tempfile.TemporaryDirectory(prefix="vpf-be-") as name:
        yield Path(name)


def wait_until(condition: Callable[[], Any], timeout: float = 20) -> Any:
    deadline = time.monotonic() + timeout * PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {timeout} s"
        time.sleep(0.02)
    return value


def vhost_user(path: Path | str, **options: bool) -> dict[str, Any]:
    return {"type": "vhost-user", "path": str(path), **options}


BUILTIN = {"type": "builtin"}


def functions(vpfd: Vpfd, *datapaths: dict[str, Any], **settings: Any) -> list[Function]:
    return add_functions(vpfd, "pf", 2, spoofchk=False, datapaths=list(datapaths), **settings)


def serving(function: Function) -> str:
    return function.show()["datapath"]


def failures(function: Function) -> int:
    return function.show()["binding"]["failures"]


RARP, PROBE = b"\x80\x35", b"\x88\xb7"


def receive(port: Port, timeout: float = 10) -> bytes:
    """The next frame, but for those by which a back-end announces to its switch where a function is now, and probes."""
    while (frame := port.receive(timeout))[12:14] in (RARP, PROBE):
        assert frame[12:14] == PROBE or frame[:6] == b"\xff" * 6
    return frame


def await_switch(left: Port, right: Port, a: Function, b: Function) -> None:
    """Until frames pass both ways: Open vSwitch has said yes to a new port, and is still busy taking it in."""
    for here, there, src, dst in ((left, right, a, b), (right, left, b, a)):
        for _ in range(100):
            here.send_frame(frames.mac(dst.mac) + frames.mac(src.mac) + PROBE + bytes(46), timeout=30)
            with contextlib.suppress(TimeoutError):
                while there.receive(0.2)[12:14] != PROBE:
                    pass
                break
        else:
            raise AssertionError(f"nothing passes from {src.vf} to {dst.vf}")


def check_frames(left: Port, right: Port, a: Function, b: Function) -> None:
    """Every byte, both ways, of frames of all kinds of lengths."""
    for length in (60, 61, 64, 127, 193, 256, 1000, 1513, 1514):
        for here, there, src, dst in ((left, right, a, b), (right, left, b, a)):
            frame = frames.mac(dst.mac) + frames.mac(src.mac) + b"\x88\xb6" + os.urandom(length - 14)
            here.send_frame(frame)
            assert receive(there) == frame, length


def circulate(testpmd: Testpmd) -> None:
    """Frames go round both ways. A switch that has said yes to a new port may still be busy taking it in, and lose the first."""
    for _ in range(60):
        testpmd.command("start tx_first 1")
        try:
            settled(testpmd, lambda stats: all(port.rx_packets > 2000 for port in stats.values()), 2)
            return
        except AssertionError:
            testpmd.command("stop")
    raise AssertionError(f"no frames go round: {testpmd.stats()}")


def check_rounds(vpfd: Vpfd, a: Function, b: Function, queues: int = 1) -> None:
    """Frames go round between two poll mode drivers, and vpfd has no part in it."""
    with client(a, b, queues=queues, queue_size=256) as testpmd:
        wait_until(lambda: serving(a) == serving(b) == "vhost-user")
        assert a.show()["queues_started"] == 2 * queues and a.show()["link_up"]
        circulate(testpmd)
        before = vpfd.cpu_time()
        stats = testpmd.stats()
        settled(testpmd, lambda now: all(now[n].rx_packets > stats[n].rx_packets + 20_000 for n in (0, 1)))
        assert vpfd.cpu_time() - before < 0.05
        testpmd.command("stop")
    # All is given back with the drivers' end.
    wait_until(lambda: serving(a) == serving(b) == "none")
    for function in (a, b):  # on a machine that is too busy a back-end may be late once; it is tried again
        error = function.show()["binding"]["last_error"]
        assert error is None or "in time" in error or "no back-end connected" in error


@pytest.mark.parametrize("queues", [1, 2])
@pytest.mark.parametrize("server", [False, True], ids=["client", "server"])
def test_testpmd(bed: Path, vpfd_factory: Callable[..., Vpfd], place: Path, server: bool, queues: int) -> None:
    vpfd = vpfd_factory()
    a, b = functions(vpfd, vhost_user(place / "{vf}", server=server), queue_pairs=queues)
    vdevs = [vhost(n, place / str(n), queues=queues, client=int(server)) for n in (0, 1)]
    with Testpmd(vdevs, "io", 1, args=[f"--rxq={queues}", f"--txq={queues}"]):
        check_rounds(vpfd, a, b, queues)
        # Once more: what the last drivers had is gone, also at the back-end.
        check_rounds(vpfd, a, b, queues)
    assert not server or list(place.iterdir()) == []


@pytest.mark.parametrize("server", [False, True], ids=["client", "server"])
def test_every_byte_arrives(bed: Path, vpfd: Vpfd, place: Path, server: bool) -> None:
    a, b = functions(vpfd, vhost_user(place / "{vf}", server=server))
    with Testpmd([vhost(n, place / str(n), client=int(server)) for n in (0, 1)], "io", 1):
        left, right = a.port(), b.port()
        wait_until(lambda: serving(a) == serving(b) == "vhost-user")
        check_frames(left, right, a, b)
        # A driver that starts over, with new rings.
        right.restart(0)
        right.fill()
        assert left.receive()[6:14] == frames.mac(b.mac) + RARP, "the announcement once it is served again"
        check_frames(left, right, a, b)
        left.close()
        right.close()


@pytest.fixture(scope="module")
def ovs(bed: Path) -> Iterator[OvsDpdk]:
    with OvsDpdk(ports=0) as switch:
        yield switch


def test_ovs(ovs: OvsDpdk, vpfd: Vpfd) -> None:
    """dpdkvhostuser: Open vSwitch listens."""
    paths = [ovs.add_port() for _ in range(2)]
    a, b = functions(vpfd, vhost_user("/unused/{vf}"), BUILTIN)
    for function, path in zip((a, b), paths, strict=True):
        function.set(datapaths=[vhost_user(path), BUILTIN])
    check_rounds(vpfd, a, b)
    left, right = a.port(), b.port()
    wait_until(lambda: serving(a) == serving(b) == "vhost-user")
    await_switch(left, right, a, b)
    check_frames(left, right, a, b)
    left.close()
    right.close()


def test_ovs_as_client(ovs: OvsDpdk, vpfd: Vpfd, place: Path) -> None:
    """dpdkvhostuserclient: vpfd listens, and Open vSwitch comes, once a second."""
    for n in range(2):
        ovs.vsctl(
            "add-port", "br", f"vc{n}", "--", "set", "Interface", f"vc{n}", "type=dpdkvhostuserclient",
            f"options:vhost-server-path={place}/{n}",
        )  # fmt: skip
    try:
        a, b = functions(vpfd, vhost_user(place / "{vf}", server=True))
        check_rounds(vpfd, a, b)
        left, right = a.port(), b.port()
        wait_until(lambda: serving(a) == serving(b) == "vhost-user")
        await_switch(left, right, a, b)
        check_frames(left, right, a, b)
        left.close()
        right.close()
    finally:
        for n in range(2):
            ovs.vsctl("del-port", "br", f"vc{n}")


def test_back_end_dies_and_returns(bed: Path, vpfd: Vpfd, place: Path) -> None:
    """The next in the list takes over by itself, and hands back when the better one is there again."""
    a, b = functions(vpfd, vhost_user(place / "{vf}"), BUILTIN, failback=True)
    back_end = [vhost(n, place / str(n)) for n in (0, 1)]
    with Testpmd(back_end, "io", 1) as testpmd:
        left, right = a.port(), b.port()
        wait_until(lambda: serving(a) == serving(b) == "vhost-user")
        check_frames(left, right, a, b)
        os.kill(testpmd.program.pid, signal.SIGKILL)
        started = time.monotonic()
        wait_until(lambda: serving(a) == serving(b) == "builtin")
        assert time.monotonic() - started < 2 * PATIENCE
        check_frames(left, right, a, b)
        assert "closed the connection" in a.show()["binding"]["last_error"]
    for path in place.iterdir():
        path.unlink()
    with Testpmd(back_end, "io", 1):
        wait_until(lambda: serving(a) == serving(b) == "vhost-user")
        check_frames(left, right, a, b)
    # And again with its end.
    wait_until(lambda: serving(a) == serving(b) == "builtin")
    check_frames(left, right, a, b)
    left.close()
    right.close()


@pytest.mark.parametrize("when", ["start", "service"])
def test_back_end_hangs(bed: Path, vpfd: Vpfd, place: Path, when: str) -> None:
    """One that is there and does not answer: the wait has an end, and the next one serves."""
    a, b = functions(vpfd, vhost_user(place / "{vf}"), BUILTIN)
    with Testpmd([vhost(n, place / str(n)) for n in (0, 1)], "io", 1) as testpmd:
        if when == "start":
            os.kill(testpmd.program.pid, signal.SIGSTOP)
        left, right = a.port(), b.port()
        if when == "service":
            wait_until(lambda: serving(a) == serving(b) == "vhost-user")
            check_frames(left, right, a, b)
            os.kill(testpmd.program.pid, signal.SIGSTOP)
            for function in (a, b):
                function.set(datapaths=[BUILTIN])
        started = time.monotonic()
        wait_until(lambda: serving(a) == serving(b) == "builtin")
        assert time.monotonic() - started < 5 * PATIENCE
        check_frames(left, right, a, b)
        left.close()
        right.close()
        os.kill(testpmd.program.pid, signal.SIGKILL)


def test_no_back_end(vpfd: Vpfd, place: Path) -> None:
    """Nobody there, and nobody else in the list: the link is down, and why is said."""
    a, b = functions(vpfd, vhost_user(place / "{vf}"))
    left = a.port()
    error = wait_until(lambda: a.show()["binding"]["last_error"])
    assert str(place / "0") in error and "No such file" in error
    assert serving(a) == "none" and not a.show()["link_up"]
    assert a.show()["binding"]["state"] == "none"
    left.close()
    wait_until(lambda: a.show()["binding"]["state"] == "idle")


def test_moves_lose_nothing_in_flight(bed: Path, vpfd: Vpfd, place: Path) -> None:
    """To the back-end and home, with a frame in the rings at each: one by one, none is lost, doubled or out of order."""
    a, b = functions(vpfd, BUILTIN, vhost_user(place / "{vf}"))
    with Testpmd([vhost(n, place / str(n)) for n in (0, 1)], "io", 1):
        left, right = a.port(), b.port()
        wait_until(lambda: serving(a) == serving(b) == "builtin")
        sent = 0
        for turn in range(20):
            target, name = ([vhost_user(place / "{vf}"), BUILTIN], "vhost-user") if turn % 2 == 0 else ([BUILTIN], "builtin")
            for function in (a, b):
                function.set(datapaths=target)
            wait_until(lambda name=name: serving(a) == serving(b) == name)
            for _ in range(10):
                frame = frames.eth(b.mac, a.mac, struct.pack("!Q", sent) * 16, length=200)
                left.send_frame(frame)
                assert receive(right) == frame, (turn, name)
                sent += 1
        assert a.show()["binding"]["moves"] == 20 and failures(a) == 0
        left.close()
        right.close()


def set_logging(port: Port, on: bool) -> None:
    """As QEMU does when a migration begins and ends: rings that run are described anew."""
    assert port.ack(SET_FEATURES, u64(port.features | F_PROTOCOL_FEATURES | (F_LOG_ALL if on else 0)))
    for index, ring in enumerate((port.rx, port.tx)):
        desc, used, avail = ring.addresses()
        assert port.ack(SET_VRING_ADDR, ring_addr(index, UVA + desc, UVA + used, UVA + avail, int(on), GPA + used))


def test_migration_leaves_and_returns(bed: Path, vpfd: Vpfd, place: Path) -> None:
    """While writes are to be logged the workers serve, who log them; then the other back-end does again."""
    a, b = functions(vpfd, vhost_user(place / "{vf}"), BUILTIN, failback=True)
    size = (GPA >> 15) + 4096  # bytes, a bit for each 4 KiB of guest memory
    log_fd = os.memfd_create("log")
    os.ftruncate(log_fd, size)
    with Testpmd([vhost(n, place / str(n)) for n in (0, 1)], "io", 1), mmap.mmap(log_fd, size) as log:
        left, right = a.port(), b.port()
        wait_until(lambda: serving(a) == serving(b) == "vhost-user")
        check_frames(left, right, a, b)
        for port in (left, right):
            port.send(SET_PROTOCOL_FEATURES, u64(PF_MQ | PF_REPLY_ACK | PF_MEM_SLOTS | PF_STATUS | PF_LOG_SHMFD))
            port.request(SET_LOG_BASE, struct.pack("=QQ", size, 0), [log_fd])
            set_logging(port, True)
        wait_until(lambda: serving(a) == serving(b) == "builtin")
        check_frames(left, right, a, b)
        for ring in (right.rx, right.tx):
            page = (GPA + ring.addresses()[1]) >> 12
            assert log[page >> 3] >> (page & 7) & 1
        for port in (left, right):
            set_logging(port, False)
        wait_until(lambda: serving(a) == serving(b) == "vhost-user")
        check_frames(left, right, a, b)
        left.close()
        right.close()
    os.close(log_fd)


def test_stop_and_start(bed: Path, vpfd: Vpfd, place: Path) -> None:
    """Descriptors do not grow with drivers that come and go, nor with back-ends that do."""
    a, b = functions(vpfd, vhost_user(place / "{vf}"), BUILTIN)

    def come_and_go() -> None:
        left, right = a.port(), b.port()
        wait_until(lambda: serving(a) == serving(b) != "none")
        check_frames(left, right, a, b)
        left.close()
        right.close()
        wait_until(lambda: serving(a) == serving(b) == "none")

    with Testpmd([vhost(n, place / str(n)) for n in (0, 1)], "io", 1):
        come_and_go()
        before = vpfd.fds()
        for _ in range(5):
            come_and_go()
        assert vpfd.fds() == before


def echoed(port: Port, to: Function, source: Function, text: bytes) -> bool:
    """A frame to who sends all back comes back."""
    port.send_frame(frames.eth(to.mac, source.mac, text))
    with contextlib.suppress(TimeoutError):
        while receive(port, 0.2) != frames.eth(source.mac, to.mac, text):
            pass
        return True
    return False


def test_memory_comes_and_goes(bed: Path, vpfd: Vpfd, place: Path) -> None:
    """Buffers in memory that is added while the back-end serves the rings are served, as are the others when it is removed."""
    with Testpmd([vhost(0, place / "0"), vhost(1, place / "1")], "io", 0):
        a, b = functions(vpfd, vhost_user(place / "{vf}"))
        argv = [sys.executable, str(Path(__file__).with_name("memory_driver.py")), str(a.socket)]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as driver, contextlib.closing(b.port()) as port:
            assert driver.stdin and driver.stdout and driver.stdout.readline() == "ready\n"
            wait_until(lambda: serving(a) == serving(b) == "vhost-user")
            for word in ("add", "remove", "table", "untable"):
                print(word, file=driver.stdin, flush=True)
                wait_until(lambda: echoed(port, a, b, b"round") and select.select([driver.stdout], [], [], 0)[0])  # noqa: B023
                assert driver.stdout.readline() == word + "\n"
                wait_until(lambda: echoed(port, a, b, b"after"))
            assert (a.show()["binding"]["binds"], failures(a)) == (1, 0), a.show()["binding"]
            driver.stdin.close()
            assert driver.wait(20) == 0
