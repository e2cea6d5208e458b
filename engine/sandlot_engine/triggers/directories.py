"""Folders of the machine's, whose files are told of as a store's objects are.

    inotify → chosen? → quiet for `QUIET_S` → event

The operator names folders (`--watch-dir`), and makes triggers of them and of those in
them. Nobody else does: a trigger tells the names of the machine's files. What a file
holds is told to nobody, and what happens while no engine runs is not noticed.
"""

import asyncio
import contextlib
import logging
import os
import stat
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote_plus
from uuid import uuid4

from sandlot_engine.clock import Clock
from sandlot_engine.errors import (
    InvalidParameter,
    PermissionDenied,
    SandlotError,
    Unavailable,
)
from sandlot_engine.model.trigger import Trigger, TriggerKind
from sandlot_engine.triggers import inotify
from sandlot_engine.triggers.events import encoded, in_iso
from sandlot_engine.triggers.inotify import Inotify, Seen, open_below
from sandlot_engine.triggers.keeping import Triggers
from sandlot_engine.triggers.objects import is_chosen
from sandlot_engine.triggers.sending import Sender, may_be_another_time

QUIET_S = 0.25
"""A file that is written again within it has one event."""

MAX_WAITING = 1_000
"""Files of one trigger whose events were not sent yet; others' are dropped."""

RETRY_S, GIVE_UP_S = 5.0, 3_600.0
"""How often, and how long, an event that nobody took is offered again; and how often a
folder that is gone is looked for."""

CREATED, REMOVED = "ObjectCreated:Put", "ObjectRemoved:Delete"
SOURCE = "sandlot:directory"

Name = tuple[str, str]
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Waiting:
    """A file that something happened to. Seconds by the monotonic clock."""

    event: str
    since_s: float
    due_s: float


@dataclass(slots=True)
class _Watched:
    """A trigger's folder, and what was not told of it yet."""

    trigger: Trigger
    watch: int
    waiting: dict[str, _Waiting] = field(default_factory=dict)


def roots_of(named: Iterable[str]) -> tuple[Path, ...]:
    """The operator's folders, as they really are. Raises `InvalidParameter` for what is
    none, or nothing that we may read."""
    roots = tuple(Path(os.path.realpath(name)) for name in named)
    for root in roots:
        try:
            if not root.is_dir():
                raise InvalidParameter(f"{root} is no folder.", field="watch-dir")
            os.scandir(root).close()
        except PermissionError:
            raise InvalidParameter(
                f"{root} is not to be read by the engine, which runs as user"
                f" {os.getuid()}. Let it: chmod o+rx, of this and of what is above.",
                field="watch-dir",
            ) from None
    return roots


