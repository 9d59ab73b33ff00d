# SPDX-License-Identifier: Apache-2.0
"""A guest as a Kubernetes node, as far as SR-IOV goes: vpf.ko, the device plugin with a kubelet to talk to, and Multus with
sriov-cni below it, all as released. What a container runtime does, calling the CNI plugin for a pod's network namespace,
is done here."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bed import paths
from bed.agent import CommandFailed, GuestProcess, wait_until
from topology import PORT, Guest, Pod, Site, ipv4, ipv6

BIN = "/opt/cni/bin"
RESOURCE = "vpf.test/vfs"
NO_MAC = "00:00:00:00:00:00"
# A VF's settings, as sriov-cni's configuration calls them, when nobody has set any.
DEFAULTS = {
    "vlan": 0, "vlanQoS": 0, "vlanProto": "802.1q", "mac": NO_MAC, "min_tx_rate": 0, "max_tx_rate": 0,
    "spoofchk": "on", "trust": "off", "link_state": "auto",
}  # fmt: skip
_serial = itertools.count(1)


def releases() -> dict[str, tuple[int, ...]]:
    """Of what the test bed has built: name to version."""
    lines = (paths.kube_dir() / "versions").read_text().split("\n")
    return {name: tuple(map(int, version.split("."))) for name, version in (line.split() for line in lines if line)}


def known_settings() -> set[str]:
    """Of DEFAULTS, those that this release of sriov-cni can set and put back."""
    version = releases()["sriov-cni"]
    if version < (2, 2):
        return {"vlan"}
    return set(DEFAULTS) - (set() if version >= (2, 8) else {"vlanProto"})


def cni_version() -> str:
    return "1.0.0" if releases()["sriov-cni"] >= (2, 8) else "0.3.1"


class CniError(AssertionError):
    """A plugin's error, as the runtime sees it."""

    def __init__(self, command: str, failed: CommandFailed):
        self.output = failed.result.stdout
        try:
            self.message = json.loads(self.output).get("msg", "")
        except ValueError:
            self.message = self.output
        super().__init__(f"CNI {command}: {self.message}\n{failed}")


class Kubelet:
    """tests/kube in a guest: device plugins register with it, and it allocates."""

    def __init__(self, process: GuestProcess):
        self.process = process
        self.await_event("serving")

    def events(self, kind: str) -> list[dict[str, Any]]:
        lines = self.process.stdout.split("\n")[:-1]
        return [event for event in map(json.loads, lines) if event["event"] == kind]

    def await_event(self, kind: str, count: int = 1, timeout: float = 60) -> dict[str, Any]:
        """The COUNTth event KIND, come or still to come."""
        wait_until(lambda: self.process.finished or len(self.events(kind)) >= count, timeout, f"{kind} event {count}: {self.process.output}")
        return self.events(kind)[count - 1]

    def allocate(self, device: str) -> dict[str, str]:
        """The environment that a container would get."""
        count = len(self.events("allocated")) + 1
        self.process.write(json.dumps({"resource": RESOURCE, "allocate": [device]}) + "\n")
        return self.await_event("allocated", count)["envs"]


