# SPDX-License-Identifier: Apache-2.0
"""As many VFs as QEMU gives a PF, in one guest; and what they cost when nothing happens."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from bed import paths
from bed.agent import wait_until
from bed.machine import need_files
from bed.vpfd import built_with_sanitizers
from topology import Guest, Pod, Site

VFS = 255
REST_SECONDS = 30
# The time limit of sriov_numvfs. A quiet machine needs a fraction; QEMU rebuilds its memory map for each of the VFs.
SWITCH_SECONDS = 600


@pytest.mark.xdist_group("large")
def test_255_vfs(bed: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    need_files("QEMU with 256 functions", 4096)
    measured: dict[str, float | int | bool] = {"sanitizers": built_with_sanitizers()}
    with Site(tmp_path) as site:
        empty = site.vpfd.rss()
        guest = Guest(site, "guest", cpus=4, memory="2G")
        request.node.vpf_attachments = site.texts()
        guest.add_pf("big", VFS)
        guest.start()
        measured["boot_s"] = guest.vm.boot_seconds
        # One namespace with 255 interfaces: without its own chatter.
        guest.vm.run("echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6")

        started = time.monotonic()
        guest.split("big", VFS, timeout=SWITCH_SECONDS)
        measured["enable_s"] = time.monotonic() - started
        assert int(guest.vm.run("ls -d /sys/bus/pci/devices/*/virtio*/net/* | wc -l").stdout) == VFS + 1
        guest.vm.run("for d in /sys/class/net/eth*; do echo link set ${d##*/} up; done | ip -batch -", 240)
        guest.vm.run("until [ $(grep -l 1 /sys/class/net/eth*/carrier | wc -l) = %d ]; do sleep 0.2; done" % (VFS + 1), 240)
        functions = site.vpfd.rpc("pf.show", name="big")["functions"]
        assert [f["vf"] for f in functions if not (f["connected"] and f["queues_enabled"] == 2 and f["link_up"])] == []

        measured["rss_empty_bytes"] = empty
        at_rest(site, measured)

        pods = [guest.pod("big", vf) for vf in (0, 1, 127, 253, 254)]
        for a, b in zip(pods, pods[1:] + pods[:1], strict=True):
            assert a.pings(b.number, wait=10)
            a.tcp(b, blocks=1)
        pods[-1].tcp(site.external, blocks=1)
        broadcast(site, pods[0])

        started = time.monotonic()
        guest.split("big", 0, timeout=SWITCH_SECONDS)
        measured["disable_s"] = time.monotonic() - started
        functions = site.vpfd.rpc("pf.show", name="big")["functions"]
        assert [f["vf"] for f in functions if f["queues_started"]] == [None]
        assert guest.complaints() == ""
        guest.close()
    for name, value in measured.items():
        print(f"{name}: {value:.3f}" if isinstance(value, float) else f"{name}: {value}")
    target = paths.BUILD / "measure" / "255.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(measured, indent=2) + "\n")


def at_rest(site: Site, measured: dict[str, float | int | bool]) -> None:
    """CPU time of vpfd while 255 VFs do nothing: near to none, whatever their number."""
    cpu = site.vpfd.cpu_time()
    time.sleep(REST_SECONDS)  # this is the measurement, not a wait
    measured["rest_s"] = REST_SECONDS
    measured["rest_cpu_s"] = site.vpfd.cpu_time() - cpu
    measured["rss_bytes"] = site.vpfd.rss()
    measured["fds"] = site.vpfd.fds()
    assert measured["rest_cpu_s"] < 0.02 * REST_SECONDS


def broadcast(site: Site, sender: Pod) -> None:
    """One frame reaches each of the other functions once, and the uplink."""

    def received() -> dict[int | None, int]:
        return {row["vf"]: row["rx"]["broadcast"] for row in site.vpfd.rpc("stats", pf="big")}

    wire = site.external.popen("listen eth0 88b6", "^listening")
    before = received()
    sender.nettool(f"raw eth0 ff:ff:ff:ff:ff:ff {sender.mac} 88b6 to-everybody 1")
    others = {vf for vf in before if vf != sender.vf}
    assert len(others) == VFS
    wait_until(lambda: all(received()[vf] == before[vf] + 1 for vf in others), 20, "the broadcast at every function")
    assert received()[sender.vf] == before[sender.vf]
    wait_until(lambda: wire.output().count("to-everybody") == 1, 10, "the broadcast at the uplink")