class Directories:
    """The watched folders of all tenants. `running` watches by itself; tests call
    `turn`."""

    def __init__(
        self,
        triggers: Triggers,
        sender: Sender,
        *,
        clock: Clock,
        region: str,
        roots: tuple[Path, ...] = (),
    ) -> None:
        self._triggers = triggers
        self._sender = sender
        self._clock = clock
        self._region = region
        self._roots = roots
        self._inotify: Inotify | None = None
        self._watched: dict[Name, _Watched] = {}
        self._lost: dict[Name, Trigger] = {}
        """Whose folders are not there."""

        self._look_again_s = 0.0
        self._is_readable = asyncio.Event()
        self.sent = 0
        self.dropped = 0
        """Files that happened faster than their events were taken."""

    def __repr__(self) -> str:
        return f"<Directories {len(self._watched)} watched, {self.sent} sent>"

    def checked_path(self, path: str, *, is_operator: bool) -> str:
        """A folder that may be watched, as it really is. Raises `PermissionDenied`
        unless an operator asks, `InvalidParameter` for one that was not named."""
        if not is_operator:
            raise PermissionDenied(
                "a directory trigger tells the names of the machine's files: only an "
                "operator makes one, with --tenant for a tenant"
            )
        real = Path(os.path.realpath(path))
        if not self._roots:
            raise InvalidParameter(
                "no folder may be watched. Start the engine with --watch-dir DIR.",
                field="path",
            )
        if self._root_of(real) is None:
            named = ", ".join(map(str, self._roots))
            raise InvalidParameter(
                f"{real} is not within {named}, which --watch-dir named.", field="path"
            )
        try:
            with self._opened(real) as folder, contextlib.closing(Inotify()) as queue:
                queue.add(folder)
        except OSError as error:
            raise InvalidParameter(
                f"{real} cannot be watched: {error.strerror}.", field="path"
            ) from error
        return str(real)

    def _root_of(self, folder: Path) -> Path | None:
        found = (root for root in self._roots if folder.is_relative_to(root))
        return next(found, None)

    @contextmanager
    def _opened(self, folder: Path) -> Iterator[int]:
        """A descriptor. None is kept: the kernel would not tell that the folder is
        gone."""
        root = self._root_of(folder)
        if root is None:
            raise PermissionError(1, "no --watch-dir names it any more")
        descriptor = open_below(root, folder.relative_to(root))
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    # --- watching -----------------------------------------------------------------

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        if not self._roots:
            if any(self._triggers.of_kind(TriggerKind.DIRECTORY)):
                _log.warning("there are directory triggers, and no --watch-dir")
            yield
            return
        with self.open() as queue:
            loop = asyncio.get_running_loop()
            loop.add_reader(queue.fileno(), self._is_readable.set)
            try:
                async with asyncio.TaskGroup() as group:
                    watching = group.create_task(self._run())
                    try:
                        yield
                    finally:
                        watching.cancel()
            finally:
                loop.remove_reader(queue.fileno())

    @contextmanager
    def open(self) -> Iterator[Inotify]:
        """Watch what there is, and hear of changes. Raises `Unavailable`."""
        try:
            made = Inotify()
        except OSError as error:
            raise Unavailable(
                f"no folder can be watched: {error.strerror}. The engine's user may "
                "have only so many of the kernel's queues, all programs of that user "
                "together: raise fs.inotify.max_user_instances by sysctl, or start "
                "without --watch-dir"
            ) from error
        with contextlib.closing(made) as queue:
            self._inotify = queue
            for trigger in self._triggers.of_kind(TriggerKind.DIRECTORY):
                self._watch(trigger)
            self._triggers.heard.append(self._hear)
            yield queue

    def _hear(self, trigger: Trigger) -> None:
        if trigger.kind is TriggerKind.DIRECTORY:
            self._unwatch(_name(trigger))
            if self._triggers.is_current(trigger):
                self._watch(trigger)

    def _watch(self, trigger: Trigger) -> None:
        assert trigger.directory is not None  # noqa: S101 - it is of that kind
        assert self._inotify is not None  # noqa: S101 - see `open`
        name = _name(trigger)
        try:
            with self._opened(Path(trigger.directory.path)) as folder:
                watch = self._inotify.add(folder)
        except OSError as error:
            if name not in self._lost:
                _log.warning("a folder cannot be watched: %s", error, extra=_ids(name))
            self._lost[name] = trigger
            return
        self._lost.pop(name, None)
        self._watched[name] = _Watched(trigger, watch)

    def _unwatch(self, name: Name) -> None:
        self._lost.pop(name, None)
        watched = self._watched.pop(name, None)
        if watched is None:
            return
        assert self._inotify is not None  # noqa: S101 - see `open`
        if not any(one.watch == watched.watch for one in self._watched.values()):
            self._inotify.remove(watched.watch)

    async def _run(self) -> None:
        while True:
            await self.turn()
            await self._wait()

    async def _wait(self) -> None:
        dues = [w.due_s for one in self._watched.values() for w in one.waiting.values()]
        if self._lost:
            dues.append(self._look_again_s)
        now_s = self._clock.monotonic()
        wait_s = max(min(dues) - now_s, 0.0) if dues else None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._is_readable.wait()

    async def turn(self) -> None:
        """Take what has happened, and send the events that are due."""
        assert self._inotify is not None  # noqa: S101 - see `open`
        self._is_readable.clear()
        for seen in self._inotify.read():
            self._take(seen)
        self._look_for_lost()
        for name in list(self._watched):
            await self._send_due(name)

    def _look_for_lost(self) -> None:
        now_s = self._clock.monotonic()
        if self._lost and now_s >= self._look_again_s:
            self._look_again_s = now_s + RETRY_S
            for trigger in list(self._lost.values()):
                if self._triggers.is_current(trigger):
                    self._watch(trigger)
                else:
                    self._lost.pop(_name(trigger), None)

    # --- what happens ---------------------------------------------------------------

    def _take(self, seen: Seen) -> None:
        if seen.mask & inotify.Q_OVERFLOW:
            self.dropped += 1
            _log.warning("the kernel dropped what happened in watched folders")
            return
        for name, watched in list(self._watched.items()):
            if watched.watch != seen.watch:
                continue
            if seen.mask & inotify.GONE:
                # One of its name may come again.
                self._unwatch(name)
                self._lost[name] = watched.trigger
            elif seen.name and not seen.mask & inotify.ISDIR:
                self._note(watched, seen)

    def _note(self, watched: _Watched, seen: Seen) -> None:
        directory = watched.trigger.directory
        assert directory is not None  # noqa: S101 - it is of that kind
        is_there = seen.mask & (inotify.CLOSE_WRITE | inotify.MOVED_TO)
        event = CREATED if is_there else REMOVED
        if not watched.trigger.is_enabled or not is_chosen(
            directory.filter, bucket=directory.path, event=event, key=seen.name
        ):
            return
        if seen.name not in watched.waiting and len(watched.waiting) >= MAX_WAITING:
            self.dropped += 1
            return
        now_s = self._clock.monotonic()
        watched.waiting[seen.name] = _Waiting(event, now_s, now_s + QUIET_S)

    async def _send_due(self, of: Name) -> None:
        watched = self._watched.get(of)
        if watched is None:
            return
        if not self._triggers.is_current(watched.trigger):
            self._unwatch(of)
            return
        now_s = self._clock.monotonic()
        due = [key for key, one in watched.waiting.items() if one.due_s <= now_s]
        for key in due:
            await self._send(watched, key, watched.waiting.pop(key))

    async def _send(self, watched: _Watched, key: str, waiting: _Waiting) -> None:
        size = self._size_of(watched, key) if waiting.event == CREATED else None
        if waiting.event == CREATED and size is None:
            return  # it is gone again, or is no file
        payload = encoded(
            {"Records": [self._record(watched.trigger, key, waiting, size)]}
        )
        try:
            await self._sender.send(
                watched.trigger, payload, once_key=f"{watched.trigger.id} {uuid4()}"
            )
        except SandlotError as error:
            now_s = self._clock.monotonic()
            is_young = now_s - waiting.since_s < GIVE_UP_S
            if may_be_another_time(error) and is_young:
                waiting.due_s = now_s + RETRY_S
                # Unless the file has happened again while we were at it.
                watched.waiting.setdefault(key, waiting)
                return
            self.dropped += 1
            ids = _ids(_name(watched.trigger))
            _log.warning("a file's event was given up", exc_info=error, extra=ids)
        else:
            self.sent += 1

    def _size_of(self, watched: _Watched, name: str) -> int | None:
        """Bytes of a file, if it is one: no link, and nothing else."""
        directory = watched.trigger.directory
        assert directory is not None  # noqa: S101 - it is of that kind
        try:
            with self._opened(Path(directory.path)) as folder:
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def _record(
        self, trigger: Trigger, key: str, waiting: _Waiting, size: int | None
    ) -> dict[str, object]:
        return object_record(
            trigger,
            key,
            event=waiting.event,
            size=size,
            time=in_iso(self._clock.now()),
            region=self._region,
        )


def object_record(
    trigger: Trigger, key: str, *, event: str, size: int | None, time: str, region: str
) -> dict[str, object]:
    """A file as S3 tells of an object: the folder is the bucket."""
    assert trigger.directory is not None  # noqa: S101 - it is of that kind
    object_: dict[str, object] = {"key": quote_plus(key, safe="/", errors="replace")}
    if size is not None:
        object_["size"] = size
    return {
        "eventVersion": "2.1",
        "eventSource": SOURCE,
        "awsRegion": region,
        "eventTime": time,
        "eventName": event,
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": trigger.name,
            "bucket": {"name": trigger.directory.path},
            "object": object_,
        },
    }


def _name(trigger: Trigger) -> Name:
    return trigger.tenant_id, trigger.name


def _ids(name: Name) -> dict[str, str]:
    return {"tenant_id": name[0], "trigger": name[1]}
