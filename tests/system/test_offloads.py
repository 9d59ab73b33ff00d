# SPDX-License-Identifier: Apache-2.0
"""Offloads and ring formats between real guests: large segments stay large where the receiver takes them, and where it does
not, software makes of them what it does; any ring that QEMU and the guest can agree on carries the same data.

One guest has a virtual PF for each variant of the devices, so that it is booted once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from topology import Guest, Pod, Site

MTU_FRAME = 1514
NO_TSO = "guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off,guest_uso4=off,guest_uso6=off"
NO_HOST = "host_tso4=off,host_tso6=off,host_ecn=off,host_ufo=off,host_uso=off"
# virtio 1.3 §5.1.3, §6
BITS = {
    "csum": 0, "guest_csum": 1, "guest_tso4": 7, "guest_tso6": 8, "host_tso4": 11, "host_tso6": 12, "mrg_rxbuf": 15,
    "indirect_desc": 28, "event_idx": 29, "packed": 34, "in_order": 35, "guest_uso4": 54, "host_uso": 56,
}  # fmt: skip


@dataclass(frozen=True)
class Variant:
    name: str
    device: str = ""  # properties of its devices
    qemu: str = ""  # of vpfctl qemu-args

    def features(self) -> dict[str, bool]:
        """Those that this variant says something about."""
        pairs = (item.split("=") for item in self.device.split(",") if item)
        said = {key: value == "on" for key, value in pairs if key in BITS}
        return said | ({"packed": True} if "--packed" in self.qemu else {})


RINGS = [
    Variant("packed", qemu="--packed"),
    Variant("no-event-idx", "event_idx=off"),
    Variant("packed-no-event-idx", "event_idx=off", "--packed"),
    Variant("no-indirect", "indirect_desc=off"),
    Variant("packed-no-indirect", "indirect_desc=off", "--packed"),
    Variant("in-order", "in_order=on"),
    Variant("packed-in-order", "in_order=on", "--packed"),
    Variant("large-rings", qemu="--rx-queue-size 1024 --tx-queue-size 1024"),
    Variant("no-mergeable", "mrg_rxbuf=off"),
    Variant("packed-no-mergeable", "mrg_rxbuf=off", "--packed"),
]
RECEIVERS = [
    Variant("no-tso", NO_TSO),
    Variant("no-csum", f"guest_csum=off,{NO_TSO}"),
    Variant("small-buffers", f"mrg_rxbuf=off,{NO_TSO}"),
    Variant("packed-bare", f"mrg_rxbuf=off,guest_csum=off,{NO_TSO}", "--packed"),
]
SENDERS = [
    Variant("no-host-tso", NO_HOST),
    Variant("no-host-csum", f"csum=off,gso=off,{NO_HOST}"),
]


@pytest.fixture(scope="module")
def site(bed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture(scope="module")
def guest(site: Site) -> Iterator[Guest]:
    guest = Guest(site, "guest", cpus=2)
    guest.add_pf("plain", 2)
    for variant in RINGS + RECEIVERS + SENDERS:
        guest.add_pf(variant.name, 1, device=variant.device, qemu=variant.qemu)
    guest.start()
    yield guest
    complaints = guest.complaints()
    guest.close()
    assert complaints == ""


@pytest.fixture(scope="module")
def plain(guest: Guest) -> list[Pod]:
    """Two pods with devices as they are by default."""
    guest.split("plain", 2)
    return [guest.pod("plain", vf) for vf in range(2)]


@pytest.fixture(autouse=True)
def _explained(site: Site, request: pytest.FixtureRequest) -> None:
    request.node.vpf_attachments = site.texts()


class Watch:
    """What happened to a pod's traffic since: its driver's counters, and vpfd's software work for it."""

    def __init__(self, pod: Pod):
        self.pod = pod
        self.before = self._read()

    def _read(self) -> dict[str, int]:
        stats = self.pod.stats()
        return self.pod.counters() | {key: stats[key] for key in ("sw_segmented", "sw_checksum", "ring_errors")}

    def __getitem__(self, key: str) -> int:
        return self._read()[key] - self.before[key]

    def mean_received(self) -> float:
        """Bytes of a frame as the driver gets it, before the stack joins any."""
        now = self._read()
        return (now["rx_bytes"] - self.before["rx_bytes"]) / (now["rx_packets"] - self.before["rx_packets"])


def negotiated(pod: Pod) -> dict[str, bool]:
    text = pod.vm.run(f"cat /sys/bus/pci/devices/{pod.device}/virtio*/features").stdout.strip()
    return {name: text[bit] == "1" for name, bit in BITS.items()}


def variant_pod(guest: Guest, variant: Variant) -> Pod:
    """The pod of this variant, which the guest and QEMU have agreed on."""
    for pod in guest.pods:
        if pod.pf == variant.name:
            return pod
    guest.split(variant.name, 1)
    pod = guest.pod(variant.name, 0)
    agreed = negotiated(pod)
    assert {name: agreed[name] for name in variant.features()} == variant.features()
    return pod


def exchange(a: Pod, b: Pod) -> None:
    """All kinds of traffic from one to the other, verified."""
    a.tcp(b, 4, blocks=6)
    a.tcp(b, 6, blocks=4)
    a.udp(b, 4, count=6, size=1472)
    a.udp(b, 4, count=3, size=48000, segment=1200)
    a.udp(b, 6, count=3, size=40000, segment=1000)
    # Longer than the MTU: the guest's stack makes fragments of it.
    a.udp(b, 4, count=3, size=30000)


