# SPDX-License-Identifier: Apache-2.0
"""What vpfd refuses, and what it says then: over the API's socket, through vpfctl, and about its state file."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bed.machine import need_root, need_tap
from bed.netns import run_on_host
from bed.process import Process
from bed.vpfd import RpcClient, RpcError, Vpfd
from traffic import add_functions

METHOD_NOT_FOUND, INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR = -32601, -32602, -32600, -32700


@pytest.fixture
def site(vpfd: Vpfd) -> Vpfd:
    add_functions(vpfd, "pf", 2)
    return vpfd


# method, params, code or errno, field, part of the message
REFUSED: list[tuple[str, dict[str, Any], int, str | None, str]] = [
    ("no.such.method", {}, METHOD_NOT_FOUND, "method", "no such method"),
    ("fabric.add", {}, INVALID_PARAMS, "name", ""),
    ("fabric.add", {"name": 7}, INVALID_PARAMS, "name", "string"),
    ("fabric.add", {"name": "../x"}, INVALID_PARAMS, "name", ""),
    ("fabric.add", {"name": "x" * 200}, INVALID_PARAMS, "name", ""),
    ("fabric.add", {"name": "lan"}, errno.EEXIST, "name", "lan"),
    ("fabric.add", {"name": "b", "colour": "red"}, INVALID_PARAMS, "colour", ""),
    ("fabric.add", {"name": "b", "ageing": 0}, INVALID_PARAMS, "ageing", ""),
    ("fabric.add", {"name": "b", "ageing": True}, INVALID_PARAMS, "ageing", "integer"),
    ("fabric.add", {"name": "b", "uplink": {"type": "wire"}}, INVALID_PARAMS, "uplink.type", ""),
    ("fabric.add", {"name": "b", "uplink": {"type": "netdev"}}, INVALID_PARAMS, "uplink.name", ""),
    ("fabric.add", {"name": "b", "uplink": {"type": "netdev", "name": "vpf-none"}}, errno.ENODEV, "uplink.name", "vpf-none"),
    ("fabric.add", {"name": "b", "uplink": {"type": "tap", "name": "lo"}}, errno.EEXIST, "uplink.name", "lo"),
    ("fabric.set", {"name": "nowhere"}, errno.ENOENT, "name", "nowhere"),
    ("fabric.del", {"name": "lan"}, errno.EBUSY, "name", "pf"),
    ("fabric.del", {"name": "nowhere"}, errno.ENOENT, "name", "nowhere"),
    ("fabric.show", {"name": "nowhere"}, errno.ENOENT, "name", "nowhere"),
    ("pf.add", {"name": "pf", "fabric": "lan", "vfs": 1}, errno.EEXIST, "name", "pf"),
    ("pf.add", {"name": "b", "fabric": "nowhere", "vfs": 1}, errno.ENOENT, "fabric", "nowhere"),
    ("pf.add", {"name": "b", "fabric": "lan", "vfs": 256}, INVALID_PARAMS, "vfs", "255"),
    ("pf.add", {"name": "b", "fabric": "lan", "vfs": -1}, INVALID_PARAMS, "vfs", "255"),
    ("pf.add", {"name": "b", "fabric": "lan", "vfs": 1, "queue_pairs": 17}, INVALID_PARAMS, "queue_pairs", "16"),
    ("pf.add", {"name": "b", "fabric": "lan", "vfs": 1, "mtu": 9217}, INVALID_PARAMS, "mtu", "9216"),
    ("pf.add", {"name": "b", "fabric": "lan", "vfs": 1, "mac": "01:00:00:00:00:00"}, INVALID_PARAMS, "mac", ""),
    ("pf.add", {"name": "b", "fabric": "lan", "vfs": 1, "mac": "nonsense"}, INVALID_PARAMS, "mac", ""),
    ("pf.add", {"name": "b", "fabric": "lan", "vfs": 1, "policy": {"promise": True}}, INVALID_PARAMS, "policy.promise", ""),
    ("pf.set", {"name": "nobody", "mtu": 1500}, errno.ENOENT, "name", "nobody"),
    ("pf.del", {"name": "nobody"}, errno.ENOENT, "name", "nobody"),
    ("vf.set", {"pf": "pf", "vf": 2, "trust": True}, errno.ENOENT, "vf", "2"),
    ("vf.set", {"pf": "pf", "vf": 0, "vlan": {"mode": "access", "vid": 4095}}, INVALID_PARAMS, "vlan.vid", "4094"),
    ("vf.set", {"pf": "pf", "vf": 0, "vlan": {"mode": "access", "vid": 5, "pcp": 8}}, INVALID_PARAMS, "vlan.pcp", "7"),
    ("vf.set", {"pf": "pf", "vf": 0, "vlan": {"mode": "trunk", "vids": "1-"}}, INVALID_PARAMS, "vlan.vids", ""),
    ("vf.set", {"pf": "pf", "vf": 0, "link": "sideways"}, INVALID_PARAMS, "link", "auto"),
    ("vf.set", {"pf": "pf", "vf": 0, "trust": "yes"}, INVALID_PARAMS, "trust", ""),
    ("vf.set", {"pf": "pf", "vf": 0, "mac": "ff:ff:ff:ff:ff:ff"}, INVALID_PARAMS, "mac", ""),
    ("vf.set", {"pf": "pf", "vf": 0, "mtu": 67}, INVALID_PARAMS, "mtu", "68"),
    ("stats", {"pf": "nobody"}, errno.ENOENT, "pf", "nobody"),
    ("events.subscribe", {"topics": ["gossip"]}, INVALID_PARAMS, "topics", ""),
]  # fmt: skip


def picture(vpfd: Vpfd) -> Any:
    """All that is set."""
    return vpfd.rpc("fabric.list"), [vpfd.rpc("pf.show", name=row["name"]) for row in vpfd.rpc("pf.list")]


def test_refused_requests_change_nothing(site: Vpfd) -> None:
    before, saved = picture(site), (site.state_dir / "state.json").read_bytes()
    wrong = []
    for method, params, code, field, text in REFUSED:
        try:
            site.rpc(method, **params)
            wrong.append(f"{method} {params}: accepted")
            continue
        except RpcError as refused:
            error = refused
        right = (
            error.code in (code, -32000 - code)
            and (field is None or error.data["field"].startswith(field))
            and text in error.message
            and (code < 0 or error.data["errno"] == errno.errorcode[code])
        )
        if not right:
            wrong.append(f"{method} {params}: {error}")
    assert not wrong, "\n".join(wrong)
    assert picture(site) == before
    assert (site.state_dir / "state.json").read_bytes() == saved


def test_requests_that_are_none(site: Vpfd) -> None:
    client = site.rpc_client()
    for line, code in (
        (b"nonsense", PARSE_ERROR), (b'{"jsonrpc": "2.0", "id": 1, "method": "status"', PARSE_ERROR), (b"\xff\xfe", PARSE_ERROR),
        (b"7", INVALID_REQUEST), (b"[]", INVALID_REQUEST), (b'{"id": 1, "method": "status"}', INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "id": 1, "method": 5}', INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "status", "params": [1]}', INVALID_PARAMS),
        (b"[" * 5000, INVALID_REQUEST),
    ):  # fmt: skip
        client.send_raw(line + b"\n")
        assert client.read()["error"]["code"] == code, line[:60]
    assert client("status")["pfs"] == 1
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # vpfd does not read on to the end
        client.send_raw(b"x" * (4 << 20))
    assert client.read()["error"]["code"] == INVALID_REQUEST
    with pytest.raises((EOFError, ConnectionResetError)):
        client.read()
    assert site.rpc("status")["pfs"] == 1


@pytest.mark.parametrize(
    "command, said",
    [
        ("fabric add lan", "lan"),
        ("fabric add x --uplink netdev:vpf-none", "--uplink"),
        ("fabric add x --ageing 0", "--ageing"),
        ("fabric add x --colour red", "--colour"),
        ("fabric del lan", "pf"),
        ("pf add pf --fabric lan --vfs 1", "pf"),
        ("pf add x --fabric nowhere --vfs 1", "--fabric"),
        ("pf add x --fabric lan --vfs 999", "--vfs"),
        ("pf add x --fabric lan --vfs 1 --mtu 9217", "--mtu"),
        ("pf add x --fabric lan", "--vfs"),
        ("vf set pf 9 --trust on", "VF|pf: pf has 2 VFs"),
        ("vf set pf 0 --vlan 4095", "--vlan"),
        ("vf set pf 0 --trunk 5-2", "--trunk"),
        ("vf set pf 0 --link sideways", "--link"),
        ("vf set pf 0 --mac ff:ff:ff:ff:ff:ff", "--mac"),
        ("stats nobody", "nobody"),
        ("fabrik list", "fabric"),
    ],
)
def test_vpfctl_names_what_is_wrong(site: Vpfd, command: str, said: str) -> None:
    done = site.ctl(*command.split(), check=False)
    assert done.returncode != 0 and done.stdout == ""
    assert said in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) <= 3, "a sentence, not a page"


# -- the state file


def refuses_to_start(vpfd: Vpfd) -> str:
    with pytest.raises(AssertionError, match="before it was ready"):
        vpfd.start()
    vpfd.process = None
    return vpfd.output().splitlines()[-1]


@pytest.mark.parametrize("damage", ["cut short", "empty", "garbage", "not ours", "newer", "unknown member", "wrong type", "dangling"])
def test_damaged_state_is_kept_and_refused(vpfd_factory: Callable[..., Vpfd], damage: str) -> None:
    vpfd = vpfd_factory()
    add_functions(vpfd, "pf", 2)
    vpfd.rpc("vf.set", pf="pf", vf=1, trust=True)
    vpfd.stop()
    file = vpfd.state_dir / "state.json"
    good = file.read_text()
    root = json.loads(good)
    if damage == "newer":
        root["version"] = 99
    elif damage == "not ours":
        root["format"] = "shopping list"
    elif damage == "unknown member":
        root["pfs"][0]["functions"][0]["colour"] = "red"
    elif damage == "wrong type":
        root["pfs"][0]["vfs"] = "two"
    elif damage == "dangling":
        root["pfs"][0]["fabric"] = "nowhere"
    bad = {"cut short": good[: len(good) // 2], "empty": "", "garbage": "\x00\x01" * 100}.get(damage, json.dumps(root))
    file.write_text(bad)
    said = refuses_to_start(vpfd)
    assert str(file) in said, said
    for part in {"newer": ["version 99", "newer"], "unknown member": ["colour"], "wrong type": ["vfs"], "dangling": ["nowhere"]}.get(damage, []):
        assert part in said, said
    assert file.read_text() == bad
    file.write_text(good)
    vpfd.start()
    assert vpfd.rpc("vf.show", pf="pf", vf=1)["trust"] is True


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    need_root("a file system that is full")
    directory = tmp_path / "disk"
    directory.mkdir()
    run_on_host(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(directory)])
    yield directory
    run_on_host(["umount", "-l", str(directory)])


def test_full_disk(vpfd_factory: Callable[..., Vpfd], small_disk: Path) -> None:
    """Whatever cannot be saved is not done, in whole: and is, when asked again after room was made."""
    need_tap()
    vpfd = vpfd_factory(start=False)
    vpfd.state_dir = small_disk / "state"
    vpfd.start()
    functions = add_functions(vpfd, "pf", 2)
    before, saved = picture(vpfd), (vpfd.state_dir / "state.json").read_bytes()
    filler = small_disk / "filler"
    fd = os.open(filler, os.O_WRONLY | os.O_CREAT)
    with pytest.raises(OSError, match="No space"):  # noqa: PT012
        while True:
            os.write(fd, bytes(4096))
    os.close(fd)
    requests: list[tuple[str, dict[str, Any]]] = [
        ("vf.set", {"pf": "pf", "vf": 0, "trust": True, "vlan": {"mode": "access", "vid": 5}}),
        ("pf.add", {"name": "more", "fabric": "lan", "vfs": 3}),
        ("fabric.add", {"name": "wan", "uplink": {"type": "tap", "name": "vpf-full"}}),
        ("fabric.set", {"name": "lan", "ageing": 5}),
        ("pf.set", {"name": "pf", "mtu": 9000}),
        ("pf.del", {"name": "pf"}),
    ]
    for method, params in requests:
        with pytest.raises(RpcError) as refused:
            vpfd.rpc(method, **params)
        assert refused.value.code == -32000 - errno.ENOSPC, method
        assert "make room" in refused.value.message and str(vpfd.state_dir) in refused.value.message
        assert picture(vpfd) == before, method
        assert (vpfd.state_dir / "state.json").read_bytes() == saved
        assert functions[0].socket.is_socket() and not (vpfd.run_dir / "more").exists()
        assert run_on_host("ip link show vpf-full", check=False).returncode != 0
    filler.unlink()
    for method, params in requests:
        vpfd.rpc(method, **params)
    vpfd.restart()
    assert [row["name"] for row in vpfd.rpc("pf.list")] == ["more"]
    assert vpfd.rpc("fabric.show", name="lan")["ageing"] == 5


def test_many_clients(vpfd: Vpfd) -> None:
    """Those who only hold a connection do not keep others out for ever, and descriptors come back."""
    before = vpfd.fds()
    clients: list[RpcClient] = []
    try:
        for _ in range(50):
            clients.append(vpfd.rpc_client())
        assert clients[-1]("status")["pfs"] == 0
    finally:
        for client in clients:
            client.close()
    vpfd.rpc("status")
    assert vpfd.fds() <= before + 1


def test_options_that_are_wrong(vpfd_factory: Callable[..., Vpfd], tmp_path: Path) -> None:
    vpfd = vpfd_factory(start=False)
    for option in (["--workers", "0"], ["--workers", "x"], ["--cpus", "9999"], ["--log-level", "loud"], ["--nonsense"], ["word"]):
        process = Process([str(vpfd.program), "--run-dir", str(tmp_path / "r"), "--state-dir", str(tmp_path / "s"), *option], tmp_path / "out")
        assert process.wait(20) != 0
        said = process.output()
        assert option[0].lstrip("-") in said, said
