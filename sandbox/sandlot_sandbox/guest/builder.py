"""The program of a builder's jail: a zip goes in, a folder of files comes out.

Nothing of the tenant's runs here, but its bytes go through a reader of zips, zlib
and Python's compiler, and each of them may have a hole. So what they run in has one
zip, one empty folder, and nothing else that is worth anything. It says one thing in
its life, and the engine believes that within limits only (`host/builder.py`).

Exec'd by the jail's warden, in the interpreter that the bytecode is for.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    sys.path.insert(0, "/var/runtime")

from sandlot_sandbox import frames
from sandlot_sandbox.guest.bytecode import compile_apart
from sandlot_sandbox.guest.unpacking import MAX_ZIPPED, OPEN_FOLDER, Refused, unpack

_CHANNEL, _PACKAGE = 3, 4


def main() -> None:
    """Build the zip on descriptor 4 in the working directory; tell descriptor 3."""
    with open(_PACKAGE, "rb", closefd=False) as package:
        zip_bytes = package.read(MAX_ZIPPED + 1)
    root = os.open(".", OPEN_FOLDER)
    try:
        entries, size = unpack(zip_bytes, root)
    except Refused as refused:
        note = frames.encode_note(
            frames.REFUSED, status=int(refused.too_large), text=str(refused)
        )
    else:
        compile_apart(entries, root, hidden=(_CHANNEL, _PACKAGE))
        note = frames.encode_note(frames.BUILT, instance=len(entries), status=size)
    os.write(_CHANNEL, note)


if __name__ == "__main__":
    main()
