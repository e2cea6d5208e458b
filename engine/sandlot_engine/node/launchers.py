"""The launcher that is there now. When one is lost, the supervisor sends another."""

import asyncio
import logging
import socket

from sandlot_engine.errors import Unavailable
from sandlot_sandbox.errors import LauncherLost
from sandlot_sandbox.host.launcher import Launcher
from sandlot_sandbox.spec import Hello

_REPLACEMENT_S = 10.0
"""How long an invocation waits for a new launcher before it is told to come back."""

log = logging.getLogger(__name__)


class Launchers:
    """One at a time. `hello` is what the newest one found."""

    def __init__(self) -> None:
        self.hello: Hello | None = None
        self._current: Launcher | None = None
        self._changed = asyncio.Condition()
        self._is_closed = False

    async def adopt(self, channel: socket.socket) -> Hello:
        """Take a new launcher into use. Raises `LauncherLost` if it died at once."""
        launcher = Launcher(channel, on_lost=self._note_loss)
        self.hello = await launcher.wait_hello()
        self._current = launcher
        async with self._changed:
            self._changed.notify_all()
        return self.hello

    async def current(self) -> Launcher:
        """Wait for one that is alive. Raises `Unavailable`."""
        if self._current is not None and not self._current.is_lost:
            return self._current
        try:
            async with asyncio.timeout(_REPLACEMENT_S), self._changed:
                await self._changed.wait_for(
                    lambda: self._current is not None and not self._current.is_lost
                )
        except TimeoutError:
            raise Unavailable(
                "the launcher is gone and no new one came; see the engine's log"
            ) from None
        assert self._current is not None  # noqa: S101
        return self._current

    def close(self) -> None:
        """Hang up on the launcher, which kills every jail and exits."""
        self._is_closed = True
        if self._current is not None:
            self._current.close()

    def _note_loss(self) -> None:
        if not self._is_closed:
            log.error(
                "the launcher died, and every instance with it; waiting for a new one"
            )


__all__ = ["LauncherLost", "Launchers"]
