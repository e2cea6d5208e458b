"""Lambda's Extensions API for one instance: what runs beside its function's runtime.

Pure, like `runtime_api.py`: requests in, replies out. External extensions are those
that the starter started; whoever else registers is internal, a part of the runtime's
own process. What they say is their tenant's word and harms nobody else: a call out of
turn is refused in AWS's words.
"""

import json
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from sandlot_sandbox import frames
from sandlot_sandbox.host.runtime_api import (
    OK,
    PLAIN_JSON,
    Reply,
    Request,
    Respond,
    refusal,
    sane,
)

PREFIX = "/2020-01-01/extension/"
MAX_EXTENSIONS = 10
"""Of one function, external and internal ones together, as AWS has it."""

MAX_NAME = 128
"""Characters of an extension's name."""

MAX_BODY = 65_536
"""Bytes that a call may bring."""

INVOKE, SHUTDOWN = "INVOKE", "SHUTDOWN"
_NAME = "lambda-extension-name"
_ID = "lambda-extension-identifier"
_ERROR_TYPE = "lambda-extension-function-error-type"
_FEATURES = "lambda-extension-accept-feature"


class Shutdown(Enum):
    """Why an instance ends, as its extensions are told."""

    SPINDOWN = "SPINDOWN"
    TIMEOUT = "TIMEOUT"
    FAILURE = "FAILURE"


class Stage(Enum):
    """Where an extension is: `STARTED → REGISTERED → READY ⇄ RUNNING`."""

    STARTED = "Started"
    REGISTERED = "Registered"
    READY = "Ready"
    RUNNING = "Running"
    INIT_ERROR = "InitError"
    EXIT_ERROR = "ExitError"


_LIVE = frozenset((Stage.REGISTERED, Stage.READY, Stage.RUNNING))


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What an extension is told of the function that it is part of."""

    name: str = ""
    version: str = ""
    handler: str = ""
    account: str = ""
    initialization: str = "on-demand"
    """Of the instance, as its environment has it."""

    has_json_log: bool = False
    """Whether its log is in AWS's JSON format."""


NOBODY = Identity()


@dataclass(eq=False, slots=True)
class Extension:
    """One of them, as it stands."""

    name: str
    is_external: bool
    stage: Stage = Stage.STARTED
    id: str = ""
    events: tuple[str, ...] = ()
    error_type: str = ""
    asking: Respond | None = None
    """Who waits for its next event."""

    due: deque[bytes] = field(default_factory=deque)
    """Events that nobody has asked for yet: one of each kind at most."""


