# SPDX-License-Identifier: Apache-2.0
"""Open vSwitch with DPDK on the host, from the bed's tree, with a database and a run directory of its own."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from . import machine, paths
from .dpdk import PMDS, own_plugins
from .netns import run_on_host
from .process import Process


class OvsDpdk:
    """One bridge "br" (action NORMAL) with dpdkvhostuser ports; `sockets` are theirs, in order of creation.

    Its poll-mode thread keeps a CPU busy, number `core` of those that this process may use. The bridge's own tap device is in
    a network namespace of its own.

    Without hugepages each port has a pool of packet buffers of its own, of some 60 MB. The pool that Open vSwitch shares
    between ports, its default, has 262144 buffers, 640 MB, and it makes a second one on a machine that tells on which NUMA
    node a driver's memory is.
    """

    def __init__(self, ports: int = 2, core: int = 1, *, memory_mb: int = 1024, hugepages: bool = False, logs: Path | None = None):
        machine.need_tap()
        machine.need_memory("Open vSwitch", memory_mb)
        self._tmp = tempfile.TemporaryDirectory(prefix="vpf-ovs-")
        self.directory = Path(self._tmp.name)
        self.logs = logs or self.directory
        self._env = os.environ | {
            name: str(self.directory) for name in ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR", "RUNTIME_DIRECTORY")
        }
        self._processes: list[Process] = []
        self.sockets: list[Path] = []
        try:
            self._start(machine.cpu(core), memory_mb, hugepages)
            for _ in range(ports):
                self.add_port()
        except BaseException:
            self.close()
            raise

    def _start(self, cpu: int, memory_mb: int, hugepages: bool) -> None:
        database = self.directory / "conf.db"
        schema = paths.tree() / "usr/share/openvswitch/vswitch.ovsschema"
        run_on_host(paths.tree_program("usr/bin/ovsdb-tool", "create", database, schema))
        self._spawn(paths.tree_program("usr/sbin/ovsdb-server", database, f"--remote=punix:{self.directory}/db.sock"), "ovsdb")
        # OVS adds --in-memory, which excludes --no-huge, unless it sees --legacy-mem.
        memory = "" if hugepages else f"--no-huge --legacy-mem -m {memory_mb} "
        self.vsctl(
            "--no-wait", "init", "--", "set", "Open_vSwitch", ".", "other_config:dpdk-init=true",
            f"other_config:per-port-memory={'false' if hugepages else 'true'}",
            f"other_config:pmd-cpu-mask={1 << cpu:#x}", f"other_config:dpdk-lcore-mask={1 << machine.cpu(0):#x}",
            f"other_config:dpdk-extra={memory}--no-pci --file-prefix=ovs -d {paths.tree() / PMDS}",
        )  # fmt: skip
        vswitchd = "usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
        self._spawn(["unshare", "--net", *own_plugins(paths.tree_program(vswitchd, f"unix:{self.directory}/db.sock"))], "vswitchd")
        self.vsctl("add-br", "br", "--", "set", "bridge", "br", "datapath_type=netdev")

    def _spawn(self, argv: list[str], name: str) -> None:
        self._processes.append(Process(argv, self.logs / f"{name}.log", name=name, env=self._env))

    def vsctl(self, *args: str, timeout: int = 30) -> str:
        """ovs-vsctl; it waits until the switch has carried out the change."""
        command = paths.tree_program("usr/bin/ovs-vsctl", f"--timeout={timeout}", "--retry", f"--db=unix:{self.directory}/db.sock", *args)
        try:
            return run_on_host(command, timeout + 5).stdout
        except AssertionError as error:
            said = "\n".join(f"--- {process.name}\n{process.tail()}" for process in self._processes)
            raise AssertionError(f"{error}\n{said}") from None

    def add_port(self, *settings: str) -> Path:
        """A further dpdkvhostuser port; returns its socket. SETTINGS are for the Port record ("tag=100")."""
        name = f"vh{len(self.sockets)}"
        self.vsctl("add-port", "br", name, *settings, "--", "set", "Interface", name, "type=dpdkvhostuser")
        if error := self.vsctl("get", "Interface", name, "error").strip().strip("[]"):
            raise RuntimeError(f"port {name}: {error}")
        self.sockets.append(self.directory / name)
        return self.sockets[-1]

    def __enter__(self) -> OvsDpdk:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        for process in reversed(self._processes):
            process.kill()
        self._tmp.cleanup()
