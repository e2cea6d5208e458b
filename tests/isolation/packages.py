"""Packages for a builder, as the engine hands them over."""

import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sandlot_sandbox.host import builder
from sandlot_sandbox.host.builder import Built
from tests.isolation.machine import (
    ORDINARY_UID,
    RUNTIME,
    Sandbox,
)

ENGINE_UID = 990_072
"""Whose the folder is where the launcher is root: a number nobody has."""


class Package:
    """Zips and an empty folder, as the engine hands them over."""

    def __init__(self, store: Path, zips: Sequence[bytes], uid: int) -> None:
        name = f"{hashlib.sha256(b''.join(zips)).hexdigest()}-{RUNTIME}"
        self.folder = store / f".new-{name}-{secrets.token_hex(8)}"
        self.uid = uid
        self.folder.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(self.folder, uid, uid)
        self.folder_fd = os.open(self.folder, os.O_RDONLY | os.O_CLOEXEC)
        self.zip_fds = [_read_only(data) for data in zips]

    def found(self) -> dict[str, tuple[int, str]]:
        """Owner and mode of what is in the folder, by path."""
        return {
            str(path.relative_to(self.folder)): (
                path.lstat().st_uid,
                stat.filemode(path.lstat().st_mode),
            )
            for path in self.folder.rglob("*")
        }

    def close(self) -> None:
        for fd in (*self.zip_fds, self.folder_fd):
            os.close(fd)
        shutil.rmtree(self.folder)


def _read_only(data: bytes) -> int:
    written = os.memfd_create("package.zip")
    os.write(written, data)
    opened = os.open(f"/proc/self/fd/{written}", os.O_RDONLY | os.O_CLOEXEC)
    os.close(written)
    return opened


@contextmanager
def packed(sandbox: Sandbox, *zips: bytes) -> Iterator[Package]:
    uid = ENGINE_UID if sandbox.mode == "root" else ORDINARY_UID
    if os.geteuid() != 0:
        uid = os.geteuid()
    package = Package(sandbox.store.code, zips, uid)
    try:
        yield package
    finally:
        package.close()


async def build(
    sandbox: Sandbox, package: Package, *, runtime: str = RUNTIME, **options: Any
) -> Built:
    return await builder.build(
        sandbox.launcher, runtime, package.zip_fds, package.folder_fd, **options
    )
