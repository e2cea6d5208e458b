"""Idempotency keys: the same request, sent again, is not done again.

    first ── look up ── run ── keep, on disk ── answer
                         │                        │
    repeat ──────────────┴── waits for that ──────┤
    repeat, later ── look up ─────────────────────┴── the first answer, as it was kept

Who repeats is mostly somebody whose connection broke or whose patience ended. So the
first run goes on without its caller, and a repeat that comes meanwhile waits for it.
What was refused and did not run (a throttle, say) is not kept: its repeat is a first
one. What was running when the engine died has no answer, and its repeat runs it again;
but not an event, which is named by its key.
"""

import asyncio
import hashlib
import logging
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import msgspec
from msgspec.structs import replace

from sandlot_engine.clock import Clock
from sandlot_engine.errors import InvalidParameter, SandlotError, Throttled
from sandlot_engine.events.steady import SteadyTime
from sandlot_engine.invocation.detached import Detached
from sandlot_engine.model.invocation import (
    IdempotencyKey,
    Invocation,
    Outcome,
)
from sandlot_engine.store.ports import AnswerBounds, AnswerStore, KeptAnswer

MAX_KEY = 255
"""Characters of a key."""

MAX_BYTES_UNDER_WAY = 64 * 1024 * 1024
"""Bytes of one tenant's requests with a key that are not answered yet: their callers
may have gone away, and with them all other bounds."""

LEAST_BYTES = 16 * 1024
"""What each of them counts for at least."""

RETRY_AFTER_S = 1.0
WINDOW_S = 24 * 3600.0
BOUNDS = AnswerBounds(answers=10_000, bytes=64 * 2**20, all_bytes=1024 * 2**20)
"""Of what is kept; over them the oldest goes first."""

REUSED = "IdempotencyKeyReused"
_KEY = re.compile(rf"[\x21-\x7e](?:[\x20-\x7e]{{0,{MAX_KEY - 2}}}[\x21-\x7e])?")
_log = logging.getLogger(__name__)

_Scope = tuple[str, str, bytes]
"""Tenant, function, and a hash of the rest: what a key is a key of."""


class Answer(msgspec.Struct, array_like=True, frozen=True):
    """What is kept: an outcome, or of an event its request id alone."""

    request_id: str
    outcome: Outcome | None = None


_DECODER = msgspec.msgpack.Decoder(Answer)


@dataclass(frozen=True, slots=True)
class _Running:
    request: bytes
    task: "asyncio.Task[tuple[Answer, bool]]"


def key_of(text: str, *parts: str | bytes, sender: str = "") -> IdempotencyKey:
    """A key as a caller gave it, for a request that consists of `parts`.

    May be in quotes, as `draft-ietf-httpapi-idempotency-key-header` has it. Raises
    `InvalidParameter`.
    """
    key = text.strip()
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not _KEY.fullmatch(key):
        raise InvalidParameter(
            f"an idempotency key has 1 to {MAX_KEY} visible characters of ASCII; this "
            f"one has {len(key)}",
            field="idempotency_key",
        )
    return IdempotencyKey(key=key, sender=sender, request=_hash(*parts))


