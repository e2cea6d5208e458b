"""What an instance does between two events, which nobody pays for.

    runs on ──► tells its footprint ──► frozen ⇄ gives back memory
                                          ⇅
                                     takes another's footprint

It runs on for a moment, so that a caller with many events does not pay for a thaw with
each. The first of a zygote that has answered then tells which pages it came to, and
those that stand by take them. Frozen, nothing in it runs until its next event, but once
when it has waited for long, to give back memory. The `Minder` says when. See
`docs/decisions/`: 0012, 0041 and 0043.
"""

import time
from collections.abc import Callable
from typing import Protocol

from sandlot_sandbox import frames
from sandlot_sandbox.host.account import Account
from sandlot_sandbox.host.footprint import Footprint
from sandlot_sandbox.host.hold import Hold
from sandlot_sandbox.host.minder import SHED_S, Minder
from sandlot_sandbox.host.wire import Wire

SPARED_LOOKS = 50
"""How often a program that does not ask for its next event is spared from freezing: for
half a second, as `minder.FREEZE_AFTER_S` has it."""

LATE_LOOKS = 2
"""After so many of them it is at work, and not about to ask."""


class Whose(Protocol):
    """What is needed of the instance."""

    @property
    def is_usable(self) -> bool:
        """Whether it is idle."""
        ...

    def stop(self) -> None: ...

    def end_if_greedy(self) -> None: ...


