"""`kill -9` of each process in turn: nothing of it survives, and the engine goes on.

A function of two instances, one busy and one idle, each with a child and a daemon of
its own, and beside it another function that should notice nothing.
"""

import contextlib
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import uuid4

import pytest

from sandlot import Client, FunctionHandle, Reply, errors
from tests.e2e import processes
from tests.e2e.bills import bill_of
from tests.e2e.conftest import deploy_guest
from tests.e2e.engines import WORKERS, Engine, Mode, new_engine
from tests.e2e.processes import Family, Process, Role
from tests.e2e.waiting import DEADLINE_S, wait_until

_RELATIVES = 2
"""Processes that one instance of `family` starts."""

_SPARE_CELLS = 4
"""That the engine keeps ready for each zygote."""


class Victim(StrEnum):
    """Which process is killed."""

    SUPERVISOR = "supervisor"
    ENGINE = "engine"
    LAUNCHER = "launcher"
    WARDEN = "warden"
    ZYGOTE = "zygote"
    BUSY_CELL = "cell of the busy instance"
    IDLE_CELL = "cell of the idle instance"
    BUSY_INSTANCE = "busy instance"
    IDLE_INSTANCE = "idle instance"


IN_THE_JAIL = tuple(Victim)[3:]
OF_THE_BUSY = (Victim.BUSY_CELL, Victim.BUSY_INSTANCE)
OF_THE_IDLE = (Victim.IDLE_CELL, Victim.IDLE_INSTANCE)


@dataclass
class Stage:
    """An engine under way: see the top of the file."""

    engine: Engine
    client: Client
    function: FunctionHandle
    bystander: FunctionHandle
    census: Counter[str] = field(init=False)
    """Before the busy and the idle instance were there: of each function one."""

    busy: "Future[Reply]" = field(init=False)
    busy_client: Client = field(init=False)
    busy_mark: str = field(default_factory=lambda: uuid4().hex)
    idle_mark: str = field(default_factory=lambda: uuid4().hex)
    idle_instance: str = field(init=False)

    @property
    def family(self) -> Family:
        return processes.family_of(self.engine.pid)

    def instance(self, mark: str) -> Process:
        """The instance whose relatives are marked so."""
        family = self.family
        (found,) = (
            above
            for relative in family.marked(mark)
            if family.roles[(above := family.parent_of(relative)).pid] is Role.INSTANCE
        )
        return found

    def cell(self, mark: str) -> Process:
        """Its cell: what the daemon has become a child of."""
        family = self.family
        (found,) = (
            above
            for relative in family.marked(mark)
            if family.roles[(above := family.parent_of(relative)).pid] is Role.CELL
        )
        return found

    def victim(self, victim: Victim) -> tuple[Process, list[Process]]:
        """The process, and all that has to die with it."""
        family = self.family
        zygote = family.parent_of(self.instance(self.busy_mark))
        warden = family.parent_of(zygote)
        match victim:
            case Victim.SUPERVISOR | Victim.ENGINE:
                found = family.only(Role(victim.value))
                return found, list(family.members.values())
            case Victim.LAUNCHER:
                found = family.only(Role.LAUNCHER)
                return found, family.below(found)
            case Victim.WARDEN | Victim.ZYGOTE:
                found = warden if victim is Victim.WARDEN else zygote
                return found, family.below(warden)
            case _:
                mark = self.busy_mark if victim in OF_THE_BUSY else self.idle_mark
                cell, instance = self.cell(mark), self.instance(mark)
                is_cell = victim in (Victim.BUSY_CELL, Victim.IDLE_CELL)
                return cell if is_cell else instance, family.below(cell, instance)


@pytest.fixture
def counted_engine(mode: Mode) -> Iterator[Engine]:
    """One that has no instances but those that were asked for: they are counted."""
    with new_engine(mode) as engine:
        engine.start("--standbys", "0")
        yield engine


@pytest.fixture
def stage(counted_engine: Engine) -> Iterator[Stage]:
    client = counted_engine.client()
    stage = Stage(
        engine=counted_engine,
        client=client,
        function=deploy_guest(client, "family", timeout=900),
        bystander=deploy_guest(client, "counter"),
    )
    stage.function.invoke()
    stage.bystander.invoke()
    wait_until(lambda: _has_its_spare_cells(stage), "each zygote has its spare cells")
    stage.census = _census(stage)
    stage.busy_client = counted_engine.client()
    with ThreadPoolExecutor(1) as pool:
        event = {"mark": stage.busy_mark, "hold": True}
        stage.busy = pool.submit(
            stage.busy_client.invoke, stage.function.name, event, deadline=600
        )
        _wait_for_relatives(stage, stage.busy_mark)
        idle = stage.function.invoke({"mark": stage.idle_mark})
        stage.idle_instance = idle.value["instance"]
        _wait_for_relatives(stage, stage.idle_mark)
        try:
            yield stage
        finally:
            stage.busy_client.close()


