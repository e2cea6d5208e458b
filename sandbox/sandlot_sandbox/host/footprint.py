"""Which pages an instance of a zygote has come to by its first event: one of them tells
(`guest/footprint.py`), and those that stand by take them ahead of theirs."""

from collections.abc import Callable

MOST_ASKED = 3
"""Instances of a zygote: who ends instead of telling has run for nothing meanwhile."""

MOST_LOOKS = 20
"""At who tells or takes, one each time that it would be frozen
(`minder.FREEZE_AFTER_S`). It takes some milliseconds of a processor; what is left then,
it does with its next event."""


class Footprint:
    """Of one zygote's instances; `on_told` is called once it is known."""

    __slots__ = ("_asked", "_is_told", "_looks", "_on_told", "_teller", "pages")

    def __init__(self, on_told: Callable[[], None]) -> None:
        self._on_told = on_told
        self.pages = b""
        """The instances' word, and for them alone; empty while nobody has told."""

        self._is_told = False
        self._teller: object | None = None
        self._asked = 0
        self._looks: dict[object, int] = {}
        """At those that have still to answer."""

    @property
    def is_wanted(self) -> bool:
        """Whether nobody has told, or is to."""
        is_to = self._is_told or self._teller is not None
        return not is_to and self._asked < MOST_ASKED

    def ask(self, teller: object) -> None:
        """The first is as good as any."""
        self._teller = teller
        self._asked += 1
        self._looks[teller] = 0

    def hand_on(self, taker: object) -> None:
        """To one that stood by before it was known, and says when it has it."""
        self._looks[taker] = 0

    def is_due_from(self, other: object) -> bool:
        """Whether it has still to tell, or to say that it has taken."""
        return other in self._looks

    def has_time(self, other: object) -> bool:
        """Whether it may run on for that, to be looked at again."""
        self._looks[other] += 1
        return self._looks[other] < MOST_LOOKS

    def hear(self, other: object, pages: bytes) -> None:
        """It has told, or taken."""
        del self._looks[other]
        if other is self._teller:
            self._is_told = True
            self.pages = pages
            self._on_told()

    def give_up(self, other: object) -> None:
        """It will not answer any more; if it was to tell, the next may."""
        self._looks.pop(other, None)
        if other is self._teller:
            self._teller = None