class Once:
    """Runs what has a key unless it has been run within the window."""

    def __init__(
        self,
        store: AnswerStore,
        clock: Clock,
        detached: Detached,
        *,
        window_s: float = WINDOW_S,
    ) -> None:
        self._store = store
        # Where the clock is set, no answer is older for that: one that is a day ahead
        # for a minute would have all of them deleted, and repeats run again.
        self._time = SteadyTime(clock)
        self._window = timedelta(seconds=window_s)
        self._detached = detached
        self._running: dict[_Scope, _Running] = {}
        self._bytes: Counter[str] = Counter()
        self.replayed = 0
        """How many requests were answered with another's answer."""
        self.evicted = 0
        """Answers that were deleted before their time, for want of room."""
        self.not_kept = 0
        """Answers that the store could not take."""

    def __repr__(self) -> str:
        return f"<Once {len(self._running)} running, {self.replayed} replayed>"

    async def outcome(
        self,
        invocation: Invocation,
        run: Callable[[], Awaitable[Outcome]],
        deadline: float | None,
    ) -> Outcome:
        """What `run` returned, now or at the first time. Raises `InvalidParameter` for
        a key that was another request's, what `run` raises, and `DeadlineExceeded`."""

        async def work() -> Answer:
            outcome = await run()
            # The log is on its way to its own place, and may be large.
            kept = replace(outcome, log=())
            return Answer(outcome.request_id, kept)

        answer, is_replayed = await self._once(invocation, work, deadline)
        if answer.outcome is None:
            raise _reused(invocation)
        return replace(answer.outcome, is_replayed=is_replayed)

    async def event(
        self, invocation: Invocation, enqueue: Callable[[Invocation], Awaitable[None]]
    ) -> str:
        """The request id of the event that was taken, now or at the first time."""
        named = replace(invocation, request_id=self._event_id(invocation))

        async def work() -> Answer:
            await enqueue(named)
            return Answer(named.request_id)

        answer, _ = await self._once(invocation, work, None)
        if answer.outcome is not None:
            raise _reused(invocation)
        return answer.request_id

    def _event_id(self, invocation: Invocation) -> str:
        """The same for each repeat: the queue knows it even where the engine died
        before the answer was kept. Another after a window: then it is another event.
        """
        _, function, key = _scope(invocation)
        window = self._time.now().timestamp() // self._window.total_seconds()
        request = _key(invocation).request
        name = _hash(invocation.tenant_id, function, key, request, str(window))
        return str(UUID(bytes=name[:16], version=4))

    async def _once(
        self,
        invocation: Invocation,
        work: Callable[[], Awaitable[Answer]],
        deadline: float | None,
    ) -> tuple[Answer, bool]:
        scope, request = _scope(invocation), _key(invocation).request
        running = self._running.get(scope)
        is_first = running is None
        if running is None:
            running = self._start(scope, request, invocation, work)
        elif running.request != request:
            raise _reused(invocation)
        answer, was_kept = await self._detached.wait(running.task, deadline)
        is_replayed = was_kept or not is_first
        self.replayed += is_replayed
        return answer, is_replayed

    def _start(
        self,
        scope: _Scope,
        request: bytes,
        invocation: Invocation,
        work: Callable[[], Awaitable[Answer]],
    ) -> _Running:
        tenant_id = invocation.tenant_id
        size = max(LEAST_BYTES, len(invocation.payload))
        if self._bytes[tenant_id] + size > MAX_BYTES_UNDER_WAY:
            raise Throttled(
                f"requests of tenant {tenant_id!r} with an idempotency key that are "
                f"not answered yet have {self._bytes[tenant_id]} bytes of "
                f"{MAX_BYTES_UNDER_WAY} allowed",
                reason="CallerRateLimitExceeded",
                limit=MAX_BYTES_UNDER_WAY,
                retry_after_s=RETRY_AFTER_S,
            )
        task = self._detached.start(self._do(scope, request, invocation, work))
        self._bytes[tenant_id] += size
        running = self._running[scope] = _Running(request, task)

        def ended(_: object) -> None:
            del self._running[scope]
            self._bytes[tenant_id] -= size
            if not self._bytes[tenant_id]:
                del self._bytes[tenant_id]

        task.add_done_callback(ended)
        return running

    async def _do(
        self,
        scope: _Scope,
        request: bytes,
        invocation: Invocation,
        work: Callable[[], Awaitable[Answer]],
    ) -> tuple[Answer, bool]:
        """The answer, and whether it had been given before."""
        kept = await self._store.find_answer(*scope)
        if kept is not None and kept.time >= self._time.now() - self._window:
            if kept.request != request:
                raise _reused(invocation)
            return _DECODER.decode(kept.body), True
        answer = await work()
        await self._keep(scope, request, answer)
        return answer, False

    async def _keep(self, scope: _Scope, request: bytes, answer: Answer) -> None:
        now = self._time.now()
        tenant_id, function, key = scope
        try:
            self.evicted += await self._store.keep_answer(
                KeptAnswer(
                    tenant_id=tenant_id,
                    function=function,
                    key=key,
                    request=request,
                    time=now,
                    body=msgspec.msgpack.encode(answer),
                ),
                since=now - self._window,
                bounds=BOUNDS,
            )
        except SandlotError as error:
            # It was done, and its caller is to know: who got an error instead would
            # send it again.
            self.not_kept += 1
            ids = {"request_id": answer.request_id, "tenant_id": tenant_id}
            _log.warning("an answer was not kept", exc_info=error, extra=ids)


def _key(invocation: Invocation) -> IdempotencyKey:
    assert invocation.idempotency is not None  # noqa: S101 - or it is not ours
    return invocation.idempotency


def _scope(invocation: Invocation) -> _Scope:
    key = _key(invocation)
    hashed = _hash(invocation.qualifier, key.sender, key.key)
    return invocation.tenant_id, invocation.function, hashed


def _hash(*parts: str | bytes) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        # Each with its length, or "a", "bc" would be "ab", "c".
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.digest()


def _reused(invocation: Invocation) -> InvalidParameter:
    return InvalidParameter(
        f"the idempotency key of this request to function {invocation.function!r} was "
        "used for another one: another event, type or sender. Send what is new under "
        "a new key.",
        field="idempotency_key",
        reason=REUSED,
    )