@pytest.mark.parametrize("victim", IN_THE_JAIL, ids=str)
def test_what_is_killed_in_a_jail_is_replaced_and_leaves_nothing(
    stage: Stage, victim: Victim
) -> None:
    target, doomed = stage.victim(victim)
    namespaces = processes.namespaces_of(doomed) - _namespaces_of_others(stage, doomed)
    theirs = processes.within(namespaces)

    os.kill(target.pid, signal.SIGKILL)

    processes.wait_gone(doomed)
    _expect_the_right_answers(stage, victim)
    assert stage.bystander.invoke().value["count"] == 2, "the bystander was disturbed"
    stage.busy_client.close()
    if victim in OF_THE_BUSY:
        # The idle one is still there, and so is what it started.
        stage.census[Role.TENANTS] += _RELATIVES
    # Whoever ended at work, by its death or with its caller, leaves its /tmp.
    _wait_for_census(stage, may_have_heir=True)
    assert processes.alive(theirs) == []
    assert processes.strays(stage.busy_mark) == []
    if victim not in OF_THE_BUSY:
        assert processes.strays(stage.idle_mark) == []


def test_a_killed_launcher_is_replaced_and_leaves_nothing(stage: Stage) -> None:
    launcher, doomed = stage.victim(Victim.LAUNCHER)
    survivors = stage.family.of_role(Role.SUPERVISOR) + stage.family.of_role(
        Role.ENGINE
    )
    theirs = processes.within(processes.namespaces_of(doomed))

    os.kill(launcher.pid, signal.SIGKILL)

    processes.wait_gone(doomed)
    with pytest.raises(errors.Internal):
        stage.busy.result(DEADLINE_S)
    assert stage.function.invoke().value["count"] == 1
    assert stage.bystander.invoke().value["count"] == 1
    assert len(processes.alive(survivors)) == len(survivors)
    stage.busy_client.close()
    _wait_for_census(stage)
    assert processes.alive(theirs) == []
    assert processes.strays(stage.busy_mark, stage.idle_mark) == []


@pytest.mark.parametrize("victim", [Victim.SUPERVISOR, Victim.ENGINE], ids=str)
def test_a_killed_engine_leaves_nothing_and_starts_again(
    stage: Stage, victim: Victim
) -> None:
    target, doomed = stage.victim(victim)
    theirs = processes.within(processes.namespaces_of(doomed))
    mounts = processes.mounts_of("self")

    os.kill(target.pid, signal.SIGKILL)

    assert stage.engine.wait() != 0
    processes.wait_gone(doomed)
    with pytest.raises(errors.ConnectionFailed):
        stage.busy.result(DEADLINE_S)
    assert processes.alive(theirs) == []
    assert processes.mounts_of("self") == mounts
    marks = (stage.busy_mark, stage.idle_mark, str(stage.engine.data))
    assert processes.strays(*marks) == []

    stage.engine.start()
    reply = stage.engine.client().invoke(stage.function.name)
    assert reply.value["count"] == 1


def test_an_engine_whose_processes_are_killed_under_load_goes_on(
    fresh_engine: Engine,
) -> None:
    client = fresh_engine.client()
    function = deploy_guest(client, "counter")
    stop = threading.Event()

    def load() -> Counter[str]:
        seen = Counter[str]()
        while not stop.is_set():
            try:
                function.invoke(deadline=DEADLINE_S)
                seen["answered"] += 1
            except errors.SandlotError as error:
                seen[type(error).__name__] += 1
        return seen

    with ThreadPoolExecutor(4) as pool:
        loads = [pool.submit(load) for _ in range(4)]
        try:
            for role in (Role.INSTANCE, Role.CELL, Role.ZYGOTE, Role.WARDEN) * 2:
                _kill_one(fresh_engine, role)
            _kill_one(fresh_engine, Role.LAUNCHER)
            wait_until(
                lambda: processes.family_of(fresh_engine.pid).of_role(Role.INSTANCE),
                "a new launcher has a new instance",
            )
        finally:
            stop.set()
    seen = sum((one.result() for one in loads), Counter[str]())

    assert seen["answered"] > 0
    assert seen.keys() <= {"answered", "Crashed", "Internal", "Unavailable"}
    assert function.invoke().value["count"] >= 1
    billed = {line.function: line.invocations for line in bill_of(client).lines}
    assert billed[function.name] == len(list(function.runs()))


