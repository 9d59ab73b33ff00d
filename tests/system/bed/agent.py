# SPDX-License-Identifier: Apache-2.0
"""The host's side of the command channel into a guest (the other side is guest/agent.py)."""

from __future__ import annotations

import base64
import json
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .machine import PATIENCE

Command = str | Sequence[str]


class GuestLost(RuntimeError):
    """The guest ended, was reset, or its channel broke, while something waited for it."""


class CommandFailed(AssertionError):
    def __init__(self, where: str, result: Result):
        self.result = result
        super().__init__(
            f"in {where}: exit status {result.returncode} of: {result.command}\n"
            f"--- stdout\n{result.stdout}\n--- stderr\n{result.stderr}"
        )


@dataclass(frozen=True)
class Result:
    command: str
    returncode: int
    stdout: str
    stderr: str


def argv_of(command: Command, netns: str | None = None) -> list[str]:
    argv = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
    return ["ip", "netns", "exec", netns, *argv] if netns else argv


class GuestProcess:
    """A command in the guest. Its output collects here as it comes."""

    def __init__(self, agent: Agent, ident: int, command: Command):
        self.agent, self.ident, self.command = agent, ident, str(command)
        self.returncode: int | None = None
        self.error: str | None = None
        self._out, self._err = bytearray(), bytearray()
        self._changed = threading.Condition()

    # Called by the agent's reader.
    def deliver(self, message: dict) -> None:
        with self._changed:
            self._out += base64.b64decode(message.get("out", ""))
            self._err += base64.b64decode(message.get("err", ""))
            self.error = message.get("error", self.error)
            self.returncode = message.get("exit", self.returncode)
            self._changed.notify_all()

    @property
    def finished(self) -> bool:
        return self.returncode is not None or self.error is not None

    @property
    def stdout(self) -> str:
        return bytes(self._out).decode(errors="replace")

    @property
    def stderr(self) -> str:
        return bytes(self._err).decode(errors="replace")

    @property
    def output(self) -> str:
        return self.stdout + self.stderr

    def _await(self, condition: Callable[[], bool], timeout: float, what: str) -> None:
        with self._changed:
            if self._changed.wait_for(lambda: condition() or self.error is not None, timeout * PATIENCE):
                if self.error is not None and not condition():
                    raise GuestLost(f"in {self.agent.name}: {self.error} ({what}: {self.command})\n{self.output}\n{self.agent.diagnosis()}")
                return
        raise TimeoutError(
            f"in {self.agent.name}: {what} took more than {timeout} s: {self.command}\n"
            f"--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}\n{self.agent.diagnosis()}"
        )

    def wait(self, timeout: float = 30, check: bool = False) -> Result:
        self._await(lambda: self.returncode is not None, timeout, "the command")
        assert self.returncode is not None
        result = Result(self.command, self.returncode, self.stdout, self.stderr)
        if check and result.returncode != 0:
            raise CommandFailed(self.agent.name, result)
        return result

    def expect(self, pattern: str, timeout: float = 30) -> re.Match[str]:
        """Waits until the output (stdout, then stderr) matches PATTERN."""
        found: list[re.Match[str]] = []

        def matches() -> bool:
            if match := re.search(pattern, self.output, re.MULTILINE):
                found.append(match)
            return bool(found)

        self._await(lambda: matches() or self.finished, timeout, f"waiting for {pattern!r}")
        if not found:
            raise AssertionError(
                f"in {self.agent.name}: ended with {self.returncode} and without {pattern!r}: {self.command}\n{self.output}"
            )
        return found[0]

    def write(self, data: str | bytes) -> None:
        raw = data.encode() if isinstance(data, str) else data
        for start in range(0, len(raw), 16384):
            self.agent.request(self.ident, "write", data=base64.b64encode(raw[start : start + 16384]).decode())

    def close_stdin(self) -> None:
        self.agent.request(self.ident, "close")

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.agent.request(self.ident, "signal", number=int(number))

    def kill(self, timeout: float = 10) -> Result:
        """Ends it and what it started; returns what it said."""
        if not self.finished:
            self.signal(signal.SIGKILL)
        return self.wait(timeout)


