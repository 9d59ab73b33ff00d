#!/usr/bin/python3 -ISE
# SPDX-License-Identifier: Apache-2.0
"""vf_latency.py IFNAME VF COUNT PAUSE: sets the VF's VLAN COUNT times over rtnetlink, as `ip link set … vf` does, and prints
how long each call took, in microseconds, as JSON. What it set is in force on the host when the call returns. PAUSE seconds
between two keep clear of the host's limit of messages; with 0 it is as many as that lets through."""

import json
import socket
import struct
import sys
import time

RTM_SETLINK, NLM_F_REQUEST, NLM_F_ACK, NLMSG_ERROR = 19, 1, 4, 2
IFLA_VFINFO_LIST, IFLA_VF_INFO, IFLA_VF_VLAN = 22, 1, 2


def attribute(kind, body):
    return struct.pack("=HH", 4 + len(body), kind) + body


def main(ifname, vf, count, pause):
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    index = socket.if_nametoindex(ifname)
    took = []
    for number in range(int(count)):
        vlan = attribute(IFLA_VF_VLAN, struct.pack("=III", int(vf), 100 + number % 2, 0))
        body = struct.pack("=BxHiII", 0, 0, index, 0, 0) + attribute(IFLA_VFINFO_LIST, attribute(IFLA_VF_INFO, vlan))
        message = struct.pack("=IHHII", 16 + len(body), RTM_SETLINK, NLM_F_REQUEST | NLM_F_ACK, number, 0) + body
        started = time.perf_counter()
        sock.send(message)
        kind, error = struct.unpack_from("=H10xi", sock.recv(65536), 4)
        took.append((time.perf_counter() - started) * 1e6)
        if kind != NLMSG_ERROR or error:
            raise SystemExit(f"the kernel says {error}")
        time.sleep(float(pause))
    print(json.dumps(took))


if __name__ == "__main__":
    main(*sys.argv[1:])
