"""How many calls may be open, and how large a request may be."""

import asyncio
import logging
from collections import Counter

from sandlot_engine.catalog.packages import MAX_SENT
from sandlot_engine.errors import CutShort, Stopping, Throttled, TooLarge
from sandlot_engine.gateway.rpc.beside import size_beside
from sandlot_engine.gateway.rpc.call import Call, task_of_call
from sandlot_engine.gateway.rpc.methods import INVOKE, INVOKE_STREAM, PAYLOAD, UPLOADS
from sandlot_engine.gateway.turns import RETRY_AFTER_S
from sandlot_engine.model.invocation import MAX_PAYLOAD

MAX_REQUEST = 64 * 1024
"""Bytes of a request that carries neither a package nor an event."""

MAX_UPLOAD = MAX_SENT + MAX_REQUEST
"""Bytes of a request with a package, and the rest."""

MAX_CALLS = 10_000
"""Calls of all tenants that are open at once, idle streams included."""

MAX_CALLS_OF_TENANT = 4_000
"""Of those, one tenant's: more than it can have instances."""

MAX_CALLS_OF_STRANGERS = 200
"""Of all who need no key, together: health and reflection."""

MAX_WATCHES_OF_STRANGERS = 150
"""Of those, calls whose answers may go on for ever: the others are for who asks once
whether we are well, and restarts us if nobody says so."""

MAX_REQUEST_STREAMS = 32
"""Of one tenant's calls, those with a stream of requests: each may have us hold a
message that does not end."""

_NOTHING_DONE = (
    "the engine is stopping, or restarting, and nothing was done of this: send it again"
)

_log = logging.getLogger(__name__)


class OpenCalls:
    """Counts what one tenant has open, and all have."""

    def __init__(self) -> None:
        self._all: dict[asyncio.Task[None], Call] = {}
        self._calls: Counter[str] = Counter()
        self._streams: Counter[str] = Counter()
        self._watches: Counter[str] = Counter()

    def count(self, call: Call, *, is_stream: bool, may_last: bool) -> None:
        """As open until it is over. Raises `Throttled`."""
        who = call.who
        counters = self._with_room_for(who, is_stream=is_stream, may_last=may_last)
        task = task_of_call()
        self._all[task] = call
        for counter in counters:
            counter[who] += 1

        def is_over(_: object) -> None:
            del self._all[task]
            for counter in counters:
                counter[who] -= 1
                if not counter[who]:
                    del counter[who]

        task.add_done_callback(is_over)

    def cut_short(self) -> None:
        """All of them: what each does is cancelled, and it ends with a `CutShort`, or
        as `Stopping` where nothing was begun."""
        if self._all:
            _log.warning(
                "%d calls by gRPC were cut short: the time that a stop gives them was "
                "over",
                len(self._all),
            )
        for task, call in self._all.items():
            call.cut = CutShort() if call.has_begun else Stopping(_NOTHING_DONE)
            task.cancel()

    def send_strangers_away(self) -> None:
        """Those who watch our health have been told, and would watch for as long as a
        stop may take."""
        for task, call in self._all.items():
            if not call.who:
                call.cut = Stopping("the engine is stopping; connect again")
                task.cancel()

    def _with_room_for(
        self, who: str, *, is_stream: bool, may_last: bool
    ) -> list[Counter[str]]:
        """Those that such a call counts in."""
        allowed = MAX_CALLS_OF_TENANT if who else MAX_CALLS_OF_STRANGERS
        _check_room(who, self._calls[who], allowed, "calls")
        if len(self._all) >= MAX_CALLS:
            raise Throttled(
                f"{len(self._all)} calls are open of {MAX_CALLS} that all tenants may"
                " have together",
                reason="CallLimitExceeded",
                limit=MAX_CALLS,
                retry_after_s=RETRY_AFTER_S,
            )
        counters = [self._calls]
        if is_stream:
            _check_room(who, self._streams[who], MAX_REQUEST_STREAMS, "streams")
            counters.append(self._streams)
        if may_last and not who:
            allowed = MAX_WATCHES_OF_STRANGERS
            _check_room(who, self._watches[who], allowed, "streams")
            counters.append(self._watches)
        return counters


def _check_room(who: str, taken: int, allowed: int, what: str) -> None:
    if taken >= allowed:
        name = f"tenant {who!r} already has" if who else "callers without a key have"
        raise Throttled(
            f"{name} {taken} {what} open of {allowed} allowed",
            reason="CallLimitExceeded",
            limit=allowed,
            retry_after_s=RETRY_AFTER_S,
        )


def check_size(method: str, data: bytes) -> None:
    """Raises `TooLarge`. The server's own limit must let packages through, so this one
    is ours."""
    if len(data) <= MAX_REQUEST:
        return
    if method in UPLOADS:
        # Its package is the server's limit to measure.
        _check_size_beside(data, UPLOADS[method], "package")
    elif method == INVOKE:
        # Its payload is the invoker's to measure, in AWS's words.
        _check_size_beside(data, PAYLOAD, "payload")
    else:
        allowed = MAX_REQUEST + (MAX_PAYLOAD if method == INVOKE_STREAM else 0)
        if len(data) > allowed:
            raise TooLarge(f"the request has {len(data)} bytes of {allowed} allowed")


def _check_size_beside(data: bytes, field: int, what: str) -> None:
    if size_beside(data, field, most=MAX_REQUEST) > MAX_REQUEST:
        raise TooLarge(
            f"the request has more than {MAX_REQUEST} bytes beside its {what}"
        )
