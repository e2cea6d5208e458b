"""Packages for a store of code, and who builds them without a jail."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from sandlot_engine.catalog.code import CodeStore
from sandlot_engine.model.function import FunctionConfig, LayerUse, Unpacked
from tests.fakes.building import build_here
from tests.fakes.zips import zip_of

PACKAGE = zip_of({"app.py": "def handler(event, context): return 1"})
OTHER = zip_of({"other.py": ""})
RUNTIME = "python3.11"


class Builder:
    """Builds without a jail, when it is let to; counts."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.go.set()
        self.began = asyncio.Event()
        self.runtimes: list[str] = []
        self.for_opt: list[bool] = []
        self.at_once = self.most_at_once = 0
        self.error: Exception | None = None
        """Raised after the files were written."""

    async def build(
        self,
        runtime: str,
        packages: Sequence[int],
        folder: int,
        *,
        is_opt: bool = False,
    ) -> Unpacked:
        self.runtimes.append(runtime)
        self.for_opt.append(is_opt)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.began.set()
        try:
            await self.go.wait()
            made = await build_here(runtime, packages, folder)
        finally:
            self.at_once -= 1
        if self.error is not None:
            raise self.error
        return made


async def all_of(codes: CodeStore, sha256: str) -> bytes:
    read = b"".join([piece async for piece in codes.pieces_of(sha256)])
    assert await codes.size_of(sha256) == len(read)
    return read


async def with_layers(codes: CodeStore, *layers: bytes) -> FunctionConfig:
    """The settings of a function that has these layers."""
    kept = [await codes.put_layer(layer, RUNTIME) for layer in layers]
    uses = tuple(
        LayerUse(arn=f"arn:{number}", code=code) for number, code in enumerate(kept)
    )
    return FunctionConfig(handler="app.handler", runtime=RUNTIME, layers=uses)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
