# SPDX-License-Identifier: Apache-2.0
"""What the tests with real guests have in common: a vpfd whose fabric leads to an external machine, guests with virtual
PFs on it, and pods, each a network namespace with a VF.

      guest           guest
      pods a b c      pods d e
       │ │ │           │ │           VFs
     ──┴─┴─┴───────────┴─┴──         vpfd: fabric "lan"
                │ uplink (veth)
      namespace "external"
"""

from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bed.agent import GuestProcess, Result, wait_until
from bed.netns import Netns, run_on_host
from bed.process import Process
from bed.vm import VM
from bed.vpfd import Vpfd

NETTOOL = Path(__file__).with_name("nettool.py")
IN_GUEST = "/usr/local/bin/nettool"
PORT = 7000
EXTERNAL = 1  # the external machine's number, as each pod has one
_serial = itertools.count(1)


def ipv4(number: int) -> str:
    return f"10.77.{number >> 8}.{number & 255}"


def ipv6(number: int) -> str:
    return f"fd77::{number:x}"


def addresses(number: int) -> str:
    """Shell commands that give eth0 its two addresses."""
    return f"ip addr add {ipv4(number)}/16 dev eth0 && ip addr add {ipv6(number)}/64 dev eth0 nodad"


class Site:
    """vpfd with the fabric "lan", and the external machine behind its uplink: its own one, or another site's, which then
    has to have a further uplink (number `uplink`)."""

    def __init__(self, directory: Path, external: External | None = None, uplink: int = 0):
        self.directory = directory
        self.vpfd = Vpfd(directory / f"vpfd{next(_serial)}")
        self.vms: list[VM] = []
        self._own = external is None
        self.external = external or External(directory)
        try:
            self.vpfd.start()
            self.ctl(f"fabric add lan --uplink netdev:{self.external.uplinks[uplink]}")
        except BaseException:
            self._release()
            raise

    def ctl(self, command: str, timeout: float = 60) -> str:
        return self.vpfd.ctl(*shlex.split(command), timeout=timeout).stdout

    def __enter__(self) -> Site:
        return self

    def __exit__(self, exc_type: object, *_rest: object) -> None:
        for vm in self.vms:
            vm.kill()
        try:
            if exc_type is None and self.vpfd.process:
                self.vpfd.stop()
        finally:
            self._release()

    def _release(self) -> None:
        self.vpfd.close()
        if self._own:
            self.external.close()

    def function(self, pf: str, vf: int | None) -> dict[str, Any]:
        return self.vpfd.rpc("vf.show", pf=pf, vf=vf)

    def stats(self, pf: str, vf: int | None) -> dict[str, Any]:
        (row,) = self.vpfd.rpc("stats", pf=pf, vf=vf)
        return row

    def texts(self) -> dict[str, Callable[[], str]]:
        """For a failed test's report."""
        return {f"console of {vm.name}": lambda vm=vm: vm.console for vm in self.vms} | {
            "log of vpfd": self.vpfd.output, "counters of vpfd": lambda: self.vpfd.ctl("stats", timeout=5).stdout,
        }  # fmt: skip


