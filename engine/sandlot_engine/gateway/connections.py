"""One connection to the HTTP port: uvicorn's, with bounds that it does not have.

uvicorn waits for ever for the rest of a head or a body, takes heads of any size and
trailers without end, parses all requests that came at once before it answers the first,
and tells an application that its caller is gone only if it asks. Here each of these
has an end, and an application is cancelled with its connection, as over gRPC.
"""

import asyncio
import heapq
import logging
from enum import Enum, auto
from http import HTTPStatus
from operator import itemgetter
from typing import Any, NoReturn, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sandlot_engine.gateway.untaken import ANSWER_DEADLINE_S, Untaken, Waiting, tally

MAX_CONNECTIONS = 20_000
"""Connections at once. For the next, those go that have been idle for longest; where
all are busy, it is answered with 503 and closed."""

MAKE_ROOM_AGAIN_S = 1.0
"""How long nobody looks for idle ones again where there were none."""

MAX_HEAD = 64 * 1024
"""Bytes of a request line and headers. AWS takes 1 MB, of which its tools use 2 KB."""

MAX_PATH, MAX_TARGET = 12 * 1024, 16 * 1024
"""Bytes of a request's path, and with its query. A path is decoded, taken apart, and
encoded anew for whoever says that it is signed: 13 ms of the loop for 60 KB of
escapes. AWS's own have a few hundred; its model allows ARNs of 10,000."""

MAX_HEADERS = 512
"""Fields of one: each takes a hundred bytes and more of ours, of which it may have sent
five."""

MAX_AHEAD = 16
"""Requests that may wait for the answer to an earlier one of their connection, with
`MAX_HEADERS` fields together. Some 14,000 come in one piece, and each takes a kilobyte
of ours. Behind them the connection is closed, as its client sees; what else it sent is
not looked at, and it may send it again."""

MAX_SILENT = 64 * 1024
"""Bytes in one go, after the head, that are no part of the body: what the parser keeps
and the application never sees, as trailers and the extensions of chunks."""

HEAD_DEADLINE_S = 30.0
"""From the connection, or a request's first byte, to the end of its headers."""

BODY_DEADLINE_S = 300.0
"""From the headers to the end of the body, read or thrown away: a package of 50 MB over
2 Mbit/s."""

LAST_WORD_S = 1.0
"""Of the time that a stop gives to what is open, in which those who would outlast it
are told so."""

COPIES = 2
"""What of an answer the kernel has taken is held until it has taken all."""

KEY = "sandlot.connection"
"""Where an ASGI scope has its connection."""

_log = logging.getLogger(__name__)


class _At(Enum):
    NOTHING = auto()
    """Between requests."""

    HEAD = auto()
    BODY = auto()


