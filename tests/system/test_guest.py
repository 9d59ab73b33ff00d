# SPDX-License-Identifier: Apache-2.0
"""The main job with real guests: each kernel with each shape (vCPUs, queue pairs) splits its virtual PF and its pods talk;
what settings of VFs do is then tested on each kernel in its largest shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bed import paths
from bed.agent import wait_until
from bed.netns import Netns
from topology import PORT, External, Guest, Pod, Site, addresses, ipv6

pytestmark = pytest.mark.by_kernel

VFS = 6
# The largest first: tests that use only these must have the same order as those that use all.
SHAPES = ((4, 4), (1, 1))
# The same objects for each test: pytest keeps a guest only for the identical parameter.
GUESTS = [(kernel, *shape) for shape in SHAPES for kernel in paths.KERNELS]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A guest serves all tests of its kernel and shape, so it is a parameter of the module's scope."""
    if "guest" in metafunc.fixturenames:
        wanted = metafunc.config.getoption("--kernel") or paths.KERNELS
        everywhere = metafunc.definition.get_closest_marker("all_shapes") is not None
        params = [g for g in GUESTS if g[0] in wanted and (everywhere or g[1:] == SHAPES[0])]
        ids = [f"{kernel}-{cpus}cpu-{pairs}qp" for kernel, cpus, pairs in params]
        metafunc.parametrize("guest", params, ids=ids, indirect=True, scope="module")


