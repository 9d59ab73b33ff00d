# SPDX-License-Identifier: Apache-2.0
"""vpfctl against a scripted server: refusals, wrong answers, a server that is absent."""

from __future__ import annotations

import grp
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_vpfd import Connection, FakeVpfd, Refusal
from vpfctl_env import ENV, FABRIC, METHODS, VPFCTL, ctl, ok


def test_refusal_names_the_option(fake: FakeVpfd) -> None:
    def refuse(field: str, text: str) -> Callable[[Connection, dict], None]:
        def handler(_: Connection, __: dict) -> None:
            raise Refusal(text, field=field, errno="EINVAL")

        return handler

    for args, field, expected in [
        (["vf", "set", "pf0", "1", "--vlan", "5000"], "vlan.vid", "vpfctl: --vlan vid: no such VLAN\n"),
        (["vf", "set", "pf0", "1", "--trunk", "5000"], "vlan.vids", "vpfctl: --trunk vids: no such VLAN\n"),
        (["vf", "set", "pf0", "300", "--trust", "on"], "vf", "vpfctl: VF|pf: no such VLAN\n"),
        (["vf", "set", "pf0", "3", "--trust", "on"], "", "vpfctl: no such VLAN\n"),
        (["vf", "set", "pf0", "3", "--mtu", "1"], "mtu", "vpfctl: --mtu: no such VLAN\n"),
        (["vf", "set", "pf0", "3", "--trust", "on"], "other", "vpfctl: other: no such VLAN\n"),
    ]:
        # vpfd's message names the field itself; vpfctl says the option in its place.
        for text in ["no such VLAN", f"{field}: no such VLAN"] if field else ["no such VLAN"]:
            fake.methods["vf.set"] = refuse(field, text)
            done = ctl(fake, *args)
            assert (done.returncode, done.stdout, done.stderr) == (1, "", expected)

    # What JSON calls null has words of its own here.
    for field, said in [("mtu", "vpfctl: --mtu: must be 1 to 2, or default\n"), ("vf", "vpfctl: VF|pf: must be 1 to 2, or pf\n")]:
        fake.methods["vf.set"] = refuse(field, f"{field}: must be 1 to 2, or null")
        assert ctl(fake, "vf", "set", "pf0", "3", "--mtu", "0").stderr == said

    # The table of functions asks pf.show, which calls its parameter otherwise.
    fake.methods["pf.show"] = refuse("name", "no such virtual PF")
    assert ctl(fake, "vf", "show", "pf9").stderr == "vpfctl: PF: no such virtual PF\n"


def test_usage_errors_have_status_2_and_ask_nothing(fake: FakeVpfd) -> None:
    for args, text in [
        ([], "a command is missing"),
        (["pf", "shwo"], "did you mean 'show'?"),
        (["pf", "add", "x", "--vfs", "3"], "--fabric FABRIC is missing"),
        (["vf", "set", "pf0", "1", "--trust", "yes"], "--trust: 'yes' is not one of: on, off"),
        (["vf", "set", "pf0", "1"], "nothing to set: give at least one setting"),
    ]:
        done = ctl(fake, *args)
        assert (done.returncode, done.stdout) == (2, ""), done
        assert text in done.stderr and "--help'" in done.stderr
    assert fake.calls == []


