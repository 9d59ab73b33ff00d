# SPDX-License-Identifier: Apache-2.0
"""Runs in the guest: does what the test asks over a virtio-serial port.

Both directions carry one JSON object a line. Requests name a stream with "id", which the host chooses:

    {"id": 1, "op": "exec", "argv": [...], "stdin": false}     start a command in a session of its own
    {"id": 2, "op": "connect", "path": "/run/x.sock"}          open a UNIX stream socket
    {"id": 1, "op": "write", "data": "<base64>"}               to the command's stdin, or to the socket
    {"id": 1, "op": "close"}                                   end of file for the same
    {"id": 1, "op": "signal", "number": 15}                    to the command's process group

Answers: {"id": 1, "out"|"err": "<base64>"}, {"id": 1, "exit": status} after the last output (a socket's stream ends with 0),
{"id": 1, "error": "text"} for a request that could not be done. {"hello": ...} is sent first, once for each boot.
"""

import base64
import json
import os
import selectors
import signal
import socket
import subprocess
import time

CHUNK = 32768


def find_port():
    """The port's device node; it appears shortly after the console driver is loaded."""
    for _ in range(1000):
        for name in os.listdir("/sys/class/virtio-ports"):
            with open(f"/sys/class/virtio-ports/{name}/name") as file:
                if file.read().strip() == "vpf.agent":
                    return f"/dev/{name}"
        time.sleep(0.01)
    raise SystemExit("no agent port")


class Agent:
    def __init__(self):
        self.port = os.open(find_port(), os.O_RDWR)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.port, selectors.EVENT_READ, self.on_port)
        self.buffer = b""
        self.streams = {}

    def send(self, **message):
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(self.port, data) :]

    def run(self):
        self.send(hello={"boot_id": open("/proc/sys/kernel/random/boot_id").read().strip()})
        while True:
            for key, _ in self.selector.select():
                key.data()

    def on_port(self):
        data = os.read(self.port, 65536)
        if not data:  # nobody listens on the host: the guest is on its way to another one
            time.sleep(0.05)
            return
        self.buffer += data
        *lines, self.buffer = self.buffer.split(b"\n")
        for line in lines:
            request = json.loads(line)
            try:
                getattr(self, "op_" + request["op"])(request["id"], request)
            except (OSError, KeyError, AttributeError, ValueError) as error:
                self.send(id=request["id"], error=f"{type(error).__name__}: {error}")

    def op_ping(self, ident, _request):
        self.send(id=ident, exit=0)

    def op_exec(self, ident, request):
        self.streams[ident] = Command(self, ident, request["argv"], request.get("stdin", False))

    def op_connect(self, ident, request):
        self.streams[ident] = Connection(self, ident, request["path"])

    def op_write(self, ident, request):
        if stream := self.streams.get(ident):
            stream.write(base64.b64decode(request["data"]))

    def op_close(self, ident, _request):
        if stream := self.streams.get(ident):
            stream.close()

    def op_signal(self, ident, request):
        if stream := self.streams.get(ident):
            stream.signal(request["number"])

    def done(self, ident, status):
        del self.streams[ident]
        self.send(id=ident, exit=status)


class Command:
    def __init__(self, agent, ident, argv, stdin):
        self.agent, self.ident = agent, ident
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE if stdin else subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, start_new_session=True, cwd="/root", bufsize=0,
        )
        self.pidfd = os.pidfd_open(self.process.pid)
        self.pipes = {"out": self.process.stdout, "err": self.process.stderr}
        for kind, pipe in self.pipes.items():
            os.set_blocking(pipe.fileno(), False)
            agent.selector.register(pipe, selectors.EVENT_READ, lambda kind=kind: self.on_output(kind))
        agent.selector.register(self.pidfd, selectors.EVENT_READ, self.on_exit)

    def on_output(self, kind):
        """Sends what there is; tells whether there may be more."""
        if kind not in self.pipes:
            return False
        data = self.pipes[kind].read(CHUNK)
        if data:
            self.agent.send(id=self.ident, **{kind: base64.b64encode(data).decode()})
        elif data == b"":
            self.agent.selector.unregister(self.pipes[kind])
            self.pipes.pop(kind).close()
        return bool(data)

    def on_exit(self):
        # What the command itself wrote is in the pipes now; a daemon it left behind may keep them open for ever.
        for kind in list(self.pipes):
            while self.on_output(kind):
                pass
        for pipe in self.pipes.values():
            self.agent.selector.unregister(pipe)
            pipe.close()
        self.agent.selector.unregister(self.pidfd)
        os.close(self.pidfd)
        self.close()
        self.agent.done(self.ident, self.process.wait())

    def write(self, data):
        try:
            self.process.stdin.write(data)
        except BrokenPipeError:
            pass

    def close(self):
        if self.process.stdin:
            self.process.stdin.close()

    def signal(self, number):
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass


class Connection:
    def __init__(self, agent, ident, path):
        self.agent, self.ident = agent, ident
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        agent.selector.register(self.socket, selectors.EVENT_READ, self.on_data)

    def on_data(self):
        try:
            data = self.socket.recv(CHUNK)
        except OSError:
            data = b""
        if data:
            self.agent.send(id=self.ident, out=base64.b64encode(data).decode())
        else:
            self.agent.selector.unregister(self.socket)
            self.socket.close()
            self.agent.done(self.ident, 0)

    def write(self, data):
        self.socket.sendall(data)

    def close(self):
        self.socket.shutdown(socket.SHUT_WR)

    def signal(self, _number):
        self.socket.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    Agent().run()
