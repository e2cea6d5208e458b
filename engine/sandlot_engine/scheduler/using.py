"""Which revisions are in use: how many invocations are waiting for one, or running."""

import asyncio
from collections import Counter


class Using:
    """Counts invocations by revision, and tells when the last one of a revision is
    over."""

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()
        self._drained: dict[str, asyncio.Event] = {}

    def __len__(self) -> int:
        return len(self._running)

    def begin(self, revision: str) -> None:
        """Once for each `end`."""
        self._running[revision] += 1

    def end(self, revision: str) -> None:
        self._running[revision] -= 1
        if not self._running[revision]:
            del self._running[revision]
            if (drained := self._drained.pop(revision, None)) is not None:
                drained.set()

    def is_used(self, revision: str) -> bool:
        return bool(self._running[revision])

    async def wait_unused(self, revision: str) -> None:
        """Until the last one has ended; only where it is used."""
        await self._drained.setdefault(revision, asyncio.Event()).wait()
