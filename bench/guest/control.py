#!/usr/bin/python3 -ISE
# SPDX-License-Identifier: Apache-2.0
"""In a guest: how fast a PF enables VFs, and how fast their settings change.

    enable ADDRESS NUMBER            VFs a second, until each has its netdev
    settings IFNAME VF COUNT VLAN…   COUNT changes through `ip link set IFNAME vf VF vlan …`, in one run of ip
"""

import glob
import os
import subprocess
import sys
import time


def netdevs(function):
    return {os.path.basename(path) for pattern in ("net", "virtio*/net") for path in glob.glob(f"{function}/virtfn*/{pattern}/*")}


def write(path, number):
    with open(path, "w") as file:
        file.write(str(number))


def enable(address, number):
    function, number = f"/sys/bus/pci/devices/{address}", int(number)
    write(f"{function}/sriov_numvfs", 0)
    started = time.monotonic()
    write(f"{function}/sriov_numvfs", number)
    while len(netdevs(function)) < number:
        time.sleep(0.001)
        if time.monotonic() - started > 60:
            raise SystemExit(f"{len(netdevs(function))} of {number} netdevs after a minute")
    print(number / (time.monotonic() - started))


def settings(ifname, vf, count, *vlans):
    lines = "".join(f"link set {ifname} vf {vf} vlan {vlans[n % len(vlans)]}\n" for n in range(int(count)))
    started = time.monotonic()
    subprocess.run(["ip", "-batch", "-"], input=lines, text=True, check=True)
    print(int(count) / (time.monotonic() - started))


if __name__ == "__main__":
    {"enable": enable, "settings": settings}[sys.argv[1]](*sys.argv[2:])
