"""Packages are built a few at a time, and tenants share that fairly."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from sandlot_engine.catalog.building import BUILDS
from sandlot_engine.catalog.code import CodeStore
from sandlot_engine.catalog.functions import Functions
from sandlot_engine.catalog.life import Prepared
from sandlot_engine.clock import SystemClock
from sandlot_engine.model.function import (
    Function,
    FunctionConfig,
    FunctionState,
    LayerUse,
    Revision,
    Unpacked,
)
from tests.fakes.stores import MemoryStore
from tests.fakes.waiting import DEADLINE_S, eventually
from tests.fakes.zips import zip_of

CONFIG = FunctionConfig(handler="app.handler", runtime="python3.11")
FLOODING, QUIET = "000000000042", "000000000043"


class SlowBuilder:
    """Builds when it is told to, in the order in which it was asked."""

    def __init__(self) -> None:
        self.asked = asyncio.Semaphore(0)
        self.go: defaultdict[int, asyncio.Event] = defaultdict(asyncio.Event)
        self.begun = 0

    async def build(
        self,
        runtime: str,
        packages: Sequence[int],
        folder: int,
        *,
        is_opt: bool = False,
    ) -> Unpacked:
        number = self.begun
        self.begun += 1
        self.asked.release()
        await self.go[number].wait()
        return Unpacked(size=1, entries=1)


class Ready:
    """A node whose zygotes are there at once, of tenants that may do anything."""

    async def prepare(self, _: Function, __: Revision, ___: Path) -> Prepared:
        return Prepared(fork_safe=True, reason="")

    async def retire(self, *_: str) -> None: ...

    def concurrency(self, _: str) -> int:
        return 1_000

    def grant_network(self, *_: object) -> None: ...


@asynccontextmanager
async def _built_by(builder: SlowBuilder, folder: Path) -> AsyncIterator[Functions]:
    async with (
        CodeStore(folder / "code", build=builder.build) as codes,
        Functions(
            MemoryStore(),
            codes,
            clock=SystemClock(),
            runtimes=lambda: ["python3.11"],
            node=Ready(),
            tenants=Ready(),
        ) as functions,
    ):
        yield functions


async def test_one_tenants_packages_do_not_keep_another_s_waiting(
    tmp_path: Path,
) -> None:
    builder = SlowBuilder()
    async with (
        _built_by(builder, tmp_path) as functions,
        asyncio.timeout(DEADLINE_S),
        asyncio.TaskGroup() as group,
    ):
        for number in range(3 * BUILDS):
            package = zip_of({"app.py": str(number)})
            group.create_task(
                functions.create(FLOODING, f"flood-{number}", CONFIG, package)
            )
        await builder.asked.acquire()

        quiet = group.create_task(
            functions.create(QUIET, "quiet", CONFIG, zip_of({"app.py": "quiet"}))
        )
        # The second to be asked for, though many of the other's had come before.
        await builder.asked.acquire()
        builder.go[1].set()

        assert (await quiet).tenant_id == QUIET
        assert builder.begun == 2

        # And the others get theirs.
        for number in range(1 + 3 * BUILDS):
            builder.go[number].set()


async def _all_active(functions: Functions) -> bool:
    found, _ = await functions.list(FLOODING)
    return all(each.state is FunctionState.ACTIVE for each in found)


async def test_layers_that_are_merged_are_a_build_of_their_tenant_s(
    tmp_path: Path,
) -> None:
    """Also those of a function that is deleted meanwhile: they are built to the end."""
    builder = SlowBuilder()
    async with (
        _built_by(builder, tmp_path) as functions,
        asyncio.timeout(DEADLINE_S),
        asyncio.TaskGroup() as group,
    ):
        for number in range(3):
            builder.go[number].set()
        one, two = [
            await functions.layers.publish(FLOODING, name, zip_of({name: ""}))
            for name in ("one", "two")
        ]
        package, orders = zip_of({"app.py": ""}), ((one, two), (two, one), (one,))
        for number in range(len(orders)):
            await functions.create(FLOODING, f"flood-{number}", CONFIG, package)
        await eventually(lambda: _all_active(functions))
        for number, layers in enumerate(orders):
            uses = tuple(LayerUse(arn=each.name, code=each.code) for each in layers)
            await functions.update_configuration(
                FLOODING, f"flood-{number}", {"layers": uses}
            )
        for _ in range(4):
            await builder.asked.acquire()
        group.create_task(functions.delete(FLOODING, "flood-0"))

        quiet = group.create_task(
            functions.create(QUIET, "quiet", CONFIG, zip_of({"app.py": "quiet"}))
        )
        await builder.asked.acquire()
        builder.go[4].set()

        assert (await quiet).tenant_id == QUIET
        for number in range(3, 10):
            builder.go[number].set()
