"""One connection of an instance's program: a call, its reply, the next call.

Everything that is read here was written by an attacker. `h11` parses it; how much is
kept of it is bounded below.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Protocol

import h11

from sandlot_sandbox import frames
from sandlot_sandbox.host.program_api import ProgramApi
from sandlot_sandbox.host.runtime_api import Reply, Request
from sandlot_sandbox.host.thread_time import thread_s

MAX_HEADERS = 73_728
"""Bytes of a call's header: AWS allows 64 KB for the cause of an error alone."""

MAX_LINES = 256
"""Lines of a call's header. Of the shortest ones it could have 18,000, and each takes a
microsecond to be understood, and another one to be looked at."""

MAX_BODIES = frames.MAX_PAYLOAD + 1_048_576
"""Bytes of unfinished calls, of all connections together."""

MAX_SWALLOWED = 8 * frames.MAX_PAYLOAD
"""Bytes of a body that is too large, which are read so that its sender hears of it."""

MAX_AHEAD = 65_536
"""Bytes that a connection may bring before the call that came before is answered: the
next calls of a client that does not wait."""

_READ = 1 << 16


class Shared(Protocol):
    """What all connections of an instance have in common."""

    @property
    def is_paused(self) -> bool:
        """Whether nothing more of an answer in pieces is to be read."""
        ...

    kept: int
    """Bytes of unfinished calls."""

    def may_go_on(self) -> bool:
        """Whether one thing more may be heard without a break."""
        ...

    def after_break(self, go_on: Callable[[], None]) -> asyncio.TimerHandle: ...

    def note_took(self, cpu_s: float, size: int) -> None:
        """So much of a processor it took to hear some, and to reply; of so many bytes,
        those of a whole body once more at its end."""
        ...

    def note_refusal(self) -> None:
        """What was heard last was for nothing."""

    def forget(self, connection: "Connection") -> None:
        """It is closed."""
        ...


