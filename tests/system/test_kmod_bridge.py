# SPDX-License-Identifier: Apache-2.0
"""vpf.ko on a fabric that is a Linux bridge: the control channel belongs to the PF, not to vpfd's own switch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import driven
from bed import kmod
from bed.machine import need_tap
from bed.netns import run_on_host
from topology import Guest, Site

VFS = 2
MAC = "02:00:00:00:00:11"


@pytest.fixture
def site(bed: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    need_tap()
    with Site(tmp_path) as site:
        request.node.vpf_attachments = site.texts()
        yield site


@pytest.fixture
def bridge(site: Site) -> Iterator[str]:
    name = f"vpfk{os.getpid() % 1000000}"
    site.ctl(f"fabric add br --type bridge --bridge {name}")
    yield name
    run_on_host(["ip", "link", "delete", name], check=False)


@pytest.mark.kernels("6.12")
def test_settings(site: Site, bridge: str, kernel: str) -> None:
    """What ip link sets of a VF is so at vpfd and reads back; what the bridge cannot enforce is not supported, and changes nothing; what
    the policy forbids is not permitted."""
    site.ctl(f"pf add pf --fabric br --vfs {VFS} --policy macs=any,trust=on,vlans=all,vlan_ad=on")
    guest = Guest(site, "kmod-bridge", kernel=kernel)
    guest.add_pf("pf", VFS, create=False)
    kmod.built(kernel)
    guest.start()
    guest.vm.load_vpf()
    address = guest.addresses["pf"]
    netdev = driven.await_netdev(guest.vm, address)
    driven.await_session(guest.vm, netdev)
    guest.split("pf", VFS)
    assert site.function("pf", None)["datapath"] == "builtin"

    driven.set_vf(guest.vm, netdev, 1, f"mac {MAC}")
    driven.set_vf(guest.vm, netdev, 1, "trust on")
    driven.set_vf(guest.vm, netdev, 1, "state disable")
    shown, at_vpfd = driven.vf(guest.vm, netdev, 1), site.function("pf", 1)
    assert (shown["address"], shown["trust"], shown["link_state"]) == (MAC, True, "disable")
    assert (at_vpfd["admin_mac"], at_vpfd["trust"], at_vpfd["link"]) == (MAC, True, "disable")

    driven.set_vf(guest.vm, netdev, 0, "vlan 100 proto 802.1ad", "not supported")
    driven.set_vf(guest.vm, netdev, 0, "spoofchk off", "not permitted")
    assert driven.vf(guest.vm, netdev, 0)["vlan_list"] == [{}] and site.function("pf", 0)["vlan"] == site.function("pf", 1)["vlan"]

    driven.set_vf(guest.vm, netdev, 1, "trust off")
    driven.set_vf(guest.vm, netdev, 1, "state auto")
    assert (site.function("pf", 1)["trust"], site.function("pf", 1)["link"]) == (False, "auto")
    assert guest.vm.dmesg_warnings() == []
    guest.close()