class Connection(HttpToolsProtocol):
    """A protocol for uvicorn. `serving` is the task to cancel when the caller goes."""

    limit = MAX_CONNECTIONS
    untaken = Untaken()
    """What all connections of a server together have us hold."""

    lost = asyncio.Event()
    """Set when one of a server's is gone."""

    _room: "_Room"

    owner = ""
    """The tenant whose share of that it is; empty for strangers."""

    serving: "asyncio.Task[Any] | None" = None
    is_lost = False
    is_full = False
    """Whether more requests came at once than may wait: nothing more is read."""

    is_cut_short = False
    """Whether `serving` was cancelled because a stop waits no longer."""

    _at = _At.NOTHING
    _head_bytes = 0
    """Of a head that did not come at once, what came in earlier pieces."""

    _piece_bytes = 0
    _is_silent = True
    """Whether nothing of the body was in what came last."""

    _silent_bytes = 0
    """Of pieces of that kind, one after the other."""

    _deadline: asyncio.TimerHandle | None = None
    _answer_deadline: asyncio.TimerHandle | None = None
    _cutting: asyncio.TimerHandle | None = None
    _waiting: Waiting | None = None

    # --- asyncio.Protocol -----------------------------------------------------------

    def connection_made(  # type: ignore[override] # as uvicorn has it
        self, transport: asyncio.Transport
    ) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.limit and not self._room.make(
            cast("set[Connection]", self.connections), self.limit, self.loop.time()
        ):
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE)
        else:
            self._expect_by(HEAD_DEADLINE_S)

    def data_received(self, data: bytes) -> None:
        if self.is_full:
            return
        self._piece_bytes, self._is_silent = len(data), True
        super().data_received(data)
        if self._waiting is not None and self.pipeline:
            # It came after its reader had fallen behind, and is held as long.
            self.untaken.resize(self._waiting, self._untaken_bytes())
        if self.transport.is_closing() or (
            self._at is _At.NOTHING and self._is_answering
        ):
            return  # nearly always: a whole request came at once
        if self._at is _At.HEAD:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
                return
        elif self._at is _At.BODY and self._is_silent:
            self._silent_bytes += len(data)
            if self._silent_bytes > MAX_SILENT:
                self._give_up(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
                return
        if self._deadline is None:
            # Of blank lines between requests, too: for uvicorn the connection is not
            # idle any more, and there is no request that has to end.
            is_body = self._at is _At.BODY
            self._expect_by(BODY_DEADLINE_S if is_body else HEAD_DEADLINE_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        if self._cutting is not None:
            self._cutting.cancel()
        self._expect_nothing()
        self._stop_waiting_for_reader()
        super().connection_lost(exc)
        self.lost.set()
        if self.serving is not None:
            self.serving.cancel()
            self.serving = None

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._answer_deadline is None:
            # Not `close`, which would wait for the client to take the rest.
            self._answer_deadline = self.loop.call_later(
                ANSWER_DEADLINE_S, self._not_taken
            )
            self._waiting = self.untaken.add(
                self.owner, self._untaken_bytes(), self.transport.abort
            )

    def _untaken_bytes(self) -> int:
        """With its answer wait the bodies of requests that come after it."""
        written = COPIES * self.transport.get_write_buffer_size()
        return written + sum(len(cycle.body) for cycle, _ in self.pipeline)

    def _not_taken(self) -> None:
        tally.note(is_cut=True)
        self.transport.abort()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_waiting_for_reader()

    def _stop_waiting_for_reader(self) -> None:
        if self._answer_deadline is not None:
            self._answer_deadline.cancel()
            self._answer_deadline = None
        if self._waiting is not None:
            self.untaken.remove(self._waiting)
            self._waiting = None

    def idle_since(self) -> float | None:
        """Of the loop's time; None while a request comes in or is being answered."""
        if self._is_answering:
            return None
        if self._deadline is not None:
            within_s = BODY_DEADLINE_S if self._at is _At.BODY else HEAD_DEADLINE_S
            return self._deadline.when() - within_s
        idle = self.timeout_keep_alive_task
        return None if idle is None else idle.when() - self.timeout_keep_alive

    def shutdown(self) -> None:
        super().shutdown()
        # uvicorn would say nothing to a client but 500, and to the log a traceback.
        drain_s = self.config.timeout_graceful_shutdown or 0
        self._cutting = self.loop.call_later(
            drain_s - min(LAST_WORD_S, drain_s / 2), self._cut_short_all
        )

    def _cut_short_all(self) -> None:
        """Of this server: the first whose time is over is so for all."""
        connections = cast("set[Connection]", self.connections)
        late = {c: c.serving for c in connections if c.serving and not c.is_cut_short}
        if late:
            _log.warning(
                "%d requests by HTTP were cut short: the time that a stop gives them "
                "was over",
                len(late),
            )
        for connection, serving in late.items():
            connection.is_cut_short = True
            serving.cancel()

    async def cut(self) -> NoReturn:
        """End it here and now, in the midst of an answer: the client is to see that
        there is more to it. The task that serves it, who calls this, is cancelled."""
        self.transport.abort()
        await self.loop.create_future()
        raise AssertionError("nobody waits for what is cancelled")

    # --- the parser's callbacks -----------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._at, self._head_bytes = _At.HEAD, 0
        cast("dict[str, Any]", self.scope)[KEY] = self

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._at is _At.BODY:
            return  # of a trailer: nobody asks for one, and none may pass for a header
        if len(self.headers) >= MAX_HEADERS:
            raise _HeadTooLarge
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._expect_nothing()
        if self._is_answering and self._is_too_far_ahead():
            # What is before it is answered, the last of it with the word that no more
            # is: whoever was not answered knows that nothing of it was done.
            self.cycle.keep_alive, self.is_full = False, True
            self._at = _At.NOTHING
            raise _TooFarAhead
        if self._head_bytes + self._piece_bytes > MAX_HEAD and self._head() > MAX_HEAD:
            raise _HeadTooLarge
        if self._is_target_too_long():
            raise _TargetTooLong
        self._at, self._is_silent, self._silent_bytes = _At.BODY, False, 0
        super().on_headers_complete()

    def _is_too_far_ahead(self) -> bool:
        ahead = [list(cycle.scope["headers"]) for cycle, _ in self.pipeline]
        fields = sum(map(len, ahead)) + (len(self.headers) if ahead else 0)
        return len(ahead) >= MAX_AHEAD or fields > MAX_HEADERS

    def on_body(self, body: bytes) -> None:
        self._is_silent, self._silent_bytes = False, 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._expect_nothing()
        self._at = _At.NOTHING
        super().on_message_complete()
        if not self.pipeline:
            # uvicorn stops reading in the midst of a large body, and for good where
            # that was its end: then nobody would hear that the caller goes away.
            self.flow.resume_reading()

    def on_response_complete(self) -> None:
        if self.cycle.response_complete:
            # What came of a body that nobody wanted, and would lie here until the next
            # request.
            self.cycle.body.clear()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        if self.is_full:
            return
        if self._at is _At.HEAD and (
            len(self.headers) >= MAX_HEADERS or self._head() > MAX_HEAD
        ):
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif self._at is _At.HEAD and self._is_target_too_long():
            self._refuse(HTTPStatus.REQUEST_URI_TOO_LONG)
        else:
            super().send_400_response(msg)

    def _is_target_too_long(self) -> bool:
        if len(self.url) <= MAX_PATH:
            return False  # nearly always
        return len(self.url) > MAX_TARGET or len(self.url.partition(b"?")[0]) > MAX_PATH

    def _head(self) -> int:
        sizes = (len(name) + len(value) + 4 for name, value in self.headers)
        return len(self.url) + sum(sizes)

    # --- deadlines ------------------------------------------------------------------

    def _expect_by(self, after_s: float) -> None:
        self._deadline = self.loop.call_later(after_s, self._too_late)

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._deadline = None
        if self.flow.read_paused or (self._at is not _At.BODY and self._is_answering):
            # It is we who do not read, or an earlier request that is being answered.
            self._expect_by(HEAD_DEADLINE_S)
        else:
            self._give_up(HTTPStatus.REQUEST_TIMEOUT)

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _give_up(self, status: HTTPStatus) -> None:
        """Wait no more for the rest of a request."""
        if (self._at is _At.NOTHING and self.cycle is not None) or (
            self._at is _At.BODY
            and (not self._is_answering or self.cycle.response_started)
        ):
            self._expect_nothing()
            self.transport.close()  # it has its answer
        else:
            self._refuse(status)

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer and close, without asking the application."""
        self._expect_nothing()
        body = b'{"message":"%s"}' % status.phrase.encode()
        self.transport.write(
            b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n%s"
            % (status.value, status.phrase.encode(), len(body), body)
        )
        self.transport.close()


def limited_to(connections: int) -> type[Connection]:
    """The protocol of a server that may have so many: uvicorn makes the instances."""
    bounds = {
        "limit": connections,
        "untaken": Untaken(),
        "lost": asyncio.Event(),
        "_room": _Room(),
    }
    return type("LimitedConnection", (Connection,), bounds)


class _Room:
    """Of one server. Anybody may open connections and say nothing: without this, who
    has opened as many as there may be keeps everybody out at no cost."""

    def __init__(self) -> None:
        self._again_at = 0.0

    def make(self, connections: set[Connection], limit: int, now: float) -> bool:
        """Close a few, so that not each one that comes has all of them looked at.
        Whether there is room now."""
        if now < self._again_at:
            return False
        idle = [
            (since, connection)
            for connection in connections
            if (since := connection.idle_since()) is not None
        ]
        longest = heapq.nsmallest(1 + limit // 100, idle, key=itemgetter(0))
        for _, connection in longest:
            connections.discard(connection)
            connection.transport.abort()
        if not longest:
            self._again_at = now + MAKE_ROOM_AGAIN_S
        return bool(longest)


class _HeadTooLarge(Exception):
    """Ends the parsing; uvicorn takes it for a bad request."""


class _TargetTooLong(Exception):
    """Likewise."""


class _TooFarAhead(Exception):
    """Ends the parsing as well; uvicorn's bad request is not answered."""
