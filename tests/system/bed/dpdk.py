# SPDX-License-Identifier: Apache-2.0
"""DPDK's testpmd on the host: a vhost-user back-end ("net_vhost") or a guest's driver without a guest ("net_virtio_user").

Memory. A virtio-user port shares its memory with the back-end, as a VM does. With `--no-huge` DPDK takes it from a memfd, which
can be shared, so neither hugepages nor a mount are needed; hugepages are faster when the machine has some to spare.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import machine, paths
from .interactive import Interactive

PMDS = "usr/lib/x86_64-linux-gnu/dpdk/pmds-25.0"
PROMPT = "testpmd> "


def own_plugins(argv: list[str]) -> list[str]:
    """A command line for a program of the tree with DPDK in it that loads the tree's drivers only. DPDK also loads those of
    the machine's own DPDK of the same release, and ends where it finds one twice."""
    directory = Path("/", PMDS)
    if not directory.is_dir():
        return argv
    return ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs none {directory} && exec "$@"', "dpdk", *argv]


@dataclass(frozen=True)
class PortStats:
    rx_packets: int
    rx_missed: int
    rx_bytes: int
    rx_errors: int
    tx_packets: int
    tx_errors: int
    tx_bytes: int


def virtio_user(number: int, path: str | os.PathLike[str], **options: object) -> str:
    """The --vdev of a vhost-user front-end. Options of the driver: queues, queue_size, packed_vq, mrg_rxbuf, in_order, vectorized,
    mac, server, speed, cq."""
    return _vdev(f"net_virtio_user{number}", path=os.fspath(path), **options)


def vhost(number: int, path: str | os.PathLike[str], **options: object) -> str:
    """The --vdev of a vhost-user back-end that listens on PATH. Options: queues, client, tso, linear-buffer, …"""
    return _vdev(f"net_vhost{number}", iface=os.fspath(path), **options)


def _vdev(name: str, **options: object) -> str:
    return ",".join([name, *(f"{key.replace('_', '-') if key == 'linear_buffer' else key}={value}" for key, value in options.items())])


class Testpmd:
    """A testpmd with its command line and its one worker both on one CPU, number `core` of those that this process may use."""

    __test__ = False  # not a test class, whatever pytest thinks of the name

    def __init__(
        self,
        vdevs: Sequence[str],
        mode: str = "io",
        core: int = 1,
        *,
        args: Sequence[str] = (),
        eal: Sequence[str] = (),
        memory_mb: int = 256,
        hugepages: bool = False,
        start: bool = True,
        log: Path | None = None,
        timeout: float = 60,
    ):
        machine.need_memory("testpmd", memory_mb)
        cpu = machine.cpu(core)
        self._tmp = tempfile.TemporaryDirectory(prefix="vpf-dpdk-")
        memory = ["--in-memory", "--single-file-segments"] if hugepages else ["--no-huge", "--no-shconf"]
        argv = paths.tree_program("usr/bin/dpdk-testpmd", "-d", paths.tree() / PMDS, "--no-pci", "--no-telemetry")
        argv += [*memory, "-m", str(memory_mb), "--lcores", f"0@{cpu},1@{cpu}", *eal]
        argv += [arg for vdev in vdevs for arg in ("--vdev", vdev)]
        argv += ["--", "-i", "--total-num-mbufs=16384", f"--forward-mode={mode}", *args]
        self.program = Interactive(
            own_plugins(argv), log or Path(self._tmp.name) / "testpmd.log", name="testpmd", prompt=PROMPT,
            env=os.environ | {"RUNTIME_DIRECTORY": self._tmp.name},
        )  # fmt: skip
        try:
            self.program.expect(PROMPT, timeout)
            if "No probed ethernet devices" in self.program.output():
                raise RuntimeError(f"testpmd has no ports:\n{self.program.output()}")
            if start:
                self.command("start")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Testpmd:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        self.program.kill()
        self._tmp.cleanup()

    def stop(self, timeout: float = 20) -> int:
        """An orderly end; returns the exit status."""
        self.program.send("quit")
        try:
            return self.program.popen.wait(timeout)
        finally:
            self.close()

    def command(self, line: str, timeout: float = 30) -> str:
        return self.program.command(line, timeout)

    def stats(self) -> dict[int, PortStats]:
        text = self.command("show port stats all")
        stats = {}
        for port, body in re.findall(r"NIC statistics for port (\d+)([\s\S]*?)Throughput", text):
            numbers = {key.lower().replace("-", "_"): int(value) for key, value in re.findall(r"([RT]X-[a-z]+): +(\d+)", body)}
            stats[int(port)] = PortStats(**{field: numbers[field] for field in PortStats.__dataclass_fields__})
        return stats


def flowgen_mpps(
    sock_a: str | os.PathLike[str],
    sock_b: str | os.PathLike[str],
    *,
    seconds: float = 4,
    warmup: float = 1,
    core: int = 0,
    mode: str = "flowgen",
    args: Sequence[str] = (),
    hugepages: bool = False,
    **options: object,
) -> float:
    """Millions of packets a second that two virtio-user ports, which both send 64-byte frames, receive from the switch between
    them, both directions together. All of the client is on one core; `options` are those of `virtio_user`."""
    vdevs = [virtio_user(0, sock_a, **options), virtio_user(1, sock_b, **options)]
    with Testpmd(vdevs, mode, core, args=args, hugepages=hugepages) as client:
        time.sleep(warmup)  # a measurement, not a wait for something
        before, started = _received(client), time.monotonic()
        time.sleep(seconds)
        after, ended = _received(client), time.monotonic()
    return (after - before) / (ended - started) / 1e6


def _received(client: Testpmd) -> int:
    return sum(port.rx_packets for port in client.stats().values())
