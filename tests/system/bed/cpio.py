# SPDX-License-Identifier: Apache-2.0
"""The kernel's initramfs format ("newc" cpio), as much of it as the bed appends to its initramfs."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path


def _entry(inode: int, name: str, mode: int, data: bytes) -> bytes:
    encoded = name.encode() + b"\0"
    fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
    return _padded(head) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def archive(files: Mapping[str, Path | bytes]) -> bytes:
    """An archive of FILES (path in the archive, without a leading slash, to a file or to content)."""
    out = b""
    directories: set[str] = set()
    inode = 1
    for name, source in files.items():
        for parent in reversed(Path(name).parents[:-1]):
            if str(parent) not in directories:
                directories.add(str(parent))
                out += _entry(inode, str(parent), stat.S_IFDIR | 0o755, b"")
                inode += 1
        data = source if isinstance(source, bytes) else source.read_bytes()
        executable = isinstance(source, Path) and source.stat().st_mode & 0o111
        out += _entry(inode, name, stat.S_IFREG | (0o755 if executable else 0o644), data)
        inode += 1
    return out + _entry(0, "TRAILER!!!", 0, b"")
