"""What is held as a whole: an instance's memory, and its standing still."""

import asyncio
import errno
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from sandlot_sandbox.host.invocation import OUT_OF_MEMORY
from sandlot_sandbox.host.minder import FREEZE_AFTER_S
from sandlot_sandbox.outcome import Ended
from tests.isolation.groups import (
    VERSIONS,
    control,
    delegated_group,
    group_paths,
    is_frozen,
    trees_of,
)
from tests.isolation.machine import (
    MODES,
    ORDINARY_UID,
    WAIT_S,
    Guest,
    Sandbox,
    Store,
    ask,
    descendants,
    kernel_facts,
    send,
    started,
    wait_gone,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

KINDS = [
    *((mode, kind) for mode in MODES for kind in ("", "v2") if mode == "root"),
    *((mode, "") for mode in MODES if mode == "rootless"),
    *(("rootless", "delegated") for mode in MODES if mode == "root"),
]
"""What a launcher takes by itself, and what v2 has here, which may be no controllers.
An ordinary user has no groups at all, unless they were given to him; here by root."""

LIVE = 3


@pytest_asyncio.fixture(
    scope="session",
    loop_scope="session",
    params=KINDS,
    ids=lambda kind: f"{kind[0]}-{kind[1] or 'usual'}",
)
async def held(request: pytest.FixtureRequest, store: Store) -> AsyncIterator[Sandbox]:
    """A launcher with the groups that it would have, and one with what v2 has here."""
    mode, kind = request.param
    if kind != "delegated":
        async with started(mode, store, cgroups=kind) as sandbox:
            yield sandbox
        return
    with delegated_group(ORDINARY_UID) as folder:
        async with started(mode, store, cgroups="v2", delegated=folder) as sandbox:
            yield sandbox


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode == "root"])
@pytest.mark.parametrize("after", ["", "its first launcher was killed"])
async def test_a_group_that_was_delegated_to_a_user_is_used_and_said_to_be(
    mode: str, after: str, store: Store
) -> None:
    assert mode == "root"
    with delegated_group(ORDINARY_UID) as folder:
        if after:
            async with started("rootless", store, cgroups="v2", delegated=folder) as it:
                it.process.send_signal(signal.SIGKILL)
        start_in = folder / "sandlot.engine" if after else folder
        async with (
            started("rootless", store, cgroups="v2", delegated=start_in) as sandbox,
            sandbox.running("curious") as guest,
        ):
            said, (version, controls) = sandbox.hello, control(sandbox)
            await guest.settle()
            trees = trees_of(sandbox.process.pid)

    (row,) = [layer for layer in said.layers if layer.name == "cgroup"]
    assert (row.holds, said.mode) == (True, "rootless")
    assert (version, "freezer" in controls) == ("v2", True)
    assert [tree.parent for tree in trees] == [folder]


async def test_a_launcher_has_the_groups_that_it_says_it_has(held: Sandbox) -> None:
    version, controls = control(held)
    async with held.running("spinning") as guest:
        assert await guest.ask("count") == "+"
        # Without districts, which owners had before.
        trees = [tree for tree in trees_of(held.process.pid) if "." not in tree.name]

    assert not controls or "freezer" in controls
    assert len(trees) == {"v1": len(controls), "v2": 1, "": 0}[version]


async def test_jails_of_two_owners_have_their_turns_side_by_side(held: Sandbox) -> None:
    version, controls = control(held)
    async with (
        held.running("spinning", owner=1) as one,
        held.running("spinning", owner=2) as other,
    ):
        for guest in (one, other):
            await ask(await guest.fork(), "spin", children=LIVE)
        mine = _inside(held)
        await _eventually(lambda: [pid for pid in mine if not is_frozen(pid)])
        districts = {_district(pid) for pid in mine}
        trees = trees_of(held.process.pid)

    goes_first = held.mode == "root"
    if version == "v2":
        goes_first = (trees[0].parent / "sandlot.engine/cpu.weight").exists()
    assert len(mine) == 2 * (LIVE + 1)
    assert len(districts) == (2 if "cpu" in controls and goes_first else 1)


def _district(pid: int) -> str:
    """Of the launcher's groups, which it is in where processors are dealt out: there
    alone is it another one than in the other hierarchies."""
    found = (
        re.search(r"sandlot-\d+[.\d]*", path) for path in group_paths(pid).values()
    )
    return max((match[0] for match in found if match), key=len, default="")


async def test_an_idle_instance_and_all_its_children_stand_still(held: Sandbox) -> None:
    async with held.running("spinning") as guest:
        instance = await guest.fork()
        await ask(instance, "spin", children=LIVE)
        mine = _inside(held)

        await _eventually(lambda: [pid for pid in mine if not is_frozen(pid)])
        at_first = [_cpu_ticks(pid) for pid in mine]
        # They had a processor all the time, if they could use it.
        await _use_processor(50 * FREEZE_AFTER_S)

        assert len(mine) == LIVE + 1
        assert [_cpu_ticks(pid) for pid in mine] == at_first
        await instance.destroy()
        await wait_gone(mine)


async def test_a_frozen_instance_serves_the_next_event(held: Sandbox) -> None:
    async with held.running("spinning") as guest:
        instance = await guest.fork()
        for _ in range(3):
            assert await ask(instance, "count") == "+"
            await _eventually(lambda: [p for p in _inside(held) if not is_frozen(p)])
        await instance.destroy()


