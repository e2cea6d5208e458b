"""A wire of the Runtime API, and programs that call it: real sockets, real HTTP."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import h11

from sandlot_sandbox import frames
from sandlot_sandbox.host.runtime_api import VERSION
from sandlot_sandbox.host.runtime_wire import RuntimeWire

WAIT_S = 5.0
NEXT = f"{VERSION}/invocation/next"
RESPONSE = f"{VERSION}/invocation/r-1/response"
ERROR = f"{VERSION}/invocation/r-1/error"
INIT_ERROR = f"{VERSION}/init/error"


class Engine:
    """Hears what an instance would."""

    expects_answer = True

    def __init__(self) -> None:
        self.answers: list[frames.Answer] = []
        self.violations: list[frames.Violation] = []
        self.crashes: list[str] = []
        self.reasons: list[str] = []
        self.statuses: list[int] = []
        self.settled = 0
        self.has_hung_up = False
        self._news = asyncio.Event()

    def hear(self, answer: frames.Answer) -> None:
        self.answers.append(answer)
        self._news.set()

    def note_violation(self, violation: frames.Violation) -> None:
        self.violations.append(violation)

    def note_crash(self, error_type: str, why: str = "") -> None:
        self.crashes.append(error_type)
        self.reasons.append(why)

    def note_settled(self) -> None:
        self.settled += 1

    def note_runtime_ended(self, status: int) -> None:
        self.statuses.append(status)

    def note_hung_up(self) -> None:
        self.has_hung_up = True

    async def wait_for(self, count: int) -> list[frames.Answer]:
        async with asyncio.timeout(WAIT_S):
            while len(self.answers) < count:
                self._news.clear()
                await self._news.wait()
        return self.answers


class Program:
    """A connection of a program's to the API."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.reader, self.writer = reader, writer
        self.http = h11.Connection(h11.CLIENT)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        head = (("Host", "127.0.0.1"), ("Content-Length", str(len(body))), *headers)
        request = h11.Request(method=method, target=path, headers=list(head))
        self.writer.write(self.http.send(request) or b"")
        if body:
            self.writer.write(self.http.send(h11.Data(data=body)) or b"")
        self.writer.write(self.http.send(h11.EndOfMessage()) or b"")

    async def hear(self) -> tuple[int, dict[str, str], bytes]:
        status, headers, body = 0, {}, b""
        async with asyncio.timeout(WAIT_S):
            while True:
                event = self.http.next_event()
                if event is h11.NEED_DATA:
                    self.http.receive_data(await self.reader.read(1 << 16))
                elif isinstance(event, h11.Response):
                    status = event.status_code
                    headers = {k.decode(): v.decode() for k, v in event.headers}
                elif isinstance(event, h11.Data):
                    body += event.data
                else:
                    assert isinstance(event, h11.EndOfMessage)
                    if self.http.our_state is h11.DONE:
                        self.http.start_next_cycle()
                    return status, headers, body

    async def call(
        self, method: str, path: str, body: bytes = b"", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        named = tuple((k.replace("_", "-"), v) for k, v in headers.items())
        self.ask(method, path, body, named)
        return await self.hear()

    async def is_closed(self) -> bool:
        async with asyncio.timeout(WAIT_S):
            try:
                return await self.reader.read(1) == b""
            except ConnectionError:
                return True


class Jail:
    """A wire, whoever hears it, and programs that connect to it."""

    def __init__(self) -> None:
        ours, self.channel = socket.socketpair()
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self.engine = Engine()
        self.wire = RuntimeWire(ours, listener)
        self.wire.open(self.engine)
        self._programs: list[Program] = []

    async def connect(self) -> Program:
        program = Program(*await asyncio.open_connection("127.0.0.1", self.port))
        self._programs.append(program)
        return program

    def send(self, payload: bytes = b'{"a": 1}', context: str = "") -> None:
        header = frames.EventHeader("r-1", 1_234, "arn:f", context, "Root=1", "t-1")
        self.wire.send(header, payload)

    async def running(self) -> Program:
        """A program that has an event."""
        program = await self.connect()
        self.send()
        assert (await program.call("GET", NEXT))[0] == 200
        return program

    async def close(self) -> None:
        self.wire.close()
        self.channel.close()
        for program in self._programs:
            program.writer.close()


@asynccontextmanager
async def jailed() -> AsyncIterator[Jail]:
    made = Jail()
    yield made
    await made.close()
