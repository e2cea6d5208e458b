"""The DNS of an egress cell: what names its functions may look up, and what they learn.

Nothing is passed on as it came. A question is read, checked and asked anew under a
number and from a port of ours; of the answer, what belongs to the question is read and
written anew, without the addresses that the cell cannot reach. So a name that
points to a private address points nowhere (DNS rebinding), and no byte of the tenant's
or of a stranger's server gets past this parser.

Bounded in every direction: one question of 512 bytes at a time, 200 in a second, 32
that wait, answers of 4096 bytes. What goes beyond is dropped, as UDP may; what does
not fit into an answer is left out, for there is no TCP.
"""

import os
import select
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address

MAX_QUERY = 512
MAX_ANSWER = 4096
"""Bytes, down and up. Also what we tell nameservers that we take."""

MAX_RECORDS = 256
"""Of one answer that are looked at."""

MAX_WAITING = 32
RATE_PER_S = 200
"""Questions of one cell; as many may come at once."""

PATIENCE_S = 2.0
"""For each nameserver, the last time as the first: libc asks again after five."""

MAX_NAMESERVERS = 3
"""As many as libc looks at."""

_HEADER = struct.Struct("!HHHHHH")
_QUESTION = struct.Struct("!HH")
_RECORD = struct.Struct("!HHIH")
_SOA_NUMBERS = 20

_MAX_LABEL = 63
_MAX_NAME = 255
_MAX_POINTERS = 32
_POINTER = 0xC0
_TO_THE_QUESTION = b"\xc0\x0c"

_RESPONSE, _TRUNCATED, _ASKED_RECURSION, _RECURSION = 0x8000, 0x0200, 0x0100, 0x0080
_OPCODE, _STATUS = 0x7800, 0x000F
_SERVER_FAILURE, _NO_SUCH_NAME, _REFUSED = 2, 3, 5
_INTERNET = 1

_A, _NS, _CNAME, _SOA, _PTR, _MX, _TXT, _AAAA, _SRV = 1, 2, 5, 6, 12, 15, 16, 28, 33
_OPT, _SVCB, _HTTPS, _CAA = 41, 64, 65, 257

_ASKABLE = frozenset(
    (_A, _NS, _CNAME, _SOA, _PTR, _MX, _TXT, _AAAA, _SRV, _SVCB, _HTTPS, _CAA)
)
"""No transfers of zones, no ANY, nothing that changes anything."""

_BEFORE_NAME = {_NS: 0, _CNAME: 0, _PTR: 0, _MX: 2, _SRV: 6}
"""Records that end in a name, and how many bytes come before it."""

_OPAQUE = frozenset((_TXT, _CAA))
"""Bytes for the function alone to understand. AAAA is answered with none, because cells
have no IPv6; SVCB and HTTPS likewise, because addresses hide in them."""

_REVERSE = b"\x07in-addr\x04arpa\x00"

Reach = Callable[[IPv4Address], bool]


class BadMessage(Exception):
    """Bytes that are no DNS message as we take them."""


@dataclass(frozen=True, slots=True)
class Query:
    """What a function asked."""

    number: int
    name: bytes
    """As on the wire: labels with their lengths, the empty one last."""

    kind: int
    max_answer: int
    has_extension: bool
    """EDNS: then there is one in the answer."""

    wants_recursion: bool


def read_query(message: bytes) -> Query:
    """Raises `BadMessage`."""
    if not _HEADER.size <= len(message) <= MAX_QUERY:
        raise BadMessage(f"{len(message)} bytes")
    number, flags, questions, answers, authorities, more = _HEADER.unpack_from(message)
    if flags & (_RESPONSE | _OPCODE | _TRUNCATED):
        raise BadMessage("it is no question")
    if (questions, answers, authorities) != (1, 0, 0) or more > 1:
        raise BadMessage("other than one question")
    name, at = _read_name(message, _HEADER.size, pointers=0)
    kind, class_ = _unpack(_QUESTION, message, at)
    at += _QUESTION.size
    if class_ != _INTERNET:
        raise BadMessage(f"class {class_}")
    max_answer = MAX_QUERY
    if more:
        owner, after = _read_name(message, at, pointers=0)
        extension, size, _, length = _unpack(_RECORD, message, after)
        if owner != b"\0" or extension != _OPT:
            raise BadMessage("something beside the question")
        at = after + _RECORD.size + length
        max_answer = min(max(size, MAX_QUERY), MAX_ANSWER)
    if at != len(message):
        raise BadMessage("more than a question")
    wants_recursion = bool(flags & _ASKED_RECURSION)
    return Query(number, name, kind, max_answer, bool(more), wants_recursion)