@pytest.mark.parametrize("version", [4, 6])
def test_tcp_segments_are_carried_whole(plain: list[Pod], version: int) -> None:
    a, b = plain
    watch = Watch(b)
    a.tcp(b, version, blocks=16)
    print(f"TSO{version}: {watch.mean_received():.0f} bytes a frame at the receiver")
    assert watch.mean_received() > 5 * MTU_FRAME
    assert watch["sw_segmented"] == watch["sw_checksum"] == 0


@pytest.mark.parametrize("version", [4, 6])
def test_udp_segments_are_carried_whole(plain: list[Pod], version: int) -> None:
    """USO, which guests have since 6.2 and vpfd offers, as far as QEMU lets it through: up to 11.1 its vhost-user netdev does
    not, and the guest then cuts its segments itself."""
    a, b = plain
    uso = negotiated(a)["host_uso"] and negotiated(b)["guest_uso4"]
    assert int(a.show()["features"], 16) >> BITS["host_uso"] & 1 == uso
    watch = Watch(b)
    a.udp(b, version, count=10, size=48000, segment=1200)
    print(f"USO{version} {'' if uso else 'not '}negotiated: {watch.mean_received():.0f} bytes a frame at the receiver")
    assert watch.mean_received() > 5 * MTU_FRAME if uso else watch.mean_received() <= MTU_FRAME
    assert watch["sw_segmented"] == watch["sw_checksum"] == 0


def test_tcp_segments_are_carried_whole_through_the_uplink(site: Site, plain: list[Pod]) -> None:
    a = plain[0]

    def external() -> tuple[int, int]:
        names = ("rx_packets", "rx_bytes")
        values = site.external.run("cd /sys/class/net/eth0/statistics && cat " + " ".join(names)).stdout.split()
        return int(values[0]), int(values[1])

    before = external()
    a.tcp(site.external, blocks=16)
    packets, size = (now - then for now, then in zip(external(), before, strict=True))
    print(f"{size / packets:.0f} bytes a frame at the external machine")
    assert size / packets > 5 * MTU_FRAME
    # And back: what comes in large reaches the pod so.
    watch = Watch(a)
    site.external.nettool(f"tcp 10.77.{a.number >> 8}.{a.number & 255} 7000 16 1")
    assert watch.mean_received() > 3 * MTU_FRAME
    assert watch["sw_segmented"] == watch["sw_checksum"] == 0


@pytest.mark.parametrize("variant", RINGS, ids=lambda v: v.name)
def test_rings(guest: Guest, plain: list[Pod], variant: Variant) -> None:
    """Both directions, against a device with the default rings; large segments are carried whole here too."""
    pod, other = variant_pod(guest, variant), plain[0]
    watch, back = Watch(pod), Watch(other)
    exchange(pod, other)
    assert back.mean_received() > MTU_FRAME
    watch = Watch(pod)
    exchange(other, pod)
    assert watch.mean_received() > MTU_FRAME
    assert watch["sw_segmented"] == watch["sw_checksum"] == watch["ring_errors"] == 0
    assert pod.csum_errors() == other.csum_errors() == 0


@pytest.mark.parametrize("variant", RECEIVERS, ids=lambda v: v.name)
def test_receiver_without_offloads(site: Site, guest: Guest, plain: list[Pod], variant: Variant) -> None:
    """Large segments are cut and checksums filled in for it; its stack checks them itself."""
    pod, other = variant_pod(guest, variant), plain[0]
    watch = Watch(pod)
    exchange(other, pod)
    assert watch.mean_received() <= MTU_FRAME
    assert watch["sw_segmented"] > 0
    if variant.features().get("guest_csum") is False:
        assert watch["sw_checksum"] > 0
    # From the external machine the same.
    site.external.nettool(f"tcp 10.77.{pod.number >> 8}.{pod.number & 255} 7000 4 1")
    assert watch.mean_received() <= MTU_FRAME
    exchange(pod, other)
    assert pod.csum_errors() == other.csum_errors() == 0
    assert watch["ring_errors"] == 0


@pytest.mark.parametrize("variant", SENDERS, ids=lambda v: v.name)
def test_sender_without_offloads(guest: Guest, plain: list[Pod], variant: Variant) -> None:
    pod, other = variant_pod(guest, variant), plain[0]
    watch = Watch(other)
    pod.tcp(other, 4, blocks=4)
    # Acknowledgements are small; what counts is that none is larger.
    assert watch.mean_received() <= MTU_FRAME
    exchange(pod, other)
    exchange(other, pod)
    assert pod.csum_errors() == other.csum_errors() == 0


def test_offloads_switched_at_run_time(plain: list[Pod]) -> None:
    """ethtool -K on a running device: whatever the driver still offers or takes, the data is right."""
    a, b = plain
    for settings in ("tso off gso off", "tx off", "rx-gro-hw off gro off", "tx on tso on gso on"):
        a.run(f"ethtool -K eth0 {settings}")
        exchange(a, b)
        exchange(b, a)
    a.run("ethtool -K eth0 rx-gro-hw on gro on")
    assert a.csum_errors() == b.csum_errors() == 0
