# SPDX-License-Identifier: Apache-2.0
"""Real guests: VFs enabled and changed, pods of two VMs, pod and external machine, and the tables of the paper."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from .harness import Case, Entry, Family, Missing, Plan
from .results import Metric
from .site import IPERF_PORT, NET, NET_PORT, VFS, Bench, build, on_host, pf_netdev, start

UDP_SIZE = 1472  # fills a frame
RR_SIZE = 32
CONTROL = "/vpf/bench/guest/control.py"
FULL_RATE = "received at full rate"
WITHOUT = ("veth-tap", "veth-vpf")
NO_VETH = "tap-bridge"  # a NIC in the pod that is not vpf's


def _seconds(plan: Plan) -> float:
    return 0.5 if plan.quick else 2


# -- control plane


def _enable(kind: str) -> Callable[[Bench, Plan], Mapping[str, float]]:
    def measure(bench: Bench, _plan: Plan) -> Mapping[str, float]:
        return {"VFs enabled": float(bench.a.vm.run(f"{CONTROL} enable {bench.addresses[kind]} {VFS}", 120).stdout)}

    return measure


def _settings(kind: str) -> Callable[[Bench, Plan], Mapping[str, float]]:
    def measure(bench: Bench, plan: Plan) -> Mapping[str, float]:
        if kind == "vpf" and bench.vf_tools:
            raise Missing(bench.vf_tools)
        vm, address = bench.a.vm, bench.addresses[kind]
        vm.sriov_numvfs(0, address)
        vm.sriov_numvfs(2, address)
        ifname = pf_netdev(bench.a, address)
        vm.run(f"ip link set {ifname} up")
        done = vm.run(f"{CONTROL} settings {ifname} 1 {plan.count(300)} 100 101 102 103", 120)
        vm.run(f"ip link set {ifname} vf 1 vlan 0")
        return {"changes": float(done.stdout)}

    return measure


# -- traffic


def _iperf(name: str, to_external: bool) -> Callable[[Bench, Plan], Mapping[str, float]]:
    def measure(bench: Bench, plan: Plan) -> Mapping[str, float]:
        path = bench.path(name)
        target = path.external if to_external else path.target
        done = bench.in_pod(name, f"iperf3 -c {target} -p {IPERF_PORT} -t {max(1, round(_seconds(plan)))} -J")
        return {"received": json.loads(done)["end"]["sum_received"]["bits_per_second"] / 1e9}

    return measure


def _rr(name: str, to_external: bool) -> Callable[[Bench, Plan], Mapping[str, float]]:
    def measure(bench: Bench, plan: Plan) -> Mapping[str, float]:
        path = bench.path(name)
        return _rr_to(bench, name, path.external if to_external else path.target, plan)

    return measure


def _rr_to(bench: Bench, name: str, target: str | None, plan: Plan) -> Mapping[str, float]:
    found = json.loads(bench.in_pod(name, f"{NET} rr {target} {NET_PORT} {RR_SIZE} {_seconds(plan)}"))
    return {"round trips": found["rate"], "round trip p50": found["p50_ns"] / 1e3, "round trip p99": found["p99_ns"] / 1e3}


def _stream_out(name: str) -> Callable[[Bench, Plan], Mapping[str, float]]:
    def measure(bench: Bench, plan: Plan) -> Mapping[str, float]:
        target = bench.path(name).external
        found = json.loads(bench.in_pod(name, f"{NET} stream {target} {NET_PORT} {UDP_SIZE} {0.1 if plan.quick else 0.4}"))
        return {"sent": found["sent"] / 1e6, **_received(found)}

    return measure


def _received(found: Mapping[str, float]) -> dict[str, float]:
    return {"received": found["received"] / 1e6, FULL_RATE: found["received_at_full_rate"] / 1e6}


def _stream_in(name: str) -> Callable[[Bench, Plan], Mapping[str, float]]:
    def measure(bench: Bench, plan: Plan) -> Mapping[str, float]:
        address = bench.path(name).address
        argv = [str(build("bench-net")), "stream", str(address), str(NET_PORT), str(UDP_SIZE), str(0.1 if plan.quick else 0.4)]
        return _received(json.loads(on_host(bench, argv, 60)))

    return measure


def _rr_loopback(bench: Bench, plan: Plan) -> Mapping[str, float]:
    """The pod with itself: what its kernel takes for it without any NIC."""
    return _rr_to(bench, "vpf", "127.0.0.1", plan)


def families() -> list[Family]:
    def entries(measure: Callable[[str], Callable[[Bench, Plan], Mapping[str, float]]], *names: str) -> list[Entry]:
        return [Entry(name, measure(name), "guests") for name in ("vpf", *names)]

    gbps, latency = [Metric("received", "Gb/s", "higher")], [
        Metric("round trips", "1/s", "higher"), Metric("round trip p50", "µs", "lower"), Metric("round trip p99", "µs", "lower"),
    ]  # fmt: skip
    mbps = [Metric(name, "Mb/s", "higher") for name in ("sent", "received", FULL_RATE)]
    return [
        Family(
            "guests",
            {"guests": start},
            [
                # These two come first: they take VFs away, which later are in pods.
                Case(f"control-enable-{VFS}vf", [Metric("VFs enabled", "1/s", "higher")], entries(_enable, "igb")),
                Case("control-settings", [Metric("changes", "1/s", "higher")], entries(_settings, "igb")),
                Case("guest-tcp-pods", gbps, entries(lambda name: _iperf(name, False), "tap-bridge", "igb")),
                Case("guest-rr-32B-pods", latency, entries(lambda name: _rr(name, False), "tap-bridge", "igb")),
                Case("guest-tcp-external", gbps, entries(lambda name: _iperf(name, True), "tap-bridge", "igb", "user", "passt")),
                Case("guest-rr-32B-external", latency, entries(lambda name: _rr(name, True), "tap-bridge", "igb", "user", "passt")),
                Case("paper-table2-udp-1472B-out", mbps, entries(_stream_out, *WITHOUT, NO_VETH)),
                Case("paper-table2-udp-1472B-in", mbps[1:], entries(_stream_in, *WITHOUT, NO_VETH)),
                Case(
                    "paper-table3-udp-rr-32B", latency[1:],
                    [*entries(lambda name: _rr(name, True), *WITHOUT, NO_VETH), Entry("loopback", _rr_loopback, "guests")],
                ),
            ],
        )
    ]
