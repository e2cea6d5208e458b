"""What a zygote may say, and what of it was said: every note comes once.

Nobody may have us read without end.
"""

import asyncio

from sandlot_sandbox import frames
from sandlot_sandbox.errors import ZygoteLost
from sandlot_sandbox.spec import ZygoteDied


class Notes:
    """Those of one zygote. Both futures raise `ZygoteLost` where it has died before."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.started: asyncio.Future[None] = loop.create_future()
        """Its interpreter has."""

        self.ready: asyncio.Future[frames.Note] = loop.create_future()
        """It may be forked; or not, and why."""

        self._unreported: set[int] = set()
        """Forks of which it may still say, once, how they ended."""

    @property
    def unreported(self) -> int:
        return len(self._unreported)

    def expect(self, instance: int) -> None:
        """One of these is due: how that instance ended."""
        self._unreported.add(instance)

    def hear(self, datagram: bytes) -> frames.Note:
        """Raises `Violation` for what is no note, or not due."""
        note = frames.decode_note(datagram)
        if note.kind == frames.ZYGOTE_STARTED:
            if self.started.done():
                raise frames.Violation("started twice")
            self.started.set_result(None)
        elif note.kind in (frames.ZYGOTE_READY, frames.ZYGOTE_UNSAFE):
            if self.ready.done() or not self.started.done():
                raise frames.Violation("ready twice, or before it started")
            self.ready.set_result(note)
        elif note.instance not in self._unreported:
            raise frames.Violation(f"a note on instance {note.instance}")
        else:
            self._unreported.remove(note.instance)
        return note

    def end(self, died: ZygoteDied) -> None:
        """It will say nothing more."""
        # Else it is not the import's doing, whatever it was.
        has_begun = died.started and self.started.done()
        for awaited in (self.started, self.ready):
            if not awaited.done():
                awaited.set_exception(
                    ZygoteLost(died.detail, started=has_begun, killed=died.killed)
                )
                # Nobody may be waiting any more.
                awaited.exception()
