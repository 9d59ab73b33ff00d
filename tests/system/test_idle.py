# SPDX-License-Identifier: Apache-2.0
"""What functions cost that nobody uses: four virtual PFs of 255 VFs. Times and sizes are printed, bounds are generous."""

from __future__ import annotations

import time
from collections.abc import Callable

from bed.machine import need_files
from bed.vpfd import Vpfd, built_with_sanitizers
from traffic import Function, Pair

PFS, VFS = 4, 255
FUNCTIONS = PFS * (VFS + 1)
HANG = 120  # seconds
REST = 3  # seconds of doing nothing


def test_a_thousand_functions(vpfd_factory: Callable[..., Vpfd]) -> None:
    need_files("vpfd", 2 * FUNCTIONS)
    vpfd = vpfd_factory(args=["--workers", "2"])
    empty_rss, empty_fds = vpfd.rss(), vpfd.fds()
    began = time.monotonic()
    vpfd.rpc("fabric.add", name="lan")
    for number in range(PFS):
        vpfd.rpc("pf.add", name=f"pf{number}", fabric="lan", vfs=VFS)
    print(f"\n{FUNCTIONS} functions added in {time.monotonic() - began:.2f} s")
    began = time.monotonic()
    for vf in range(0, VFS, 5):
        vpfd.rpc("vf.set", pf="pf1", vf=vf, trust=True, vlan={"mode": "access", "vid": vf + 1})
    print(f"{VFS // 5} settings changed in {time.monotonic() - began:.2f} s")
    vpfd.stop()

    began = time.monotonic()
    vpfd.start(timeout=HANG)
    print(f"start-up with {FUNCTIONS} functions: {time.monotonic() - began:.2f} s")
    status = vpfd.rpc("status")
    assert (status["pfs"], status["functions"], status["connected"]) == (PFS, FUNCTIONS, 0)
    assert vpfd.rpc("vf.show", pf="pf1", vf=250)["vlan"]["vid"] == 251
    per_function = (vpfd.rss() - empty_rss) / FUNCTIONS
    print(f"memory of an idle function: {per_function / 1024:.1f} KiB")
    assert per_function < 64 << 10 or built_with_sanitizers()
    assert vpfd.fds() - empty_fds <= FUNCTIONS + 8, "a listening socket each, and nothing more"

    # Nothing to do: no worker wakes up, and no CPU time is used but for the questions.
    before, used = [(w["polls"], w["sleeps"]) for w in vpfd.rpc("status")["workers"]], vpfd.cpu_time()
    time.sleep(REST)  # what is measured is that nothing happens
    after = [(w["polls"], w["sleeps"]) for w in vpfd.rpc("status")["workers"]]
    print(f"CPU at rest: {(vpfd.cpu_time() - used) / REST * 100:.2f} %")
    assert before == after

    # The same with drivers that have nothing to send: connected, and at rest again after traffic.
    pair = Pair(Function(vpfd, "pf3", 0), Function(vpfd, "pf3", VFS - 1))
    pair.check()
    pair.finish_traffic()
    before, used = [(w["polls"], w["sleeps"]) for w in vpfd.rpc("status")["workers"]], vpfd.cpu_time()
    time.sleep(REST)
    after = [(w["polls"], w["sleeps"]) for w in vpfd.rpc("status")["workers"]]
    print(f"CPU at rest, drivers connected: {(vpfd.cpu_time() - used) / REST * 100:.2f} %")
    assert before == after
    pair.finish()

    began = time.monotonic()
    vpfd.stop(timeout=HANG)
    print(f"end with {FUNCTIONS} functions: {time.monotonic() - began:.2f} s")
    vpfd.start(timeout=HANG)
    began = time.monotonic()
    for number in range(PFS):
        vpfd.rpc("pf.del", name=f"pf{number}")
    print(f"{FUNCTIONS} functions deleted in {time.monotonic() - began:.2f} s")
    vpfd.rpc("fabric.del", name="lan")
    assert vpfd.fds() <= empty_fds + 1
