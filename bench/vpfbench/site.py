# SPDX-License-Identifier: Apache-2.0
"""Two guests that have everything, so that what is compared runs on the same machines at the same time:

      guest a                                                   guest b
      pods: vpf  tap  igb  user  passt  veth-tap  veth-vpf      pods: vpf  tap  igb
             │    │    │    │     │        └─node─┐  │           │    │    │
             VF  NIC   VF  slirp passt     NIC ───┘  PF          VF  NIC   VF
             │    │    │    │     │         │        │           │    │    │
      ───────┼──┬─┴────┴────┴─────┴─────────┴──────┬─┼───────────┼────┴────┴──    a Linux bridge of the host, with taps
             │  │                                  │ │           │
      ───────┴──┼──────────────────────────────────┼─┴───────────┴──────────      vpfd
              eth1                 external        eth0

A pod is a network namespace of the guest. The veth pods are behind the guest's routing and a Kubernetes node's packet
filter; the others have a NIC for themselves. Guests and vpfd are not pinned: what they need beside their CPU differs.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bed import accel, kmod, machine, paths
from bed.netns import run_on_host
from bed.pci import root_port
from bed.process import Process
from bed.vm import start_all
from topology import External, Guest, Site, wait_output

from .harness import Context, Missing, Subject
from .kube_rules import rules

KERNEL = "7"
VFS = 7  # as many as an igb has
NET_PORT, IPERF_PORT = 9000, 5201
BRIDGE_NET, VPF_NET = "198.18.1", "198.18.2"
EXTERNAL, HOST = 1, 254
POLICY = "vlans=all"
NET = "/build/bench/bench-net"  # in guests
_serial = itertools.count(1)
_SLOTS = itertools.count(0x1A)


@dataclass
class Path_:
    """Where a pod of guest a is reached and what it can reach: `target` in guest b, `external` as it sees the external machine."""

    pod: str
    external: str
    target: str | None = None
    address: str | None = None  # of the pod, for the external machine


@dataclass
class Bench(Subject):
    """What is measured: a guest, its pods by the name of what they are attached to, and the external machine."""

    a: Guest
    b: Guest
    external: External
    netdevs: dict[str, str] = field(default_factory=dict)
    paths: dict[str, Path_] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    vf_tools: str = ""  # why `ip link set … vf` cannot be measured
    addresses: dict[str, str] = field(default_factory=dict)
    made: bool = False
    broken: str = ""

    def path(self, name: str) -> Path_:
        if self.broken:
            raise Missing(self.broken)
        if not self.made:
            self.made, self.broken = True, "the pods could not be made"
            make_pods(self)
            self.broken = ""
        if name not in self.paths:
            raise Missing(self.absent.get(name, f"there is no {name}"))
        return self.paths[name]

    def in_pod(self, name: str, command: str, timeout: float = 60) -> str:
        return self.a.vm.run(command, timeout, netns=self.path(name).pod).stdout


# -- the host's side


def name_of(kind: str) -> str:
    return f"vpf{kind}{os.getpid() % 1000000}x{next(_serial)}"


class Bridge:
    """A Linux bridge with taps for QEMU, and the external machine's second interface. The host has address HOST on it, for
    QEMU's own network stacks."""

    def __init__(self, external: External):
        self.name = name_of("b")
        self.links: list[str] = []
        run_on_host(f"ip link add {self.name} type bridge forward_delay 0 mcast_snooping 0 && ip link set {self.name} up")
        wire = name_of("w")
        run_on_host(f"ip link add {wire} type veth peer name eth1 netns {external.netns.name} && ip link set {wire} up master {self.name}")
        run_on_host(f"ip addr add {BRIDGE_NET}.{HOST}/24 dev {self.name}")
        external.run(f"ip link set eth1 up && ip addr add {BRIDGE_NET}.{EXTERNAL}/24 dev eth1")

    def tap(self) -> str:
        name = name_of("t")
        run_on_host(f"ip tuntap add {name} mode tap && ip link set {name} up master {self.name}")
        self.links.append(name)
        return name

    def close(self) -> None:
        for link in [*self.links, self.name]:
            run_on_host(["ip", "link", "delete", link], check=False)


