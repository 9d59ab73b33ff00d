# SPDX-License-Identifier: Apache-2.0
"""What drives the switches, on CPU CLIENT_CORE: DPDK's testpmd with virtio-user ports, and bench-load (bench/load/), which has as
many ports as one likes, many flows, round trips and large frames."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from bed import dpdk, machine, paths
from bed.process import die_with_parent

from .harness import Missing, Plan
from .peers import CLIENT_CORE, Switch, mac

IMIX = ((64, 7), (594, 4), (1518, 1))  # bytes of a frame, share
RING = 1024
CLIENT_BUSY = 0.1  # of its looks at the ports: a client that finds frames more often than this may be slower than the switch
ENOUGH = 10000  # frames for a figure; seconds to wait for them
PATIENCE = 10
WINDOW_BURSTS = 8  # of 32 frames from each port: 512 frames on their way


def testpmd_mpps(switch: Switch, plan: Plan, sizes: Sequence[tuple[int, int]] = ((64, 1),), **options: object) -> dict[str, float]:
    """Two virtio-user ports; each frame that arrives is sent on (mode "mac"), so what is counted was received."""
    vdevs = [dpdk.virtio_user(port, switch.sockets[port], mac=mac(port), queue_size=RING, **options) for port in (0, 1)]
    args = [f"--eth-peer=0,{mac(1)}", f"--eth-peer=1,{mac(0)}", "--no-flush-rx"]
    shares = sum(share for _, share in sizes)
    with dpdk.Testpmd(vdevs, "mac", CLIENT_CORE, args=args, hugepages=True, start=False) as client:
        for number, (size, share) in enumerate(sizes):
            if number:
                client.command("stop")
            client.command(f"set txpkts {size}")
            client.command(f"start tx_first {max(1, round(WINDOW_BURSTS * share / shares)) if len(sizes) == 1 else share}")
        time.sleep(plan.warmup)
        (before, bytes_before), started = _received(client), time.monotonic()
        while True:
            time.sleep(plan.seconds)
            (after, bytes_after), ended = _received(client), time.monotonic()
            # On a machine with other work to do, a short while may belong to that alone.
            if after - before >= ENOUGH or ended - started > PATIENCE:
                break
    if after - before >= ENOUGH:
        _check_sizes((bytes_after - bytes_before) / (after - before), sizes)
    return {"received": (after - before) / (ended - started) / 1e6}


def _check_sizes(mean: float, sizes: Sequence[tuple[int, int]]) -> None:
    """The frames that go round must be those that were asked for."""
    wanted = sum(size * share for size, share in sizes) / sum(share for _, share in sizes)
    if abs(mean / wanted - 1) > 0.2:
        raise RuntimeError(f"frames have {mean:.1f} bytes on average, and not about {wanted:.1f}")


def _received(client: dpdk.Testpmd) -> tuple[int, int]:
    """Frames, bytes."""
    stats = client.stats().values()
    return sum(port.rx_packets for port in stats), sum(port.rx_bytes for port in stats)


def load_argv(mode: str, switch: Switch | None, args: Sequence[str], ports: Sequence[int] = (), vlans: dict[int, int] | None = None) -> list[str]:
    program = paths.BUILD / "bench" / "bench-load"
    if not program.exists():
        raise Missing(f"{program} was not built")
    vlan = {port: f",{vid}" for port, vid in (vlans or {}).items()}
    words = [f"{switch.sockets[port]},{mac(port)}{vlan.get(port, '')}" for port in ports] if switch else []
    return ["taskset", "-c", str(machine.cpu(CLIENT_CORE)), str(program), mode, *args, *words]


def load(
    mode: str,
    switch: Switch | None,
    plan: Plan,
    args: Sequence[str] = (),
    ports: Sequence[int] | None = None,
    vlans: dict[int, int] | None = None,
    core: int = CLIENT_CORE,
) -> dict[str, Any]:
    """Runs bench-load in MODE with these PORTS of the switch (all, if nothing is said); what it found out."""
    ports = range(len(switch.sockets)) if ports is None and switch else ports or ()
    argv = load_argv(mode, switch, [*args, "--warmup", str(plan.warmup), "--seconds", str(plan.seconds)], ports, vlans)
    argv[2] = str(machine.cpu(core))
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, preexec_fn=die_with_parent, check=False)
    if done.returncode:
        if "lacks features" in done.stderr:
            raise Missing(done.stderr.strip().partition(": ")[2].partition(": ")[2])
        raise RuntimeError(f"{' '.join(argv[3:6])} …: {done.stderr.strip()}")
    found = json.loads(done.stdout)
    if found.get("idle", 1.0) < CLIENT_BUSY:
        print(f"    the client is busy, perhaps the limit: only {found['idle'] * 100:.0f} % of its looks at a port found nothing", flush=True)
    return found


def load_mpps(found: dict[str, Any]) -> dict[str, float]:
    return {"received": found["frames"] / found["seconds"] / 1e6}


def load_gbps(found: dict[str, Any]) -> dict[str, float]:
    return {"payload": found["bytes"] * 8 / found["seconds"] / 1e9}
