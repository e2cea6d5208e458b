"""The worker processes, as the core has them: started, heard, replaced, drained.

They are started by `exec`, as everything here is: gRPC's threads forbid a fork, and
`subprocess` makes the child by vfork, which runs none of its handlers. A worker has the
core's user and no privilege; the death of either ends what lies between them.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from sandlot_engine.clock import Clock
from sandlot_engine.errors import NotFound
from sandlot_engine.gateway import faulted
from sandlot_engine.gateway.untaken import tally
from sandlot_engine.model.invocation import LogLine, Record
from sandlot_engine.model.tenant import AccessKey
from sandlot_engine.scheduler.scheduler import Scheduler
from sandlot_engine.workers import messages
from sandlot_engine.workers.boards import Epochs, Marks, new_page
from sandlot_engine.workers.ledger import LedgerReader
from sandlot_engine.workers.lessor import PLACE_S, RECALL_S, Catalog, Lease, Lessor
from sandlot_engine.workers.settings import WorkerSettings
from sandlot_sandbox import stamps
from sandlot_sandbox.host.lending import duplicates
from sandlot_sandbox.host.mail import Mail

START_S = 30.0
"""From a worker's start until it serves."""

DRAIN_S = 46.0
"""How long all workers together may take to end, once they are asked to."""

MAX_RESTARTS, RESTART_WINDOW_S = 10, 30.0
"""More than that of one worker in this time, and the next one waits for as long."""

RETRY_S = 1.0
"""Before it is tried again to start one where the machine could not."""

