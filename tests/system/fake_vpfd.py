# SPDX-License-Identifier: Apache-2.0
"""A fake vpfd: a scripted server of the API, for what vpfctl has to cope with and the real one does not do on demand
(wrong answers, slow answers, broken connections), and to see exactly what vpfctl asks."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

Handler = Callable[["Connection", dict], Any]


class Refusal(Exception):
    """What a handler raises to answer with an error."""

    def __init__(self, message: str, code: int = -32602, **data: Any):
        super().__init__(message)
        self.error = {"code": code, "message": message, "data": data}


class Connection:
    def __init__(self, sock: socket.socket):
        self.sock = sock
        self.lock = threading.Lock()
        self.request: dict = {}  # the one being answered

    def send_raw(self, data: bytes) -> None:
        with self.lock:
            self.sock.sendall(data)

    def send(self, message: dict) -> None:
        self.send_raw(json.dumps(message).encode() + b"\n")

    def event(self, topic: str, event: str, **rest: Any) -> None:
        self.send({"jsonrpc": "2.0", "method": "event", "params": {"topic": topic, "event": event, **rest}})

    def close(self) -> None:
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class FakeVpfd:
    """methods: name -> result, or a function of (connection, params) that returns it. A function that returns
    NO_ANSWER has sent what is to be sent itself. `calls` is what was asked, in order."""

    NO_ANSWER = object()

    def __init__(self, path: Path, methods: dict[str, Any]):
        self.path = path
        self.methods = methods
        self.calls: list[tuple[str, dict]] = []
        self.connections: list[Connection] = []
        self.changed = threading.Condition()
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        self.listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> FakeVpfd:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self.path.unlink(missing_ok=True)
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for connection in self.connections:
            connection.close()

    def wait_for(self, method: str, seconds: float = 10) -> Connection:
        """Until `method` has been called; the connection that called it last."""
        with self.changed:
            if not self.changed.wait_for(lambda: any(name == method for name, _ in self.calls), seconds):
                raise TimeoutError(f"nobody has called {method}")
            return self.connections[-1]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            connection = Connection(sock)
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: Connection) -> None:
        with connection.sock, connection.sock.makefile("rb") as lines:
            try:
                for line in lines:
                    self._answer(connection, json.loads(line))
            except (OSError, ValueError):
                return

    def _answer(self, connection: Connection, request: dict) -> None:
        method, params = request["method"], request.get("params", {})
        reply = {"jsonrpc": "2.0", "id": request["id"]}
        connection.request = request
        with self.changed:
            self.calls.append((method, params))
            self.changed.notify_all()
        try:
            if method not in self.methods:
                raise Refusal(f"there is no method {method!r}", -32601)
            handler = self.methods[method]
            result = handler(connection, params) if callable(handler) else handler
            if result is not self.NO_ANSWER:
                connection.send({**reply, "result": result})
        except Refusal as refusal:
            connection.send({**reply, "error": refusal.error})