class ExtensionsApi:
    """All extensions of an instance. `moved` is called after each step one of them
    takes, `failed` when one gives up, with AWS's error type and a sentence."""

    def __init__(
        self,
        identity: Identity,
        *,
        moved: Callable[[], None],
        failed: Callable[[str, str], None],
    ) -> None:
        self._identity = identity
        self._moved = moved
        self._failed = failed
        self._extensions: dict[str, Extension] = {}
        self._by_id: dict[str, Extension] = {}
        self._is_open = True
        self._is_ending = False

    def __repr__(self) -> str:
        stages = ", ".join(f"{e.name} {e.stage.value}" for e in self.all)
        return f"<ExtensionsApi {stages or 'none'}>"

    @property
    def all(self) -> tuple[Extension, ...]:
        return tuple(self._extensions.values())

    @property
    def are_registered(self) -> bool:
        """Whether every external one is: then the runtime may start."""
        return all(e.stage is not Stage.STARTED for e in self.all)

    @property
    def are_ready(self) -> bool:
        """Whether each of them waits for its next event."""
        return all(e.stage is Stage.READY for e in self.all)

    @property
    def heirs(self) -> list[str]:
        """Names of those that are told of the instance's end."""
        return [e.name for e in self.all if SHUTDOWN in e.events and e.stage in _LIVE]

    def find(self, identifier: str) -> Extension | None:
        """Of an identifier that was given out."""
        return self._by_id.get(identifier)

    def expect(self, names: list[str]) -> None:
        """These external ones were started. Raises `frames.Violation`."""
        if self._extensions or not 0 < len(names) <= MAX_EXTENSIONS:
            raise frames.Violation(f"{len(names)} extensions")
        self._extensions = {name: Extension(name, is_external=True) for name in names}

    def close_registration(self) -> None:
        """The runtime is initialised: nobody registers any more."""
        self._is_open = False

    def send(self, header: frames.EventHeader) -> None:
        """An invocation, to those that asked to hear of them. They all have to be
        ready."""
        event = {
            "eventType": INVOKE,
            "deadlineMs": header.deadline_ms,
            "requestId": header.request_id,
            "invokedFunctionArn": header.function_arn,
            "tracing": {"type": "X-Amzn-Trace-Id", "value": header.trace_id},
        }
        for extension in self.all:
            if INVOKE in extension.events:
                extension.stage = Stage.RUNNING
                self._give(extension, event)

    def shut_down(self, reason: Shutdown, deadline_ms: int) -> bool:
        """Say that the instance ends, once; whether anybody wanted to know."""
        told = [e for e in self.all if SHUTDOWN in e.events and e.stage in _LIVE]
        if not self._is_ending:
            self._is_ending = True
            for extension in told:
                self._give(
                    extension,
                    {
                        "eventType": SHUTDOWN,
                        "shutdownReason": reason.value,
                        "deadlineMs": deadline_ms,
                    },
                )
        return bool(told)

    def most_of(self, method: str) -> int:
        """How many bytes a call may bring."""
        return MAX_BODY if method == "POST" else 0

    def hear(self, request: Request, respond: Respond) -> None:
        """`respond` is called now; for who waits for an event, when there is one."""
        call = (request.method, request.path.removeprefix(PREFIX))
        if call == ("GET", "event/next"):
            self._next(request, respond)
        elif call == ("POST", "register"):
            respond(self._register(request))
        elif call == ("POST", "init/error"):
            respond(self._give_up(request, Stage.INIT_ERROR))
        elif call == ("POST", "exit/error"):
            respond(self._give_up(request, Stage.EXIT_ERROR))
        else:
            respond(Reply(404, body=b"404 page not found\n"))

    def forget(self, respond: Respond) -> None:
        """Its connection is closed: nobody waits there any more."""
        for extension in self.all:
            if extension.asking == respond:
                extension.asking = None

    # --- calls ----------------------------------------------------------------------

    def _register(self, request: Request) -> Reply:
        name = request.headers.get(_NAME, "")
        if not name or len(name) > MAX_NAME or not name.isprintable():
            return _refused("InvalidExtensionName", "Empty or invalid extension name")
        events = _events_of(request.body)
        if events is None:
            return refusal(
                403, "InvalidRequestFormat", "events must be a list of names"
            )
        extension = self._extensions.get(name)
        if extension is None or not extension.is_external:
            return self._register_internal(name, events, request)
        if extension.stage is not Stage.STARTED:
            return _out_of_turn(extension, Stage.REGISTERED)
        return self._registered(extension, events, request)

    def _register_internal(
        self, name: str, events: tuple[str, ...], request: Request
    ) -> Reply:
        if SHUTDOWN in events:
            return _refused(
                "InvalidEventType",
                f"{SHUTDOWN}: ShutdownEventNotSupportedForInternalExtension",
            )
        if not self._is_open:
            return _refused(
                "RegistrationClosed", "Extension registration closed already"
            )
        if name in self._extensions:
            return _refused(
                "InvalidExtensionName", "Extension with this name already registered"
            )
        if len(self._extensions) >= MAX_EXTENSIONS:
            return _refused(
                "TooManyExtensions", f"Extension limit ({MAX_EXTENSIONS}) reached"
            )
        extension = self._extensions[name] = Extension(name, is_external=False)
        return self._registered(extension, events, request)

    def _registered(
        self, extension: Extension, events: tuple[str, ...], request: Request
    ) -> Reply:
        if unknown := [event for event in events if event not in (INVOKE, SHUTDOWN)]:
            if not extension.is_external:
                del self._extensions[extension.name]
            return _refused(
                "InvalidEventType", f"{frames.shown(unknown[0])}: InvalidEventType"
            )
        extension.stage, extension.events = Stage.REGISTERED, events
        extension.id = str(uuid.uuid4())
        self._by_id[extension.id] = extension
        told = {
            "functionName": self._identity.name,
            "functionVersion": self._identity.version,
            "handler": self._identity.handler,
        }
        if "accountId" in request.headers.get(_FEATURES, "").replace(" ", "").split(
            ","
        ):
            told["accountId"] = self._identity.account
        identified = ("Lambda-Extension-Identifier", extension.id)
        self._moved()
        return Reply(200, (*PLAIN_JSON, identified), json.dumps(told).encode())

    def _next(self, request: Request, respond: Respond) -> None:
        extension = self.caller(request)
        if isinstance(extension, Reply):
            respond(extension)
            return
        if extension.stage not in _LIVE or extension.asking is not None:
            respond(_out_of_turn(extension, Stage.READY))
            return
        extension.asking = respond
        if extension.due:
            # It goes on to its next event without having been ready in between.
            self._hand_over(extension)
        else:
            extension.stage = Stage.READY
            self._moved()

    def _give_up(self, request: Request, stage: Stage) -> Reply:
        extension = self.caller(request)
        if isinstance(extension, Reply):
            return extension
        its_type = sane(request.headers.get(_ERROR_TYPE, ""))
        if not its_type:
            return _refused(
                "MissingHeader", "Lambda-Extension-Function-Error-Type not found"
            )
        if stage is Stage.INIT_ERROR and extension.stage is not Stage.REGISTERED:
            return _out_of_turn(extension, stage)
        if extension.stage not in _LIVE:
            return _out_of_turn(extension, stage)
        extension.stage, extension.error_type = stage, its_type
        self._failed(
            f"Extension.{stage.value}", f"extension {extension.name}: {its_type}"
        )
        return Reply(202, PLAIN_JSON, OK)

    # --- between them ---------------------------------------------------------------

    def caller(self, request: Request) -> Extension | Reply:
        """Whose call that is, or the refusal where that is not to be known."""
        identifier = request.headers.get(_ID, "")
        if not identifier:
            return _refused(
                "MissingExtensionIdentifier",
                "Missing Lambda-Extension-Identifier header",
            )
        try:
            identifier = str(uuid.UUID(identifier))
        except ValueError:
            return _refused(
                "InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier"
            )
        extension = self.find(identifier)
        if extension is None:
            return _refused(
                "UnknownExtensionIdentifier", f"Unknown extension {identifier}"
            )
        return extension

    def _give(self, extension: Extension, event: Mapping[str, object]) -> None:
        extension.due.append(json.dumps(event).encode())
        self._hand_over(extension)

    def _hand_over(self, extension: Extension) -> None:
        if extension.asking is None or not extension.due:
            return
        respond, extension.asking = extension.asking, None
        extension.stage = Stage.RUNNING
        identified = ("Lambda-Extension-Event-Identifier", str(uuid.uuid4()))
        respond(Reply(200, (*PLAIN_JSON, identified), extension.due.popleft()))


def _events_of(body: bytes) -> tuple[str, ...] | None:
    try:
        found = json.loads(body).get("events", [])
    except (ValueError, AttributeError, RecursionError):
        return None
    if not isinstance(found, list) or not all(isinstance(e, str) for e in found):
        return None
    return tuple(dict.fromkeys(found))


def _refused(error_type: str, message: str) -> Reply:
    return refusal(403, f"Extension.{error_type}", message)


def _out_of_turn(extension: Extension, to: Stage) -> Reply:
    return _refused(
        "InvalidExtensionState",
        f"State transition from {extension.stage.value} to {to.value} failed for"
        f" extension {extension.name}. Error: State transition is not allowed",
    )
