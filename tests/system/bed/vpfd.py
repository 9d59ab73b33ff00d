# SPDX-License-Identifier: Apache-2.0
"""vpfd under test, and its two clients: vpfctl, and raw JSON-RPC over its API socket."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import paths
from .machine import PATIENCE
from .netns import run_on_host
from .process import Process

_SANITIZER_OPTIONS = ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS")


class RpcError(AssertionError):
    def __init__(self, method: str, error: Mapping[str, Any]):
        self.code, self.message, self.data = error.get("code"), error.get("message", ""), error.get("data")
        super().__init__(f"{method}: {self.message} (code {self.code}, data {self.data})")


class RpcClient:
    """JSON-RPC 2.0, one object a line. Notifications that come between replies collect in `notifications`."""

    def __init__(self, path: str | os.PathLike[str], timeout: float = 10):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout * PATIENCE)
        self.socket.connect(os.fspath(path))
        self._lines = self.socket.makefile("rb")
        self._last_id = 0
        self.notifications: list[dict[str, Any]] = []

    def send_raw(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read(self) -> dict[str, Any]:
        """The next message, whatever it is; EOFError at the end of the connection."""
        line = self._lines.readline()
        if not line:
            raise EOFError("vpfd closed the connection")
        return json.loads(line)

    def __call__(self, method: str, **params: Any) -> Any:
        self._last_id += 1
        request = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}
        self.send_raw(json.dumps(request).encode() + b"\n")
        while True:
            message = self.read()
            if message.get("id") != self._last_id:
                self.notifications.append(message)
            elif "error" in message:
                raise RpcError(method, message["error"])
            else:
                return message["result"]

    def wait_notification(self, method: str) -> dict[str, Any]:
        """The params of the first notification METHOD, come or still to come."""
        while True:
            for message in self.notifications:
                if message.get("method") == method:
                    self.notifications.remove(message)
                    return message.get("params", {})
            self.notifications.append(self.read())

    def close(self) -> None:
        self._lines.close()
        self.socket.close()


class Vpfd:
    """A vpfd with state, sockets and log below DIRECTORY; it is awaited through sd_notify, never polled.

    UNIX socket paths are short, so the run directory is in /tmp when DIRECTORY's name is long.
    """

    def __init__(self, directory: Path, args: Sequence[str] = (), env: Mapping[str, str] | None = None, program: Path | None = None):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.args, self.env = list(args), dict(env or {})
        self.program = program or paths.BUILD / "vpfd"
        self.state_dir = self.directory / "state"
        self._tmp = tempfile.TemporaryDirectory(prefix="vpfd-")
        self.run_dir = Path(self._tmp.name) / "run"
        self.log = self.directory / "vpfd.log"
        self.process: Process | None = None
        self._rpc: RpcClient | None = None

    @property
    def socket_path(self) -> Path:
        return self.run_dir / "vpfd.sock"

    def __enter__(self) -> Vpfd:
        return self.start()

    def __exit__(self, exc_type: object, *_rest: object) -> None:
        try:
            if exc_type is None and self.process:
                self.stop()
        finally:
            self.close()

    def close(self) -> None:
        if self.process:
            self.kill()
        self._tmp.cleanup()

    def start(self, timeout: float = 20) -> Vpfd:
        if not self.program.exists():
            raise FileNotFoundError(f"{self.program} is missing: build the project first (VPF_BUILD names the build directory)")
        notify_path = f"{self._tmp.name}/notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(notify_path)
            notify.bind(notify_path)
            env = os.environ | {"NOTIFY_SOCKET": notify_path} | self._sanitizer_env() | self.env
            argv = [str(self.program), "--run-dir", str(self.run_dir), "--state-dir", str(self.state_dir), *self.args]
            self.process = Process(argv, self.log, env=env)
            self._await_ready(notify, timeout)
        return self

    def _await_ready(self, notify: socket.socket, timeout: float) -> None:
        import select
        import time

        process = self.process
        assert process
        deadline = time.monotonic() + timeout * PATIENCE
        pidfd = os.pidfd_open(process.pid)
        try:
            while True:
                ready, _, _ = select.select([notify, pidfd], [], [], max(0.0, deadline - time.monotonic()))
                if notify in ready:
                    if b"READY=1" in notify.recv(4096).split(b"\n"):
                        return
                elif pidfd in ready:
                    raise AssertionError(f"vpfd ended with {process.wait(5)} before it was ready:\n{process.tail()}")
                else:
                    process.kill()
                    raise TimeoutError(f"vpfd was not ready after {timeout} s:\n{process.tail()}")
        finally:
            os.close(pidfd)

    # -- end and restart

    def stop(self, timeout: float = 20) -> None:
        """An orderly end: exit status 0, and no sanitizer reported anything."""
        assert self.process
        process, self.process = self.process, None
        self._drop_rpc()
        status = process.stop(timeout)
        reports = self.sanitizer_reports()
        assert not reports, f"sanitizer reports of vpfd:\n{reports}"
        assert status == 0, f"vpfd ended with {status}:\n{process.tail()}"

    def kill(self, number: int = signal.SIGKILL) -> None:
        """As a crash would: no orderly end."""
        if self.process:
            self.process.signal(number)
            self.process.wait(10)
            self.process = None
        self._drop_rpc()

    def restart(self) -> None:
        if self.process:
            self.stop()
        self.start()

    # -- clients

    def ctl(self, *args: str, json: bool = False, check: bool = True, timeout: float = 20) -> Any:
        """vpfctl ARGS: with `json` the parsed output of `vpfctl --json`, else its Result."""
        argv = [str(self.program.parent / "vpfctl"), "--socket", str(self.socket_path), *(["--json"] if json else []), *args]
        result = run_on_host(argv, timeout, check=check)
        return _parse_json(result.stdout) if json else result

    def rpc_client(self) -> RpcClient:
        """A connection of its own."""
        return RpcClient(self.socket_path)

    def rpc(self, method: str, **params: Any) -> Any:
        """A call over a connection that is kept as long as vpfd runs; RpcError for an error."""
        if self._rpc is None:
            self._rpc = self.rpc_client()
        return self._rpc(method, **params)

    def _drop_rpc(self) -> None:
        if self._rpc:
            self._rpc.close()
            self._rpc = None

    # -- what it costs, what it says

    def cpu_time(self) -> float:
        """Seconds of CPU time, of user and system, since it started."""
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss(self) -> int:
        """Resident memory in bytes, without guests' (shared) memory that it maps."""
        for line in self._proc("status").splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no RssAnon in /proc/PID/status")

    def fds(self) -> int:
        assert self.process
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def _proc(self, name: str) -> str:
        assert self.process
        return Path(f"/proc/{self.process.pid}/{name}").read_text()

    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _sanitizer_env(self) -> dict[str, str]:
        prefix = self.directory / "sanitizer"
        base = f"log_path={prefix}:exitcode=99:print_stacktrace=1:halt_on_error=1"
        return {name: ":".join(filter(None, [os.environ.get(name), base])) for name in _SANITIZER_OPTIONS}

    def sanitizer_reports(self) -> str:
        """What sanitizers wrote: with a log_path most write there, some parts of UBSan to stderr in spite of it."""
        reports = [path.read_text(errors="replace") for path in sorted(self.directory.glob("sanitizer.*"))]
        reports += [line for line in self.output().splitlines() if ": runtime error: " in line or "Sanitizer: " in line]
        return "\n".join(reports)


def _parse_json(text: str) -> Any:
    return json.loads(text)


def built_with_sanitizers(program: Path | None = None) -> bool:
    symbols = subprocess.run(["readelf", "-d", str(program or paths.BUILD / "vpfd")], capture_output=True, text=True, check=False)
    return "libasan" in symbols.stdout or "libtsan" in symbols.stdout or "libubsan" in symbols.stdout
