"""The Extensions API of one instance, and who calls it; no sockets."""

import json

from sandlot_sandbox import frames
from sandlot_sandbox.host.extensions_api import (
    PREFIX,
    Identity,
)
from sandlot_sandbox.host.program_api import ProgramApi
from sandlot_sandbox.host.runtime_api import VERSION, Reply, Request

NEXT = f"{VERSION}/invocation/next"

IDENTITY = Identity(name="f", version="1", handler="app.handler", account="12")


class Listener:
    """Hears what an instance's wire would."""

    def __init__(self) -> None:
        self.kinds: list[int] = []
        self.failures: list[tuple[str, str]] = []
        self.started = 0
        self.settled_times = 0
        self.asked_times = 0
        self.delivers = True

    def answered(self, answer: frames.Answer) -> None:
        self.kinds.append(answer.kind)

    def may_start(self) -> None:
        self.started += 1

    def settled(self) -> None:
        self.settled_times += 1

    def asked(self) -> None:
        self.asked_times += 1

    def can_deliver(self) -> bool:
        return self.delivers

    def has_telemetry(self) -> None: ...

    def failed(self, error_type: str, why: str) -> None:
        self.failures.append((error_type, why))


class Talk:
    """An API, and who calls it."""

    def __init__(self, *external: str) -> None:
        self.heard = Listener()
        self.api = ProgramApi(IDENTITY, self.heard)
        if external:
            self.api.expect(list(external))

    def call(
        self, method: str, path: str, body: bytes = b"", **headers: str
    ) -> "Pending":
        named = {k.replace("_", "-").lower(): v for k, v in headers.items()}
        pending = Pending()
        self.api.hear(Request(method, path, named, body), pending.take)
        return pending

    def register(self, name: str, *events: str, **headers: str) -> "Pending":
        body = json.dumps({"events": events}).encode()
        path = f"{PREFIX}register"
        return self.call("POST", path, body, Lambda_Extension_Name=name, **headers)

    def registered(self, name: str, *events: str) -> str:
        return self.register(name, *events).header("Lambda-Extension-Identifier")

    def next(self, identifier: str) -> "Pending":
        return self.call(
            "GET", f"{PREFIX}event/next", Lambda_Extension_Identifier=identifier
        )

    def runtime_next(self) -> "Pending":
        return self.call("GET", NEXT)

    def send(self, request_id: str = "r-1") -> None:
        self.api.send(frames.EventHeader(request_id, 5, "arn:f", "", "Root=1"), b"{}")

    def answer(self, request_id: str = "r-1") -> None:
        self.call("POST", f"{VERSION}/invocation/{request_id}/response", b"1")


class Pending:
    """A call, and its reply when that is there."""

    def __init__(self) -> None:
        self.reply: Reply | None = None

    def take(self, reply: Reply) -> None:
        assert self.reply is None, "answered twice"
        self.reply = reply

    @property
    def waits(self) -> bool:
        return self.reply is None

    def header(self, name: str) -> str:
        assert self.reply is not None
        return dict(self.reply.headers)[name]

    @property
    def told(self) -> dict[str, object]:
        assert self.reply is not None
        found: dict[str, object] = json.loads(self.reply.body)
        return found

    def refused(self, error_type: str) -> bool:
        return (
            self.reply is not None
            and self.reply.status == 403
            and self.told["errorType"] == error_type
        )
