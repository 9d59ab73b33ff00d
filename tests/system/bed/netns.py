# SPDX-License-Identifier: Apache-2.0
"""Network namespaces of the host, with names that cannot meet the machine's own."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from . import machine
from .agent import Command, CommandFailed, Result, argv_of
from .process import Process

_serial = itertools.count(1)


def run_on_host(command: Command, timeout: float = 30, netns: str | None = None, check: bool = True, input: str | None = None) -> Result:
    """As VM.run, on this machine."""
    done = subprocess.run(
        argv_of(command, netns), input=input, stdin=None if input is not None else subprocess.DEVNULL,
        capture_output=True, text=True, timeout=timeout * machine.PATIENCE, check=False,
    )  # fmt: skip
    result = Result(str(command), done.returncode, done.stdout, done.stderr)
    if check and done.returncode != 0:
        raise CommandFailed(f"namespace {netns}" if netns else "the host", result)
    return result


class Netns:
    """A namespace that exists as long as this object is entered, or until `close`."""

    def __init__(self, name: str = "ns"):
        self.name = f"vpf-{os.getpid()}-{next(_serial)}-{name}"
        self._processes: list[Process] = []
        machine.need_root("a network namespace")
        if not Path("/proc/sys/net/ipv6").exists():
            raise machine.Missing("the tests' network namespaces need IPv6, which this machine's kernel does not have")
        made = run_on_host(["ip", "netns", "add", self.name], check=False)
        if made.returncode:
            raise machine.Missing(f"no network namespace can be made here: {made.stderr.strip()}")
        self.run("ip link set lo up")

    def __enter__(self) -> Netns:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        for process in self._processes:
            process.kill()
        run_on_host(["ip", "netns", "delete", self.name], check=False)

    def run(self, command: Command, timeout: float = 30, check: bool = True, input: str | None = None) -> Result:
        return run_on_host(command, timeout, self.name, check, input)

    def popen(self, argv: Sequence[str], log: Path) -> Process:
        """A background program, ended with the namespace at the latest."""
        process = Process(argv_of(argv, self.name), log)
        self._processes.append(process)
        return process

    def move(self, ifname: str) -> None:
        """Brings an interface of the host in."""
        run_on_host(["ip", "link", "set", ifname, "netns", self.name])


def veth(left: Netns, left_name: str, right: Netns, right_name: str) -> None:
    """A pair of interfaces between two namespaces, both up."""
    left.run(["ip", "link", "add", left_name, "type", "veth", "peer", "name", right_name, "netns", right.name])
    left.run(["ip", "link", "set", left_name, "up"])
    right.run(["ip", "link", "set", right_name, "up"])