def refusal(query: Query, reach: Reach) -> bytes | None:
    """The answer to what is not asked at all, or None."""
    if query.kind not in _ASKABLE:
        return _reply(query, _REFUSED, b"", 0)
    if query.kind == _PTR and not _may_be_named(query.name, reach):
        return _reply(query, _NO_SUCH_NAME, b"", 0)
    return None


def failure(query: Query) -> bytes:
    """The answer when no nameserver gave one."""
    return _reply(query, _SERVER_FAILURE, b"", 0)


def write_question(query: Query, number: int) -> bytes:
    """What a nameserver is asked."""
    header = _HEADER.pack(number, _ASKED_RECURSION, 1, 0, 0, 1)
    extension = b"\0" + _RECORD.pack(_OPT, MAX_ANSWER, 0, 0)
    return header + query.name + _QUESTION.pack(query.kind, _INTERNET) + extension


def write_answer(message: bytes, query: Query, number: int, reach: Reach) -> bytes:
    """What the function is told, from what a nameserver said.

    Raises `BadMessage` for what does not answer `query` under `number`: that may
    have been sent by anybody, and the true answer may be still to come.
    """
    at, status, answers, authorities = _read_head(message, query, number)
    if status not in (0, _NO_SUCH_NAME):
        return failure(query)
    room = query.max_answer - len(_reply(query, 0, b"", 0))
    body, counts = b"", [0, 0]
    for index in range(min(answers + authorities, MAX_RECORDS)):
        is_authority = index >= answers
        try:
            record, at = _copy_record(message, at, query, reach, is_authority)
        except BadMessage:
            break  # cut off, or forged: what was understood is enough
        if record and len(body) + len(record) <= room:
            body += record
            counts[is_authority] += 1
    return _reply(query, status, body, *counts)


def _read_head(message: bytes, query: Query, number: int) -> tuple[int, int, int, int]:
    if len(message) > MAX_ANSWER:
        raise BadMessage(f"{len(message)} bytes")
    theirs, flags, questions, *sections, _ = _unpack(_HEADER, message, 0)
    if theirs != number or not flags & _RESPONSE or flags & _OPCODE or questions != 1:
        raise BadMessage("it answers something else")
    name, at = _read_name(message, _HEADER.size, pointers=0)
    if (name.lower(), *_unpack(_QUESTION, message, at)) != (
        *(query.name.lower(), query.kind, _INTERNET),
    ):
        raise BadMessage("it answers another question")
    return at + _QUESTION.size, flags & _STATUS, sections[0], sections[1]


def _copy_record(
    message: bytes, at: int, query: Query, reach: Reach, is_authority: bool
) -> tuple[bytes, int]:
    """A record as it may be told, empty if not at all; and where the next one is."""
    owner, at = _read_name(message, at)
    kind, class_, seconds, length = _unpack(_RECORD, message, at)
    at += _RECORD.size
    if at + length > len(message):
        raise BadMessage("a record beyond the end")
    wanted = kind == _SOA if is_authority else kind in (_CNAME, query.kind)
    data = _copy_data(message[: at + length], at, kind, reach) if wanted else None
    if data is None or class_ != _INTERNET:
        return b"", at + length
    if owner.lower() == query.name.lower():
        owner = _TO_THE_QUESTION
    record = owner + _RECORD.pack(kind, _INTERNET, seconds, len(data)) + data
    return record, at + length


