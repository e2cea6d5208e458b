"""Which pages an instance of a zygote has come to by its first event: one of them tells
(`guest/footprint.py`), and those that stand by take them ahead of theirs."""

from collections.abc import Callable

MOST_ASKED = 3
"""Instances of a zygote: who ends instead of telling has run for nothing meanwhile."""

MOST_LOOKS = 20
"""At who was asked, one each time that it would be frozen (`minder.FREEZE_AFTER_S`).
It takes some milliseconds of a processor; what is left then, it does with its next
event."""


class Footprint:
    """Of one zygote's instances; `on_told` is called once it is known."""

    __slots__ = ("_asked", "_looks", "_on_told", "_teller", "pages")

    def __init__(self, on_told: Callable[[], None]) -> None:
        self._on_told = on_told
        self.pages = b""
        """The instances' word, and for them alone; empty while nobody has told."""

        self._teller: object | None = None
        self._asked = 0
        self._looks = 0

    @property
    def is_wanted(self) -> bool:
        """Whether nobody has told, or is to."""
        return self._teller is None and self._asked < MOST_ASKED

    def ask(self, teller: object) -> None:
        """The first is as good as any."""
        self._teller = teller
        self._asked += 1
        self._looks = 0

    def is_due_from(self, teller: object) -> bool:
        """Whether it was asked, and has not told yet."""
        return self._teller is teller

    def has_time(self) -> bool:
        """Whether who was asked may run on, to be looked at again."""
        self._looks += 1
        return self._looks < MOST_LOOKS

    def tell(self, pages: bytes) -> None:
        self.pages = pages
        self._teller = self
        self._on_told()

    def give_up(self) -> None:
        """Who was asked will not tell any more; the next may."""
        self._teller = None