PASST_ADDRESS, PASST_GATEWAY = "198.18.5.2", "198.18.5.1"


def passt(directory: Path, bridge: Bridge) -> tuple[Process, str]:
    program = shutil.which("passt")
    if not program:
        raise Missing("passt is not installed")
    socket = str(directory / "passt.sock")
    words = ["--ipv4-only", "--interface", bridge.name, "--address", PASST_ADDRESS, "--netmask", "24", "--gateway", PASST_GATEWAY]
    # It would give up its rights to nobody, who cannot write to the log.
    process = Process([program, "--foreground", "--socket", socket, "--runas", "0", *words], directory / "passt.log", name="passt")
    return process, socket


class Nics:
    """QEMU arguments for the NICs of a guest, and what their MACs are."""

    def __init__(self, guest: int, bridge: Bridge):
        self.guest, self.bridge, self.args, self.macs = guest, bridge, [], {}

    def _mac(self, name: str) -> str:
        self.macs[name] = f"02:be:00:00:{self.guest:02x}:{len(self.macs) + 1:02x}"
        return self.macs[name]

    def tap(self, name: str) -> None:
        self.add(name, f"tap,ifname={self.bridge.tap()},script=no,downscript=no,vhost=off")

    def add(self, name: str, netdev: str) -> None:
        self.args += ["-netdev", f"{netdev},id={name}", "-device", f"virtio-net-pci,netdev={name},mac={self._mac(name)}"]

    def igb(self, name: str) -> None:
        slot = next(_SLOTS)
        self.args += root_port(f"{name}-port", slot)
        self.args += ["-netdev", f"tap,id={name},ifname={self.bridge.tap()},script=no,downscript=no,vhost=off"]
        self.args += ["-device", f"igb,bus={name}-port,netdev={name},mac={self._mac(name)}"]


@contextmanager
def start(context: Context) -> Iterator[Bench]:
    build("bench-net")
    machine.need_tap()
    with ExitStack() as stack:
        external = External(context.tmp, mtu=1500)
        stack.callback(external.close)
        bridge = Bridge(external)
        stack.callback(bridge.close)
        site = stack.enter_context(Site(context.tmp, external))
        absent: dict[str, str] = {}
        nics = {"a": Nics(1, bridge), "b": Nics(2, bridge)}
        nics["a"].tap("node")
        nics["a"].add("user", "user,restrict=off")
        try:
            process, socket = passt(context.tmp, bridge)
            stack.callback(process.kill)
            nics["a"].add("passt", f"stream,server=off,addr.type=unix,addr.path={socket}")
        except Missing as why:
            absent["passt"] = str(why)
        for each in nics.values():
            each.tap("tap")
            each.igb("igb")
        guests = {name: Guest(site, name, kernel=KERNEL, memory="768M", hotplug=0, args=each.args, append="no_timer_check tsc=reliable") for name, each in nics.items()}
        for name, guest in guests.items():
            guest.add_pf(f"p{name}", VFS, f"--policy {POLICY}")
        start_all(*(guest.vm for guest in guests.values()))
        bench = Bench(guests["a"], guests["b"], external, absent=absent)
        for name, guest in guests.items():
            guest.addresses[f"p{name}"] = _pf_address(guest, site.vpfd.rpc("vf.show", pf=f"p{name}")["mac"])
        bench.addresses = {"vpf": bench.a.addresses["pa"], "igb": _load_igb(bench.a, nics["a"].macs["igb"])}
        _load_igb(bench.b, nics["b"].macs["igb"])
        bench.netdevs = {f"{guest}-{nic}": mac for guest, each in nics.items() for nic, mac in each.macs.items()}
        bench.vf_tools = _load_vpf(bench.a)
        external.run(f"ip addr add {VPF_NET}.{EXTERNAL}/24 dev eth0")
        wait_output(external.netns.popen([str(build("bench-net")), "serve", str(NET_PORT)], context.tmp / "net.log"), "^serving")
        external.netns.popen(["iperf3", "-s", "-p", str(IPERF_PORT)], context.tmp / "iperf3.log")
        print(f"  guests on {accel.choose()}, kernel {KERNEL}", flush=True)
        yield bench


