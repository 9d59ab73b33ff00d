# SPDX-License-Identifier: Apache-2.0
"""Guests with vpf.ko: what tests ask of it, and of the tools that it is for."""

from __future__ import annotations

import json
from typing import Any

from bed import kmod
from bed.agent import wait_until
from bed.pci import PF, root_port
from bed.vm import VM
from topology import EXTERNAL, Guest, Site, ipv4, ipv6

# One kernel of three runs with memory debugging: what is freed is poisoned, what is written outside is seen.
MEMORY_DEBUGGING = "slub_debug=FZPU page_poison=1 init_on_free=0 kfence.sample_interval=50"
DEBUGGING_KERNEL = "6.12"
VFS = 4
OWN = 9  # the guest's number on the network
POLICY = "vlans=100-199,vlan_ad=on,macs=list,mac_list=02:00:00:00:00:00-02:00:00:00:00:ff,trust=on,spoofchk_off=on,max_rate=5000,max_rate_total=10000"


def boot_args(kernel: str) -> str:
    return MEMORY_DEBUGGING if kernel == DEBUGGING_KERNEL else ""


def unload(vm: VM) -> None:
    vm.run("rmmod vpf", timeout=20)


def shell_until(vm: VM, condition: str, timeout: float = 20) -> None:
    """Until a shell condition of the guest holds."""
    vm.run(f"until {condition}; do sleep 0.03; done", timeout)


def await_netdev(vm: VM, address: str, timeout: float = 20) -> str:
    """The name of the PF netdev of the PCI function, once it is there."""
    shell_until(vm, f"[ -e /sys/bus/pci/devices/{address}/net ]", timeout)
    (name,) = vm.run(f"ls /sys/bus/pci/devices/{address}/net").stdout.split()
    return name


def link(vm: VM, name: str, netns: str | None = None) -> dict[str, Any]:
    (entry,) = json.loads(vm.run(f"ip -j -s -d link show dev {name}", netns=netns).stdout)
    return entry


def vf(vm: VM, name: str, index: int) -> dict[str, Any]:
    return link(vm, name)["vfinfo_list"][index]


def counters(vm: VM, name: str) -> dict[str, int]:
    lines = vm.run(f"ethtool -S {name}").stdout.splitlines()[1:]
    return {key.strip(): int(value) for key, value in (line.split(":") for line in lines)}


def set_vf(vm: VM, name: str, index: int, what: str, error: str | None = None, timeout: float = 20) -> None:
    """`ip link set NAME vf INDEX WHAT`; with `error`, it must fail with that text."""
    done = vm.run(f"ip link set dev {name} vf {index} {what}", timeout, check=error is None)
    if error is not None:
        assert done.returncode != 0, f"{what} should have failed with {error}"
        assert error in done.stderr, f"{what}: {done.stderr}"


def await_session(vm: VM, name: str, up: bool = True, timeout: float = 20) -> None:
    wait_until(lambda: counters(vm, name)["control_session_up"] == int(up), timeout, "the control channel's session")


class Driven(Guest):
    """A guest with vpf.ko loaded: virtual PF "pf", and a foreign PF, on which HELLO gets no answer."""

    def __init__(self, site: Site, kernel: str):
        super().__init__(site, f"kmod-{kernel}", kernel=kernel, cpus=2, append=boot_args(kernel), hotplug=1)
        self.add_pf("pf", VFS, f"--queue-pairs 2 --mtu 4000 --vm driven --policy {POLICY}")
        site.ctl(f"pf add later --fabric lan --vfs 1 --vm driven --qmp {self.vm.vpfd_qmp}")
        foreign = PF("foreign", netdevs=["user,restrict=on"] * 2, macs=["02:ff:00:00:00:01", "02:ff:00:00:00:02"])
        self.vm.args += [*root_port("foreign-port", 0x14), *foreign.backends(), *foreign.devices()]
        kmod.built(kernel)
        self.start()
        self.address = self.addresses["pf"]
        self.device = f"/sys/bus/pci/devices/{self.address}"
        self.load()
        self.split("pf", VFS)

    def load(self) -> None:
        self.vm.load_vpf()
        self.netdev = await_netdev(self.vm, self.address)

    def set(self, vf: int, what: str, error: str | None = None) -> None:
        set_vf(self.vm, self.netdev, vf, what, error)

    def vf(self, index: int) -> dict[str, Any]:
        return vf(self.vm, self.netdev, index)

    def show(self, vf: int | None) -> dict[str, Any]:
        return self.site.function("pf", vf)

    def host(self, vf: int, options: str) -> None:
        self.site.ctl(f"vf set pf {vf} {options}")

    def counters(self) -> dict[str, int]:
        return counters(self.vm, self.netdev)

    def vf_netdev(self, index: int) -> str:
        (name,) = self.vm.run(f"ls {self.device}/virtfn{index}/net").stdout.split()
        return name

    def conduit(self) -> str:
        (name,) = self.vm.run(f"ls {self.device}/virtio*/net").stdout.split()
        return name

    def read(self, path: str) -> str:
        return self.vm.run(f"cat {path}").stdout.strip()

    def mac(self, name: str, netns: str | None = None) -> str:
        return self.vm.run(f"cat /sys/class/net/{name}/address", netns=netns).stdout.strip()

    def said(self, text: str) -> bool:
        return text in self.vm.dmesg()

    def up(self) -> None:
        self.vm.run(f"ip link set {self.netdev} up && ip addr replace {ipv4(OWN)}/16 dev {self.netdev} && ip -6 addr replace {ipv6(OWN)}/64 dev {self.netdev} nodad")
        shell_until(self.vm, f'[ "$(cat /sys/class/net/{self.netdev}/carrier)" = 1 ]')

    def pings(self, address: str = ipv4(EXTERNAL), options: str = "") -> bool:
        return self.vm.run(f"ping -n -c 2 -i 0.2 -W 3 {options} {address}", check=False).returncode == 0
