# SPDX-License-Identifier: Apache-2.0
"""The switches: vpf and its peers, each on CPU SWITCH_CORE with ports for a client on CPU CLIENT_CORE, numbers among the CPUs that
the benchmarks may use. They start as a user would start them; vpf has MAC lookup, VLANs, spoof check and counters on."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bed import dpdk, machine
from bed.ovs import OvsDpdk
from bed.vpfd import Vpfd

from .harness import Context, Missing, Start, Subject, need_cpus

CLIENT_CORE, SWITCH_CORE = 0, 1
NODES = Path("/sys/devices/system/node")
PAGES_NEEDED = 1280  # the largest sum of what switches and clients of one family take
MTU = 1504  # for 1518 bytes of frame: virtio carries no check sequence
IO_PORTS_MAX = 32  # of Debian's DPDK; Open vSwitch's vhost-user ports are not counted among them


@contextmanager
def hugepages() -> Iterator[None]:
    """What drivers and switches at native speed have their memory in, as long as this is entered. Each program takes it from
    the NUMA node of its CPU, Open vSwitch some from the first one; pages that others use do not count."""
    nodes = {0} | {machine.numa_node(machine.cpu(core)) for core in (CLIENT_CORE, SWITCH_CORE)}
    with ExitStack() as stack:
        for node in nodes:
            stack.enter_context(_hugepages_of(node))
        yield


@contextmanager
def _hugepages_of(node: int) -> Iterator[None]:
    directory = NODES / f"node{node}/hugepages/hugepages-2048kB"
    if not directory.exists():
        directory = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")  # of a kernel that knows no nodes
    number, free = directory / "nr_hugepages", directory / "free_hugepages"
    try:
        before = int(number.read_text())
        number.write_text(str(before + max(0, PAGES_NEEDED - int(free.read_text()))))
    except OSError as error:
        raise Missing(f"huge pages of 2 MiB cannot be reserved: {error}") from None
    try:
        if (found := int(free.read_text())) < PAGES_NEEDED:
            raise Missing(f"it needs {PAGES_NEEDED} huge pages of 2 MiB on NUMA node {node}, and this machine has room for {found}")
        yield
    finally:
        number.write_text(str(before))


@contextmanager
def polling() -> Iterator[None]:
    """What families need whose switches poll: a CPU for the switch, one for the client, huge pages."""
    need_cpus(SWITCH_CORE + 1)
    with hugepages():
        yield


def mac(number: int) -> str:
    """Of port NUMBER: what vpf gives VF NUMBER of a PF whose MAC is mac(-1)."""
    return f"02:00:00:00:{(number + 1) >> 8:02x}:{(number + 1) & 255:02x}"


class Switch(Subject):
    """`sockets[n]` is port n's, whose driver has MAC mac(n). `pid` polls as long as it is not paused."""

    def __init__(self, sockets: Sequence[str | os.PathLike[str]], pid: int | None = None):
        self.sockets = [os.fspath(socket) for socket in sockets]
        self.pid = pid

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class VpfSwitch(Switch):
    def __init__(self, sockets: Sequence[str], vpfd: Vpfd):
        super().__init__(sockets)
        self.vpfd = vpfd


def vpf(ports: int, workers: int = 1, settings: Sequence[str] = ()) -> Start:
    """SETTINGS are words for `vpfctl vf set PF`, such as "2 --vlan 100"."""

    @contextmanager
    def start(context: Context) -> Iterator[VpfSwitch]:
        cores = ",".join(str(machine.cpu(SWITCH_CORE + n)) for n in range(workers))
        with Vpfd(context.tmp / "vpfd", ["--workers", str(workers), "--cpus", cores]) as vpfd:
            vpfd.ctl("fabric", "add", "bench")
            vpfd.ctl("pf", "add", "pf0", "--fabric", "bench", "--vfs", str(ports), "--mac", mac(-1), "--mtu", str(MTU))
            for words in settings:
                vpfd.ctl("vf", "set", "pf0", *words.split())
            yield VpfSwitch([vpfd.rpc("vf.show", pf="pf0", vf=vf)["socket"] for vf in range(ports)], vpfd)

    return start


def testpmd_io(ports: int, **options: object) -> Start:
    """Copies from port 0 to 1, from 2 to 3 and so on, and back; looks at nothing."""

    @contextmanager
    def start(context: Context) -> Iterator[Switch]:
        sockets = [context.tmp / f"io{number}" for number in range(ports)]
        vdevs = [dpdk.vhost(number, socket, **options) for number, socket in enumerate(sockets)]
        with dpdk.Testpmd(vdevs, "io", SWITCH_CORE, hugepages=True, log=context.tmp / "testpmd.log") as testpmd:
            yield Switch(sockets, testpmd.program.pid)

    return start


class _Ovs(OvsDpdk):
    """`other_config` are settings that must be there before DPDK starts."""

    other_config: Sequence[str] = ()

    def vsctl(self, *args: str, timeout: int = 30) -> str:
        if args[:2] == ("--no-wait", "init"):
            args = (*args, *(f"other_config:{setting}" for setting in self.other_config))
        return super().vsctl(*args, timeout=timeout)

    @property
    def switch_pid(self) -> int:
        return next(process.pid for process in self._processes if process.name == "vswitchd")


class _OvsWithOffloads(_Ovs):
    """Segmentation offload is only had where Open vSwitch connects to the driver's socket."""

    other_config = ("userspace-tso-enable=true",)

    def add_port(self, *settings: str) -> str:  # type: ignore[override]
        name = f"vh{len(self.sockets)}"
        path = self.directory / name
        self.vsctl(
            "add-port", "br", name, *settings, "--", "set", "Interface", name, "type=dpdkvhostuserclient", f"options:vhost-server-path={path}"
        )
        self.sockets.append(f"listen:{path}")
        return self.sockets[-1]


def ovs_dpdk(ports: int, port_settings: Callable[[int], Sequence[str]] = lambda _port: (), offloads: bool = False) -> Start:
    """Action NORMAL, one poll-mode thread. PORT_SETTINGS gives those of a port's record ("tag=100")."""

    @contextmanager
    def start(context: Context) -> Iterator[Switch]:
        with (_OvsWithOffloads if offloads else _Ovs)(0, SWITCH_CORE, hugepages=True, logs=context.tmp) as ovs:
            for port in range(ports):
                ovs.add_port(*port_settings(port))
            switch = Switch(ovs.sockets, ovs.switch_pid)
            try:
                yield switch
            finally:
                switch.resume()

    return start
