# SPDX-License-Identifier: Apache-2.0
"""Frames through the switch: sizes, numbers of VFs and of flows, VLANs, broadcast, a second worker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from .clients import IMIX, load, load_mpps, testpmd_mpps
from .harness import Case, Entry, Family, Plan, need_cpus
from .peers import SWITCH_CORE, Switch, ovs_dpdk, polling, testpmd_io, vpf
from .results import Metric

RECEIVED = [Metric("received", "Mpps", "higher")]
VLAN = 100


def _testpmd(**how: object):
    return lambda switch, plan: testpmd_mpps(switch, plan, **how)


def _between_two(name: str, quick: bool = True, **how: object) -> Case:
    measure = _testpmd(**how)
    return Case(name, RECEIVED, [Entry("vpf", measure), Entry("testpmd-io", measure), Entry("ovs-dpdk", measure, quick=False)], quick)


def _flows(number: int):
    return lambda switch, plan: load_mpps(load("circulate", switch, plan, ["--flows", str(number)]))


def _flows_case(number: int) -> Case:
    return Case(
        f"switch-64B-2vf-{number}flows", RECEIVED,
        [Entry("vpf", _flows(number)), Entry("vpf-1flow", _flows(1), "vpf"), Entry("ovs-dpdk", _flows(number)), Entry("testpmd-io", _flows(number))],
        quick=False,
    )  # fmt: skip


def two() -> Family:
    return Family(
        "switch, 2 VFs",
        {"vpf": vpf(2), "testpmd-io": testpmd_io(2), "ovs-dpdk": ovs_dpdk(2)},
        [
            _between_two("switch-64B-2vf"),
            _between_two("switch-64B-2vf-packed", packed_vq=1),
            _between_two("switch-1518B-2vf", sizes=((1518, 1),), quick=False),
            _between_two("switch-IMIX-2vf", sizes=IMIX),
            Case(
                "switch-64B-2vf-benchload", RECEIVED,
                [Entry(name, _flows(1)) for name in ("vpf", "testpmd-io", "ovs-dpdk")],
            ),
            _flows_case(1000),
            _flows_case(10000),
        ],
        polling,
    )


def _many(ports: int, *how: str):
    """Random pairs: each port sends to 8 others in turn. Two VFs get as many frames as any others, so that they can be compared."""
    window = str(max(512, 8 * ports))

    def measure(switch: Switch, plan: Plan) -> Mapping[str, float]:
        words = ["--ring", "256", "--window", window, *(how or ("--fanout", "8"))]
        return load_mpps(load("circulate", switch, plan, words, ports=range(ports)))

    return measure


def _same_client_two(switch: Switch, plan: Plan) -> Mapping[str, float]:
    return load_mpps(load("circulate", switch, plan, ["--ring", "256", "--window", "400"], ports=range(2)))


def sixteen() -> Family:
    return Family(
        "switch, 16 VFs",
        {"vpf": vpf(16), "testpmd-io": testpmd_io(16), "ovs-dpdk": ovs_dpdk(16)},
        [
            Case(
                "switch-64B-16vf", RECEIVED,
                [Entry("vpf", _many(16)), Entry("vpf-2vf", _same_client_two, "vpf"), Entry("ovs-dpdk", _many(16)),
                 Entry("testpmd-io", _many(16, "--fixed-pairs"))],
                quick=False,
            )
        ],
        polling,
    )  # fmt: skip


def two_hundred() -> Family:
    return Family(
        "switch, 255 VFs",
        {"vpf": vpf(255), "ovs-dpdk": ovs_dpdk(255)},
        [
            Case(
                "switch-64B-255vf", RECEIVED,
                [Entry("vpf", _many(255)), Entry("vpf-2vf", _same_client_two, "vpf"), Entry("ovs-dpdk", _many(255), quick=False)],
            )
        ],
        polling,
    )  # fmt: skip


def vlan() -> Family:
    """Port 2 is in the VLAN, untagged; port 3's driver tags. So each frame gets a tag one way and loses it the other way."""

    def plain(switch: Switch, plan: Plan) -> Mapping[str, float]:
        return load_mpps(load("circulate", switch, plan, ports=(0, 1)))

    def tagged(switch: Switch, plan: Plan) -> Mapping[str, float]:
        return load_mpps(load("circulate", switch, plan, ports=(2, 3), vlans={3: VLAN}))

    settings = {2: [f"tag={VLAN}"], 3: [f"trunks={VLAN}", "vlan_mode=trunk"]}
    return Family(
        "VLAN tags",
        {"vpf": vpf(4, settings=[f"2 --vlan {VLAN}", f"3 --trunk {VLAN}"]), "ovs-dpdk": ovs_dpdk(4, lambda port: settings.get(port, []))},
        [Case("vlan-insert-strip-64B", RECEIVED, [Entry("vpf", tagged), Entry("vpf-untagged", plain, "vpf"), Entry("ovs-dpdk", tagged, quick=False)])],
        polling,
    )  # fmt: skip


def broadcast() -> Family:
    def measure(switch: Switch, plan: Plan) -> Mapping[str, float]:
        return load_mpps(load("broadcast", switch, plan, ["--ring", "256", "--window", "4096"]))

    return Family(
        "broadcast",
        {"vpf": vpf(65), "ovs-dpdk": ovs_dpdk(65)},
        [Case("broadcast-64B-64vf", [Metric("received", "Mcopies/s", "higher")], [Entry("vpf", measure), Entry("ovs-dpdk", measure, quick=False)])],
        polling,
    )


@contextmanager
def third_cpu() -> Iterator[None]:
    need_cpus(SWITCH_CORE + 2)
    with polling():
        yield


def workers() -> Family:
    def measure(switch: Switch, plan: Plan) -> Mapping[str, float]:
        return load_mpps(load("circulate", switch, plan, ["--window", "1024", "--fixed-pairs"]))

    return Family(
        "two workers",
        {"vpf": vpf(4, workers=2), "vpf-1worker": vpf(4)},
        [Case("switch-64B-4vf-2workers", RECEIVED, [Entry("vpf", measure), Entry("vpf-1worker", measure)])],
        third_cpu,
    )


def families() -> list[Family]:
    return [two(), sixteen(), two_hundred(), vlan(), broadcast(), workers()]
