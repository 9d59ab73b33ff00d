# SPDX-License-Identifier: Apache-2.0
"""The time of one frame: there and back while the switch is busy, and when it has slept."""

from __future__ import annotations

from collections.abc import Mapping

from .clients import load
from .harness import Case, Entry, Family, Plan
from .peers import Switch, ovs_dpdk, polling, testpmd_io, vpf
from .results import Metric

IDLE_US = 2000  # forty times as long as vpfd polls a quiet ring


def _busy(switch: Switch, plan: Plan) -> Mapping[str, float]:
    found = load("round-trip", switch, plan, ["--count", str(plan.count(100000))])
    return {"round trip p50": found["round_p50_ns"] / 1e3, "round trip p99": found["round_p99_ns"] / 1e3}


def _idle(switch: Switch, plan: Plan) -> Mapping[str, float]:
    found = load("round-trip", switch, plan, ["--count", str(plan.count(600)), "--idle-us", str(IDLE_US)])
    return {
        "round trip p50": found["round_p50_ns"] / 1e3, "round trip p99": found["round_p99_ns"] / 1e3,
        "wake-up p50": found["there_p50_ns"] / 1e3, "wake-up p99": found["there_p99_ns"] / 1e3,
    }  # fmt: skip


def _us(*names: str) -> list[Metric]:
    return [Metric(name, "µs", "lower") for name in names]


def families() -> list[Family]:
    def case(name: str, measure, *names: str) -> Case:
        return Case(name, _us(*names), [Entry("vpf", measure), Entry("testpmd-io", measure), Entry("ovs-dpdk", measure, quick=False)])

    return [
        Family(
            "latency",
            {"vpf": vpf(2), "testpmd-io": testpmd_io(2), "ovs-dpdk": ovs_dpdk(2)},
            [
                case("latency-64B-busy", _busy, "round trip p50", "round trip p99"),
                case("latency-64B-idle", _idle, "round trip p50", "round trip p99", "wake-up p50", "wake-up p99"),
            ],
            polling,
        )
    ]
