# SPDX-License-Identifier: Apache-2.0
"""A Linux bridge as fabric: with vpfd on this machine, and in the kernel of guests, whose bridges filter by VLAN."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import frames
import pytest
from bed import paths
from bed.machine import need_tap
from bed.netns import run_on_host
from bed.vm import VM
from bed.vpfd import RpcError, Vpfd
from traffic import Pair, add_functions

_serial = itertools.count()


@pytest.fixture
def bridge() -> Iterator[str]:
    need_tap()
    name = f"vpfb{os.getpid() % 100000}n{next(_serial)}"
    yield name
    run_on_host(["ip", "link", "delete", name], check=False)


def exists(netdev: str) -> bool:
    return Path("/sys/class/net", netdev).exists()


def test_two_functions(vpfd: Vpfd, bridge: str) -> None:
    """What one says to the other arrives, and nothing under a false name; the counters and the table say so."""
    vpfd.rpc("fabric.add", name="lan", type="bridge", bridge=bridge)
    assert exists(bridge)
    # Its taps are named by it, and other files have some of a "pf" at the same time.
    left, right = add_functions(vpfd, "two", 2)
    assert os.listdir(f"/sys/class/net/{bridge}/brif") == []
    pair = Pair(left, right)
    pair.check()
    assert sorted((row["mac"], row["vf"], row["vlan"]) for row in vpfd.rpc("fdb.show", fabric="lan")) == sorted(
        (f.mac, f.vf, 0) for f in (left, right)
    )
    pair.finish_traffic()
    sender, receiver = pair.ports
    sender.send_frame(frames.eth(right.mac, right.mac, b"false"))
    sender.send_frame(frames.eth(right.mac, left.mac, b"true"))
    assert receiver.receive() == frames.eth(right.mac, left.mac, b"true")
    assert left.drops("tx", "spoof_mac") == 1 and left.stats()["tx"]["dropped"] == 1
    for port in pair.ports:
        port.close()
    while left.show()["connected"] or right.show()["connected"]:
        pass
    assert os.listdir(f"/sys/class/net/{bridge}/brif") == []
    vpfd.rpc("pf.del", name="two")
    vpfd.rpc("fabric.del", name="lan")
    assert not exists(bridge)


def test_refused(vpfd: Vpfd, bridge: str) -> None:
    """What cannot be is refused with a sentence, and nothing is left of it."""
    with pytest.raises(RpcError, match="no bridge") as refused:
        vpfd.rpc("fabric.add", name="lan", type="bridge", bridge="lo")
    assert refused.value.data["field"] == "bridge"
    with pytest.raises(RpcError, match="tap"):
        vpfd.rpc("fabric.add", name="lan", type="bridge", bridge=bridge, uplink={"type": "tap", "name": "vpfnone"})
    with pytest.raises(RpcError, match="vpfnone"):
        vpfd.rpc("fabric.add", name="lan", type="bridge", bridge=bridge, uplink={"type": "netdev", "name": "vpfnone"})
    assert not exists(bridge) and vpfd.rpc("fabric.list") == []


def test_killed(vpfd: Vpfd, bridge: str) -> None:
    """A vpfd that is killed leaves its bridge and no tap; the next one knows the bridge for its own."""
    vpfd.rpc("fabric.add", name="lan", type="bridge", bridge=bridge)
    left, right = add_functions(vpfd, "two", 2)
    ports = left.port(), right.port()
    frame = frames.eth(right.mac, left.mac, b"before")
    ports[0].send_frame(frame)
    assert ports[1].receive() == frame
    assert left.stats()["tx"]["packets"] == 1
    vpfd.kill()
    assert exists(bridge) and os.listdir(f"/sys/class/net/{bridge}/brif") == []
    vpfd.start()
    for port in ports:
        port.reconnect()
    frame = frames.eth(right.mac, left.mac, b"after")
    ports[0].send_frame(frame)
    assert ports[1].receive() == frame
    assert left.stats()["tx"]["packets"] == 2
    for port in ports:
        port.close()
    vpfd.stop()
    assert not exists(bridge)


@pytest.mark.kernels("6.12", "6.1")
def test_fabric_on_a_real_kernel(vm_factory: Callable[..., VM], kernel: str) -> None:
    """The unit tests of the fabric and of the programs at its taps, none of them skipped."""
    programs = ["test_bridge", "test_bridge_claims", "test_bridge_trouble", "test_bridge_vlan", "test_port_prog"]
    files = {k: v for p in programs for k, v in paths.libraries_of(paths.BUILD / "tests/unit" / p).items()}
    vm = vm_factory(kernel=kernel, memory="1G", files=files)
    vm.run("modprobe -a tun veth bridge 8021q")
    for program in programs:
        result = vm.run(f"/build/tests/unit/{program}", timeout=120, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        assert re.findall(r"SKIPPED \] (\w+)", result.stdout) == [], result.stdout
    assert vm.dmesg_warnings() == []
