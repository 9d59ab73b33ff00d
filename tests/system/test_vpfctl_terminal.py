# SPDX-License-Identifier: Apache-2.0
"""vpfctl on a terminal and over time: events, progress, colour, completion, help."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from bed import paths
from bed.machine import PATIENCE
from fake_vpfd import Connection, FakeVpfd
from vpfctl_env import ENV, PF, SECONDS, VPFCTL, ctl, ok, running


# Time.


def test_monitor_prints_events_as_they_come(fake: FakeVpfd) -> None:
    fake.methods["events.subscribe"] = True
    with running(fake.path, "monitor", "link", "function") as process:
        assert process.stderr.readline() == "vpfctl: waiting for events\n"
        connection = fake.wait_for("events.subscribe")
        assert fake.calls == [("events.subscribe", {"topics": ["link", "function"]})]
        connection.event("link", "up", time="2026-01-02T03:04:05.678Z", text="the link is up", pf="pf0", vf=3, fabric="f0")
        assert process.stdout.readline() == "2026-01-02T03:04:05.678Z link pf0 vf 3 up: the link is up\n"
        connection.event("function", "connected", time="soon", pf="pf0", vf=None, peer_pid=7, why={"a": [1]})
        assert process.stdout.readline() == 'soon function pf0 pf connected peer_pid=7 why={"a": [1]}\n'
        connection.event("fabric", "added", time="now", fabric="f0", flag=True)
        assert process.stdout.readline() == "now fabric f0 added flag=on\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == -signal.SIGINT


def test_monitor_json_ends_after_count(fake: FakeVpfd) -> None:
    def subscribe(connection: Connection, _: dict) -> bool:
        connection.event("pf", "added", pf="pf0")  # before the answer: must not be lost
        return True

    fake.methods["events.subscribe"] = subscribe
    with running(fake.path, "monitor", "--json", "--count", "2") as process:
        fake.wait_for("events.subscribe").event("pf", "deleted", pf="pf0")
        out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert [json.loads(line) for line in out.splitlines()] == [{"topic": "pf", "event": "added", "pf": "pf0"}, {"topic": "pf", "event": "deleted", "pf": "pf0"}]


def test_monitor_tells_that_vpfd_is_gone(fake: FakeVpfd) -> None:
    fake.methods["events.subscribe"] = lambda connection, _: threading.Timer(0.1, connection.close).start() or True
    done = ctl(fake, "monitor")
    assert done.returncode == 1 and done.stderr.endswith("vpfctl: vpfd has closed the connection\n")


def test_slow_answers_are_explained(fake: FakeVpfd) -> None:
    fake.methods["pf.detach"] = lambda *_: time.sleep(2.5) or True
    done = ctl(fake, "pf", "detach", "pf0")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "vpfctl: waiting for vpfd, 2 s so far\n")


# On a terminal.


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, *argv: object, **env: str):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(argv[0], [str(word) for word in argv], {**ENV, **env})
        self.output = ""

    def wait_for(self, pattern: str) -> None:
        end = time.monotonic() + SECONDS
        while not re.search(pattern, self.output):
            ready, _, _ = select.select([self.fd], [], [], max(0, end - time.monotonic()))
            if not ready or not self._read():
                raise AssertionError(f"no {pattern!r} in {self.output!r}")

    def _read(self) -> bool:
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False  # what a terminal says whose programs have ended
        self.output += data.decode(errors="replace")
        return bool(data)

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def end(self) -> str:
        while self._read():
            pass
        os.close(self.fd)
        os.waitpid(self.pid, 0)
        return self.output


def test_color_only_on_a_terminal(fake: FakeVpfd) -> None:
    socket = {"VPF_SOCKET": str(fake.path)}
    assert "\x1b[" not in ok(fake, "fabric", "list")
    assert "\x1b[" in ok(fake, "fabric", "list", "--color", "always", NO_COLOR="1")
    assert "\x1b[32mup\x1b[0m" in Terminal(VPFCTL, "fabric", "list", **socket).end()
    for args, env in [([], {"NO_COLOR": "1"}), ([], {"TERM": "dumb"}), (["--color=never"], {}), (["--json"], {})]:
        shown = Terminal(VPFCTL, "fabric", "list", *args, **socket, **env).end()
        assert "f0" in shown and "\x1b" not in shown


def test_progress_on_a_terminal_is_wiped(fake: FakeVpfd) -> None:
    fake.methods["pf.attach"] = lambda *_: time.sleep(2.2) or True
    shown = Terminal(VPFCTL, "pf", "attach", "pf0", VPF_SOCKET=str(fake.path)).end()
    assert re.fullmatch(r"\rvpfctl: waiting for vpfd, 2 s \r +\r", shown)


# Completion.


def candidates(fake: FakeVpfd, line: str) -> list[str]:
    done = subprocess.run(
        [VPFCTL, "__complete", " \t\n\"'><=;|&(:", line], env={**ENV, "VPF_SOCKET": str(fake.path)}, capture_output=True,
        text=True, timeout=SECONDS, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_candidates(fake: FakeVpfd) -> None:
    assert candidates(fake, "vpfctl f") == ["fabric", "fdb"]
    assert candidates(fake, "vpfctl pf ") == ["add", "set", "del", "list", "show", "attach", "detach"]
    assert candidates(fake, "vpfctl --json pf de") == ["del", "detach"]
    assert candidates(fake, "vpfctl help pf s") == ["set", "show"]
    # live names
    assert candidates(fake, "vpfctl fabric show ") == ["f0"]
    assert candidates(fake, "vpfctl pf show ") == ["pf0"]
    assert candidates(fake, "vpfctl pf add x --fabric ") == ["f0"]
    assert candidates(fake, "vpfctl vf set pf0 ") == ["pf", "0", "1"]
    assert candidates(fake, "vpfctl vf set other ") == []
    # options, those not given yet, and their values
    assert candidates(fake, "vpfctl vf set pf0 1 --t") == ["--trunk", "--trust"]
    assert candidates(fake, "vpfctl vf set pf0 1 --trust on --t") == ["--trunk"]
    assert candidates(fake, "vpfctl vf set pf0 1 --trust o") == ["on", "off"]
    assert candidates(fake, "vpfctl vf set pf0 1 --link=") == ["auto", "enable", "disable"]
    assert candidates(fake, "vpfctl vf set pf0 1 --link=d") == ["disable"]
    assert candidates(fake, "vpfctl --color n") == ["never"]
    assert candidates(fake, "vpfctl monitor link f") == ["function", "fabric", "fdb"]
    assert candidates(fake, "vpfctl pf set pf0 --policy driver_mac=on,pro") == ["on,promisc="]
    assert candidates(fake, "vpfctl pf set pf0 --policy promisc=") == ["on", "off"]
    assert candidates(fake, "vpfctl pf set pf0 --policy promisc=on,trust=of") == ["off"]
    assert candidates(fake, "vpfctl pf set pf0 --policy vlans=1,2,vlan") == ["1,2,vlans=", "1,2,vlan_ad="]
    assert candidates(fake, "vpfctl pf set pf0 --policy macs=") == ["own", "list", "any"]
    assert candidates(fake, "vpfctl pf set pf0 --policy max_vfs=") == []
    assert candidates(fake, "vpfctl pf set pf0 --policy nonsense=") == []
    assert candidates(fake, "vpfctl vf set pf0 1 --pinned mac,t") == ["mac,trust"]
    assert candidates(fake, "vpfctl fabric add f1 --uplink ") == ["none", "tap:", "netdev:"]
    assert "lo" in candidates(fake, "vpfctl fabric add f1 --uplink netdev:l")
    assert candidates(fake, "vpfctl pf set pf0 --qmp /r") == ["@files"]
    assert candidates(fake, "vpfctl fabric add f1 --type b") == ["builtin", "bridge"]
    assert "lo" in candidates(fake, "vpfctl fabric add f1 --bridge l")
    assert candidates(fake, "vpfctl vf set pf0 1 --datapath v") == ["vhost-net", "vhost-user:path=", "vdpa:device=", "vdpa:mgmtdev="]
    assert candidates(fake, "vpfctl vf set pf0 1 --datapath d") == ["default"]
    assert candidates(fake, "vpfctl pf add x --datapath vhost-net,b") == ["vhost-net,builtin"]
    assert candidates(fake, "vpfctl pf add x --datapath vhost-net,d") == []
    assert candidates(fake, "vpfctl pf add x --datapath vhost-user:") == ["path=", "server=", "offload="]
    assert candidates(fake, "vpfctl pf add x --datapath builtin,vhost-user:path=/b/{vf}:") == ["server=", "offload="]
    assert candidates(fake, "vpfctl pf add x --datapath vhost-user:path=/b:o=/x:server=o") == ["on", "off"]
    assert candidates(fake, "vpfctl pf add x --datapath vdpa:m") == ["mgmtdev="]
    assert candidates(fake, "vpfctl pf add x --datapath nic:") == []
    assert candidates(fake, "vpfctl fabric set f0 --b") == []  # fixed when added
    assert candidates(fake, "vpfctl vf list ") == ["pf0"]
    # nothing to offer
    assert candidates(fake, "vpfctl nonsense ") == []
    assert candidates(fake, "vpfctl pf add x") == []
    assert candidates(fake, "vpfctl") == candidates(fake, "") == []
    # names that could do harm on a command line
    fake.methods["fabric.list"] = [{"name": "$(reboot)"}, {"name": "-x"}, {"name": "a b"}, {}, {"name": "ok"}]
    assert candidates(fake, "vpfctl fabric del ") == ["ok"]


def test_completion_without_vpfd_is_silent_and_quick(fake: FakeVpfd) -> None:
    fake.methods["pf.list"] = lambda *_: FakeVpfd.NO_ANSWER
    started = time.monotonic()
    assert candidates(fake, "vpfctl pf show ") == []
    assert time.monotonic() - started < 5 * PATIENCE
    fake.close()
    assert candidates(fake, "vpfctl pf show ") == []


def test_completion_in_a_real_bash(fake: FakeVpfd, tmp_path: Path) -> None:
    """Keys are typed, and what bash then runs is what is looked at."""
    fake.methods["pf.set"] = PF
    (tmp_path / "my vm.sock").touch()
    (tmp_path / "vpfctl").symlink_to(VPFCTL)
    bash = Terminal(
        "/bin/bash", "--norc", "--noprofile", "-i", VPF_SOCKET=str(fake.path), PATH=f"{tmp_path}:{ENV['PATH']}", PS1="ready> ",
        INPUTRC="/dev/null", HOME=str(tmp_path), HISTFILE="",
    )  # fmt: skip
    bash.wait_for("ready> ")
    bash.type("source <(vpfctl completion bash); cd ~\n")
    bash.type("vpfctl fab\tad\tf7 --upl\ttap:\tx\n")
    fake.wait_for("fabric.add")
    bash.type("vpfctl vf se\tp\t1 --tru\b\b\b\b\b--vlan 7 --spo\tof\t\n")
    fake.wait_for("vf.set")
    bash.type("vpfctl pf se\tpf\t--policy promisc=of\t --qmp my\t\n")
    fake.wait_for("pf.set")
    bash.type("exit\n")
    bash.end()
    asked = [(method, params) for method, params in fake.calls if "list" not in method]
    assert asked == [
        ("fabric.add", {"name": "f7", "uplink": {"type": "tap", "name": "x"}}),
        ("vf.set", {"pf": "pf0", "vf": 1, "vlan": {"mode": "access", "vid": 7}, "spoofchk": False}),
        ("pf.set", {"name": "pf0", "policy": {"promisc": False}, "qmp": f"{tmp_path}/my vm.sock"}),
    ]


# Help.


def test_help_of_each_command() -> None:
    def commands(path: list[str]) -> Iterator[list[str]]:
        text = ok(None, *path, "--help")
        yield path
        section = re.search(r"^Commands:\n((?:  .*\n)+)", text, re.M)
        for name in re.findall(r"^  ([a-z-]+)", section[1], re.M) if section else []:
            yield from commands([*path, name])

    everything = list(commands([]))
    assert len(everything) > 25
    manual = (paths.ROOT / "docs" / "vpfctl.md").read_text()
    for path in everything:
        text = ok(None, *path, "--help")
        assert text.startswith(f"Usage: vpfctl{''.join(' ' + word for word in path)}")
        assert ok(None, "help", *path) == text
        if "COMMAND …" not in text:
            assert "\nExamples:\n" in text
            # The manual knows each command and each of its options.
            assert f"vpfctl {' '.join(path)}" in manual
            own = text.split("Options of every command")[0]
            for option in re.findall(r"^  (?:-\w, )?(--[a-z-]+)", own, re.M):
                assert f"`{option}" in manual, f"docs/vpfctl.md does not know {option} of {' '.join(path)}"


def test_version() -> None:
    assert re.fullmatch(r"vpfctl \d+\.\d+\.\d+\n", ok(None, "--version"))