class Idle:
    """Of one instance, which says when it is idle and when it wakes. The minder's."""

    # There are thousands.
    __slots__ = (
        "_account",
        "_footprint",
        "_hold",
        "_instance",
        "_looks",
        "_minder",
        "_on_thaw",
        "_sheds",
        "_wire",
        "answered_at",
        "frozen_kb",
        "idle_since",
        "is_frozen",
        "is_shedding",
        "shed_left_s",
        "works_on",
    )

    def __init__(
        self,
        instance: Whose,
        wire: Wire,
        *,
        account: Account,
        hold: Hold,
        minder: Minder,
        sheds: bool,
        footprint: Footprint | None,
        on_thaw: Callable[[], None],
    ) -> None:
        self._instance = instance
        self._wire = wire
        self._account = account
        self._hold = hold
        self._minder = minder
        self._sheds = sheds
        """Whether it can give back memory while it waits."""

        self._footprint = footprint
        """Where it is to tell which pages it has, if it is the first; None where that
        is nobody's business."""

        self._on_thaw = on_thaw
        self._looks = 0
        """How often it was found idle, and not waiting, since its last answer."""

        self.answered_at = 0.0
        """`time.monotonic` of the last answer."""

        self.idle_since = 0.0
        """The same, or when it was last spared from freezing since."""

        self.is_frozen = False
        """Whether nothing in it runs; until its next event."""

        self.frozen_kb = 0
        """What it used when it was frozen last; 0 where nobody counts."""

        self.is_shedding = False
        """Whether it was asked to give back memory, and has not answered yet."""

        self.shed_left_s = SHED_S
        """How long it may run for it: the minder's."""

        self.works_on = False
        """Whether it was seen at work after an answer. From then on it is not done
        before it has asked for its next event, and its time counts until then."""

    @property
    def used_kb(self) -> int:
        """What it uses: now, or when it was frozen; 0 where nobody counts."""
        return self.frozen_kb if self.is_frozen else self._hold.used_kb()

    # What its instance says.

    def begin(self) -> None:
        """It is idle, and runs on for a moment."""
        self.idle_since = time.monotonic()
        self._minder.note_idle(self)

    def note_answer(self) -> None:
        """It has answered; whether it is idle is told by `begin`."""
        self._looks = 0
        self.answered_at = time.monotonic()

    def wake(self) -> bool:
        """It has work to do: have it run, if it does not. Whether that could be
        ordered, where it had to be."""
        is_awake = self._thaw()
        self._minder.note_busy(self)
        return is_awake

    def tell_nothing(self) -> None:
        """What it works for is nobody else's: by its pages, one could tell the next
        what it has done. What it has begun to tell is of what it did before."""
        if not self.is_to_tell:
            self._footprint = None

    @property
    def is_to_tell(self) -> bool:
        """Whether its footprint is on the way, or that it has another's."""
        return self._footprint is not None and self._footprint.is_due_from(self)

    def hear(self, answer: frames.Answer) -> bool:
        """Whether it was asked for that."""
        if self.is_shedding and answer.kind == frames.HAS_SHED:
            if self._runs_to_shed:
                self._freeze()
            self.is_shedding = False
            return True
        if answer.kind == frames.FOOTPRINT and self.is_to_tell:
            assert self._footprint is not None  # noqa: S101
            self._footprint.hear(self, answer.payload)
            return True
        return False

    def lend(self) -> None:
        """Somebody else minds it."""
        self.idle_since = time.monotonic()  # so that nobody here freezes it
        self._minder.forget(self)
        self.is_frozen = False
        # Its zygote must run: it reaps what ends.
        self._on_thaw()

    def take_back(self, *, is_frozen: bool) -> None:
        """It is idle, and ours to mind again."""
        self.is_frozen = is_frozen
        if is_frozen:
            self.idle_since = time.monotonic()
            self._note_frozen()
        else:
            self.begin()

    def borrow(self, *, is_frozen: bool, idle_since: float) -> None:
        """It is idle, and ours to mind for a while."""
        self.idle_since = idle_since
        self.is_frozen = is_frozen
        if not is_frozen:
            self.begin()

    def close(self) -> None:
        """It is dead, or given back."""
        if self._footprint is not None:
            self._footprint.give_up(self)
        self._minder.forget(self)

    # What its minder says.

    def freeze_if_idle(self) -> None:
        """Nothing in it runs, until the next event. What cannot be frozen is ended."""
        if self._instance.is_usable:
            if not self._wire.is_waiting and self._looks < SPARED_LOOKS:
                # A program that has answered may be about to exit: it should come to
                # that now, and not with the next event.
                self._looks += 1
                self.works_on |= self._looks == LATE_LOOKS
                self.begin()
                return
            if self._footprint is not None and self._tells(self._footprint):
                self.begin()
                return
            self._freeze()
            self._note_frozen()

    def shed_if_frozen(self) -> bool:
        """Have it give back memory; whether it runs for that. It is frozen again when
        it has, or is to cease."""
        if not (self.is_frozen and self._instance.is_usable):
            return False
        self.is_shedding = self._wire.shed()
        if self.is_shedding:
            # Its zygote sleeps on: should it end now, that is told when it is killed.
            self._run_on()
        return self.is_shedding

    def cease_to_shed(self) -> None:
        """It has had its time for that. What is left, it does before its next event."""
        if self._runs_to_shed:
            self._sheds = False
            self._freeze()

    def end_if_greedy(self) -> None:
        self._instance.end_if_greedy()

    # What its zygote says.

    def take_footprint(self, footprint: Footprint) -> bool:
        """Whether it stands by, and did so before anybody had told: it takes it now."""
        if not (self._account.is_unused and self._instance.is_usable):
            return False
        footprint.hand_on(self)
        self._wire.take_footprint(footprint.pages)
        # Its zygote sleeps on, as where memory is given back.
        if self.is_frozen and not self._run_on():
            return False
        self.begin()
        return True

    # How it is done.

    def _thaw(self) -> bool:
        if not self.is_frozen:
            if self.is_shedding:
                self._on_thaw()  # its zygote was left asleep for that
            return True
        self.is_frozen = False
        is_thawed = self._hold.thaw()
        self._on_thaw()
        return is_thawed

    def _run_on(self) -> bool:
        """For what it has to do without an event; where that cannot be ordered, it is
        ended."""
        self.is_frozen = False
        if self._hold.thaw():
            return True
        self._instance.stop()
        return False

    def _freeze(self) -> None:
        self.is_frozen = self._hold.freeze()
        self.frozen_kb = self._hold.used_kb()
        if not self.is_frozen:
            self._instance.stop()

    def _note_frozen(self) -> None:
        # What is ahead of its first event has its pages so that it has them then.
        if self.is_frozen and self._sheds and not self._account.is_unused:
            self._minder.note_frozen(self)

    @property
    def _runs_to_shed(self) -> bool:
        return self.is_shedding and not self.is_frozen and self._instance.is_usable

    def _tells(self, footprint: Footprint) -> bool:
        """Whether it has just been asked for that, or is at it, or takes another's."""
        if footprint.is_due_from(self):
            return footprint.has_time(self)
        if footprint.is_wanted and not self._account.is_unused and self._wire.look():
            footprint.ask(self)
            return True
        return False