_LOOK_S = 0.02
_SOCKET_BYTES = 1 << 20
"""Records on their way; the kernel gives what it allows."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What of the engine's tenants a worker asks for."""

    secret_of: Callable[[str], Awaitable[tuple[AccessKey | None, str]]]
    known: Callable[[str], Awaitable[str]]
    """Raises `NotFound`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """What a pool needs of the engine."""

    catalog: Catalog
    keys: Keys
    scheduler: Scheduler
    bill: Callable[[Record, tuple[LogLine, ...]], None]
    clock: Clock


class Pool:
    """All workers. Made by `running`."""

    def __init__(self, core: Core, epochs: int, settings: WorkerSettings) -> None:
        self._core = core
        self._epochs_fd = epochs
        self.epochs = Epochs(epochs, is_writer=True)
        self._settings = settings
        self._seats: dict[int, _Seat] = {}
        self._recalls: set[str] = set()
        self._news = asyncio.Event()
        self._has_served = False
        self.changes = 0
        """How often anything has changed that workers know."""

        self.restarts = 0
        """Workers that were started in the place of one that had died."""

    def __repr__(self) -> str:
        return f"<Pool {len(self._seats)} workers, {self.lent} lent>"

    @classmethod
    @asynccontextmanager
    async def running(
        cls, core: Core, settings: WorkerSettings, count: int
    ) -> AsyncIterator["Pool"]:
        """`count` workers that serve; at the end they drain. A worker that dies is
        replaced."""
        epochs = new_page("sandlot-epochs", Epochs.SIZE)
        async with asyncio.TaskGroup() as group:
            pool = cls(core, epochs, settings)
            keepers = [group.create_task(pool._keep(n)) for n in range(count)]
            try:
                async with asyncio.timeout(START_S):
                    await pool._until(lambda: pool.workers == count)
                pool._has_served = True
                yield pool
            finally:
                await pool._drain()
                for keeper in keepers:
                    keeper.cancel()
        pool.epochs.close()
        os.close(epochs)

    @property
    def workers(self) -> int:
        """How many serve."""
        return sum(seat.serves for seat in self._seats.values())

    async def _until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            self._news.clear()
            await self._news.wait()

    def note_news(self) -> None:
        """A worker serves, or has ended."""
        self._news.set()

    @property
    def pids(self) -> list[int]:
        return [seat.pid for seat in self._seats.values()]

    @property
    def lent(self) -> int:
        """Instances that are lent."""
        return sum(seat.lessor.lent for seat in self._seats.values())

    @property
    def unused(self) -> int:
        """How many of those that are lent nothing runs on."""
        return sum(seat.lessor.unused for seat in self._seats.values())

    # --- what the core tells, and asks for ------------------------------------------

    def note_change(self, tenant_id: str) -> None:
        """Something of a tenant, or for an empty id of all, is not as it was: from now
        on no worker goes by what it knew. Never waits."""
        self.epochs.bump(tenant_id)
        self.changes += 1
        # Later: whoever changes something does not wait for what it lent.
        if not self._recalls:
            asyncio.get_running_loop().call_soon(self._recall_changed)
        self._recalls.add(tenant_id)

    def _recall_changed(self) -> None:
        tenants, self._recalls = self._recalls, set()
        for seat in self._seats.values():
            for tenant_id in tenants:
                for lease in seat.lessor.of_tenant(tenant_id):
                    seat.lessor.recall(lease)

    def recall_revision(self, revision: str) -> None:
        """It gets no new invocations: see `Scheduler.drain`, which waits."""
        for seat in self._seats.values():
            for lease in seat.lessor.of_revision(revision):
                seat.lessor.recall(lease)

    async def reclaim_instance(self, revision: str) -> None:
        """Have an idle instance of a revision back, if one is lent and `RECALL_S` is
        enough."""
        await self._reclaim(
            lambda lease: lease.revision == revision, within_s=RECALL_S, at_most=1
        )

    async def reclaim_places(self, tenant_id: str) -> bool:
        """Have places of a tenant's concurrency back that are lent and not used;
        whether one of them is back, after `PLACE_S` at most."""
        return await self._reclaim(
            lambda lease: lease.tenant_id == tenant_id, within_s=PLACE_S
        )

    async def _reclaim(
        self, is_meant: Callable[[Lease], bool], *, within_s: float, at_most: int = 0
    ) -> bool:
        found: list[tuple[Lessor, Lease]] = []
        for seat in self._seats.values():
            for lease in filter(is_meant, seat.lessor.idle()):
                if not at_most or len(found) < at_most:
                    seat.lessor.recall(lease)
                    found.append((seat.lessor, lease))
        try:
            async with asyncio.timeout(within_s):
                # One that was taken in this very moment comes back much later.
                while any(not lessor.is_running(lease) for lessor, lease in found):
                    if await _first_of(found):
                        return True
        except TimeoutError:
            return False
        return False

    def read_ledgers(self) -> None:
        """Take in all that workers have told up to now. Never waits."""
        for seat in self._seats.values():
            seat.ledger.read_all()

    # --- one worker after another -----------------------------------------------------

    async def _keep(self, number: int) -> None:
        starts: deque[float] = deque(maxlen=MAX_RESTARTS)
        loop = asyncio.get_running_loop()
        while True:
            if len(starts) == MAX_RESTARTS and loop.time() - starts[0] < (
                RESTART_WINDOW_S
            ):
                await asyncio.sleep(RESTART_WINDOW_S)
            starts.append(loop.time())
            try:
                seat = _Seat(self, self._core, self._settings, self._epochs_fd)
            except OSError as error:
                if not self._has_served:
                    raise
                # No memory, processes or files just now, or Python is being upgraded:
                # the others serve, and so does what is forwarded.
                _log.error("worker %d could not be started: %s", number, error)
                await asyncio.sleep(RETRY_S)
                continue
            self._seats[number] = seat
            try:
                status = await seat.wait()
            finally:
                seat.end()
                del self._seats[number]
                self.note_news()
            if seat.is_draining:
                return
            self.restarts += 1
            _log.warning("worker %d ended with status %d", number, status)

    def hurry(self) -> None:
        """They cut short what they run."""
        for seat in list(self._seats.values()):
            seat.hurry()

    async def _drain(self) -> None:
        for seat in list(self._seats.values()):
            seat.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await self._until(lambda: not self._seats)
        for seat in list(self._seats.values()):
            seat.kill()


class _Seat:
    """One worker's process, and what connects it to us."""

    def __init__(
        self, pool: Pool, core: Core, settings: WorkerSettings, epochs: int
    ) -> None:
        self.serves = False
        self.is_draining = False
        self._pool = pool
        self._core = core
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        control, their_control = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_SEQPACKET
        )
        ledger, their_ledger = socket.socketpair()
        for end in (ledger, their_ledger):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
        marks = new_page("sandlot-marks", Marks.SIZE)
        self._marks = Marks(marks)
        with their_control, their_ledger:
            descriptors = {
                "control": their_control.fileno(),
                "ledger": their_ledger.fileno(),
                "marks": marks,
                "epochs": epochs,
                "folder": settings.folder,
            }
            try:
                self._process = subprocess.Popen(  # noqa: S603 - ourselves
                    [
                        *(sys.executable, "-P", "-m", "sandlot_engine.workers.worker"),
                        json.dumps(
                            asdict(settings) | descriptors | {"core": os.getpid()}
                        ),
                    ],
                    pass_fds=tuple(descriptors.values()),
                    stdin=subprocess.DEVNULL,
                    # In our session, whose share of the processors it has.
                    process_group=0,
                    env=_environment(),
                )
            except OSError:
                for end in (control, ledger):
                    end.close()
                raise
            finally:
                os.close(marks)
        self._pidfd = os.pidfd_open(self._process.pid)
        self._mail = Mail(
            control,
            max_size=messages.MAX_MESSAGE,
            max_descriptors=0,
            on_message=self._hear,
            on_close=self.kill,
        )
        self.lessor = Lessor(
            core.catalog,
            borrowing=core.scheduler.borrowing,
            epochs=pool.epochs,
            marks=self._marks,
            tell=self._tell,
            bill=core.bill,
            clock=core.clock,
            fail=self._fail,
        )
        self.ledger = LedgerReader(ledger, self.lessor.note_record)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        """Until it has ended; its status."""
        ended = asyncio.Event()
        self._loop.add_reader(self._pidfd, ended.set)
        try:
            await ended.wait()
        finally:
            self._loop.remove_reader(self._pidfd)
        return self._process.wait()

    def end(self) -> None:
        """After its death, or before ours: nothing of it is left."""
        self.serves = False
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._pidfd)
        # What it said before it died still counts.
        self._mail.read_rest()
        self.ledger.read_all()
        self.lessor.close()
        self.ledger.close()
        self._mail.close()
        self._marks.close()

    def drain(self) -> None:
        self.is_draining = True
        self._tell(messages.Drain(), {})

    def hurry(self) -> None:
        self._tell(messages.Hurry(), {})

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)

    def _fail(self, why: str) -> None:
        _log.error("worker %d is killed: %s", self.pid, why)
        self.kill()

    def _tell(self, message: messages.FromCore, descriptors: dict[str, int]) -> None:
        """Raises `OSError` where there is no room for copies of descriptors."""
        copies = duplicates(descriptors)
        ordered = [copies[name] for name in sorted(copies)]
        self._mail.send(messages.encode(message), ordered)

    def _hear(self, datagram: bytes, _: list[int]) -> None:
        try:
            message = messages.decode_from_worker(datagram)
        except msgspec.DecodeError as error:
            self._fail(f"it said what cannot be read: {error}")
            return
        match message:
            case messages.Serving():
                self.serves = True
                self._pool.note_news()
            case messages.Want(address=address):
                self.lessor.want(address)
            # First what it tells of what it ran there.
            case messages.GaveBack():
                self.ledger.read_all()
                self.lessor.gave_back(message)
            case messages.Forgot():
                self.ledger.read_all()
                self.lessor.forgot(message)
            case messages.Kill():
                self._aside(self.lessor.kill(message))
            case messages.AskKey():
                self._aside(self._tell_key(message))
            case messages.AskTenant():
                self._aside(self._tell_tenant(message))
            case messages.Untaken():
                tally.note(is_cut=message.is_cut)
            case messages.Faulted():
                faulted.tally.note()

    async def _tell_key(self, asked: messages.AskKey) -> None:
        while True:
            changes = self._pool.changes
            key, secret = await self._core.keys.secret_of(asked.access_key_id)
            if changes == self._pool.changes:
                break  # else it may have been taken back while we looked
        epoch = self._pool.epochs.of(key.tenant_id) if key is not None else 0
        self._tell(messages.Key(asked.number, key, secret, epoch), {})

    async def _tell_tenant(self, asked: messages.AskTenant) -> None:
        try:
            await self._core.keys.known(asked.tenant_id)
        except NotFound:
            is_known = False
        else:
            is_known = True
        self._tell(messages.Tenant(asked.number, is_known), {})

    def _aside(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _first_of(found: list[tuple[Lessor, Lease]]) -> bool:
    """Whether one of them has ended, or does within a moment."""
    waits = [asyncio.ensure_future(lease.ended.wait()) for _, lease in found]
    try:
        done, _ = await asyncio.wait(
            waits, timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        for wait in waits:
            wait.cancel()
    return bool(done)


def _environment() -> dict[str, str]:
    """Ours may have secrets in it."""
    kept = ("PATH", "PYTHONPATH", "LANG", "GRPC_VERBOSITY", *stamps.FROM_PARENT)
    return {name: os.environ[name] for name in kept if name in os.environ}