def test_no_vpfd(tmp_path: Path) -> None:
    path = tmp_path / "vpfd.sock"
    done = ctl(path, "status")
    assert done.returncode == 1
    assert done.stderr == (
        f"vpfctl: vpfd is not running at {path}: start it with 'vpfd --run-dir {tmp_path}', or name its socket with --socket\n"
    )
    # A socket that a killed vpfd has left behind.
    fake = FakeVpfd(path, {})
    fake.path = tmp_path / "not this one"
    fake.close()
    assert path.exists()
    assert "vpfd is not running at" in ctl(path, "status").stderr
    assert "start it, or name its socket" in ctl(tmp_path / "other", "status").stderr
    assert "1 to 107 bytes" in ctl(Path("/" + "x" * 107), "status").stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_no_permission_says_which_group() -> None:
    directory = Path("/tmp") / f"vpfctl-test-{os.getpid()}"
    run_dir = directory / "run"
    run_dir.mkdir(parents=True)
    directory.chmod(0o755)
    gid = grp.getgrnam("daemon").gr_gid
    try:
        program = shutil.copy(VPFCTL, directory)  # the build directory may be nobody's to enter
        with FakeVpfd(run_dir / "s", dict(METHODS)) as fake:

            def status(run_dir_mode: int, socket_mode: int) -> subprocess.CompletedProcess:
                run_dir.chmod(run_dir_mode)
                fake.path.chmod(socket_mode)
                return subprocess.run(
                    [program, "--socket", fake.path, "status"],
                    env=ENV, user=65534, group=65534, extra_groups=[], cwd="/", capture_output=True, text=True, check=False,
                )  # fmt: skip

            os.chown(fake.path, 0, gid)
            os.chown(run_dir, 0, gid)
            done = status(0o755, 0o660)
            assert done.returncode == 1
            assert f"permission denied on {fake.path}: it is for group 'daemon'" in done.stderr
            assert f"permission denied on {run_dir}: it is for group 'daemon'" in status(0o750, 0o666).stderr
            assert "only its owner (user id 0)" in status(0o755, 0o600).stderr
            assert status(0o755, 0o666).returncode == 0
    finally:
        shutil.rmtree(directory)


def test_wrong_answers(fake: FakeVpfd) -> None:
    def raw(data: bytes, close: bool = False) -> Callable[[Connection, dict], object]:
        def handler(connection: Connection, _: dict) -> object:
            connection.send_raw(data)
            if close:
                connection.close()
            return FakeVpfd.NO_ANSWER

        return handler

    for handler, text in [
        (raw(b"", close=True), "vpfd has closed the connection"),
        (raw(b'{"jsonrpc": "2.0"', close=True), "vpfd has closed the connection"),
        (raw(b"hello\n"), "does not speak JSON-RPC"),
        (raw(b"[]\n"), "does not speak JSON-RPC"),
        (raw(b'{"jsonrpc": "1.0", "id": 1, "result": 1}\n'), "does not speak JSON-RPC"),
        (raw(b'{"jsonrpc": "2.0", "id": 77, "result": 1}\n'), "answered another request"),
        (raw(b'{"jsonrpc": "2.0", "id": 1}\n'), "neither a result nor an error"),
        (raw(b'{"jsonrpc": "2.0", "id": 1, "error": {}}\n'), "without a reason"),
        (raw(b"\xff\xfe\0\n"), "does not speak JSON-RPC"),
    ]:
        fake.methods["status"] = handler
        done = ctl(fake, "status")
        assert (done.returncode, done.stdout) == (1, ""), done
        assert text in done.stderr


def test_results_of_an_unknown_shape_are_shown_as_far_as_possible(fake: FakeVpfd) -> None:
    for result in [None, 1, "x", [], {}, [None], [[]], [{"name": 3, "uplink": "x", "pfs": {}}], {"functions": 3, "workers": {}}]:
        for args, method in [
            (["status"], "status"), (["fabric", "list"], "fabric.list"), (["fabric", "show", "f"], "fabric.show"),
            (["pf", "list"], "pf.list"), (["pf", "show", "p"], "pf.show"), (["vf", "show", "p"], "pf.show"),
            (["vf", "show", "p", "1"], "vf.show"), (["stats"], "stats"), (["fdb", "show", "f"], "fdb.show"),
            (["qemu-args", "p"], "pf.qemu_args"), (["qemu-args", "p", "--json"], "pf.qemu_args"),
            (["qemu-args", "p", "--list"], "pf.qemu_args"),
        ]:  # fmt: skip
            fake.methods[method] = result
            done = ctl(fake, *args)
            assert done.returncode in (0, 1), (args, result, done)


def test_names_cannot_drive_the_terminal(fake: FakeVpfd) -> None:
    fake.methods["fabric.list"] = [{**FABRIC, "name": "\x1b]0;gotcha\x07\x9b1m"}]
    shown = ok(fake, "fabric", "list")
    assert "\x1b" not in shown and "\x07" not in shown and "\x9b" not in shown


def test_output_that_cannot_be_written_is_an_error(fake: FakeVpfd) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [VPFCTL, "--socket", fake.path, "status"], env=ENV, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1 and "cannot write the output" in done.stderr
