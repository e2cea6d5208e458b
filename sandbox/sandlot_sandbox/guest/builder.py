"""The program of a builder's jail: zips, or an image, go in, a folder comes out.

Nothing of the tenant's runs here, but its bytes go through a reader of zips, zlib
and Python's compiler, and each of them may have a hole. So what they run in has those
zips, one empty folder, and nothing else that is worth anything. It says one thing in
its life, and the engine believes that within limits only (`host/builder.py`).

Exec'd by the jail's warden, in the interpreter that the bytecode is for.
"""

from __future__ import annotations

import mmap
import os
import sys

if __name__ == "__main__":
    sys.path.insert(0, "/var/runtime")

from sandlot_sandbox import frames
from sandlot_sandbox.guest import image, image_layout
from sandlot_sandbox.guest.bytecode import compile_apart
from sandlot_sandbox.guest.image_run import IMAGE
from sandlot_sandbox.guest.unpacking import OPEN_FOLDER, Refused, unpack

_CHANNEL, _FIRST_PACKAGE = 3, 4


def main(place: str, count: str, *compiles: str) -> None:
    """Build the zips on the `count` descriptors from 4 on in the working directory, for
    it to be mounted at `place`; tell descriptor 3. With bytecode, if asked for it.

    With `IMAGE` for a place it is a container image, whose tag comes down the channel.
    """
    packages = range(_FIRST_PACKAGE, _FIRST_PACKAGE + int(count))
    if place == IMAGE:
        _make_image(_FIRST_PACKAGE)
        return
    root = os.open(".", OPEN_FOLDER)
    try:
        entries, size = unpack([_content(package) for package in packages], root)
    except Refused as refused:
        note = frames.encode_note(
            frames.REFUSED, status=int(refused.too_large), text=str(refused)
        )
    else:
        if compiles:
            compile_apart(entries, root, place, hidden=(_CHANNEL, *packages))
        note = frames.encode_note(frames.BUILT, instance=len(entries), status=size)
    os.write(_CHANNEL, note)


def _make_image(archive: int) -> None:
    # With a byte before it, as an empty datagram would look like hanging up.
    tag = os.read(_CHANNEL, frames.MAX_NOTE)[1:].decode()
    folder = os.open(".", OPEN_FOLDER)
    try:
        made = image.make_root(archive, tag, folder)
    except image_layout.BadImage as bad:
        note = frames.encode_note(frames.REFUSED, text=str(bad))
    else:
        note = frames.encode_note(
            frames.BUILT, instance=made.entries, status=made.size, text=made.sha256
        )
    os.write(_CHANNEL, note)


def _content(package: int) -> bytes | mmap.mmap:
    # Nobody writes to it: it has been renamed to its hash.
    if not os.fstat(package).st_size:
        return b""
    return mmap.mmap(package, 0, access=mmap.ACCESS_READ)


if __name__ == "__main__":
    main(*sys.argv[1:])