class Agent:
    def __init__(self, name: str, channel: socket.socket, diagnosis: Callable[[], str] = lambda: ""):
        self.name, self.diagnosis = name, diagnosis
        self._channel = channel
        self._sending = threading.Lock()
        self._state = threading.Condition()
        self._streams: dict[int, GuestProcess | _Pump] = {}
        self._last_id = 0
        self.boots = 0
        self.lost: str | None = None
        threading.Thread(target=self._read, name=f"agent-{name}", daemon=True).start()

    def _read(self) -> None:
        buffer = b""
        try:
            while data := self._channel.recv(1 << 18):
                buffer += data
                *lines, buffer = buffer.split(b"\n")
                for line in lines:
                    self._dispatch(line)
        except (OSError, ValueError) as error:
            self._end(f"the guest's command channel broke: {error}")
        else:
            self._end("the guest is gone")

    def _dispatch(self, line: bytes) -> None:
        # A guest that was cut off in the middle of a line says hello behind the rest of it.
        start = line.find(b'{"hello"')
        message = json.loads(line[start:] if start > 0 else line)
        if "hello" in message:
            with self._state:
                self._fail_all("the guest restarted")
                self.boots += 1
                self._state.notify_all()
        elif stream := self._streams.get(message["id"]):
            if "exit" in message or "error" in message:
                self._streams.pop(message["id"], None)
            stream.deliver(message)

    def _fail_all(self, why: str) -> None:
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.deliver({"error": why})

    def _end(self, why: str) -> None:
        with self._state:
            self.lost = why
            self._fail_all(why)
            self._state.notify_all()

    def close(self) -> None:
        try:
            self._channel.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._channel.close()

    def wait_boot(self, count: int, timeout: float) -> None:
        """Until the guest's agent said hello for the COUNTth time."""
        with self._state:
            done = self._state.wait_for(lambda: self.boots >= count or self.lost, timeout * PATIENCE)
        if self.boots >= count:
            return
        why = self.lost if done else f"it did not come up in {timeout:.0f} s"
        raise GuestLost(f"guest {self.name}: {why}\n{self.diagnosis()}")

    def request(self, ident: int, op: str, **fields: object) -> None:
        data = json.dumps({"id": ident, "op": op, **fields}).encode() + b"\n"
        with self._sending:
            try:
                self._channel.sendall(data)
            except OSError as error:
                raise GuestLost(f"guest {self.name}: {error}\n{self.diagnosis()}") from None

    def _open(self, make: Callable[[int], GuestProcess | _Pump], op: str, **fields: object):
        with self._state:
            if self.lost:
                raise GuestLost(f"guest {self.name}: {self.lost}\n{self.diagnosis()}")
            self._last_id += 1
            stream = self._streams[self._last_id] = make(self._last_id)
        self.request(stream.ident, op, **fields)
        return stream

    def popen(self, command: Command, netns: str | None = None, stdin: bool = False) -> GuestProcess:
        argv = argv_of(command, netns)
        return self._open(lambda ident: GuestProcess(self, ident, command), "exec", argv=argv, stdin=stdin)

    def run(
        self, command: Command, timeout: float = 30, netns: str | None = None, check: bool = True, input: str | None = None
    ) -> Result:
        process = self.popen(command, netns, stdin=input is not None)
        if input is not None:
            process.write(input)
            process.close_stdin()
        try:
            return process.wait(timeout, check)
        except TimeoutError:
            process.signal(signal.SIGKILL)
            raise

    def ping(self, timeout: float = 10) -> None:
        self._open(lambda ident: GuestProcess(self, ident, "ping"), "ping").wait(timeout)

    def connect(self, path: str) -> socket.socket:
        """A local socket that is one end of a connection to the UNIX stream socket PATH in the guest."""
        near, far = socket.socketpair()
        pump = self._open(lambda ident: _Pump(self, ident, far), "connect", path=path)
        threading.Thread(target=pump.forward, name=f"pump-{self.name}", daemon=True).start()
        return near


class _Pump:
    """Carries a connection to a socket in the guest."""

    def __init__(self, agent: Agent, ident: int, far: socket.socket):
        self.agent, self.ident, self._far = agent, ident, far

    def deliver(self, message: dict) -> None:
        try:
            if data := message.get("out"):
                self._far.sendall(base64.b64decode(data))
            else:
                self._far.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the near end was closed: nobody wants it any more

    def forward(self) -> None:
        try:
            while data := self._far.recv(16384):
                self.agent.request(self.ident, "write", data=base64.b64encode(data).decode())
            self.agent.request(self.ident, "close")
        except (OSError, GuestLost):
            pass


def wait_until(condition: Callable[[], object], timeout: float = 10, what: str = "condition", interval: float = 0.05):
    """For what no event tells: evaluates CONDITION until it is true, and returns its value."""
    deadline = time.monotonic() + timeout * PATIENCE
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout} s")
        time.sleep(interval)
    return value
