"""The launcher that is there now. When one is lost, the supervisor sends another."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sandlot_engine.errors import Troubled
from sandlot_sandbox.errors import LauncherLost
from sandlot_sandbox.host.launcher import Launcher
from sandlot_sandbox.host.mail import Mail
from sandlot_sandbox.host.spares import MAX_SPARES, Spares
from sandlot_sandbox.probe import is_too_busy, missing
from sandlot_sandbox.spec import Hello

HELLO_S = 30.0
"""How long a launcher may take to find out what this machine enforces."""

REPLACEMENT_S = 10.0
"""How long an invocation waits for a new launcher before it is told to come back."""

_MAX_NOTE = 64

log = logging.getLogger(__name__)


class Launchers:
    """One at a time. `hello` is what the newest one found."""

    def __init__(
        self,
        *,
        hello_s: float = HELLO_S,
        cell_files: int | None = None,
        cells_for_crowds: int = 0,
        check: Callable[[], object] = lambda: None,
    ) -> None:
        """`cell_files`: open files for what is kept ready and all instances;
        `cells_for_crowds`: how many may be kept beside a few of each zygote. `check`
        raises where what they start everything from is not there."""
        self.hello: Hello | None = None
        self.is_stopping = False
        """What is lost from now on was not lost by accident."""
        self.lost = 0
        """Launchers that ended, each with all instances that it had."""

        self._hello_s = hello_s
        self._check = check
        self._spares = Spares(MAX_SPARES, files=cell_files, most_extra=cells_for_crowds)
        self._current: Launcher | None = None
        self._why = "no launcher has started yet"
        self._changed = asyncio.Condition()

    @property
    def cells_ready(self) -> int:
        """Cells that wait for an instance."""
        return self._spares.ready

    @property
    def trouble(self) -> str:
        """Why nothing can be started now; empty while there is a live launcher."""
        return self._why if self._live() is None else ""

    @asynccontextmanager
    async def listening(self, control: socket.socket) -> AsyncIterator[None]:
        """Take into use what the supervisor sends; at the end hang up, whereupon the
        launcher kills every jail and exits."""
        arrived: asyncio.Queue[socket.socket] = asyncio.Queue()

        def hear(_: bytes, descriptors: list[int]) -> None:
            for fd in descriptors:
                arrived.put_nowait(socket.socket(fileno=fd))

        mail = Mail(
            control,
            max_size=_MAX_NOTE,
            max_descriptors=1,
            on_message=hear,
            # The kernel ends us with the supervisor; there is nothing left to do.
            on_close=lambda: None,
        )
        async with asyncio.TaskGroup() as group:
            adopting = group.create_task(self._adopt_all(arrived))
            try:
                yield
            finally:
                adopting.cancel()
                mail.close()
                while not arrived.empty():
                    arrived.get_nowait().close()
                self.is_stopping = True
                if self._current is not None:
                    self._why = "the engine is stopping"
                    self._current.close()
                # The group waits a turn of the loop for us, and so for what the
                # deaths of instances set in motion.

    async def current(self, *, wait_s: float = REPLACEMENT_S) -> Launcher:
        """Wait for one that is alive. Raises `Unavailable`; at once where the newest
        found this machine unable to enforce what it has to, or `check` does."""
        self._check()
        if (launcher := self._live()) is not None:
            return launcher
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s), self._changed:
                await self._changed.wait_for(lambda: self._live() or self._lacks())
        if (launcher := self._live()) is None:
            raise Troubled(f"no instance could be started: {self._why}")
        return launcher

    def _live(self) -> Launcher | None:
        if self._current is None or self._current.is_lost:
            return None
        return self._current

    def _lacks(self) -> list[str]:
        """The layers that the newest launcher could not enforce; none where the machine
        was only too busy to find out."""
        layers = self.hello.layers if self.hello is not None else []
        return [] if is_too_busy(layers) else [layer.name for layer in missing(layers)]

    async def _adopt_all(self, arrived: "asyncio.Queue[socket.socket]") -> None:
        while True:
            launcher = Launcher(
                await arrived.get(), on_lost=self._note_loss, spares=self._spares
            )
            try:
                await self._adopt(launcher)
            except LauncherLost as error:
                # The supervisor sees it, too, and sends another.
                self._note(str(error))
            if launcher is not self._current:
                launcher.close()
            async with self._changed:
                self._changed.notify_all()

    async def _adopt(self, launcher: Launcher) -> None:
        try:
            async with asyncio.timeout(self._hello_s):
                self.hello = await launcher.wait_hello()
        except TimeoutError:
            self._note(f"the launcher said nothing for {self._hello_s:g} s")
            return
        except asyncio.CancelledError:
            launcher.close()
            raise
        if lacks := self._lacks():
            self._note(
                "this machine does not enforce what tenants must be held to:"
                f" {', '.join(lacks)}; the operator's `sandlot doctor` says more"
            )
        elif is_too_busy(self.hello.layers):
            tried = ", ".join(layer.name for layer in missing(self.hello.layers))
            self._note(
                "this machine is too busy, or has too few processes or files left for"
                f" us, to find out what it enforces ({tried}); that is tried again"
            )
        else:
            self._current = launcher

    def _note_loss(self) -> None:
        self.lost += not self.is_stopping
        if self._current is None:
            return  # it had none; why it ended is told by what it said, or by the next
        self._note("the launcher died, and every instance with it; a new one is due")

    def _note(self, why: str) -> None:
        self._why = why
        log.error("nothing can be started: %s", why)
