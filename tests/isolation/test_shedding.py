"""An instance that waits for long gives back what it has as its zygote has it."""

import pytest

from sandlot_sandbox.host import minder
from tests.isolation.machine import WAIT_S, Sandbox, ask, needs_groups, wait_frozen

pytestmark = pytest.mark.asyncio(loop_scope="session")

_LEAST_KB = 100
_TMP_MB = 64
"""No file may be larger, nor the one with a zygote's memory."""


@needs_groups
async def test_an_instance_that_waits_for_long_has_less(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(minder, "SHED_S", WAIT_S)  # all the time that it takes
    async with sandbox.running("resting", tmp_mb=_TMP_MB) as guest:
        instance = await guest.fork()
        assert await ask(instance, "count") == [1, 20_000]
        await wait_frozen(instance)
        before_kb = instance.idle.frozen_kb

        instance.idle.idle_since -= 3600
        sandbox.launcher.minder._ask_to_shed()  # noqa: SLF001 - as the clock would
        assert not instance.is_frozen
        await wait_frozen(instance)

        assert instance.idle.frozen_kb < before_kb - _LEAST_KB
        assert await ask(instance, "count") == [2, 20_000]
        await instance.destroy()


@needs_groups
async def test_a_zygotes_memory_is_in_a_file_for_its_instances(
    sandbox: Sandbox,
) -> None:
    async with sandbox.running("resting", tmp_mb=_TMP_MB) as guest:
        instance = await guest.fork()
        maps = await ask(instance, "maps")
        await instance.destroy()

    rights = {line.split()[1] for line in maps if "/memfd:zygote" in line}
    assert "rw-p" in rights
    assert rights <= {"rw-p", "r--p"}