def _copy_data(message: bytes, at: int, kind: int, reach: Reach) -> bytes | None:
    """What a record says, up to the end of `message`; None for what is not told."""
    rest = message[at:]
    if kind == _A:
        is_told = len(rest) == _ADDRESS and reach(IPv4Address(rest))
        return rest if is_told else None
    if kind in _OPAQUE:
        return rest
    if kind == _SOA:
        first, after = _read_name(message, at)
        second, after = _read_name(message, after)
        numbers = message[after:]
        return first + second + numbers if len(numbers) == _SOA_NUMBERS else None
    if (before := _BEFORE_NAME.get(kind)) is not None:
        name, after = _read_name(message, at + before)
        return rest[:before] + name if after == len(message) else None
    return None


_ADDRESS = 4


def _reply(
    query: Query, status: int, body: bytes, answers: int, authorities: int = 0
) -> bytes:
    flags = _RESPONSE | _RECURSION | status
    if query.wants_recursion:
        flags |= _ASKED_RECURSION
    extension = b""
    if query.has_extension:
        extension = b"\0" + _RECORD.pack(_OPT, MAX_ANSWER, 0, 0)
    header = _HEADER.pack(
        query.number, flags, 1, answers, authorities, int(query.has_extension)
    )
    question = query.name + _QUESTION.pack(query.kind, _INTERNET)
    return header + question + body + extension


def _may_be_named(name: bytes, reach: Reach) -> bool:
    """Of reverse lookups, those of addresses that the cell can reach: the others'
    names tell what is there."""
    if not name.lower().endswith(_REVERSE):
        return False
    labels = [label.decode("latin-1") for label in _labels(name)[:-2]]
    try:
        return reach(IPv4Address(".".join(reversed(labels))))
    except ValueError:
        return False


def _labels(name: bytes) -> list[bytes]:
    found, at = [], 0
    while name[at]:
        found.append(name[at + 1 : at + 1 + name[at]])
        at += 1 + name[at]
    return found


def _unpack(layout: struct.Struct, message: bytes, at: int) -> tuple[int, ...]:
    if at + layout.size > len(message):
        raise BadMessage("it ends too early")
    return layout.unpack_from(message, at)


def _read_name(
    message: bytes, at: int, *, pointers: int = _MAX_POINTERS
) -> tuple[bytes, int]:
    """A name without pointers, and what comes after it.

    A pointer leads back, each further than the one before, so that they end.
    """
    name, after, limit = b"", None, at
    while True:
        if at >= len(message):
            raise BadMessage("a name beyond the end")
        length = message[at]
        if length & _POINTER == _POINTER:
            target = int.from_bytes(message[at : at + 2], "big") & 0x3FFF
            if not pointers or target >= limit or at + 1 >= len(message):
                raise BadMessage("a pointer that leads nowhere")
            after = at + 2 if after is None else after
            at = limit = target
            pointers -= 1
            continue
        if length > _MAX_LABEL:
            raise BadMessage("a label of unknown kind")
        label = message[at : at + 1 + length]
        name += label
        at += 1 + length
        if len(name) > _MAX_NAME or len(label) != 1 + length:
            raise BadMessage("a name that does not end")
        if not length:
            return name, at if after is None else after


def nameservers(resolv_conf: str) -> list[tuple[socket.AddressFamily, str]]:
    """Whom the machine asks, by its resolv.conf(5)."""
    found = []
    for line in resolv_conf.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            try:
                version = ip_address(words[1].partition("%")[0]).version
            except ValueError:
                continue
            family = socket.AF_INET if version == _V4 else socket.AF_INET6
            found.append((family, words[1]))
    return found[:MAX_NAMESERVERS] or [(socket.AF_INET, "127.0.0.1")]


_V4 = 4
DNS_PORT = 53


@dataclass(slots=True)
class _Waiting:
    """A question that a nameserver is asked at the moment."""

    query: Query
    asker: tuple[str, int]
    number: int
    server: int
    """Which of the nameservers."""

    upstream: socket.socket
    deadline: float