def _kill_one(engine: Engine, role: Role) -> None:
    """Kill the oldest process of a role, and wait until it is gone."""
    found = wait_until(
        lambda: processes.family_of(engine.pid).of_role(role), f"there is a {role}"
    )
    with contextlib.suppress(ProcessLookupError):
        os.kill(found[0].pid, signal.SIGKILL)
    processes.wait_gone(found[:1])


def _expect_the_right_answers(stage: Stage, victim: Victim) -> None:
    """Who was killed, crashed; who was not, is still there with what it knew."""
    if victim in OF_THE_IDLE:
        again = stage.function.invoke().value
        assert again["count"] == 1
        assert again["instance"] != stage.idle_instance
        assert not stage.busy.done()
        return
    with pytest.raises(errors.Crashed, match="signal: killed") as caught:
        stage.busy.result(DEADLINE_S)
    assert caught.value.type == "Runtime.ExitError"
    again = stage.function.invoke().value
    if victim in OF_THE_BUSY:
        assert again == {"count": 2, "instance": stage.idle_instance}
    else:
        assert again["count"] == 1
        assert again["instance"] != stage.idle_instance


def _wait_for_relatives(stage: Stage, mark: str) -> None:
    def are_there() -> bool:
        family = stage.family
        relatives = family.marked(mark)
        parents = {family.roles.get(relative.parent) for relative in relatives}
        # The daemon's own parent has ended by then.
        return len(relatives) == _RELATIVES and parents == {Role.INSTANCE, Role.CELL}

    wait_until(are_there, "an instance has its child and its daemon")


def _has_its_spare_cells(stage: Stage) -> bool:
    family = stage.family
    spare = _SPARE_CELLS * len(family.of_role(Role.ZYGOTE))
    cells, instances = family.of_role(Role.CELL), family.of_role(Role.INSTANCE)
    # A cell is there a moment before the engine has what belongs to it.
    seen = processes.descriptors_of(family.only(Role.ENGINE))
    is_held = not seen or seen["mnt"] == spare
    return len(cells) == len(instances) + spare and is_held


def _namespaces_of_others(stage: Stage, doomed: list[Process]) -> set[str]:
    """Those that do not die with `doomed`: a cell's in its zygote's jail."""
    identities = {process.identity for process in doomed}
    members = stage.family.members.values()
    return processes.namespaces_of(
        [process for process in members if process.identity not in identities]
    )


def _census(stage: Stage) -> Counter[str]:
    """What there is of an engine: its processes and what they hold."""
    family = stage.family
    found = Counter(str(role) for role in family.roles.values())
    namespaces = processes.namespaces_of(family.members.values())
    found.update(f"a {name.partition(':')[0]} namespace" for name in namespaces)
    for role in (Role.ENGINE, Role.LAUNCHER):
        process = family.only(role)
        for kind, count in processes.descriptors_of(process).items():
            if kind == "socket" and WORKERS and role is Role.ENGINE:
                continue  # what workers forward comes over more of them or fewer
            found[f"the {role}'s {kind}"] = count
        found[f"the {role}'s mounts"] = processes.mounts_of(process.pid)
    found["mounts"] = processes.mounts_of("self")
    return found


_OF_AN_HEIR = {
    **dict.fromkeys(("cell", "the launcher's pidfd"), (1,)),
    **dict.fromkeys((f"a {kind} namespace" for kind in ("pid", "net", "mnt")), (1,)),
    **dict.fromkeys((f"the engine's {kind}" for kind in ("pid", "net", "mnt")), (1,)),
    "the engine's socket": (2,),
    # Where no control group freezes it, there is a leash.
    "the engine's pipe": (2, 3),
}
"""What a cell takes that waits for its instance."""


def _wait_for_census(stage: Stage, *, may_have_heir: bool = False) -> None:
    """Wait until there is what there was before, no more and no less; but for one cell
    with the /tmp of an instance that ended, perhaps."""
    difference: dict[str, tuple[int, int]] = {}

    def is_as_before() -> bool:
        nonlocal difference
        with contextlib.suppress(ValueError):  # a role is between two processes
            now = _census(stage)
            difference = {
                name: (stage.census[name], now[name])
                for name in stage.census.keys() | now.keys()
                if stage.census[name] != now[name]
            }
            more = {
                name: after - before for name, (before, after) in difference.items()
            }
            is_an_heir = may_have_heir and all(
                count in _OF_AN_HEIR.get(name, ()) for name, count in more.items()
            )
            return not difference or (is_an_heir and "cell" in more)
        return False

    wait_until(
        is_as_before,
        "all is as it was before the kill, but for (before, now):",
        shown=lambda: difference,
    )
