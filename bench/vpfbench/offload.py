# SPDX-License-Identifier: Apache-2.0
"""64 KiB frames with segmentation offload, VF to VF, beside the same bytes copied by memcpy() on the same core: the limit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from .clients import load, load_gbps
from .harness import Case, Context, Entry, Family, Missing, Plan, Subject
from .peers import SWITCH_CORE, Switch, VpfSwitch, ovs_dpdk, polling, testpmd_io, vpf
from .results import Metric

WINDOW = 16  # frames of 64 KiB
RING = 512


def _switch(switch: Switch, plan: Plan) -> Mapping[str, float]:
    found = load("stream", switch, plan, ["--window", str(WINDOW), "--ring", str(RING)])
    # One or two may be whole only in part when the measurement begins.
    if found["broken"] > 2 or not found["frames"]:
        raise (RuntimeError if isinstance(switch, VpfSwitch) else Missing)(f"frames do not arrive whole ({found['broken']} in pieces, {found['frames']} whole)")
    return load_gbps(found)


def _memcpy(_subject: Subject, plan: Plan) -> Mapping[str, float]:
    return load_gbps(load("memcpy", None, plan, ["--window", str(WINDOW), "--count", str(RING)], core=SWITCH_CORE))


@contextmanager
def _nothing(_context: Context) -> Iterator[Subject]:
    yield Subject()


def families() -> list[Family]:
    return [
        Family(
            "segmentation offload",
            {"vpf": vpf(2), "memcpy": _nothing, "testpmd-io": testpmd_io(2, tso=1), "ovs-dpdk": ovs_dpdk(2, offloads=True)},
            [
                Case(
                    "offload-64KiB", [Metric("payload", "Gb/s", "higher")],
                    [Entry("vpf", _switch), Entry("memcpy", _memcpy), Entry("testpmd-io", _switch), Entry("ovs-dpdk", _switch, quick=False)],
                )
            ],
            polling,
        )
    ]  # fmt: skip
