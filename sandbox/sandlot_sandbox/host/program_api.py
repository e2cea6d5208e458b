"""What an instance's program, and its extensions, are told and may ask: the Runtime API
and the Extensions API together.

Pure. An init ends when the runtime and every extension have asked for an event; an
invocation is answered when the runtime has, and over when every extension has asked
for the next.
"""

import time
from collections.abc import Mapping
from typing import Protocol

from sandlot_sandbox import frames
from sandlot_sandbox.host import extensions_api, subscription
from sandlot_sandbox.host.extensions_api import ExtensionsApi, Identity, Shutdown
from sandlot_sandbox.host.runtime_api import (
    Reply,
    Request,
    Respond,
    RuntimeApi,
    refusal,
)
from sandlot_sandbox.host.telemetry import Room, Telemetry

EXTERNAL_S = 2.0
INTERNAL_S = 0.5
"""How long AWS lets an instance with external extensions, and one with internal ones,
live on when it is to end."""


class Listens(Protocol):
    """Who is told what becomes of a program."""

    def answered(self, answer: frames.Answer) -> None: ...

    def may_start(self) -> None:
        """All external extensions are registered: the runtime is due."""
        ...

    def settled(self) -> None:
        """Every extension is done with the invocation, some time after its answer."""
        ...

    def asked(self) -> None:
        """The runtime has, for the event after an answer."""
        ...

    def failed(self, error_type: str, why: str) -> None:
        """An extension has given up."""
        ...

    def can_deliver(self) -> bool:
        """Whether telemetry can be taken to extensions; who asks wants that."""
        ...

    def has_telemetry(self) -> None:
        """Something waits to be sent to an extension."""
        ...


class ProgramApi:
    """One instance's conversation."""

    def __init__(
        self, identity: Identity, listens: Listens, room: Room | None = None
    ) -> None:
        self._listens = listens
        self.telemetry = Telemetry(room or Room(), has_json_log=identity.has_json_log)
        self.runtime = RuntimeApi(self._tell)
        self.extensions = ExtensionsApi(
            identity, moved=self._moved, failed=listens.failed
        )
        self._may_start = True
        """Whether the runtime need not wait any more for who is to register."""

        self._is_ready = False
        self._is_answered = False
        self._is_runtime_ready = False
        self._event: tuple[frames.EventHeader, bytes] | None = None
        """What came before the init was over."""

    def __repr__(self) -> str:
        return f"<ProgramApi {self.runtime!r} {self.extensions!r}>"

    @property
    def is_initialising(self) -> bool:
        return not self._is_ready

    @property
    def is_settled(self) -> bool:
        """Whether no extension works on after an answer."""
        return self.extensions.are_ready

    @property
    def shutdown_s(self) -> float:
        """How long it may live on when it is to end."""
        extensions = self.extensions.all
        if any(extension.is_external for extension in extensions):
            return EXTERNAL_S
        return INTERNAL_S if extensions else 0.0

    def expect(self, names: list[str]) -> None:
        """These extensions were started, and the runtime waits until all of them are
        registered. Raises `frames.Violation`."""
        if self._is_runtime_ready:
            raise frames.Violation("extensions after the runtime")
        self.extensions.expect(names)
        self._may_start = False

    def send(self, header: frames.EventHeader, payload: bytes) -> None:
        """The next event: now, or when the init is over."""
        self._event = (header, payload)
        if self._is_ready:
            self._pass_on()

    def shut_down(self, reason: Shutdown, deadline_ms: int) -> bool:
        """Whether any extension wanted to know."""
        return self.extensions.shut_down(reason, deadline_ms)

    def most_of(self, method: str, path: str) -> int:
        """See `RuntimeApi.most_of`."""
        if path in subscription.PATHS:
            return subscription.MAX_BODY if method == "PUT" else 0
        if path.startswith(extensions_api.PREFIX):
            return self.extensions.most_of(method)
        return self.runtime.most_of(method, path)

    def hear(self, request: Request, respond: Respond) -> None:
        """See `RuntimeApi.hear`."""
        if request.path.startswith(extensions_api.PREFIX):
            self.extensions.hear(request, respond)
        elif request.path in subscription.PATHS and request.method == "PUT":
            respond(self._subscribe(request))
        else:
            was_waiting = self.runtime.is_waiting
            self.runtime.hear(request, respond)
            if self.runtime.is_waiting and not was_waiting and self._is_ready:
                self._listens.asked()

    def forget(self, respond: Respond) -> None:
        """See `RuntimeApi.forget`."""
        self.runtime.forget(respond)
        self.extensions.forget(respond)

    # Answers in pieces are the runtime's alone.

    def streams(self, request: Request) -> bool:
        return self.runtime.streams(request)

    def take_piece(self, piece: bytes) -> None:
        self.runtime.take_piece(piece)

    def end_stream(self, trailers: Mapping[str, str]) -> Reply:
        return self.runtime.end_stream(trailers)

    def break_stream(self) -> None:
        self.runtime.break_stream()

    def note_oversize(self, path: str) -> Reply:
        return self.runtime.note_oversize(path)

    def _subscribe(self, request: Request) -> Reply:
        what = "Telemetry" if request.path == subscription.TELEMETRY else "Logs"
        extension = self.extensions.caller(request)
        if isinstance(extension, Reply):
            return extension
        if not self.telemetry.is_open:
            return refusal(403, f"{what}.SubscriptionClosed", "The init is over")
        wants = subscription.parse(request.path, request.body)
        if isinstance(wants, Reply):
            return wants
        if not self._listens.can_deliver():
            # As AWS's emulator says it.
            message = f"{what} API is not supported"
            return refusal(202, f"{what}.NotSupported", message)
        self.telemetry.subscribe(
            *(extension.id, extension.name, request.path, wants), now=time.monotonic()
        )
        self._listens.has_telemetry()
        return Reply(200, body=b"OK")

    # --- what comes of it -----------------------------------------------------------

    def _tell(self, answer: frames.Answer) -> None:
        if answer.kind == frames.READY:
            self._is_runtime_ready = True
            self.extensions.close_registration()
            self._moved()
            return
        if answer.kind in (frames.ANSWER, frames.ERROR, frames.STREAM_END):
            self._is_answered = True
        self._listens.answered(answer)

    def _moved(self) -> None:
        if not self._may_start and self.extensions.are_registered:
            self._may_start = True
            self._listens.may_start()
        if not self.extensions.are_ready:
            return
        if self._is_runtime_ready and not self._is_ready:
            self._is_ready = True
            self._tell_extensions()
            self.telemetry.close_subscriptions()
            self._listens.answered(frames.Answer(frames.READY, "", b"", 0))
            if self._event is not None:
                self._pass_on()
        elif self._is_answered:
            self._is_answered = False
            self._listens.settled()

    def _tell_extensions(self) -> None:
        for extension in self.extensions.all:
            told = {
                "name": extension.name,
                "state": extension.stage.value,
                "events": list(extension.events),
            }
            now = time.monotonic()
            self.telemetry.note("platform", "platform.extension", told, now=now)

    def _pass_on(self) -> None:
        assert self._event is not None  # noqa: S101
        (header, payload), self._event = self._event, None
        self._is_answered = False
        self.extensions.send(header)
        self.runtime.send(header, payload)
