# SPDX-License-Identifier: Apache-2.0
"""A function moves to another switch, and says nothing: the network finds it there.

    driver ── vpfd: builtin ── fabric ── uplink ─────────────┐
       └───── testpmd, net_vhost ── net_af_packet ── veth ── bridge: eth0 of "external", which has learned where the driver is
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import frames
import pytest
from bed.dpdk import Testpmd, vhost
from bed.vpfd import Vpfd
from frames import Wire
from test_moving import BUILTIN, move
from topology import External
from traffic import Function, add_functions
from vu_client import Port

ATTEMPTS = 100


@pytest.fixture
def external(bed: Path, tmp_path: Path) -> Iterator[External]:
    external = External(tmp_path, mtu=1500, uplinks=2)
    # A bridge that learns sends an address where it was seen last, and nowhere else.
    external.netns.run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1")
    yield external
    external.close()


def await_frame(wire: Wire, port: Port, source: str, to: Function, text: bytes) -> None:
    """Until one of the peer's frames arrives: word of the move may still be under way."""
    frame = frames.eth(to.mac, source, text)
    for _ in range(ATTEMPTS):
        wire.send(frame)
        with contextlib.suppress(TimeoutError):
            while port.receive(0.1) != frame:
                pass
            return
    raise AssertionError(f"{text!r}: the network does not find it")


def test_network_follows(vpfd: Vpfd, external: External) -> None:
    vpfd.rpc("fabric.add", name="lan", uplink={"type": "netdev", "name": external.uplinks[0]})
    with tempfile.TemporaryDirectory(prefix="vpf-an-") as place, Testpmd([vhost(0, f"{place}/0"), f"net_af_packet0,iface={external.uplinks[1]}"], "io"):
        other = {"type": "vhost-user", "path": f"{place}/{{vf}}"}
        (a,) = add_functions(vpfd, "pf", 1, spoofchk=False, datapaths=[BUILTIN, other])
        port = a.port()
        with Wire("eth0", external.netns.name) as wire:
            port.send_frame(frames.eth(external.mac, a.mac, b"here"))
            assert wire.receive() == frames.eth(external.mac, a.mac, b"here")
            for number in range(2):
                await_frame(wire, port, external.mac, a, b"builtin %d" % number)
                move(a, other)
                await_frame(wire, port, external.mac, a, b"vhost-user %d" % number)
                move(a, BUILTIN)
            await_frame(wire, port, external.mac, a, b"builtin")
        port.close()
