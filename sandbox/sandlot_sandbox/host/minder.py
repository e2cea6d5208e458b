"""Minds all instances of a launcher: idle ones are frozen, greedy ones ended.

An instance that has answered runs on for a moment, so that a caller with many events
does not pay for a thaw with each; then nothing in it runs until its next event. One
that has waited for longer is asked to give back memory, once, and let go for that. And
the memory of those that are busy is looked at, because /tmp is memory as well, and
the kernel can only limit both together.
"""

import asyncio
import time
from collections import deque
from itertools import islice
from typing import Protocol

FREEZE_AFTER_S = 0.01
"""How long an idle instance runs on."""

FREEZE_EVERY_S = 0.005
"""Between two looks whose time that is: where thousands answer in a second, not one for
each."""

SHED_AFTER_S = 5.0
"""How long it was idle when it is asked to give back memory."""

SHED_S = 0.5
"""How long it may run for that, which takes a millisecond or two of a processor; who
needs longer is not asked again. After a burst one of ten has not had that in 0.1 s.
Nobody pays for it, so it may once, and not each time: what it takes is taken off."""

MORE_SHED_S = 0.04
"""What each time gives back of that: two looks, as it is found at one that it has."""

SHEDDING = 4
"""Instances that do at once: more would keep one another from being done in time."""

SHED_EVERY_S = 0.02
"""Between two looks who is done, and whose turn it is. Nobody waits for it."""

LOOK_S = 0.05
"""Between two looks at the memory of busy instances."""

AT_A_LOOK = 64
"""So many of them, each in its turn: where thousands are busy, looking at them must not
be what the engine does. What the kernel limits, it limits all the same."""

LOOKING_PART = 20
"""Nor where it takes long, as in a burst: a twentieth of the time at most."""

AT_LEAST_EVERY_S = 1.0
"""However long a look took: it may have been for another reason."""


class Minded(Protocol):
    """What a minder needs of an instance."""

    @property
    def idle_since(self) -> float: ...

    @property
    def is_shedding(self) -> bool: ...

    shed_left_s: float

    def freeze_if_idle(self) -> None: ...

    def shed_if_frozen(self) -> bool: ...

    def cease_to_shed(self) -> None: ...

    def end_if_greedy(self) -> None: ...


class Minder:
    """One for each launcher."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._idle: deque[tuple[float, Minded]] = deque()
        self._freezing: asyncio.TimerHandle | None = None
        self._frozen: dict[Minded, None] = {}
        """Those that have memory to give back, first those that are so for longest."""

        self._shedding: dict[Minded, float] = {}
        """Since when."""

        self._asking: asyncio.TimerHandle | None = None
        self._busy: dict[Minded, None] = {}
        """First those that were not looked at for longest."""

        self._looking: asyncio.TimerHandle | None = None

    def note_idle(self, instance: Minded) -> None:
        """It has become idle just now."""
        self._busy.pop(instance, None)
        self._idle.append((instance.idle_since, instance))
        if self._freezing is None:
            self._freezing = self._loop.call_later(FREEZE_AFTER_S, self._freeze_due)

    def note_frozen(self, instance: Minded) -> None:
        """It is, since its last answer, and may have memory to give back."""
        self._frozen.pop(instance, None)
        self._frozen[instance] = None
        if self._asking is None:
            self._asking = self._loop.call_later(SHED_AFTER_S, self._ask_to_shed)

    def note_busy(self, instance: Minded) -> None:
        """It may use memory from now on."""
        self._frozen.pop(instance, None)
        self._busy.setdefault(instance)
        if self._looking is None:
            self._looking = self._loop.call_later(LOOK_S, self._look)

    def forget(self, instance: Minded) -> None:
        """It is dead, or somebody else minds it."""
        self._frozen.pop(instance, None)
        self._shedding.pop(instance, None)
        self._busy.pop(instance, None)

    def _freeze_due(self) -> None:
        self._freezing = None
        now = time.monotonic()
        while self._idle:
            since, instance = self._idle[0]
            if (left := since + FREEZE_AFTER_S - now) > 0:
                delay_s = max(FREEZE_EVERY_S, left)
                self._freezing = self._loop.call_later(delay_s, self._freeze_due)
                return
            self._idle.popleft()
            # One that was busy since comes again, with its own time.
            if instance.idle_since == since:
                instance.freeze_if_idle()

    def _ask_to_shed(self) -> None:
        self._asking = None
        now = time.monotonic()
        for instance, since in list(self._shedding.items()):
            left_s = instance.shed_left_s - (now - since)
            if not instance.is_shedding or left_s < 0:
                del self._shedding[instance]
                instance.shed_left_s = min(SHED_S, max(0.0, left_s) + MORE_SHED_S)
                instance.cease_to_shed()
        left = 0.0
        for instance in list(islice(self._frozen, SHEDDING - len(self._shedding))):
            if (left := instance.idle_since + SHED_AFTER_S - now) > 0:
                break
            del self._frozen[instance]
            if instance.shed_if_frozen():
                self._shedding[instance] = now
        if self._shedding or self._frozen:
            delay_s = SHED_EVERY_S if self._shedding else max(SHED_EVERY_S, left)
            self._asking = self._loop.call_later(delay_s, self._ask_to_shed)

    def _look(self) -> None:
        self._looking = None
        began = time.monotonic()
        for instance in list(islice(self._busy, AT_A_LOOK)):
            if instance in self._busy:
                self._busy[instance] = self._busy.pop(instance)
                instance.end_if_greedy()
        if self._busy:
            took_s = time.monotonic() - began
            pause_s = max(LOOK_S, min(took_s * LOOKING_PART, AT_LEAST_EVERY_S))
            self._looking = self._loop.call_later(pause_s, self._look)
