# SPDX-License-Identifier: Apache-2.0
"""A program that is driven by commands at its prompt."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from .machine import PATIENCE
from .process import Process, die_with_parent


class Interactive:
    """A child whose output is read as it comes, kept, and copied to LOG."""

    def __init__(self, argv: Sequence[str], log: Path, *, name: str, prompt: str, env: Mapping[str, str] | None = None):
        self.name, self.prompt, self.log = name, prompt, log
        self._text = ""
        self._closed = False
        self._changed = threading.Condition()
        # A terminal for its output: into a pipe, stdio would keep the output back while prompts pass it by.
        self._terminal, slave = pty.openpty()
        self.popen = subprocess.Popen(
            list(argv), stdin=subprocess.PIPE, stdout=slave, stderr=slave,
            env=dict(env) if env else None, process_group=0, preexec_fn=die_with_parent,
        )  # fmt: skip
        os.close(slave)
        threading.Thread(target=self._read, name=f"{name}-output", daemon=True).start()

    def _read(self) -> None:
        with self.log.open("ab") as copy:
            while data := self._read_terminal():
                copy.write(data)
                copy.flush()
                with self._changed:
                    self._text += data.decode(errors="replace").replace("\r", "")
                    self._changed.notify_all()
        os.close(self._terminal)
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _read_terminal(self) -> bytes:
        try:
            return os.read(self._terminal, 65536)
        except OSError:  # EIO: the last program that had the other end is gone
            return b""

    def output(self) -> str:
        return self._text

    def expect(self, pattern: str, timeout: float = 30, start: int = 0) -> re.Match[str]:
        """Awaits PATTERN in the output from character START on."""
        found: list[re.Match[str]] = []

        def look() -> bool:
            if match := re.compile(pattern, re.MULTILINE).search(self._text, start):
                found.append(match)
            return bool(found) or self._closed

        with self._changed:
            self._changed.wait_for(look, timeout * PATIENCE)
        if not found:
            why = "it ended" if self._closed else f"not within {timeout} s"
            tail = "\n".join(self._text.splitlines()[-40:])
            raise TimeoutError(f"{self.name}: no {pattern!r}: {why}\n{tail}")
        return found[0]

    def command(self, line: str, timeout: float = 30) -> str:
        """Sends LINE and returns what was said until the next prompt."""
        start = len(self._text)
        self.send(line)
        # The prompt's line shows the command again; the output is between that and the next prompt.
        match = self.expect(re.escape(line) + r"\n([\s\S]*?)" + re.escape(self.prompt), timeout, start)
        return match[1]

    def send(self, line: str) -> None:
        assert self.popen.stdin
        self.popen.stdin.write(line.encode() + b"\n")
        self.popen.stdin.flush()

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def returncode(self) -> int | None:
        return self.popen.poll()

    kill = Process.kill
