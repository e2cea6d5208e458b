"""Zygotes and instances that a test makes ready, and ends, as it likes."""

import asyncio
from collections.abc import Callable

from sandlot_sandbox.errors import SandboxError, ZygoteLost
from sandlot_sandbox.host.crowd import Crowd
from sandlot_sandbox.host.recipe import Obstacle, Recipe


class FakeInstance:
    """Idle until a test says otherwise."""

    def __init__(self, on_death: Callable[["FakeInstance"], None]) -> None:
        self.is_usable = True
        self.is_stopped = self.has_farewell = False
        self.last_words: tuple[object, ...] = ()
        self.on_death = on_death

    def stop(self) -> None:
        self.is_stopped = True
        self.is_usable = False


class FakeZygote:
    """What `wait_ready` waits for, `be_ready` or `fail` tell; `die` is its death."""

    def __init__(
        self,
        recipe: Recipe,
        on_lost: Callable[["FakeZygote"], None],
        crowd: Crowd | None = None,
    ) -> None:
        self.recipe = recipe
        self.crowd = crowd
        self.reason = ""
        self.obstacle = Obstacle.NONE
        self.is_lost = False
        self.lost_with_launcher = False
        self.is_killed = False
        self.is_leaving = False
        self.instances: list[FakeInstance] = []
        self._on_lost = on_lost
        self._ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    @property
    def imports(self) -> bool:
        return bool(self.recipe.settings["import_in_zygote"])

    def be_ready(self, reason: str = "", obstacle: Obstacle = Obstacle.UNSAFE) -> None:
        self.reason = reason
        self.obstacle = obstacle if reason else Obstacle.NONE
        self._ready.set_result(not reason)

    def fail(self, error: SandboxError) -> None:
        self._ready.set_exception(error)
        self.die()

    def die(self) -> None:
        self.is_lost = True
        if not self._ready.done():
            self._ready.set_exception(ZygoteLost("it was killed"))
            self._ready.exception()
        for instance in list(self.instances):
            instance.stop()
            instance.on_death(instance)
        self._on_lost(self)

    # As the real one.

    used_kb = 0
    has_heirs = False

    cells = 0
    """That wait for a crowd."""

    def drop_kept(self) -> int:
        self.has_heirs = False
        cells, self.cells = self.cells, 0
        return cells

    async def wait_ready(self) -> bool:
        return await asyncio.shield(self._ready)

    def take_printed(self) -> tuple[tuple[object, ...], int]:
        return (), 0

    def prepare_cells(self) -> None:
        """They cost nothing here."""

    async def fork(
        self,
        *,
        on_death: Callable[[FakeInstance], None],
        is_ahead: bool = False,
        is_kept: bool = False,
    ) -> FakeInstance:
        self.instances.append(FakeInstance(on_death))
        return self.instances[-1]

    def kill(self) -> None:
        self.is_killed = True

    def kill_gently(self) -> None:
        for instance in self.instances:
            instance.stop()
        self.kill()

    def kill_when_empty(self) -> None:
        self.is_leaving = True


class FakeZygotes:
    """Stands in for the class `Zygote`: whom it has made, in their order."""

    def __init__(self) -> None:
        self.made: asyncio.Queue[FakeZygote] = asyncio.Queue()

    def __call__(
        self,
        _launcher: object,
        recipe: Recipe,
        *,
        on_lost: Callable[[FakeZygote], None],
        crowd: Crowd,
    ) -> FakeZygote:
        zygote = FakeZygote(recipe, on_lost, crowd)
        self.made.put_nowait(zygote)
        return zygote
