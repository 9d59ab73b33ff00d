# SPDX-License-Identifier: Apache-2.0
"""A guest that plays a hypervisor host, with a kernel of its own to load modules in and VMs (L2) of its own.

Its root disk is the bed's, so it has QEMU, DPDK and Open vSwitch; it hands the same disk, read-only, on to its guests.
Under TCG its CPU has SVM: L2 guests run on its /dev/kvm, slowly but unmodified.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from . import machine, paths
from .accel import choose
from .hosts import GuestHost
from .vm import VM

L2_BOOT_TIMEOUT = 240.0


class L1(VM):
    """`l2_kernels` are the kernels that its guests can have.

    Its own kernel is 6.12: under TCG's SVM an exit for device memory can come with an event still marked as being
    delivered, which KVM of newer kernels treats as an internal error (suberror 3), pausing the L2 guest for good.
    """

    def __init__(
        self, name: str = "l1", kernel: str = "6.12", cpus: int = 1, memory: str = "3G", l2_kernels: Sequence[str] = ("7",), **kwargs
    ):
        if not kwargs.get("accel") and choose() == "kvm" and not machine.nested_kvm():
            kwargs["accel"] = "tcg"  # an emulated CPU can always have guests
        super().__init__(name, kernel, cpus, memory, **kwargs)
        self.l2_kernels = l2_kernels

    def _install_files(self) -> None:
        super()._install_files()
        self.run("modprobe kvm_amd || modprobe kvm_intel; modprobe 9pnet_virtio", timeout=60)

    def guest_files(self) -> dict[str, Path | bytes]:
        files = super().guest_files()
        for kernel in self.l2_kernels:
            image, initrd = paths.kernel(kernel)
            files |= {f"guest/{image.name}": image, f"guest/{initrd.name}": initrd}
        return files

    def l2(self, name: str = "l2", **kwargs) -> VM:
        """A VM in this guest (not yet started): the same class, with paths that are this guest's."""
        kwargs.setdefault("boot_timeout", L2_BOOT_TIMEOUT)
        kwargs.setdefault("logs", self.logs / name)
        return VM(name, host=GuestHost(self.agent), **kwargs)