@pytest.fixture(scope="module")
def site(bed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture(scope="module")
def peer(site: Site) -> Iterator[Guest]:
    """The other VM: pods pf-peer-0 to pf-peer-2, and jumbo-peer-0 with an MTU of 9000."""
    guest = Guest(site, "peer", cpus=1)
    guest.add_pf("pf-peer", 3)
    guest.add_pf("jumbo-peer", 1, "--mtu 9000")
    guest.start()
    guest.split("pf-peer", 3)
    guest.split("jumbo-peer", 1)
    for vf in range(3):
        guest.pod("pf-peer", vf)
    guest.pod("jumbo-peer", 0)
    yield guest
    complaints = guest.complaints()
    guest.close()
    assert complaints == ""


@pytest.fixture(scope="module")
def guest(site: Site, peer: Guest, request: pytest.FixtureRequest) -> Iterator[Guest]:
    """The VM under test: the same pods of "pf" (VFs 0 to 2) and "jumbo" (VF 0)."""
    kernel, cpus, pairs = request.param
    guest = Guest(site, f"guest-{kernel}-{cpus}-{pairs}", kernel=kernel, cpus=cpus)
    guest.add_pf("pf", VFS, f"--queue-pairs {pairs} --policy promisc=on")
    guest.add_pf("jumbo", 1, f"--queue-pairs {pairs} --mtu 9000")
    guest.start()
    guest.split("pf", VFS)
    for vf in range(3):
        guest.pod("pf", vf)
    yield guest
    complaints = guest.complaints()
    guest.close()
    assert complaints == ""


@pytest.fixture(autouse=True)
def _explained(site: Site, request: pytest.FixtureRequest) -> None:
    request.node.vpf_attachments = site.texts()


@pytest.fixture
def settings(guest: Guest, peer: Guest) -> Iterator[None]:
    """Puts what a test may set back to the defaults."""
    yield
    for pod in guest.pods + peer.pods:
        pod.ctl("--vlan none --mac none --spoofchk on --trust off --link auto")


def pods(guest: Guest) -> list[Pod]:
    return [pod for pod in guest.pods if pod.pf in ("pf", "pf-peer")]


def partners(guest: Guest, peer: Guest) -> dict[str, Pod | External]:
    return {"same VM": pods(guest)[1], "other VM": peer.pods[0], "external": guest.site.external}


# -- all kernels, all shapes


@pytest.mark.all_shapes
def test_traffic(guest: Guest, peer: Guest) -> None:
    """Pod to pod in one VM, across VMs and to the external machine: ping, TCP and UDP, IPv4 and IPv6, content verified."""
    a = pods(guest)[0]
    for where, partner in partners(guest, peer).items():
        a.reaches(partner)
        for version in (4, 6):
            a.tcp(partner, version, blocks=4, flows=4 if version == 4 else 1)
            a.udp(partner, version)
        assert a.drops("tx", "malformed") == 0, where
    # The other direction of each: they connect to the pod.
    peer.pods[0].tcp(a, blocks=4)
    guest.site.external.nettool(f"tcp {ipv6(a.number)} {PORT} 4 2")


@pytest.mark.all_shapes
def test_queue_pairs(guest: Guest) -> None:
    """The guest uses as many queue pairs as it was given."""
    a = pods(guest)[0]
    wanted = guest.site.vpfd.rpc("pf.show", name="pf")["queue_pairs"]
    assert a.show()["queues_enabled"] == 2 * wanted
    assert len(a.run("ls -d /sys/class/net/eth0/queues/tx-*").stdout.split()) == wanted


@pytest.mark.all_shapes
def test_vfs_come_and_go(guest: Guest, peer: Guest) -> None:
    """sriov_numvfs 0 and again: the VFs vanish and no ring of theirs stays, then they work as before."""
    guest.split("pf", 0)
    functions = guest.site.vpfd.rpc("pf.show", name="pf")["functions"]
    assert [f["queues_started"] for f in functions if f["vf"] is not None] == [0] * VFS
    assert guest.vm.run("ls -d /sys/bus/pci/devices/*/physfn 2>/dev/null", check=False).stdout == ""
    guest.split("pf", VFS)
    for vf in range(3):
        guest.pod("pf", vf)
    a, b, _ = pods(guest)
    assert a.mac == a.show()["mac"]
    a.reaches(b)
    a.tcp(b, blocks=2)
    a.tcp(peer.pods[0], blocks=2)
    assert guest.complaints() == ""


# -- settings, each kernel in its largest shape


def test_access_vlan(guest: Guest, peer: Guest, settings: None) -> None:
    """A VLAN separates a pod from those without, and joins it to those in the same one, wherever they are."""
    a, b, c = pods(guest)
    other = peer.pods[0]
    for pod in (a, b, other):
        pod.ctl("--vlan 100")
    a.misses(c)
    a.misses(guest.site.external)
    a.reaches(b)
    a.reaches(other)
    a.tcp(other, blocks=2)
    other.ctl("--vlan 101")
    a.misses(other)
    for pod in (a, b, other):
        pod.ctl("--vlan none")
    a.reaches(c)


class TaggedExternal:
    """The external machine once more, in a VLAN of the uplink: a namespace with a tap that adds and takes off the tag."""

    number = 2

    def __init__(self, external: External, vid: int, tpid: str):
        self.netns = Netns("tagged")
        self.relay = external.popen(f"vlan eth0 tap{vid} {vid} {tpid}", "^serving")
        external.run(f"ip link set tap{vid} netns {self.netns.name} name eth0")
        self.netns.run("ip link set eth0 up && " + addresses(self.number))

    def __enter__(self) -> TaggedExternal:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.relay.kill()
        self.netns.close()


def sniffed(external: External, expression: str, count: int, action: Callable[[], object]) -> str:
    """What tcpdump sees at the external machine while ACTION runs, COUNT frames."""
    process = external.popen(f"-i eth0 -e -n -l -c {count} {expression}", "listening on eth0", program="tcpdump")
    action()
    process.wait(20)
    return process.output()


@pytest.mark.parametrize("vlan, tpid, seen", [
    ("100:3", "8100", r"ethertype 802.1Q (0x8100), length 102: vlan 100, p 3, ethertype IPv4"),
    ("200:5:802.1ad", "88a8", r"ethertype 802.1Q-QinQ (0x88a8), length 102: vlan 200, p 5, ethertype IPv4"),
], ids=["802.1Q", "802.1ad"])  # fmt: skip
def test_vlan_on_the_uplink(guest: Guest, peer: Guest, settings: None, vlan: str, tpid: str, seen: str) -> None:
    """The access VLAN's tag, type and priority are on the uplink's frames; the pod neither sends nor sees them."""
    a, other = pods(guest)[0], peer.pods[0]
    external = guest.site.external
    vid = int(vlan.split(":")[0])
    a.ctl(f"--vlan {vlan}")
    other.ctl(f"--vlan {vlan}")
    with TaggedExternal(external, vid, tpid) as tagged:
        a.reaches(tagged, ipv6_too=False)
        output = sniffed(external, f"'ether src {a.mac} and vlan {vid} and icmp'", 1, lambda: a.pings(tagged.number))
        assert seen in output
        a.reaches(other)
        # The same VLAN number with the other tag type is another VLAN.
        other.ctl(f"--vlan {vid}{'' if 'ad' in vlan else ':0:802.1ad'}")
        a.misses(other)


def test_trunk(guest: Guest, peer: Guest, settings: None) -> None:
    """A trunk VF's guest tags its own frames: VLANs of the set pass, others do not, and the untagged only with 0."""
    a, b, _ = pods(guest)
    other = peer.pods[0]
    a.ctl("--trunk 0,100-101")
    other.ctl("--vlan 100")
    for vid in (100, 101, 102):
        a.run(f"ip link add link eth0 name v{vid} type vlan id {vid} && ip link set v{vid} up && ip addr add 10.78.{vid}.1/24 dev v{vid}")
    other.run("ip addr add 10.78.100.2/24 dev eth0")
    b.run("ip addr add 10.78.102.2/24 dev eth0 && ip addr add 10.78.101.2/24 dev eth0")
    assert a.pings("10.78.100.2")
    # With content, and with segments that carry the guest's own tag.
    a.nettool(f"tcp 10.78.100.2 {PORT} 4 1")
    b.ctl("--vlan 101")
    assert a.pings("10.78.101.2")
    before = a.drops("tx", "spoof_vlan")
    b.ctl("--vlan 102")
    assert not a.pings("10.78.102.2", wait=1)
    assert a.drops("tx", "spoof_vlan") > before
    b.ctl("--vlan none")
    a.reaches(b)
    a.ctl("--trunk 100-101")
    a.misses(b)
    a.run("for v in 100 101 102; do ip link del v$v; done")
    other.run("ip addr del 10.78.100.2/24 dev eth0")
    b.run("ip addr del 10.78.102.2/24 dev eth0 && ip addr del 10.78.101.2/24 dev eth0")


def set_mac(pod: Pod, mac: str) -> None:
    """As a pod's own tool does; returns when vpfd has heard of it."""
    pod.run(f"ip link set dev eth0 address {mac}")
    wait_until(lambda: pod.show()["driver"].get("mac") == mac, 15, f"rx-filter with {mac}")


def owners(guest: Guest, mac: str) -> list[tuple[str, int | None, str]]:
    return [(row["pf"], row["vf"], row["kind"]) for row in guest.site.vpfd.rpc("fdb.show", fabric="lan") if row["mac"] == mac]


def forge(pod: Pod, src: str, target: Pod, count: int) -> None:
    pod.nettool(f"raw eth0 {target.mac} {src} 88b6 forged {count}")


def test_driver_mac(guest: Guest, peer: Guest, settings: None) -> None:
    """The MAC that the driver programs is the VF's: it gets the traffic, and the spoof check goes by it."""
    a, b, _ = pods(guest)
    new = "02:00:5e:00:00:0a"
    set_mac(a, new)
    assert owners(guest, new) == [("pf", a.vf, "driver")]
    a.reaches(b)
    a.reaches(peer.pods[0])
    a.reaches(guest.site.external)
    before = a.drops("tx", "spoof_mac")
    forge(a, a.mac, b, 3)  # the old one is no longer its own
    wait_until(lambda: a.drops("tx", "spoof_mac") == before + 3, 5, "3 drops")
    set_mac(a, a.mac)
    assert owners(guest, new) == []
    a.reaches(b)


def test_administrative_mac(guest: Guest, peer: Guest, settings: None) -> None:
    """With an administrative MAC the driver's choice does not count, unless the VF is trusted."""
    a, b, _ = pods(guest)
    admin, wish = "02:00:5e:00:00:0b", "02:00:5e:00:00:0c"
    a.ctl(f"--mac {admin}")
    set_mac(a, wish)
    assert owners(guest, wish) == []
    before = a.drops("tx", "spoof_mac")
    a.misses(b)
    assert a.drops("tx", "spoof_mac") > before
    set_mac(a, admin)
    a.reaches(b)
    a.reaches(guest.site.external)
    a.ctl("--trust on")
    set_mac(a, wish)
    assert owners(guest, wish) == [("pf", a.vf, "driver")]
    a.reaches(b)
    set_mac(a, a.mac)


def test_spoofed_frames(guest: Guest, peer: Guest, settings: None) -> None:
    """Dropped and counted, all of them, with the check; forwarded without it."""
    a, b, _ = pods(guest)
    listener = b.popen("listen eth0 88b6")
    listener.expect("^listening")
    before, sent = a.drops("tx", "spoof_mac"), a.stats()["tx"]["dropped"]
    forge(a, "02:ba:db:ad:ba:d0", b, 5)
    wait_until(lambda: a.drops("tx", "spoof_mac") == before + 5, 5, "5 drops")
    assert a.stats()["tx"]["dropped"] == sent + 5
    a.ctl("--spoofchk off")
    forge(a, "02:ba:db:ad:ba:d1", b, 1)
    listener.expect("^frame " + b.mac + " 02:ba:db:ad:ba:d1 none .* forged")
    assert "02:ba:db:ad:ba:d0" not in listener.output
    assert a.drops("tx", "spoof_mac") == before + 5
    listener.kill()


def test_link_state(guest: Guest, peer: Guest, settings: None) -> None:
    """disable takes the pod's carrier, enable keeps it whatever the uplink does, auto follows the uplink."""
    a, b, c = pods(guest)
    external = guest.site.external
    a.ctl("--link disable")
    a.await_carrier(False)
    assert not a.show()["link_up"]
    b.misses(a)
    a.ctl("--link auto")
    a.await_carrier(True)
    a.reaches(b)
    b.ctl("--link enable")
    external.run("ip link set eth0 down")
    try:
        for pod in (a, c):
            pod.await_carrier(False)
        assert b.carrier()
        peer.pods[0].await_carrier(False)
    finally:
        external.run("ip link set eth0 up && ip addr replace " + ipv6(external.number) + "/64 dev eth0 nodad")
    for pod in (a, c, *peer.pods):
        pod.await_carrier(True)
    a.reaches(b)
    a.reaches(external)


def test_jumbo_frames(guest: Guest, peer: Guest, settings: None) -> None:
    """An MTU of 9000 reaches the guest and is usable end to end; what a VF with 1500 cannot take does not reach it."""
    guest.split("jumbo", 1)
    jumbo, far = guest.pod("jumbo", 0), peer.pods[3]
    assert jumbo.run("cat /sys/class/net/eth0/mtu").stdout.strip() == "9000"
    for target in (far, guest.site.external):
        assert jumbo.pings(target.number, options="-M do -s 8972")
        jumbo.udp(target, 4, count=4, size=8972)
        jumbo.udp(target, 6, count=4, size=8952)
        jumbo.tcp(target, blocks=4)
    small = pods(guest)[0]
    before = small.drops("rx", "mtu")
    assert not jumbo.pings(small.number, options="-M do -s 8000", wait=1)
    assert small.drops("rx", "mtu") == before + 2
    assert jumbo.pings(small.number)
    guest.split("jumbo", 0)


def test_promiscuous(guest: Guest, peer: Guest, settings: None) -> None:
    """A frame from the uplink to nobody's MAC reaches a promiscuous VF only if it is trusted and the policy lets it."""
    a, b, _ = pods(guest)
    external = guest.site.external
    nobody = "02:00:00:00:99:99"
    listener = a.popen("listen eth0 88b6")
    listener.expect("^listening")

    def send(text: str) -> None:
        external.nettool(f"raw eth0 {nobody} {external.mac} 88b6 {text} 1")
        # Whoever is not meant to get the first has it before this one, if at all.
        external.nettool(f"raw eth0 {a.mac} {external.mac} 88b6 after-{text} 1")
        listener.expect(f"frame {a.mac} .* after-{text}")

    a.run("ip link set dev eth0 promisc on")
    wait_until(lambda: a.show()["driver"].get("promiscuous"), 15, "rx-filter with promiscuous")
    send("untrusted")
    a.ctl("--trust on")
    send("trusted")
    a.run("ip link set dev eth0 promisc off")
    wait_until(lambda: not a.show()["driver"].get("promiscuous"), 15, "rx-filter without promiscuous")
    send("quiet")
    to_nobody = [line.split()[-1] for line in listener.output.splitlines() if f"frame {nobody}" in line]
    assert to_nobody == ["trusted"]
    listener.kill()
    # The policy of the other PF does not allow it.
    d = peer.pods[0]
    d.ctl("--trust on")
    d.run("ip link set dev eth0 promisc on")
    wait_until(lambda: d.show()["driver"].get("promiscuous"), 15, "rx-filter with promiscuous")
    seen = d.stats()["rx"]["packets"]
    unknown = external_drops(guest)
    external.nettool(f"raw eth0 {nobody} {external.mac} 88b6 policy 3")
    wait_until(lambda: external_drops(guest) == unknown + 3, 5, "3 drops at the uplink")
    assert d.stats()["rx"]["packets"] - seen < 3
    d.run("ip link set dev eth0 promisc off")


def external_drops(guest: Guest) -> int:
    return guest.site.vpfd.rpc("fabric.show", name="lan")["uplink_stats"]["tx"]["drops"].get("unknown_mac", 0)


def test_counters(guest: Guest, peer: Guest, settings: None) -> None:
    """vpfd's counters of a VF are those of the guest's driver, to the packet and the byte."""
    a, b, _ = pods(guest)

    def both() -> tuple[dict[str, int], dict[str, int]]:
        stats = a.stats()
        ours = {f"{d}_{what}": stats[d][what] for d in ("rx", "tx") for what in ("packets", "bytes")}
        return ours, a.counters()

    def at_rest() -> tuple[dict[str, int], dict[str, int]]:
        """Read while nothing is on its way (neighbour discovery, …), for that is in one and not yet in the other."""
        seen = [both()]

        def twice_the_same() -> bool:
            seen.append(both())
            return seen[-1] == seen[-2]

        wait_until(twice_the_same, 20, "a moment without traffic", interval=0.3)
        return seen[-1]

    start = at_rest()
    a.tcp(b, blocks=4)
    a.udp(peer.pods[0], count=20)
    a.reaches(guest.site.external)
    ours, guests = ({key: now[key] - then[key] for key in now} for now, then in zip(at_rest(), start, strict=True))
    assert ours == guests
    assert ours["tx_bytes"] > 4 * 256 * 1024 and ours["rx_packets"] > 20


