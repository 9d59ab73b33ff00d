# SPDX-License-Identifier: Apache-2.0
"""A QMP client: commands, and events that can be waited for."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from typing import Any


from .machine import PATIENCE


class QmpError(RuntimeError):
    pass


class Qmp:
    def __init__(self, name: str, channel: socket.socket, timeout: float = 20):
        self.name = name
        self.events: list[dict[str, Any]] = []
        self._channel = channel
        self._changed = threading.Condition()
        self._replies: dict[int, dict[str, Any]] = {}
        self._last_id = 0
        self._greeting = False
        self.lost = False
        threading.Thread(target=self._read, name=f"qmp-{name}", daemon=True).start()
        with self._changed:
            if not self._changed.wait_for(lambda: self._greeting or self.lost, timeout * PATIENCE) or self.lost:
                raise QmpError(f"{name}: no QMP greeting")
        self("qmp_capabilities", timeout)

    def _read(self) -> None:
        try:
            with self._channel.makefile("rb") as lines:
                for line in lines:
                    message = json.loads(line)
                    with self._changed:
                        if "QMP" in message:
                            self._greeting = True
                        elif "event" in message:
                            self.events.append(message)
                        elif "id" in message:
                            self._replies[message["id"]] = message
                        self._changed.notify_all()
        except (OSError, ValueError):
            pass
        with self._changed:
            self.lost = True
            self._changed.notify_all()

    def __call__(self, command: str, timeout: float = 20, **arguments: Any) -> Any:
        """Executes COMMAND and returns its "return"; its "error" is raised. Names with hyphens: **{"sriov-pf": "pf0"}."""
        with self._changed:
            self._last_id += 1
            ident = self._last_id
        request = {"execute": command, "arguments": arguments, "id": ident}
        try:
            self._channel.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise QmpError(f"{self.name}: {command}: {error}") from None
        with self._changed:
            if not self._changed.wait_for(lambda: ident in self._replies or self.lost, timeout * PATIENCE):
                raise TimeoutError(f"{self.name}: QMP {command} took more than {timeout} s")
            reply = self._replies.pop(ident, None)
        if reply is None:
            raise QmpError(f"{self.name}: {command}: QEMU is gone")
        if "error" in reply:
            raise QmpError(f"{self.name}: {command}: {reply['error']['desc']}")
        return reply["return"]

    def wait_event(
        self, name: str, timeout: float = 20, match: Callable[[dict[str, Any]], bool] = lambda data: True
    ) -> dict[str, Any]:
        """Takes the first event NAME, come or still to come, whose data MATCH accepts."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            for event in self.events:
                if event["event"] == name and match(event.get("data", {})):
                    self.events.remove(event)
                    found.append(event)
                    return True
            return self.lost

        with self._changed:
            self._changed.wait_for(look, timeout * PATIENCE)
        if not found:
            why = "QEMU is gone" if self.lost else f"not within {timeout} s"
            raise TimeoutError(f"{self.name}: event {name}: {why}; events seen: {[e['event'] for e in self.events]}")
        return found[0].get("data", {})

    def close(self) -> None:
        try:
            self._channel.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._channel.close()
