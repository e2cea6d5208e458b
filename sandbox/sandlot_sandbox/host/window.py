"""How many fork notes may be on their way to a zygote that has not read them.

Each holds a dozen open files of ours, and of those that are on their way the kernel
lets all sockets of a user have only so many. And an instance's time for its init
begins when its note is sent: in a burst of thousands, the last are sent when their turn
comes.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from sandlot_sandbox.host.mail import Mail

MAX_UNREAD = 16
"""Fork notes; enough that a zygote need never wait for the next."""

STUCK_S = 5.0
"""A zygote that reads none of its notes for so long is taken for hostile."""

_LOOK_S = 0.001


class Window:
    """Lets forks through, first come, first served, as the notes before are read.
    `on_stuck` is called when they are not."""

    def __init__(self, mail: Mail, *, on_stuck: Callable[[], None]) -> None:
        self._mail = mail
        self._on_stuck = on_stuck
        self._entered = 0
        """Who may send a note, and has not yet."""

        self._sent = 0
        """Notes since it was last seen to have read all: no more than these are unread.
        """

        self._waiting: deque[asyncio.Future[None]] = deque()
        self._look: asyncio.TimerHandle | None = None

    @property
    def is_stuck(self) -> bool:
        return self._mail.unread_for_s > STUCK_S

    async def enter(self) -> None:
        """Until one more note may be sent; `note_sent` or `leave` has to follow."""
        if not self._waiting and self._room() > 0:
            self._entered += 1
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._look_later()
        try:
            await future
        except asyncio.CancelledError:
            if not future.cancelled():
                self.leave()
            raise

    def note_sent(self) -> None:
        self._entered -= 1
        self._sent += 1

    def leave(self) -> None:
        """Nothing was sent."""
        self._entered -= 1

    def close(self) -> None:
        """Nobody waits any more: what they wait for is gone."""
        if self._look is not None:
            self._look.cancel()
        self._let_in(len(self._waiting))

    def _room(self) -> int:
        if self._entered + self._sent >= MAX_UNREAD and not self._mail.has_unread:
            self._sent = 0
        return MAX_UNREAD - self._entered - self._sent

    def _look_later(self) -> None:
        if self._look is None:
            loop = asyncio.get_running_loop()
            self._look = loop.call_later(_LOOK_S, self._look_again)

    def _look_again(self) -> None:
        self._look = None
        if self.is_stuck:
            self._on_stuck()
            return
        self._let_in(self._room())
        if self._waiting:
            self._look_later()

    def _let_in(self, count: int) -> None:
        while count > 0 and self._waiting:
            future = self._waiting.popleft()
            # Else cancelled a moment ago, and its task has not run since.
            if not future.done():
                future.set_result(None)
                self._entered += 1
                count -= 1