class Node(Guest):
    """A guest whose virtual PF "<name>-pf" is split into VFS VFs under vpf.ko."""

    def __init__(self, site: Site, name: str, vfs: int, policy: str = "", **vm: Any):
        shares = {f"fixed:{BIN}": paths.kube_dir() / "bin"}
        super().__init__(site, name, memory="768M", shares=shares, **vm)
        self.pf_name, self.vfs_wanted = f"{name}-pf", vfs
        # Each node hands out addresses of its own.
        self.range = f"10.77.{200 + next(_serial)}"
        self.add_pf(self.pf_name, vfs, f"--policy {policy}" if policy else "")

    def start(self) -> Node:
        super().start()
        self.load()
        return self

    def load(self) -> None:
        """vpf.ko and the VFs, as a node's boot does."""
        self.vm.load_vpf()
        function = f"/sys/bus/pci/devices/{self.addresses[self.pf_name]}"
        self.vm.run(f"until [ -d {function}/net ]; do sleep 0.05; done", 60)
        self.pf_netdev = self.vm.run(f"ls {function}/net").stdout.strip()
        self.vm.run(f"ip link set {self.pf_netdev} up")
        self.vm.sriov_numvfs(self.vfs_wanted, self.addresses[self.pf_name], 120)
        self.devices = [
            Path(self.vm.run(f"readlink {function}/virtfn{vf}").stdout.strip()).name for vf in range(self.vfs_wanted)
        ]

    # -- the device plugin

    def start_kubelet(self) -> Kubelet:
        return Kubelet(self.vm.popen([f"{BIN}/kubelet-devices"], stdin=True))

    def start_device_plugin(self, selectors: Mapping[str, Any] | None = None) -> GuestProcess:
        prefix, _, name = RESOURCE.partition("/")
        chosen = selectors or {"vendors": ["1af4"], "devices": ["1041"], "drivers": ["virtio-pci"], "pfNames": [self.pf_netdev]}
        config = {"resourceList": [{"resourceName": name, "resourcePrefix": prefix, "selectors": chosen}]}
        self.vm.run("mkdir -p /etc/pcidp && cat >/etc/pcidp/config.json", input=json.dumps(config))
        return self.vm.popen([f"{BIN}/sriovdp", "-logtostderr", "-v", "5", "-config-file", "/etc/pcidp/config.json"])

    # -- CNI

    def cni(self, command: str, container: str, netns: str, conf: Mapping[str, Any], timeout: float = 120) -> dict[str, Any] | None:
        """Multus with one delegate, as a runtime calls it; the result of ADD."""
        return self.cni_result(command, self.cni_start(command, container, netns, conf), timeout)

    def cni_start(self, command: str, container: str, netns: str, conf: Mapping[str, Any]) -> GuestProcess:
        multus = {"cniVersion": cni_version(), "name": "pods", "type": "multus", "binDir": BIN, "delegates": [conf]}
        env = {
            "CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_NETNS": f"/run/netns/{netns}", "CNI_IFNAME": "eth0", "CNI_PATH": BIN,
            "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE=test;K8S_POD_NAME={netns};K8S_POD_INFRA_CONTAINER_ID={container}",
        }  # fmt: skip
        process = self.vm.popen(["env", *(f"{key}={value}" for key, value in env.items()), f"{BIN}/multus"], stdin=True)
        process.write(json.dumps(multus))
        process.close_stdin()
        return process

    @staticmethod
    def cni_result(command: str, process: GuestProcess, timeout: float = 120) -> dict[str, Any] | None:
        try:
            done = process.wait(timeout, check=True)
        except CommandFailed as failed:
            raise CniError(command, failed) from None
        return json.loads(done.stdout) if done.stdout.strip() else None

    def conf(self, vf: int, settings: Mapping[str, Any], ipam: Mapping[str, Any]) -> dict[str, Any]:
        """A network attachment definition's config, with the device that Multus would fill in."""
        own = {key: value for key, value in settings.items() if key in known_settings()}
        return {"cniVersion": cni_version(), "name": "lan", "type": "sriov", "deviceID": self.devices[vf], "ipam": dict(ipam), **own}

    def ip_link_vf(self, vf: int, settings: Mapping[str, Any]) -> None:
        """By hand what this release of sriov-cni cannot: settings of a VF through the PF's netdev."""
        words = []
        for key, value in settings.items():
            if key in known_settings() or key in ("vlanQoS", "vlanProto", "min_tx_rate"):
                continue
            name = {"max_tx_rate": "max_tx_rate", "link_state": "state"}.get(key, key)
            words.append(f"{name} {value}")
        if "vlanQoS" in settings and "vlanQoS" not in known_settings():
            words.append(f"vlan {settings['vlan']} qos {settings['vlanQoS']} proto {settings.get('vlanProto', '802.1q')}")
        if "min_tx_rate" in settings and "min_tx_rate" not in known_settings():
            words.append(f"min_tx_rate {settings['min_tx_rate']}")
        for word in words:
            self.vm.run(f"ip link set {self.pf_netdev} vf {vf} {word}")

    # -- what is so

    def link_settings(self, vf: int) -> dict[str, Any]:
        """Of VF, as `ip link` prints them in the guest."""
        (link,) = json.loads(self.vm.run(f"ip -json -details link show dev {self.pf_netdev}").stdout)
        (info,) = [info for info in link["vfinfo_list"] if info["vf"] == vf]
        (vlan,) = info.get("vlan_list") or [{}]
        return {
            "vlan": vlan.get("vlan", 0), "vlanQoS": vlan.get("qos", 0), "vlanProto": vlan.get("protocol", "802.1q").lower(),
            "mac": info.get("mac") or info["address"], "min_tx_rate": info["rate"]["min_tx"], "max_tx_rate": info["rate"]["max_tx"],
            "spoofchk": "on" if info["spoofchk"] else "off", "trust": "on" if info["trust"] else "off", "link_state": info["link_state"],
        }  # fmt: skip

    def host_settings(self, vf: int) -> dict[str, Any]:
        """Of VF, as vpfd has them."""
        shown = self.vpfd.rpc("vf.show", pf=self.pf_name, vf=vf)
        vlan = shown["vlan"]
        return {
            "vlan": vlan.get("vid", 0), "vlanQoS": vlan.get("pcp", 0), "vlanProto": vlan.get("proto", "802.1q"),
            "mac": shown["admin_mac"] or NO_MAC, "min_tx_rate": shown["min_rate"], "max_tx_rate": shown["max_rate"],
            "spoofchk": "on" if shown["spoofchk"] else "off", "trust": "on" if shown["trust"] else "off", "link_state": shown["link"],
        }  # fmt: skip

    def has_settings(self, vf: int, wanted: Mapping[str, Any]) -> None:
        assert self.host_settings(vf) == dict(DEFAULTS) | wanted
        assert self.link_settings(vf) == dict(DEFAULTS) | wanted

    def netdev(self, vf: int) -> tuple[str, str, str]:
        """Name, MAC and MTU of the VF's netdev where it is when no pod has it."""
        directory = f"/sys/bus/pci/devices/{self.devices[vf]}/net"
        name = self.vm.run(f"ls {directory}").stdout.strip()
        mac, mtu = self.vm.run(f"cat {directory}/{name}/address {directory}/{name}/mtu").stdout.split()
        return name, mac, mtu

    def attach(self, vf: int, settings: Mapping[str, Any] | None = None, ipam: str = "static") -> KubePod:
        return self.attach_all([vf], settings, ipam)[0]

    def attach_all(self, vfs: Sequence[int], settings: Mapping[str, Any] | None = None, ipam: str = "static") -> list[KubePod]:
        """Pods, all at the same time."""
        pods = [KubePod(self, vf, settings or {}, ipam) for vf in vfs]
        for pod in pods:
            pod.begin_add()
        for pod in pods:
            pod.end_add()
        return pods


