# SPDX-License-Identifier: Apache-2.0
"""Which accelerator guests run on. A /dev/kvm that answers is no proof: nested or filtered ones hang a real guest. So KVM is
used only after a guest has come up on it; what was found is kept until the machine boots again."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from . import machine, paths
from .process import die_with_parent

KVM = "/dev/kvm"
PROBE_SECONDS = 15


def choose() -> str:
    """"kvm" or "tcg". VPF_ACCEL overrides."""
    if forced := os.environ.get("VPF_ACCEL"):
        if forced == "kvm":
            machine.need_device(KVM, "a guest on KVM")
        return forced
    if not os.access(KVM, os.R_OK | os.W_OK):
        return "tcg"  # whatever another container on this machine has found
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    cached = paths.bed_dir() / f"accel-{boot_id}"
    if cached.exists():
        return cached.read_text().strip()
    accel = "kvm" if _kvm_boots() else "tcg"
    temporary = cached.with_suffix(f".{os.getpid()}")
    temporary.write_text(accel + "\n")
    temporary.rename(cached)
    return accel


def _kvm_boots() -> bool:
    """The bed's kernel starts with no root disk: its initramfs then says so and powers off."""
    image, initrd = paths.kernel("7")
    argv = paths.qemu(
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "q35", "-accel", "kvm",
        "-cpu", "host", "-m", "256M", "-kernel", str(image), "-initrd", str(initrd),
        "-append", "console=ttyS0 loglevel=5 panic=-1", "-serial", "stdio",
    )  # fmt: skip
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_SECONDS, preexec_fn=die_with_parent, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return b"bed: no root disk" in done.stdout