async def test_a_frozen_jail_dies_when_its_zygote_is_killed(held: Sandbox) -> None:
    before = set(descendants(held.process.pid))
    guest = held.make_zygote("spinning")
    await guest.zygote.wait_ready()
    instance = await guest.fork()
    await ask(instance, "spin", children=LIVE)
    await _eventually(lambda: [p for p in _inside(held) if not is_frozen(p)])
    jail = [pid for pid in descendants(held.process.pid) if pid not in before]

    guest.zygote.kill()

    async with asyncio.timeout(WAIT_S):
        await guest.lost.wait()
    await wait_gone(jail)
    assert guest.dead == [instance]


async def test_a_frozen_cell_dies_when_its_first_process_is_killed(
    held: Sandbox,
) -> None:
    async with held.running("spinning") as guest:
        instance = await guest.fork()
        await ask(instance, "spin", children=LIVE)
        mine = _inside(held)
        await _eventually(lambda: [pid for pid in mine if not is_frozen(pid)])

        await instance.destroy()

        await wait_gone(mine)
        assert await guest.ask("count") == "+"


@pytest.mark.parametrize(
    "how", [{"mb": 220}, {"mb": 60, "children": 5}], ids=["alone", "in its children"]
)
async def test_too_much_memory_is_told_as_that(
    held: Sandbox, how: dict[str, Any]
) -> None:
    async with held.running("spinning", memory_mb=128) as guest:
        instance = await guest.fork()
        ending = await send(instance, "hold", **how)
        await guest.wait_death(instance)

        assert (ending.ended, ending.error_type) == (Ended.SIGNALED, OUT_OF_MEMORY)
        assert ending.peak_memory_kb == 128 << 10
        assert await guest.ask("count") == "+"


async def test_files_in_tmp_are_not_the_function_s_memory(held: Sandbox) -> None:
    async with held.running("spinning", memory_mb=128, tmp_mb=200) as guest:
        instance = await guest.fork()

        assert await ask(instance, "fill", mb=190) == "ok"
        assert await ask(instance, "count") == "+"
        await instance.destroy()


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode == "root"])
@pytest.mark.parametrize("kind", VERSIONS)
async def test_a_killed_launcher_leaves_no_group(
    mode: str, kind: str, store: Store
) -> None:
    async with started(mode, store, cgroups=kind) as sandbox:
        await _live_and_freeze(sandbox)
        assert trees_of(sandbox.process.pid)

        sandbox.process.send_signal(signal.SIGKILL)

        await _eventually(lambda: trees_of(sandbox.process.pid))


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode == "root"])
@pytest.mark.parametrize("kind", VERSIONS)
async def test_what_a_launcher_and_its_janitor_left_is_swept_by_the_next(
    mode: str, kind: str, store: Store
) -> None:
    async with started(mode, store, cgroups=kind) as sandbox:
        await _live_and_freeze(sandbox)
        below = descendants(sandbox.process.pid)
        # Or it would have another one.
        sandbox.process.send_signal(signal.SIGSTOP)
        os.kill(_janitor(sandbox), signal.SIGKILL)
        sandbox.process.send_signal(signal.SIGKILL)
        await sandbox.process.wait()
        assert trees_of(sandbox.process.pid)

    # What is frozen does not die before that, in v1.
    async with started(mode, store, cgroups=kind):
        assert trees_of(sandbox.process.pid) == []
        await wait_gone(below)


async def _live_and_freeze(sandbox: Sandbox) -> Guest:
    guest = sandbox.make_zygote("spinning")
    await guest.zygote.wait_ready()
    instance = await guest.fork()
    await ask(instance, "spin", children=LIVE)
    await _eventually(lambda: [p for p in _inside(sandbox) if not is_frozen(p)])
    return guest


def _janitor(sandbox: Sandbox) -> int:
    """The launcher's only child that is in no jail."""
    (pid,) = [
        pid
        for pid in descendants(sandbox.process.pid)
        if len(kernel_facts(pid)["NSpid"].split()) == 1
    ]
    return pid


def _inside(sandbox: Sandbox) -> list[int]:
    """What lives in cells, beside their first processes."""
    found = []
    for pid in descendants(sandbox.process.pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            numbers = kernel_facts(pid)["NSpid"].split()
            if len(numbers) == 3 and numbers[-1] != "1":
                found.append(pid)
    return found


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


async def _use_processor(seconds: float) -> None:
    """This much of a processor's time, while everybody else can run."""
    until = time.process_time() + seconds
    while time.process_time() < until:  # noqa: ASYNC110 - nobody sets an event
        await asyncio.sleep(0)


async def _eventually(left: Callable[[], Sequence[object]]) -> None:
    """Until nothing is left, of what announces its end nowhere."""
    deadline = time.monotonic() + WAIT_S
    while found := left():
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode == "root"])
async def test_what_the_engine_has_of_groups_moves_nobody_but_the_jail_s_own(
    mode: str, store: Store
) -> None:
    async with (
        started(mode, store) as sandbox,
        sandbox.running("curious") as guest,
    ):
        await guest.settle()
        berth = await guest.zygote._cells.take()  # noqa: SLF001 - as a fork does
        hierarchies = len(trees_of(sandbox.process.pid))
        joins = berth.theirs[-hierarchies:]
        refused = []
        for join in joins:
            try:
                os.write(join, str(os.getpid()).encode())
            except OSError as error:
                refused.append(error.errno)
        berth.close()

    assert hierarchies
    assert refused == [errno.EACCES] * hierarchies
