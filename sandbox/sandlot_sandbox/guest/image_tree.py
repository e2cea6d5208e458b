"""What the layers of an image come to: one tree, settled before anything is written.

Pure. A layer's names are looked up in the tree, a component at a time: symbolic links
are followed within it, `..` in them ends at its root, and no name that a stranger gave
is ever looked up in a file system. So nothing can lead outside, and of what later
layers hide or remove nothing is written.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sandlot_sandbox.guest import tar
from sandlot_sandbox.guest.image_layout import BadImage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Union

    from sandlot_sandbox.guest.tar import Member

    Node = Union["Folder", "File", "Symlink"]

MAX_ENTRIES = 200_000
"""Of all layers, hidden ones and whiteouts included."""

MAX_FILE = 250_000_000
"""Bytes of one file."""

MAX_DEPTH = 64
"""Folders in one another."""

_MAX_NAME = 255
_MAX_LINKS = 40
"""Followed on the way to one name, as the kernel does."""

_WHITEOUT, _OPAQUE, _OF_AUFS = ".wh.", ".wh..wh..opq", ".wh..wh."

MOUNTED = ("dev", "proc", "tmp")
"""Folders of every root, for what is mounted there. What an image has in them is not
seen by anybody."""

REPLACED = ("hosts", "resolv.conf")
"""Files in etc that ours are put over."""


@dataclass(eq=False)
class Folder:
    """Names, and what they are of."""

    children: dict[str, Node] = field(default_factory=dict)


@dataclass(eq=False)
class File:
    """Several names may have the same one."""

    layer: int
    """Which of them it is from; -1 for none, then it is empty."""

    number: int
    """Which of the layer's members; no two files have the same place."""


@dataclass(eq=False)
class Symlink:
    """Kept as it is: whoever follows it has the image as root."""

    target: str


class Tree:
    """What layers come to that are added one after another."""

    def __init__(self) -> None:
        self.root = Folder()
        self.entries = 0
        self._layers = 0

    def add(self, members: Iterable[Member]) -> None:
        """One more layer. Raises `BadImage`."""
        found = []
        for number, member in enumerate(members):
            self.entries += 1
            if self.entries > MAX_ENTRIES:
                raise BadImage(f"it has more than {MAX_ENTRIES} files and folders")
            found.append((number, member, _components(member.name)))
        # First, wherever they are: a layer removes nothing of its own.
        for _, _, path in found:
            if path and path[-1].startswith(_WHITEOUT):
                self._remove(path)
        for number, member, path in found:
            if not path or not path[-1].startswith(_WHITEOUT):
                self._put(number, member, path)
        self._layers += 1

    def settle(self) -> None:
        """Make room for what is mounted in every root. Raises `BadImage`."""
        for name in (*MOUNTED, "etc"):
            node = self.root.children.setdefault(name, Folder())
            if not isinstance(node, Folder):
                raise BadImage(
                    f"its /{name} is no folder. Sandlot has things of its own there; "
                    "make it one"
                )
            if name in MOUNTED:
                node.children.clear()
        etc = self.root.children["etc"]
        assert isinstance(etc, Folder)  # noqa: S101 - looked at above
        for number, name in enumerate(REPLACED):
            found = etc.children.get(name)
            if isinstance(found, Folder):
                raise BadImage(f"its /etc/{name} is a folder")
            etc.children[name] = File(-1, number)

    def walk(self) -> Iterator[tuple[tuple[str, ...], Node]]:
        """All there is, folders before what is in them."""
        waiting: list[tuple[tuple[str, ...], Folder]] = [((), self.root)]
        while waiting:
            path, folder = waiting.pop()
            for name, node in folder.children.items():
                yield (*path, name), node
                if isinstance(node, Folder):
                    waiting.append(((*path, name), node))

    # --- one entry ----------------------------------------------------------------

    def _remove(self, path: list[str]) -> None:
        *folders, name = path
        try:
            folder = self._folder(folders, make=False)
        except KeyError:
            return  # of what is not there nothing has to be removed
        if name == _OPAQUE:
            folder.children.clear()
        elif not name.startswith(_OF_AUFS):
            hidden = name[len(_WHITEOUT) :]
            if hidden in ("", ".", ".."):
                raise BadImage(f"it removes {hidden!r}, which is no name")
            folder.children.pop(hidden, None)

    def _put(self, number: int, member: Member, path: list[str]) -> None:
        if not path:
            if member.kind != tar.FOLDER:
                raise BadImage(f"{_shown(member)} has no name")
            return
        *folders, name = path
        if member.kind == tar.SPECIAL:
            if folders[:1] == ["dev"]:
                return  # ours is mounted over it
            raise BadImage(f"{_shown(member)} is a device or a pipe")
        folder = self._folder(folders, make=True)
        there = folder.children.get(name)
        if member.kind == tar.FOLDER:
            if not isinstance(there, Folder):
                folder.children[name] = Folder()
        elif member.kind == tar.SYMLINK:
            if not member.target or "\0" in member.target:
                raise BadImage(f"{_shown(member)} is a link to nothing")
            folder.children[name] = Symlink(member.target)
        elif member.kind == tar.HARD_LINK:
            folder.children[name] = self._linked(member)
        else:
            if member.size > MAX_FILE:
                raise BadImage(
                    f"{_shown(member)} has {member.size} bytes of {MAX_FILE} allowed"
                )
            folder.children[name] = File(self._layers, number)

    def _linked(self, member: Member) -> Node:
        path = _components(member.target)
        found: Node | None = None
        if path:
            try:
                found = self._folder(path[:-1], make=False).children.get(path[-1])
            except KeyError:
                found = None
        if found is None or isinstance(found, Folder):
            raise BadImage(f"{_shown(member)} is a link to a file that it has not")
        return found

    def _folder(self, path: list[str], *, make: bool) -> Folder:
        """Follows links. Raises `BadImage`, and `KeyError` where there is none and
        none is to be made."""
        trail = [self.root]
        ahead = path[::-1]
        links = 0
        while ahead:
            name = ahead.pop()
            if name == "..":
                # Of a link: names have none. Above the root there is the root.
                trail = trail[:-1] or trail
                continue
            node = trail[-1].children.get(name)
            if node is None:
                if not make:
                    raise KeyError(name)
                node = trail[-1].children[name] = Folder()
                self.entries += 1
            if isinstance(node, File):
                if not make:
                    raise KeyError(name)
                raise BadImage(f"{'/'.join(path)[:200]!r} leads through a file")
            if isinstance(node, Symlink):
                links += 1
                if links > _MAX_LINKS:
                    raise BadImage(f"{'/'.join(path)[:200]!r} leads through a ring")
                if node.target.startswith("/"):
                    trail = [self.root]
                parts = node.target.split("/")
                ahead += [part for part in parts[::-1] if part not in ("", ".")]
            else:
                trail.append(node)
            if len(trail) > MAX_DEPTH or self.entries > MAX_ENTRIES:
                raise BadImage(f"{'/'.join(path)[:200]!r} is too deep")
        return trail[-1]


def _components(name: str) -> list[str]:
    """Of a name in a layer: below its root, whether it begins with `/` or not. Raises
    `BadImage`."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    for part in parts:
        if part == "..":
            raise BadImage(f"{name[:200]!r} leads upwards")
        if "\0" in part or len(part.encode("utf-8", "surrogateescape")) > _MAX_NAME:
            raise BadImage(f"{name[:200]!r} is no name that a file can have")
    if len(parts) > MAX_DEPTH:
        raise BadImage(f"{name[:200]!r} is too deep")
    return parts


def _shown(member: Member) -> str:
    return repr(member.name[:200])