class Connection:
    """One of a program's."""

    def __init__(self, accepted: socket.socket, api: ProgramApi, wire: Shared) -> None:
        accepted.setblocking(False)
        with contextlib.suppress(OSError):
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = accepted
        self._api = api
        self._wire = wire
        self._loop = asyncio.get_running_loop()
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADERS)
        self._call: h11.Request | None = None
        self._body = bytearray()
        self._size = 0
        self._carried = 0
        """Bytes that went through whole, in and out, with what was heard last."""
        self._most = 0
        self._respond: Callable[[Reply], None] | None = None
        """To whom this connection owes a reply."""
        self._unsent = memoryview(b"")
        self._streams = False
        """Whether the call is an answer in pieces."""
        self._is_open = True
        self._is_reading = False
        self._rest: asyncio.TimerHandle | None = None
        """When what was read is gone on with; nothing more is read before."""
        self._loop.add_reader(accepted, self._read_some)
        self._read_some()

    def read(self) -> None:
        """What there is, once."""
        self._receive(is_all=True)

    def _read_some(self) -> None:
        """The same, but whoever says too much at once has a break first."""
        self._receive(is_all=False)

    def _receive(self, *, is_all: bool) -> None:
        if not self._is_open or self._is_reading:
            return
        if self._streams and self._wire.is_paused:
            # What is not read fills the socket, and then its writer waits.
            self._loop.remove_reader(self._socket)
            return
        self._is_reading = True
        try:
            if self._end_rest():
                self._take_events(is_all=is_all)
            data = self._socket.recv(_READ)
            # A client that sends a call line by line, as a shell does, waits for the
            # kernel's word on each line, which it would keep back for 40 ms.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            self._http.receive_data(data)
            self._take_events(is_all=is_all, size=len(data))
            if not data or self._is_far_ahead:
                self.close()
        except BlockingIOError:
            pass
        except (OSError, h11.RemoteProtocolError) as error:
            self._refuse(error)
        finally:
            self._is_reading = False

    @property
    def _is_far_ahead(self) -> bool:
        """Whether it sends on and on, while the reply to its last call is still due or
        on its way: `h11` keeps that, however much it is."""
        is_waiting = self._respond is not None or bool(self._unsent)
        return is_waiting and len(self._http.trailing_data[0]) > MAX_AHEAD

    def go_on(self) -> None:
        """After a pause."""
        if self._is_open and self._streams and self._rest is None:
            self._loop.add_reader(self._socket, self._read_some)

    def _rest_a_while(self) -> None:
        self._loop.remove_reader(self._socket)
        self._rest = self._wire.after_break(self._after_rest)

    def _after_rest(self) -> None:
        if self._end_rest():
            self._take_rest()

    def _end_rest(self) -> bool:
        """Whether there was one, and it is still open."""
        if self._rest is None or not self._is_open:
            return False
        self._rest.cancel()
        self._rest = None
        self._loop.add_reader(self._socket, self._read_some)
        return True

    def _take_events(self, *, is_all: bool = False, size: int = 0) -> None:
        began, self._carried = thread_s(), size
        try:
            self._take_some(is_all=is_all)
        finally:
            self._wire.note_took(thread_s() - began, self._carried)

    def _take_some(self, *, is_all: bool) -> None:
        while self._is_open and self._respond is None and not self._unsent:
            if not (is_all or self._wire.may_go_on()):
                if self._rest is None:
                    self._rest_a_while()
                return
            if self._http.their_state is h11.IDLE:
                _expect_few_lines(self._http.trailing_data[0])
            event = self._http.next_event()
            if event in (h11.NEED_DATA, h11.PAUSED):
                return
            if isinstance(event, h11.Request):
                self._begin(event)
            elif isinstance(event, h11.Data):
                self._take_body(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                self._end(event)
            else:
                self.close()

    def _begin(self, call: h11.Request) -> None:
        self._call = call
        self._size = 0
        self._streams = self._api.streams(_request_of(call))
        self._most = self._api.most_of(call.method.decode("ascii"), _path_of(call))
        if self._http.they_are_waiting_for_100_continue:
            self._send(
                self._http.send(h11.InformationalResponse(status_code=100, headers=[]))
            )

    def _take_body(self, data: bytes) -> None:
        if self._streams:
            self._api.take_piece(data)
            return
        self._size += len(data)
        if self._size > MAX_SWALLOWED:
            self.close()
        elif self._size > self._most:
            # Read to its end all the same: who is still sending hears no refusal.
            self._let_go_of_body()
        elif self._wire.kept + len(data) > MAX_BODIES:
            self.close()
        else:
            self._body += data
            self._wire.kept += len(data)

    def _end(self, end: h11.EndOfMessage) -> None:
        if self._streams:
            self._streams = False
            self._reply(self._api.end_stream(_plain(end.headers)))
            return
        call, is_over = self._call, self._size > self._most
        assert call is not None  # noqa: S101 - an end has a beginning
        body = bytes(self._body)
        self._carried += len(body)
        self._let_go_of_body()
        if is_over and self._most:
            self._reply(self._api.note_oversize(_path_of(call)))
            return
        request = _request_of(call, body)

        def respond(reply: Reply) -> None:
            if self._respond is respond:
                self._reply(reply)

        self._respond = respond
        self._api.hear(request, respond)

    def _reply(self, reply: Reply, *, is_last: bool = False) -> None:
        self._respond = None
        if not self._is_open:
            return
        self._carried += len(reply.body)
        if reply.status >= HTTPStatus.BAD_REQUEST:
            self._wire.note_refusal()
        headers = [(name.encode(), value.encode()) for name, value in reply.headers]
        headers.append((b"Content-Length", str(len(reply.body)).encode()))
        if is_last:
            headers.append((b"Connection", b"close"))
        response = h11.Response(status_code=reply.status, headers=headers)
        is_head_only = self._call is not None and self._call.method == b"HEAD"
        try:
            parts = [self._http.send(response)]
            if reply.body and not is_head_only:
                parts.append(self._http.send(h11.Data(data=reply.body)))
            parts.append(self._http.send(h11.EndOfMessage()))
        except h11.LocalProtocolError:
            # To a call like that h11 sends no such reply. Raised on, it would be a
            # traceback in the operator's log, as often as a program likes.
            self.close()
            return
        self._send(b"".join(part for part in parts if part))
        if not self._unsent:
            self._next_call()

    def _next_call(self) -> None:
        if self._http.our_state is h11.MUST_CLOSE:
            self.close()
            return
        self._call = None
        try:
            self._http.start_next_cycle()
        except h11.LocalProtocolError:
            self.close()
            return
        if not self._is_reading:
            self._take_rest()

    def _take_rest(self) -> None:
        """Calls that came before they were due."""
        # None of them takes the next: there may be thousands.
        self._is_reading = True
        try:
            self._take_events()
        except h11.RemoteProtocolError as error:
            self._refuse(error)
        finally:
            self._is_reading = False

    def _refuse(self, error: Exception) -> None:
        if isinstance(error, h11.RemoteProtocolError) and self._http.our_state in (
            h11.IDLE,
            h11.SEND_RESPONSE,
        ):
            body = b"the call was not understood\n"
            with contextlib.suppress(h11.LocalProtocolError):
                reply = Reply(error.error_status_hint or 400, body=body)
                self._reply(reply, is_last=True)
                return
        self.close()

    def _send(self, data: bytes | None) -> None:
        if not data:
            return
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        if sent < len(data):
            self._unsent = memoryview(data)[sent:]
            self._loop.add_writer(self._socket, self._send_rest)

    def _send_rest(self) -> None:
        try:
            self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not self._unsent:
            self._loop.remove_writer(self._socket)
            self._next_call()

    def _let_go_of_body(self) -> None:
        self._wire.kept -= len(self._body)
        self._body = bytearray()

    def close(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        if self._rest is not None:
            self._rest.cancel()
        self._let_go_of_body()
        if self._streams:
            self._api.break_stream()
        if self._respond is not None:
            self._api.forget(self._respond)
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        self._wire.forget(self)


def _expect_few_lines(begun: bytes) -> None:
    """Of the header that this begins with. Raises `RemoteProtocolError`."""
    ends = (begun.find(b"\n\r\n"), begun.find(b"\n\n"))
    end = min((end for end in ends if end >= 0), default=len(begun))
    if begun.count(b"\n", 0, end) > MAX_LINES:
        raise h11.RemoteProtocolError("too many headers", error_status_hint=431)


def _request_of(call: h11.Request, body: bytes = b"") -> Request:
    method = call.method.decode("ascii")
    return Request(method, _path_of(call), _plain(call.headers), body)


def _plain(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {
        name.decode("ascii"): value.decode("utf-8", "replace")
        for name, value in headers
    }


def _path_of(call: h11.Request) -> str:
    return call.target.decode("ascii", "replace").partition("?")[0]