def build(program: str) -> Path:
    path = paths.BUILD / "bench" / program
    if not path.exists():
        raise Missing(f"{path} was not built")
    return path


def _load_igb(guest: Guest, mac: str) -> str:
    """PCI address of the emulated igb, whose drivers are loaded."""
    guest.vm.run("modprobe igb && modprobe igbvf", 60)
    return guest.vm.run(f"basename $(readlink -f $(dirname $(grep -l {mac} /sys/class/net/*/address))/device)").stdout.strip()


def _pf_address(guest: Guest, mac: str) -> str:
    return guest.vm.run(f"cd /sys/bus/pci/devices && grep -sl {mac} */virtio*/net/*/address | cut -d / -f 1", check=False).stdout.strip()


def _load_vpf(guest: Guest) -> str:
    """The module that gives the PF its VF settings; says why if there is none."""
    if not (kmod.SOURCE / "Kbuild").exists():
        return "there is no vpf.ko"
    guest.vm.load_vpf()
    guest.vm.run(f"for n in $(seq 300); do [ -d /sys/bus/pci/devices/{guest.addresses['pa']}/net ] && exit 0; sleep 0.1; done; dmesg | grep vpf; exit 1", 60)
    return ""


# -- the guests' side


def pf_netdev(guest: Guest, address: str) -> str:
    """The one that people use: vpf.ko's, a real driver's, or virtio_net's."""
    return guest.vm.netdevs(address)[-1] if guest.vm.run(f"ls /sys/bus/pci/devices/{address}/net", check=False).returncode else guest.vm.run(f"ls /sys/bus/pci/devices/{address}/net").stdout.split()[0]


def _by_mac(guest: Guest, mac: str) -> str:
    return guest.vm.run(f"basename $(dirname $(grep -l {mac} /sys/class/net/*/address))").stdout.strip()


def _into_pod(guest: Guest, pod: str, netdev: str, address: str, gateway: str = "") -> None:
    vm = guest.vm
    vm.pod(pod)
    vm.move(netdev, pod)
    route = f"; ip route add default via {gateway}" if gateway else ""
    vm.run(f"set -e; ip link set {netdev} name eth0; ip link set eth0 up; ip addr add {address} dev eth0{route}", netns=pod)


def _vf_netdev(guest: Guest, address: str, vf: int = 0) -> str:
    function = f"/sys/bus/pci/devices/{address}/virtfn{vf}"
    return guest.vm.run(f"ls {function}/net {function}/virtio*/net 2>/dev/null | grep -v : | head -n 1").stdout.strip()


def _veth_pod(guest: Guest, pod: str, ifname: str, address: str) -> None:
    """As Calico does it: a host route to the pod, whose gateway is an address that the node answers for."""
    vm = guest.vm
    vm.pod(pod)
    vm.run(
        f"set -e; ip link add {ifname} type veth peer name eth0 netns {pod}; ip link set {ifname} up; "
        f"echo 1 >/proc/sys/net/ipv4/conf/{ifname}/proxy_arp; ip route add {address}/32 dev {ifname}; "
        f"ip -n {pod} link set eth0 up; ip -n {pod} addr add {address}/32 dev eth0; "
        f"ip -n {pod} route add 169.254.1.1 dev eth0; ip -n {pod} route add default via 169.254.1.1"
    )


