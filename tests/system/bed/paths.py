# SPDX-License-Identifier: Apache-2.0
"""Where the project, its build and the test bed are, and how programs of the bed's tree are run on the host.

The tree is Debian trixie whatever the host is, so its programs run through the tree's own dynamic loader, with the
tree's libraries: nothing of the machine's own packages is touched or needed.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BUILD = Path(os.environ.get("VPF_BUILD") or ROOT / "build").resolve()
KERNELS = ("7", "6.12", "6.1")


class BedMissing(RuntimeError):
    def __init__(self, what: Path, verb: str = "testbed"):
        super().__init__(f"the test bed is not set up ({what} is missing): run `tools/setup {verb}`")


def cache_dir() -> Path:
    """The same choice as tools/setup makes."""
    if own := os.environ.get("VPF_TESTBED"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "vpf" / "testbed"


def _recipe_key(directory: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted((p for p in directory.iterdir() if p.is_file()), key=lambda p: os.fsencode(p.name)):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@functools.cache
def bed_dir() -> Path:
    path = cache_dir() / f"bed-{_recipe_key(ROOT / 'tools' / 'bed')}"
    if not path.is_dir():
        raise BedMissing(path)
    return path


@functools.cache
def kube_dir() -> Path:
    """Kubernetes' parts: bin/ and versions. VPF_KUBE names a directory with others of the same form."""
    if own := os.environ.get("VPF_KUBE"):
        return Path(own)
    found = subprocess.run([ROOT / "tools" / "setup", "kube-path"], capture_output=True, text=True, check=True)
    path = Path(found.stdout.strip())
    if not path.is_dir():
        raise BedMissing(path, "kube")
    return path


def tree() -> Path:
    return bed_dir() / "tree"


def kernel(name: str) -> tuple[Path, Path]:
    """The kernel image and base initramfs of a kernel of KERNELS."""
    boot = bed_dir() / "boot"
    image = boot / f"vmlinuz-{name}"
    if not image.exists():
        raise ValueError(f"no kernel {name!r} in the test bed: there are {', '.join(KERNELS)}")
    return image, boot / f"initrd-{name}"


def kernel_release(name: str) -> str:
    """`uname -r` of a kernel of KERNELS."""
    for line in (bed_dir() / "kernels").read_text().splitlines():
        short, release, _version = line.split()
        if short == name:
            return release
    raise ValueError(f"no kernel {name!r} in the test bed")


def library_path(base: Path) -> str:
    return f"{base}/usr/lib/x86_64-linux-gnu:{base}/usr/lib"


def tree_program(path: str, *args: str | os.PathLike[str], base: Path | None = None) -> list[str]:
    """A command line that runs PATH of the tree (such as "usr/bin/socat") on this machine."""
    base = base or tree()
    program = base / path
    loader = base / "usr/lib64/ld-linux-x86-64.so.2"
    return [
        os.fspath(loader), "--argv0", Path(path).name, "--library-path", library_path(base), os.fspath(program),
        *map(os.fspath, args),
    ]  # fmt: skip


def qemu(*args: str) -> list[str]:
    base = tree()
    return tree_program("usr/bin/qemu-system-x86_64", "-L", base / "usr/share/seabios", "-L", base / "usr/share/qemu", *args)


def libraries_of(program: Path) -> dict[str, Path]:
    """What PROGRAM of this machine needs in a guest that the bed's tree does not have: guest path to file."""
    directory = "/usr/lib/x86_64-linux-gnu"
    found = re.findall(r"=> (/\S+)", subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout)
    return {f"{directory}/{p.name}": p for p in map(Path, found) if not (tree() / directory[1:] / p.name).exists()}