class External:
    """The machine that the uplink leads to: a namespace with eth0, which answers on PORT. With several uplinks, eth0
    is a bridge between them."""

    number = EXTERNAL

    def __init__(self, directory: Path, mtu: int = 9000, uplinks: int = 1):
        self.directory = directory
        self.netns = Netns("external")
        self.uplinks = [f"vpfu{os.getpid() % 1000000}x{next(_serial)}" for _ in range(uplinks)]
        if uplinks > 1:
            self.netns.run(f"ip link add eth0 type bridge forward_delay 0 && ip link set eth0 up mtu {mtu}")
        for port, uplink in enumerate(self.uplinks):
            name = f"port{port}" if uplinks > 1 else "eth0"
            run_on_host(["ip", "link", "add", uplink, "mtu", str(mtu), "type", "veth",
                         "peer", "name", name, "mtu", str(mtu), "netns", self.netns.name])  # fmt: skip
            run_on_host(["ip", "link", "set", uplink, "up"])
            self.netns.run(f"ip link set {name} up" + (" master eth0" if uplinks > 1 else ""))
        self.netns.run(addresses(EXTERNAL))
        self.mac = self.netns.run("cat /sys/class/net/eth0/address").stdout.strip()
        self.popen(f"serve {PORT}", "^serving")

    def close(self) -> None:
        for uplink in self.uplinks:
            run_on_host(["ip", "link", "delete", uplink], check=False)
        self.netns.close()

    def run(self, command: str, timeout: float = 60, check: bool = True) -> Result:
        return self.netns.run(command, timeout, check)

    def nettool(self, command: str, timeout: float = 60, check: bool = True) -> Result:
        return self.run(f"{NETTOOL} {command}", timeout, check)

    def popen(self, command: str, ready: str, program: str = str(NETTOOL)) -> Process:
        """A background program (nettool, if nothing else is said), once its output has `ready` at the start of a line."""
        process = self.netns.popen([*program.split(), *shlex.split(command)], self.directory / f"external-{next(_serial)}.log")
        wait_output(process, ready)
        return process


def wait_output(process: Process, text: str, timeout: float = 30) -> str:
    """Until the output of a program of the host matches TEXT (at the start of a line, if that begins with ^)."""
    wanted = "\n" + text[1:] if text.startswith("^") else text
    wait_until(lambda: wanted in "\n" + process.output(), timeout, f"{text!r} from {process.name}")
    return process.output()


class Guest:
    """A VM with virtual PFs on the fabric, which find their PCI addresses when it has booted."""

    def __init__(self, site: Site, name: str, *, vpfd: Vpfd | None = None, **vm: Any):
        self.site, self.name = site, name
        self.vpfd = vpfd or site.vpfd
        # Without the watchdogs of lockups and RCU stalls, which bark when the host has no time for the guest's CPUs.
        vm["append"] = "nowatchdog rcupdate.rcu_cpu_stall_suppress=1 rcupdate.rcu_cpu_stall_suppress_at_boot=1 " + vm.get("append", "")
        self.vm = VM(name, logs=site.directory / f"vm-{next(_serial)}-{name}", files={IN_GUEST: NETTOOL}, boot_timeout=240, **vm)
        site.vms.append(self.vm)
        self.addresses: dict[str, str] = {}
        self.pods: list[Pod] = []

    def add_pf(self, name: str, vfs: int, options: str = "", device: str = "", qemu: str = "", create: bool = True) -> None:
        """`options` for `vpfctl pf add`, `device` for each of its QEMU devices, `qemu` for `vpfctl qemu-args`."""
        if create:
            self.vpfd.ctl(*shlex.split(f"pf add {name} --fabric lan --vfs {vfs} --qmp {self.vm.vpfd_qmp} {options}"))
        words = self.vpfd.ctl(*shlex.split(f"qemu-args {name} --list {qemu}")).stdout.splitlines()
        self.vm.args += [f"{word},{device}" if device and word.startswith("virtio-net-pci,") else word for word in words]
        self.addresses[name] = ""

    def start(self) -> Guest:
        self.vm.start()
        self.find_pfs()
        return self

    def find_pfs(self) -> None:
        for name in self.addresses:
            mac = self.vpfd.rpc("vf.show", pf=name)["mac"]
            # A PF of another kind (an igb) has no virtio directory below it: grep says nothing of it, and its status then means nothing.
            look = f"grep -sl {mac} $(ls -d */sriov_totalvfs | sed 's,sriov_totalvfs,virtio*/net/*/address,')"
            found = self.vm.run(f"cd /sys/bus/pci/devices && {look}", check=False).stdout
            assert found, f"guest {self.name} shows no function with the MAC of {name}, {mac}"
            self.addresses[name] = found.split("/")[0]

    def split(self, pf: str, number: int, timeout: float = 120) -> None:
        """Writes sriov_numvfs, as often as there are tools that do: the kernel wants 0 between two numbers."""
        for pod in [pod for pod in self.pods if pod.pf == pf]:
            pod.delete()
        self.vm.sriov_numvfs(number, self.addresses[pf], timeout)
        assert self.vfs(pf) == number

    def vfs(self, pf: str) -> int:
        return int(self.vm.run(f"ls -d /sys/bus/pci/devices/{self.addresses[pf]}/virtfn* 2>/dev/null | wc -l").stdout)

    def pod(self, pf: str, vf: int | None, mtu: int = 0) -> Pod:
        pod = Pod(self, pf, vf, mtu)
        self.pods.append(pod)
        return pod

    def complaints(self) -> str:
        """What the guest's kernel says when it complains about itself, from a few lines before the first one on; else nothing."""
        warnings = self.vm.dmesg_warnings()
        if not warnings:
            return ""
        lines = self.vm.dmesg().splitlines()
        first = lines.index(warnings[0])
        return "\n".join(lines[max(0, first - 10) : first + 50])

    def forget_pods(self) -> None:
        """After a reset or the end of the VM: they went with it."""
        self.pods.clear()

    def close(self) -> None:
        """Ends the VM and deletes its virtual PFs."""
        self.vm.kill()
        if self.vm in self.site.vms:
            self.site.vms.remove(self.vm)
        for name in self.addresses:
            wait_until(lambda name=name: not any(f["connected"] for f in self.vpfd.rpc("pf.show", name=name)["functions"]), 10, "disconnection")
            self.vpfd.ctl("pf", "del", name)