class KubePod(Pod):
    """A network namespace that the CNI plugin gives a VF as its eth0, and which answers on PORT."""

    def __init__(self, node: Node, vf: int, settings: Mapping[str, Any], ipam: str):
        self.guest = self.node = node
        self.vm, self.pf, self.vf, self.device = node.vm, node.pf_name, vf, node.devices[vf]
        self.settings, serial = dict(settings), next(_serial)
        self.name, self.container = f"pod-{serial}", f"{os.getpid():08x}{serial:056x}"
        self.number = serial + 4096
        if ipam == "static":
            config = {"type": "static", "addresses": [{"address": f"{ipv4(self.number)}/16"}, {"address": f"{ipv6(self.number)}/64"}]}
            if cni_version() == "0.3.1":
                for address, version in zip(config["addresses"], "46", strict=True):
                    address["version"] = version
        else:
            subnet = {"subnet": "10.77.0.0/16", "rangeStart": f"{node.range}.1", "rangeEnd": f"{node.range}.9"}
            config = {"type": "host-local", "ranges": [[subnet]]}
        self.before = node.netdev(vf)
        self.conf = node.conf(vf, self.settings, config)
        self._adding: GuestProcess | None = None

    def begin_add(self) -> None:
        self.vm.run(f"ip netns add {self.name} && ip -n {self.name} link set lo up")
        self.node.ip_link_vf(self.vf, self.settings)
        self._adding = self.node.cni_start("ADD", self.container, self.name, self.conf)

    def end_add(self) -> None:
        assert self._adding
        self.result = self.node.cni_result("ADD", self._adding)
        assert self.result
        (interface,) = self.result["interfaces"]
        assert interface["sandbox"] == f"/run/netns/{self.name}" and interface["name"] == "eth0"
        self.mac = self.run("cat /sys/class/net/eth0/address").stdout.strip()
        assert interface["mac"] == self.mac
        if self.conf["ipam"]["type"] == "host-local":
            (address,) = [ip["address"] for ip in self.result["ips"]]
            high, low = address.split("/")[0].split(".")[2:]
            self.number = int(high) << 8 | int(low)
            assert address.startswith(self.node.range)
        # The plugin need not wait for the end of duplicate address detection, before which nothing leaves from the address; and
        # which never ends without a link.
        tentative = 'grep -q 1 /sys/class/net/eth0/carrier && ip -6 addr show dev eth0 tentative'
        wait_until(lambda: not self.run(tentative, check=False).stdout, 20, f"{self.name}'s IPv6 addresses")
        self.server = self.popen(f"serve {PORT}")
        self.server.expect("^serving")

    def check(self) -> None:
        """CNI CHECK, from the version on in which there is one."""
        if cni_version() >= "0.4.0":
            self.node.cni("CHECK", self.container, self.name, self.conf | {"prevResult": self.result})

    def detach(self) -> None:
        """CNI DEL; what it must have put back is compared."""
        self.server.kill()
        self.node.cni("DEL", self.container, self.name, self.conf)
        self.node.ip_link_vf(self.vf, {key: DEFAULTS[key] for key in self.settings})
        assert self.run("ls /sys/class/net").stdout.split() == ["lo"]
        self.vm.run(f"ip netns delete {self.name}")
        self.is_restored()

    def is_restored(self) -> None:
        # The MAC follows the PF's settings, a moment later.
        wait_until(lambda: self.node.netdev(self.vf) == self.before, 5, f"{self.before}, not {self.node.netdev(self.vf)}")
        self.node.has_settings(self.vf, {})

    def delete(self) -> None:
        self.detach()
