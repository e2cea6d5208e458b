"""The instances that live: started, found by their numbers, and let go.

`ClusterState` knows them by these numbers alone. Here nothing is decided.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from sandlot_engine.model.function import Function, Revision
from sandlot_engine.scheduler.decisions import Decision
from sandlot_engine.scheduler.ports import Instance, Machine
from sandlot_engine.scheduler.state import ClusterState


@dataclass(frozen=True, slots=True)
class Live:
    """One of them."""

    instance: Instance
    revision: str
    version: str


class LiveInstances:
    """Of one scheduler. `note_gone` is told the revision of what ended by itself, and
    `note_unused` that of what did so before anybody used it, with how long its init
    took."""

    def __init__(
        self,
        state: ClusterState,
        machine: Machine,
        *,
        act: Callable[[list[Decision]], None],
        note_gone: Callable[[str], None],
        note_unused: Callable[[str, float], None],
    ) -> None:
        self._state = state
        self._machine = machine
        self._act = act
        self._note_gone = note_gone
        self._note_unused = note_unused
        self._numbers = itertools.count(1)
        self._live: dict[int, Live] = {}
        self._fresh: dict[int, float | None] = {}
        """Started ahead, and nobody has used them; how long their inits took, of those
        that are ready."""

    def __len__(self) -> int:
        return len(self._live)

    def __getitem__(self, number: int) -> Instance:
        return self._live[number].instance

    def find(self, number: int) -> Instance | None:
        live = self._live.get(number)
        return live.instance if live is not None else None

    def count_of(self, revision: str) -> int:
        """Whomever they are for."""
        return sum(each.revision == revision for each in self._live.values())

    def idle_of(self, revision: str) -> list[int]:
        """Whomever they are for."""
        live = self._live.values()
        versions = {each.version for each in live if each.revision == revision}
        return [number for each in versions for number in self._state.idle_of(each)]

    def note_used(self, number: int) -> None:
        """Somebody was given it."""
        self._fresh.pop(number, None)

    def note_ready(self, number: int, *, init_s: float) -> None:
        """One that was started ahead is."""
        if number in self._fresh:
            self._fresh[number] = init_s

    async def start(
        self,
        function: Function,
        revision: Revision,
        version: str,
        *,
        ahead: bool = False,
    ) -> int | None:
        """One for which the state keeps a place, and tell it how that went. Its number;
        None where it could not be had now. Raises as `Machine.start` does."""
        number = next(self._numbers)
        wanted, there = self._state.kept_of(version)
        try:
            instance = await self._machine.start(
                function,
                revision,
                on_death=lambda: self.note_death(number),
                is_ahead=ahead,
                is_kept=ahead and there < wanted,
            )
        except BaseException:
            self._act(self._state.start_ended(version, None, ahead=ahead))
            raise
        if instance is None:
            self._act(self._state.start_ended(version, None, ahead=ahead))
            return None
        self._live[number] = Live(instance, revision.id, version)
        if ahead:
            self._fresh[number] = None
        self._act(self._state.start_ended(version, number, ahead=ahead))
        return number

    def note_death(self, number: int) -> None:
        """It ended by itself; telling twice does no harm."""
        live = self._live.pop(number, None)
        if live is None:
            return
        was_used = number not in self._fresh
        init_s = self._fresh.pop(number, None)
        if init_s is not None:
            self._note_unused(live.revision, init_s)
        self._act(self._state.instance_died(number, was_used=was_used))
        self._note_gone(live.revision)

    def drop(self, number: int) -> None:
        """Destroy one that the state has forgotten; harmless if it is dead."""
        self._fresh.pop(number, None)
        if (live := self._live.pop(number, None)) is not None:
            live.instance.stop()

    def let_go(self, number: int, instance: Instance | None) -> None:
        """Destroy one that was to be used, or is not to be used any more."""
        self._fresh.pop(number, None)
        self._act(self._state.instance_died(number))
        self._live.pop(number, None)
        if instance is not None:
            instance.stop()

    def retire(self, numbers: list[int]) -> None:
        """Destroy these."""
        for number in numbers:
            self.let_go(number, self.find(number))
