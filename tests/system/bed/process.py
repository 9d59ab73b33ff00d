# SPDX-License-Identifier: Apache-2.0
"""Child processes that never outlive their owner, and whose end is always bounded in time."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from .machine import PATIENCE

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Run in a child before exec: it is killed when the thread that started it ends, however that ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Process:
    """A program with its output in a file, in a process group of its own."""

    def __init__(
        self,
        argv: Sequence[str],
        log: Path,
        *,
        name: str | None = None,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        stdin: int | None = subprocess.DEVNULL,
        cwd: Path | None = None,
    ):
        self.name = name or Path(argv[0]).name
        self.log = log
        with log.open("ab") as out:
            # preexec_fn is safe here: the bed starts processes from the test's main thread, and it only calls prctl.
            self.popen = subprocess.Popen(
                list(argv), stdin=stdin, stdout=out, stderr=subprocess.STDOUT, env=dict(env) if env else None,
                pass_fds=pass_fds, process_group=0, preexec_fn=die_with_parent, cwd=cwd,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def returncode(self) -> int | None:
        return self.popen.poll()

    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def tail(self, lines: int = 30) -> str:
        return "\n".join(self.output().splitlines()[-lines:])

    def wait(self, timeout: float) -> int:
        return self.popen.wait(timeout * PATIENCE)

    def signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it and all that it started, at once."""
        if self.popen.returncode is None:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.popen.wait()
        if self.popen.stdin:
            self.popen.stdin.close()

    def stop(self, timeout: float = 10) -> int:
        """Ask it to end; returns its exit status. One that does not obey is killed, and that is an error."""
        self.signal(signal.SIGTERM)
        try:
            return self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise TimeoutError(f"{self.name} ignored SIGTERM for {timeout} s; its last words:\n{self.tail()}") from None
