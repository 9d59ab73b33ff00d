# SPDX-License-Identifier: Apache-2.0
"""Modules for guests: built from kmod/ for the guest's kernel when there are none of these very sources yet."""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
from pathlib import Path

from . import paths

SOURCE = paths.ROOT / "kmod"
HEADERS = paths.ROOT / "include" / "vpf"
BUILD_TIMEOUT = 600
MODULES = {"vpf": SOURCE, "vpf_codec_test": SOURCE / "tests"}


def _sources_key(kernel: str) -> str:
    digest = hashlib.sha256(paths.kernel_release(kernel).encode())
    for path in sorted(p for top in (SOURCE, HEADERS) for p in top.rglob("*") if p.is_file()):
        digest.update(f"{path.relative_to(paths.ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def built(kernel: str, module: str = "vpf") -> str:
    """Where a guest with kernel KERNEL finds the module. Tests may ask at the same time: one of them builds."""
    directory = paths.BUILD / (f"kmod-{kernel}" if module == "vpf" else f"{module}-{kernel}")
    directory.mkdir(parents=True, exist_ok=True)
    stamp = directory / "sources"
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        key = _sources_key(kernel)
        if not (stamp.exists() and stamp.read_text() == key):
            stamp.unlink(missing_ok=True)
            _build(kernel, MODULES[module], directory)
            stamp.write_text(key)
    return f"/build/{directory.name}/{module}.ko"


def _build(kernel: str, source: Path, directory: Path) -> None:
    done = subprocess.run(
        [paths.ROOT / "tools" / "kbuild", kernel, source, directory], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=BUILD_TIMEOUT, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise AssertionError(f"{source} does not build for kernel {kernel}:\n{done.stdout}")