def make_pods(bench: Bench) -> None:
    a, b = bench.a, bench.b
    # The emulated igb's own netdev must be up for its VFs to have a link.
    for guest, pf in ((a, "pa"), (b, "pb")):
        igb = bench.addresses["igb"] if guest is a else _load_igb(b, bench.netdevs["b-igb"])
        for address in (guest.addresses[pf], igb):
            guest.vm.run(f"ip link set {pf_netdev(guest, address)} up")
            guest.vm.sriov_numvfs(0, address)
            guest.vm.sriov_numvfs(1, address)
        number = 2 if guest is a else 3
        _into_pod(guest, "vpf", _vf_netdev(guest, guest.addresses[pf]), f"{VPF_NET}.{number}/24")
        _into_pod(guest, "tap-bridge", _by_mac(guest, bench.netdevs[f"{guest.name}-tap"]), f"{BRIDGE_NET}.{number}/24")
        _into_pod(guest, "igb", _vf_netdev(guest, igb), f"{BRIDGE_NET}.{number + 10}/24")
    bench.paths |= {
        "vpf": Path_("vpf", f"{VPF_NET}.{EXTERNAL}", f"{VPF_NET}.3", f"{VPF_NET}.2"),
        "tap-bridge": Path_("tap-bridge", f"{BRIDGE_NET}.{EXTERNAL}", f"{BRIDGE_NET}.3", f"{BRIDGE_NET}.2"),
        "igb": Path_("igb", f"{BRIDGE_NET}.{EXTERNAL}", f"{BRIDGE_NET}.13", f"{BRIDGE_NET}.12"),
    }
    _into_pod(a, "user", _by_mac(a, bench.netdevs["a-user"]), "10.0.2.15/24", "10.0.2.2")
    bench.paths["user"] = Path_("user", f"{BRIDGE_NET}.{EXTERNAL}")
    if "a-passt" in bench.netdevs:
        _into_pod(a, "passt", _by_mac(a, bench.netdevs["a-passt"]), f"{PASST_ADDRESS}/24", PASST_GATEWAY)
        bench.paths["passt"] = Path_("passt", f"{BRIDGE_NET}.{EXTERNAL}")
    _veth_pods(bench)
    for guest in (a, b):
        for pod in ("vpf", "tap-bridge", "igb"):
            guest.vm.popen(f"exec iperf3 -s -p {IPERF_PORT}", netns=pod)
            guest.vm.popen(f"exec {NET} serve {NET_PORT}", netns=pod).expect("^serving")
    for pod in ("veth-tap", "veth-vpf"):
        a.vm.popen(f"exec {NET} serve {NET_PORT}", netns=pod).expect("^serving")
    for name, path in bench.paths.items():
        for target in filter(None, (path.external, path.target)):
            # igbvf's link comes some time after it is up. Not ping: QEMU's own stacks may not carry it.
            a.vm.run(f"for n in $(seq 20); do nc -z -w 1 {target} {IPERF_PORT} && exit 0; sleep 0.2; done; ip addr; ip route; exit 1", 60, netns=name)


def _veth_pods(bench: Bench) -> None:
    """Two pods without a NIC: behind a NIC of QEMU's, and behind the virtual PF."""
    a, pods = bench.a, {"veth-tap": ("calitap", "198.18.3.2"), "veth-vpf": ("calivpf", "198.18.4.2")}
    node, pf = _by_mac(a, bench.netdevs["a-node"]), pf_netdev(a, a.addresses["pa"])
    a.vm.run(
        f"set -e; echo 1 >/proc/sys/net/ipv4/ip_forward; for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$f; done; "
        f"ip link set {node} up; ip addr add {BRIDGE_NET}.6/24 dev {node}; ip link set {pf} up; ip addr add {VPF_NET}.6/24 dev {pf}; "
        # The node answers for the pods' gateway because it has a way to it.
        f"ip route add default via {BRIDGE_NET}.{EXTERNAL}"
    )
    for pod, (ifname, address) in pods.items():
        _veth_pod(a, pod, ifname, address)
    a.vm.run("iptables-restore", 120, input=rules(list(pods.values())))
    bench.external.run(f"ip route add 198.18.3.0/24 via {BRIDGE_NET}.6 && ip route add 198.18.4.0/24 via {VPF_NET}.6")
    bench.paths["veth-tap"] = Path_("veth-tap", f"{BRIDGE_NET}.{EXTERNAL}", address="198.18.3.2")
    bench.paths["veth-vpf"] = Path_("veth-vpf", f"{VPF_NET}.{EXTERNAL}", address="198.18.4.2")


def parse(text: str) -> dict[str, Any]:
    return json.loads(text)


def on_host(bench: Bench, argv: Sequence[str], timeout: float) -> str:
    """A program of the external machine."""
    done = subprocess.run(
        ["ip", "netns", "exec", bench.external.netns.name, *argv], capture_output=True, text=True, timeout=timeout, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stdout}{done.stderr}")
    return done.stdout
