# SPDX-License-Identifier: Apache-2.0
"""The packet filter of a Kubernetes node, as kube-proxy (iptables mode) and Calico leave it: which chains a packet passes, in
which order, and what each looks at. The chains have those programs' names; the rules are made here for a given number of
services with two endpoints each, and the pods' interfaces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

SERVICES = 100
POD_CIDR = "198.18.0.0/16"  # of the cluster; pods of other nodes are only named
MASQ_MARK, ACCEPT_MARK, SCRATCH_MARK = "0x4000/0x4000", "0x10000/0x10000", "0x20000/0x20000"


def _endpoint(service: int, number: int) -> str:
    return f"198.18.{128 + number}.{service % 250 + 1}"


def _cluster_ip(service: int) -> str:
    return f"10.96.{service // 250}.{service % 250 + 1}"


def _nat(services: int, pods: Sequence[tuple[str, str]]) -> Iterator[str]:
    yield "*nat"
    chains = ["KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-MARK-MASQ",
              "cali-PREROUTING", "cali-OUTPUT", "cali-POSTROUTING", "cali-fip-dnat", "cali-fip-snat", "cali-nat-outgoing"]  # fmt: skip
    for service in range(services):
        chains += [f"KUBE-SVC-{service:016X}", f"KUBE-SEP-{service:08X}A", f"KUBE-SEP-{service:08X}B"]
    yield from (f":{chain} - [0:0]" for chain in chains)
    yield "-A PREROUTING -j cali-PREROUTING"
    yield "-A PREROUTING -j KUBE-SERVICES"
    yield "-A OUTPUT -j cali-OUTPUT"
    yield "-A OUTPUT -j KUBE-SERVICES"
    yield "-A POSTROUTING -j cali-POSTROUTING"
    yield "-A POSTROUTING -j KUBE-POSTROUTING"
    yield "-A cali-PREROUTING -j cali-fip-dnat"
    yield "-A cali-OUTPUT -j cali-fip-dnat"
    yield "-A cali-POSTROUTING -j cali-fip-snat"
    yield "-A cali-POSTROUTING -j cali-nat-outgoing"
    # natOutgoing: what leaves the cluster has the node's address.
    for _ifname, address in pods:
        yield f"-A cali-nat-outgoing -s {address}/32 ! -d {POD_CIDR} -j MASQUERADE"
    yield f"-A KUBE-POSTROUTING -m mark ! --mark {MASQ_MARK} -j RETURN"
    yield "-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0"
    yield "-A KUBE-POSTROUTING -j MASQUERADE --random-fully"
    yield f"-A KUBE-MARK-MASQ -j MARK --set-xmark {MASQ_MARK}"
    for service in range(services):
        name, target = f"KUBE-SVC-{service:016X}", f"-d {_cluster_ip(service)}/32 -p tcp -m tcp --dport 80"
        yield f"-A KUBE-SERVICES {target} -j {name}"
        yield f"-A {name} ! -s {POD_CIDR} {target} -j KUBE-MARK-MASQ"
        yield f"-A {name} -m statistic --mode random --probability 0.5 -j KUBE-SEP-{service:08X}A"
        yield f"-A {name} -j KUBE-SEP-{service:08X}B"
        for number, letter in enumerate("AB"):
            endpoint = _endpoint(service, number)
            yield f"-A KUBE-SEP-{service:08X}{letter} -s {endpoint}/32 -j KUBE-MARK-MASQ"
            yield f"-A KUBE-SEP-{service:08X}{letter} -p tcp -m tcp -j DNAT --to-destination {endpoint}:8080"
    yield "-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"
    yield "COMMIT"


def _filter(pods: Sequence[tuple[str, str]]) -> Iterator[str]:
    yield "*filter"
    chains = ["KUBE-EXTERNAL-SERVICES", "KUBE-FIREWALL", "KUBE-FORWARD", "KUBE-NODEPORTS", "KUBE-PROXY-FIREWALL", "KUBE-SERVICES",
              "cali-FORWARD", "cali-INPUT", "cali-OUTPUT", "cali-cidr-block", "cali-from-hep-forward", "cali-to-hep-forward",
              "cali-from-wl-dispatch", "cali-to-wl-dispatch", "cali-wl-to-host", "cali-pri-kns.default", "cali-pro-kns.default"]  # fmt: skip
    for ifname, _address in pods:
        chains += [f"cali-fw-{ifname}", f"cali-tw-{ifname}"]
    yield from (f":{chain} - [0:0]" for chain in chains)
    yield "-A INPUT -j cali-INPUT"
    yield "-A INPUT -m conntrack --ctstate NEW -j KUBE-PROXY-FIREWALL"
    yield "-A INPUT -j KUBE-NODEPORTS"
    yield "-A INPUT -m conntrack --ctstate NEW -j KUBE-EXTERNAL-SERVICES"
    yield "-A INPUT -j KUBE-FIREWALL"
    yield "-A FORWARD -j cali-FORWARD"
    yield "-A FORWARD -m conntrack --ctstate NEW -j KUBE-PROXY-FIREWALL"
    yield "-A FORWARD -j KUBE-FORWARD"
    yield "-A FORWARD -m conntrack --ctstate NEW -j KUBE-SERVICES"
    yield "-A FORWARD -m conntrack --ctstate NEW -j KUBE-EXTERNAL-SERVICES"
    yield f"-A FORWARD -m mark --mark {ACCEPT_MARK} -j ACCEPT"
    yield "-A FORWARD -j cali-to-hep-forward"
    yield "-A OUTPUT -j cali-OUTPUT"
    yield "-A OUTPUT -m conntrack --ctstate NEW -j KUBE-PROXY-FIREWALL"
    yield "-A OUTPUT -m conntrack --ctstate NEW -j KUBE-SERVICES"
    yield "-A OUTPUT -j KUBE-FIREWALL"
    yield "-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"
    yield "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP"
    yield f"-A KUBE-FORWARD -m mark --mark {MASQ_MARK} -j ACCEPT"
    yield "-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
    yield "-A cali-FORWARD -j MARK --set-xmark 0x0/0xe0000"
    yield "-A cali-FORWARD -m mark --mark 0x0/0x10000 -j cali-from-hep-forward"
    yield "-A cali-FORWARD -i cali+ -j cali-from-wl-dispatch"
    yield "-A cali-FORWARD -o cali+ -j cali-to-wl-dispatch"
    yield "-A cali-FORWARD -j cali-to-hep-forward"
    yield "-A cali-FORWARD -j cali-cidr-block"
    yield "-A cali-INPUT -i cali+ -g cali-wl-to-host"
    yield f"-A cali-INPUT -m mark --mark {ACCEPT_MARK} -j ACCEPT"
    yield "-A cali-wl-to-host -j cali-from-wl-dispatch"
    yield "-A cali-wl-to-host -j ACCEPT"
    yield f"-A cali-OUTPUT -m mark --mark {ACCEPT_MARK} -j ACCEPT"
    yield "-A cali-OUTPUT -o cali+ -j RETURN"
    for ifname, _address in pods:
        yield f"-A cali-from-wl-dispatch -i {ifname} -g cali-fw-{ifname}"
        yield f"-A cali-to-wl-dispatch -o {ifname} -g cali-tw-{ifname}"
    yield "-A cali-from-wl-dispatch -j DROP"
    yield "-A cali-to-wl-dispatch -j DROP"
    for ifname, _address in pods:
        for direction in ("fw", "tw"):
            chain = f"cali-{direction}-{ifname}"
            yield f"-A {chain} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
            yield f"-A {chain} -m conntrack --ctstate INVALID -j DROP"
            yield f"-A {chain} -j MARK --set-xmark 0x0/0x10000"
            if direction == "fw":  # pods make no tunnels
                yield f"-A {chain} -p udp -m multiport --dports 4789 -j DROP"
                yield f"-A {chain} -p 4 -j DROP"
            profile = "cali-pro-kns.default" if direction == "fw" else "cali-pri-kns.default"
            yield f"-A {chain} -j {profile}"
            yield f"-A {chain} -m mark --mark {ACCEPT_MARK} -j RETURN"
            yield f"-A {chain} -j DROP"
    for profile in ("cali-pri-kns.default", "cali-pro-kns.default"):
        yield f"-A {profile} -j MARK --set-xmark {ACCEPT_MARK}"
        yield f"-A {profile} -m mark --mark {ACCEPT_MARK} -j RETURN"
    yield "COMMIT"


def _raw_and_mangle() -> Iterator[str]:
    yield "*raw"
    yield from (f":{chain} - [0:0]" for chain in ("cali-PREROUTING", "cali-OUTPUT", "cali-from-host-endpoint", "cali-to-host-endpoint", "cali-rpf-skip"))
    yield "-A PREROUTING -j cali-PREROUTING"
    yield "-A OUTPUT -j cali-OUTPUT"
    yield "-A cali-PREROUTING -j MARK --set-xmark 0x0/0xf0000"
    yield f"-A cali-PREROUTING -i cali+ -j MARK --set-xmark {SCRATCH_MARK}"
    yield f"-A cali-PREROUTING -m mark --mark {SCRATCH_MARK} -j cali-rpf-skip"
    yield f"-A cali-PREROUTING -m mark --mark {SCRATCH_MARK} -m rpfilter --validmark --invert -j DROP"
    yield "-A cali-PREROUTING -m mark --mark 0x0/0x20000 -j cali-from-host-endpoint"
    yield f"-A cali-PREROUTING -m mark --mark {ACCEPT_MARK} -j ACCEPT"
    yield "-A cali-OUTPUT -j MARK --set-xmark 0x0/0xf0000"
    yield "-A cali-OUTPUT -j cali-to-host-endpoint"
    yield f"-A cali-OUTPUT -m mark --mark {ACCEPT_MARK} -j ACCEPT"
    yield "COMMIT"
    yield "*mangle"
    yield from (f":{chain} - [0:0]" for chain in ("cali-PREROUTING", "cali-POSTROUTING", "cali-from-host-endpoint", "cali-to-host-endpoint"))
    yield "-A PREROUTING -j cali-PREROUTING"
    yield "-A POSTROUTING -j cali-POSTROUTING"
    yield "-A cali-PREROUTING -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
    yield f"-A cali-PREROUTING -m mark --mark {ACCEPT_MARK} -j ACCEPT"
    yield "-A cali-PREROUTING -j cali-from-host-endpoint"
    yield f"-A cali-POSTROUTING -m mark --mark {ACCEPT_MARK} -j RETURN"
    yield "-A cali-POSTROUTING -j MARK --set-xmark 0x0/0xf0000"
    yield "-A cali-POSTROUTING -m conntrack --ctstate DNAT -j cali-to-host-endpoint"
    yield "COMMIT"


def rules(pods: Sequence[tuple[str, str]], services: int = SERVICES) -> str:
    """Input for iptables-restore. PODS are the node's side of each pod's veth pair and the pod's address."""
    return "\n".join([*_raw_and_mangle(), *_nat(services, pods), *_filter(pods)]) + "\n"
