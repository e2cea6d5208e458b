"""Control groups as the kernel shows them, whichever of its two hierarchies it has."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from tests.isolation.machine import Sandbox

ROOT = Path("/sys/fs/cgroup")

VERSIONS = ["v1", "v2"] if (ROOT / "memory").is_dir() else ["v2"]
"""What groups there are on this machine."""


def group_paths(pid: int) -> dict[str, str]:
    """By the controllers of each hierarchy, as the kernel lists them; v2 has none."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return {names: path for _, names, path in (line.split(":", 2) for line in lines)}


def group_folder(hierarchy: str, path: str) -> Path:
    if not hierarchy and (ROOT / "unified").is_dir():
        hierarchy = "unified"
    return ROOT / hierarchy / path.lstrip("/")


def trees_of(launcher: int) -> list[Path]:
    """All that is left of a launcher's groups, wherever they are."""
    name = re.compile(rf"sandlot-{launcher}(\.\d+)?")
    folders = (Path(folder) for folder, _, _ in os.walk(ROOT))
    return [folder for folder in folders if name.fullmatch(folder.name)]


@contextlib.contextmanager
def delegated_group(uid: int) -> Iterator[Path]:
    """A v2 group that is a user's to do with as he likes, as systemd gives one with
    Delegate=yes. We are root."""
    folder = group_folder("", f"/delegated-{os.getpid()}")
    folder.mkdir()
    try:
        for name in (".", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"):
            os.chown(folder / name, uid, uid)
        yield folder
    finally:
        # Whoever had it has put himself into another one below.
        for inner in [*folder.glob("*/"), folder]:
            inner.rmdir()


def is_frozen(pid: int) -> bool:
    """Whether it can run nothing; by its groups, or by having been stopped."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        paths = group_paths(pid)
        v1 = group_folder("freezer", paths.get("freezer", "/")) / "freezer.state"
        v2 = group_folder("", paths.get("", "/")) / "cgroup.events"
        return (
            (v1.exists() and v1.read_text() == "FROZEN\n")
            or (v2.exists() and "frozen 1\n" in v2.read_text())
            or "State:\tT" in Path(f"/proc/{pid}/status").read_text()
        )
    return False


def control(sandbox: Sandbox) -> tuple[str, frozenset[str]]:
    """The version, `v1` or `v2`, and the controllers of the groups that a launcher
    makes; empty where it makes none."""
    (layer,) = [layer for layer in sandbox.hello.layers if layer.name == "cgroup"]
    if not layer.holds:
        return "", frozenset()
    version, _, controls = layer.detail.partition(": ")
    return version.removeprefix("cgroup "), frozenset(controls.split(", "))