@dataclass(slots=True)
class Resolver:
    """One cell's. It owns the socket that the cell's processes ask, and the others.

    Readable (`fileno`) when there is something to do, and due after `timeout_ms`; then
    `work` does it, and never waits.
    """

    cell: socket.socket
    servers: list[tuple[socket.AddressFamily, str]]
    reach: Reach
    port: int = DNS_PORT
    _epoll: select.epoll = field(default_factory=select.epoll)
    _waiting: dict[int, _Waiting] = field(default_factory=dict)
    """By the descriptor of the socket that the answer will come to, oldest first."""

    _tokens: float = RATE_PER_S
    _filled_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.cell.setblocking(False)
        self._epoll.register(self.cell, select.EPOLLIN)

    def fileno(self) -> int:
        return self._epoll.fileno()

    def timeout_ms(self) -> float | None:
        """Until somebody has waited long enough; None while nobody waits."""
        oldest = next(iter(self._waiting.values()), None)
        if oldest is None:
            return None
        return max(0.0, oldest.deadline - time.monotonic()) * 1000

    def work(self) -> None:
        """Hear questions and answers, and give up on what is overdue."""
        for fd, _ in self._epoll.poll(0):
            if fd == self.cell.fileno():
                self._hear_cell()
            elif (waiting := self._waiting.get(fd)) is not None:
                self._hear_server(waiting)
        now = time.monotonic()
        for waiting in list(self._waiting.values()):
            if waiting.deadline <= now:
                self._ask_next(waiting)

    def close(self) -> None:
        for waiting in list(self._waiting.values()):
            self._forget(waiting)
        self._epoll.close()
        self.cell.close()

    def _hear_cell(self) -> None:
        try:
            message, asker = self.cell.recvfrom(MAX_QUERY + 1)
            query = read_query(message)
        except (BadMessage, OSError):
            return
        if not self._has_token():
            return
        if (answer := refusal(query, self.reach)) is not None:
            self._tell(asker, answer)
        elif len(self._waiting) < MAX_WAITING:
            self._ask(query, asker, 0)

    def _has_token(self) -> bool:
        now = time.monotonic()
        gained = (now - self._filled_at) * RATE_PER_S
        self._tokens = min(RATE_PER_S, self._tokens + gained)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _ask(self, query: Query, asker: tuple[str, int], server: int) -> None:
        """The nameserver number `server`, or the first after it that can be asked."""
        number = int.from_bytes(os.urandom(2), "big")
        for index in range(server, len(self.servers)):
            family, address = self.servers[index]
            # A socket for each question: its port is one more thing to guess for
            # whoever would like to answer in the nameserver's place.
            try:
                # A kernel without IPv6 has none for a nameserver that has.
                upstream = socket.socket(
                    family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
                )
            except OSError:
                continue
            try:
                upstream.connect((address, self.port))
                upstream.send(write_question(query, number))
            except OSError:
                upstream.close()
                continue
            deadline = time.monotonic() + PATIENCE_S
            waiting = _Waiting(query, asker, number, index, upstream, deadline)
            self._waiting[upstream.fileno()] = waiting
            self._epoll.register(upstream, select.EPOLLIN)
            return
        self._tell(asker, failure(query))

    def _hear_server(self, waiting: _Waiting) -> None:
        try:
            message = waiting.upstream.recv(MAX_ANSWER + 1)
            answer = write_answer(message, waiting.query, waiting.number, self.reach)
        except BadMessage:
            return
        except OSError:
            self._ask_next(waiting)
            return
        self._forget(waiting)
        self._tell(waiting.asker, answer)

    def _ask_next(self, waiting: _Waiting) -> None:
        self._forget(waiting)
        self._ask(waiting.query, waiting.asker, waiting.server + 1)

    def _forget(self, waiting: _Waiting) -> None:
        del self._waiting[waiting.upstream.fileno()]
        waiting.upstream.close()

    def _tell(self, asker: tuple[str, int], answer: bytes) -> None:
        try:
            self.cell.sendto(answer, asker)
        except OSError:
            return  # nobody listens there any more, or too slowly
