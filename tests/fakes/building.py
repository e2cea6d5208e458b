"""A builder without a jail and without a child: the guest's own code, right here."""

import asyncio
import os
from collections.abc import Sequence

from sandlot_engine.errors import InvalidParameter
from sandlot_engine.model.function import Unpacked
from sandlot_sandbox.guest.unpacking import Refused, unpack


async def build_here(
    runtime: str, packages: Sequence[int], folder: int, *, is_opt: bool = False
) -> Unpacked:
    """A `catalog.building.Build` that compiles nothing."""
    assert runtime.startswith("python3.")
    zips = [os.pread(package, os.fstat(package).st_size, 0) for package in packages]
    try:
        entries, size = await asyncio.to_thread(unpack, zips, folder)
    except Refused as refused:
        raise InvalidParameter(str(refused), field="zip") from refused
    return Unpacked(size=size, entries=len(entries))
