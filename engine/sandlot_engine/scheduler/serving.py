"""Since when instances serve: only of versions whose starts are slow enough for it to
be worth waiting for one of them."""

from collections.abc import Iterator

from sandlot_engine.scheduler.history import History

HOLD_S = 0.005
"""Starts that take less are not worth waiting for another's instance."""


class Serving:
    """By version and instance. What is told is forgotten with `forget`."""

    def __init__(self) -> None:
        self._since: dict[str, dict[int, float]] = {}
        self._versions: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._versions)

    def note(self, version: str, instance: int, since: float) -> None:
        """It serves an invocation since then; one that has to start first, since a time
        to come."""
        self._versions[instance] = version
        self._since.setdefault(version, {})[instance] = since

    def forget(self, instance: int) -> None:
        """It serves no more; harmless if nobody said that it did."""
        version = self._versions.pop(instance, None)
        if version is not None:
            since = self._since[version]
            del since[instance]
            if not since:
                del self._since[version]

    def ran(self, version: str, now: float) -> Iterator[float]:
        """For how many seconds each has served, below 0 for those to come."""
        return (now - since for since in self._since.get(version, {}).values())

    def hold_s(
        self, history: History, version: str, now: float, *, ahead: int
    ) -> float:
        """How long to wait for one of them, after `ahead` others, rather than start
        another: 0 where none is likely to be free sooner than that would be ready."""
        if history.start_s <= HOLD_S:
            return 0.0
        free_in_s = history.free_in_s(self.ran(version, now), ahead=ahead)
        # Whoever was told wrongly has lost no more than one start takes.
        return free_in_s if free_in_s < history.start_s else 0.0