class Pod:
    """A network namespace of a guest whose eth0 is a VF (None: the PF itself), and which answers on PORT."""

    def __init__(self, guest: Guest, pf: str, vf: int | None, mtu: int = 0):
        self.guest, self.vm, self.pf, self.vf = guest, guest.vm, pf, vf
        self.number = next(_serial) + 256
        self.name = f"{pf}-{'pf' if vf is None else vf}"
        function = f"/sys/bus/pci/devices/{guest.addresses[pf]}" + ("" if vf is None else f"/virtfn{vf}")
        more = f"ip link set eth0 mtu {mtu}" if mtu else "true"
        # What a CNI plugin does: find the VF's netdev, move it, name it, give it addresses.
        done = self.vm.run(
            f"set -e; ip netns add {self.name}; dev=$(ls {function}/virtio*/net); ip link set $dev netns {self.name}; "
            f"exec ip netns exec {self.name} sh -ec 'ip link set lo up; ip link set '$dev' name eth0; {more}; "
            f"ip link set eth0 up; {addresses(self.number)}; cat /sys/class/net/eth0/address; basename $(readlink -f {function})'"
        )
        self.mac, self.device = done.stdout.split()
        self.server = self.popen(f"serve {PORT}")
        self.server.expect("^serving")
        self.await_carrier(True)

    def delete(self) -> None:
        self.server.kill()
        self.guest.pods.remove(self)
        # Without its namespace the VF's netdev goes back to the first one.
        self.vm.run(f"ip -n {self.name} link set eth0 down; ip -n {self.name} link set eth0 netns 1 name vf{self.number}; ip netns delete {self.name}", check=False)

    def run(self, command: str, timeout: float = 60, check: bool = True) -> Result:
        return self.vm.run(command, timeout, netns=self.name, check=check)

    def nettool(self, command: str, timeout: float = 120, check: bool = True) -> Result:
        return self.run(f"{IN_GUEST} {command}", timeout, check)

    def popen(self, command: str) -> GuestProcess:
        return self.vm.popen(f"exec {IN_GUEST} {command}", netns=self.name)

    def ctl(self, options: str) -> None:
        """vpfctl vf set of this VF."""
        self.guest.vpfd.ctl(*shlex.split(f"vf set {self.pf} {'pf' if self.vf is None else self.vf} {options}"))

    def show(self) -> dict[str, Any]:
        return self.guest.vpfd.rpc("vf.show", pf=self.pf, vf=self.vf)

    def stats(self) -> dict[str, Any]:
        (row,) = self.guest.vpfd.rpc("stats", pf=self.pf, vf=self.vf)
        return row

    def drops(self, direction: str, reason: str) -> int:
        return self.stats()[direction]["drops"].get(reason, 0)

    def carrier(self) -> bool:
        return self.run("cat /sys/class/net/eth0/carrier").stdout.strip() == "1"

    def await_carrier(self, up: bool, timeout: float = 20) -> None:
        wanted = int(up)
        self.run(f'until [ "$(cat /sys/class/net/eth0/carrier)" = {wanted} ]; do sleep 0.05; done', timeout)

    # -- traffic; a target is anything with a number

    def pings(self, target: int | str, count: int = 2, options: str = "", wait: float = 3) -> bool:
        address = ipv4(target) if isinstance(target, int) else target
        return self.run(f"ping -n -c {count} -i 0.2 -W {wait} {options} {address}", check=False).returncode == 0

    def reaches(self, target: Pod | External, ipv6_too: bool = True) -> None:
        for address in [ipv4(target.number)] + [ipv6(target.number)] * ipv6_too:
            if not self.pings(address):
                raise AssertionError(f"{self.name} does not reach {address}\n" + self.run("ip addr; ip route; ip neigh").stdout)

    def misses(self, target: Pod | External) -> None:
        """Nothing answers; ARP is done anew, so that an old entry helps nobody, and an unanswered one is in nobody's way."""
        self.run("ip neigh flush dev eth0")
        assert not self.pings(target.number, count=2, wait=1), f"{self.name} reaches {ipv4(target.number)}"
        self.run("ip neigh flush dev eth0")

    def tcp(self, target: Pod | External, version: int = 4, blocks: int = 8, flows: int = 1) -> None:
        address = (ipv4 if version == 4 else ipv6)(target.number)
        self.nettool(f"tcp {address} {PORT} {blocks} {flows}")

    def udp(self, target: Pod | External, version: int = 4, count: int = 10, size: int = 1200, segment: int = 0) -> None:
        address = (ipv4 if version == 4 else ipv6)(target.number)
        self.nettool(f"udp {address} {PORT} {count} {size} {segment}")

    def counters(self) -> dict[str, int]:
        """What the guest's driver counts."""
        names = ("rx_packets", "rx_bytes", "tx_packets", "tx_bytes")
        values = self.run("cd /sys/class/net/eth0/statistics && cat " + " ".join(names)).stdout.split()
        return dict(zip(names, map(int, values), strict=True))

    def csum_errors(self) -> int:
        """Segments and datagrams that this pod's stack found damaged."""
        script = "awk '/^(Tcp|Udp|UdpLite):/ && !($1 in at) { for (i = 2; i <= NF; i++) if ($i == \"InCsumErrors\") at[$1] = i; next } "
        return int(self.run(script + "/^(Tcp|Udp|UdpLite):/ { n += $at[$1] } END { print n + 0 }' /proc/net/snmp").stdout)


class Stream:
    """A transfer without end from a pod or the external machine to a pod or the external machine."""

    def __init__(self, source: Pod | External, target: Pod | External, version: int = 4):
        command = f"stream {(ipv4 if version == 4 else ipv6)(target.number)} {PORT}"
        self.what = f"stream {getattr(source, 'name', 'external')} to {getattr(target, 'name', 'external')}"
        if isinstance(source, Pod):
            process = self._guest = source.popen(command)
            self._output: Callable[[], str] = lambda: process.output
        else:
            self._host = source.popen(command, "^block")
            self._output = self._host.output
        self.advances()

    def blocks(self) -> int:
        return self._output().count("block")

    def advances(self, blocks: int = 3, timeout: float = 60) -> None:
        """Until so many more blocks have arrived, all of them unharmed."""
        wanted = self.blocks() + blocks
        wait_until(lambda: self.blocks() >= wanted, timeout, f"{self.what} goes on")

    def stop(self) -> None:
        (self._guest if hasattr(self, "_guest") else self._host).kill()
