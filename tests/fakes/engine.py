"""What the fake engine holds, and how it answers; `server` has it behind gRPC.

It runs no code: a function answers its event, unless `answers` holds something else
for it.
"""

import json
import threading
import uuid
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from sandlot.v1 import concurrency_pb2 as con
from sandlot.v1 import functions_pb2 as fn
from sandlot.v1 import invocations_pb2 as inv
from sandlot.v1 import permissions_pb2 as permissions
from sandlot.v1 import tenants_pb2 as ten
from sandlot.v1 import urls_pb2 as urls
from sandlot.v1 import versions_pb2 as versions

OPERATOR = ("OPERATORKEY00000001", "operator-secret")
OPERATOR_TENANT = "000000000001"
NOW = Timestamp(seconds=1_793_000_000)
PAGE = 2
"""Items of a page at most, so that a test needs only three to see a second one."""


@dataclass
class Refusal(Exception):
    """What a behaviour raises to be refused with."""

    code: grpc.StatusCode
    reason: str
    message: str
    retry_after_s: float | None = None
    facts: dict[str, str] = field(default_factory=dict)
    request_id: str = ""


@dataclass
class Failure(Exception):
    """What a behaviour raises to be the failure of the function itself."""

    type: str
    message: str
    status: inv.InvocationStatus = inv.INVOCATION_STATUS_ERROR
    stack_trace: tuple[str, ...] = ()


class Verbatim(str):
    """What a behaviour returns to be the payload as it is."""

    __slots__ = ()


Answer = Callable[[Any], Any]


class Engine:
    """What the fake holds. Tests read it, and write `answers` and the queues."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        """How a function answers its event; it returns it if it is not in here."""

        self.permissions: dict[tuple[str, str], list[permissions.Permission]] = {}
        self.urls: dict[tuple[str, str], urls.Url] = {}
        """By function and alias."""

        self.versions: dict[tuple[str, str], list[fn.Function]] = defaultdict(list)
        """Published ones, by tenant and function."""

        self.aliases: dict[tuple[str, str], versions.Alias] = {}
        """By function and name."""

        self.reserved: dict[str, int] = {}
        """By function."""

        self.provisioned: dict[tuple[str, str], con.ProvisionedConcurrency] = {}
        """By function and qualifier: what it is, once it is settled."""

        self.room = 1_000
        """How many instances can be started ahead of one qualifier."""

        self.keys: dict[str, ten.Key] = {}
        self.secrets: dict[str, str] = {}
        self.tenants: dict[str, ten.Tenant] = {}
        self.functions: dict[tuple[str, str], fn.Function] = {}
        self.zips: dict[str, bytes] = {}
        """The latest package of a function, by its name."""

        self.logs: dict[str, list[inv.LogLine]] = defaultdict(list)
        self.records: list[inv.InvocationRecord] = []
        self.requests: list[Any] = []
        """Every request, in order."""

        self.metadata: list[dict[str, str]] = []
        """The metadata of each of `requests`."""

        self.next_updates: deque[tuple[Any, str]] = deque()
        """How the next creates and updates end: a state and its reason."""

        self.polls_until_ready = 0
        """How often a function is seen to be in the making before it settles."""

        self.refuse_next: deque[Refusal] = deque()
        """With what to refuse the next calls, whatever they are."""

        self.most_under_way = 0
        """The most invocations that a stream had under way at once."""

        self.settling: dict[tuple[str, str], tuple[int, fn.Function]] = {}
        self.settling_versions: dict[str, int] = {}
        """How many more looks see one in the making, by its ARN."""

        self.lock = threading.RLock()
        self.add_tenant(OPERATOR_TENANT, "default", key=OPERATOR, is_operator=True)

    def add_tenant(
        self,
        tenant_id: str,
        name: str,
        *,
        key: tuple[str, str],
        is_operator: bool = False,
        concurrency: int = 1000,
    ) -> ten.Tenant:
        tenant = ten.Tenant(
            id=tenant_id,
            name=name,
            concurrency=concurrency,
            created=NOW,
            network=fn.NETWORK_HOST if is_operator else fn.NETWORK_NONE,
        )
        self.tenants[tenant_id] = tenant
        self.add_key(tenant_id, *key, is_operator=is_operator)
        return tenant

    def add_key(
        self, tenant_id: str, key_id: str, secret: str, *, is_operator: bool = False
    ) -> ten.Key:
        self.keys[key_id] = ten.Key(
            tenant_id=tenant_id,
            access_key_id=key_id,
            is_operator=is_operator,
            created=NOW,
        )
        self.secrets[key_id] = secret
        return self.keys[key_id]

    def add_function(
        self, name: str, answer: Answer | None = None, *, tenant_id: str = ""
    ) -> fn.Function:
        """A function that is ready to be invoked."""
        owner = tenant_id or OPERATOR_TENANT
        function = fn.Function(
            name=name,
            arn=f"arn:aws:lambda:us-east-1:{owner}:function:{name}",
            version="$LATEST",
            config=fn.FunctionConfig(
                handler="app.handler",
                runtime="python3.11",
                memory_mb=128,
                timeout_s=3,
                ephemeral_storage_mb=512,
                network=fn.NETWORK_NONE,
            ),
            state=fn.FUNCTION_STATE_ACTIVE,
            fork_safe=True,
            last_modified=NOW,
            revision_id=str(uuid.uuid4()),
        )
        self.functions[owner, name] = function
        if answer:
            self.answers[name] = answer
        return function

    def log(self, name: str, text: bytes, *, request_id: str = "") -> None:
        self.logs[name].append(
            inv.LogLine(
                time=NOW,
                request_id=request_id,
                source=inv.LOG_SOURCE_FUNCTION,
                text=text,
            )
        )

    # --- what the services share ---------------------------------------------

    def enter(self, request: Any, context: grpc.ServicerContext) -> str:
        """Note the call, check its key, and say whose things it is about."""
        metadata = {k: str(v) for k, v in context.invocation_metadata()}
        self.requests.append(request)
        self.metadata.append(metadata)
        if self.refuse_next:
            raise self.refuse_next.popleft()
        key_id, _, secret = metadata.get("authorization", "")[7:].partition(":")
        key = self.keys.get(key_id)
        if key is None or self.secrets[key_id] != secret:
            raise Refusal(
                grpc.StatusCode.UNAUTHENTICATED,
                "Unauthenticated",
                f"no key {key_id!r} with this secret",
            )
        other = metadata.get("sandlot-tenant", "")
        if other and not key.is_operator:
            raise Refusal(
                grpc.StatusCode.PERMISSION_DENIED,
                "PermissionDenied",
                "only an operator's key may act for another tenant",
            )
        return other or key.tenant_id

    def find(self, tenant_id: str, name: str) -> fn.Function:
        function = self.functions.get((tenant_id, name))
        if function is None:
            raise Refusal(
                grpc.StatusCode.NOT_FOUND,
                "NotFound",
                f"there is no function {name!r}: see `sandlot fn list`",
                facts={"resource_type": "function", "resource_name": name},
            )
        return function

    def version(self, tenant_id: str, name: str, qualifier: str) -> fn.Function:
        """One that was published, by its number or by an alias."""
        function = self.find(tenant_id, name)
        if alias := self.aliases.get((name, qualifier)):
            qualifier = alias.version
        if qualifier == "$LATEST":
            return function
        for version in self.versions[tenant_id, name]:
            if version.version == qualifier:
                return version
        raise Refusal(
            grpc.StatusCode.NOT_FOUND,
            "NotFound",
            f"Function not found: {function.arn}:{qualifier}",
        )

    def run(self, tenant_id: str, request: inv.InvokeRequest) -> inv.InvokeResponse:
        self.find(tenant_id, request.function)
        request_id = str(uuid.uuid4())
        if request.invocation_type == inv.INVOCATION_TYPE_EVENT:
            return inv.InvokeResponse(request_id=request_id)
        if request.invocation_type == inv.INVOCATION_TYPE_DRY_RUN:
            return inv.InvokeResponse()
        answer = self.answers.get(request.function, lambda event: event)
        status, error = inv.INVOCATION_STATUS_OK, ""
        try:
            answered = answer(json.loads(request.payload or b"{}"))
            if not isinstance(answered, Verbatim):
                answered = json.dumps(answered)
            payload = answered.encode()
        except Failure as failure:
            status, error = failure.status, "Unhandled"
            payload = _error_object(failure, request_id)
        report = _report(request_id)
        with self.lock:
            self.records.append(
                inv.InvocationRecord(
                    function=request.function, time=NOW, status=status, report=report
                )
            )
        return inv.InvokeResponse(
            payload=payload,
            function_error=error,
            executed_version="$LATEST",
            log_tail=b"".join(line.text + b"\n" for line in self.logs[request.function])
            if request.tail_log
            else b"",
            report=report,
            request_id=request_id,
            status=status,
        )

    def settle(self, where: tuple[str, str], made: fn.Function) -> fn.Function:
        """Let a change take effect after `polls_until_ready` looks."""
        self.settling[where] = (self.polls_until_ready, made)
        return self.look(where)

    def look_at_version(self, version: fn.Function) -> fn.Function:
        """In the making for as many looks as `polls_until_ready`."""
        if not (left := self.settling_versions.get(version.arn, 0)):
            return version
        self.settling_versions[version.arn] = left - 1
        seen = fn.Function()
        seen.CopyFrom(version)
        seen.state = fn.FUNCTION_STATE_PENDING
        return seen

    def look(self, where: tuple[str, str]) -> fn.Function:
        if where in self.settling:
            left, made = self.settling.pop(where)
            if left:
                self.settling[where] = (left - 1, made)
            else:
                self.functions[where] = made
        return self.functions[where]


def page(items: list[Any], request: Any) -> tuple[list[Any], str]:
    start = int(request.page_token or 0)
    end = start + min(request.page_size or 50, PAGE)
    return items[start:end], str(end) if end < len(items) else ""


def _report(request_id: str) -> inv.Report:
    return inv.Report(
        request_id=request_id,
        duration=Duration(nanos=800_000),
        init_duration=Duration(nanos=3_100_000),
        wait_duration=Duration(nanos=200_000),
        billed_ms=4,
        memory_mb=128,
        max_memory_used_mb=19,
        billed_mb_ms=512,
        cold=True,
    )


def _error_object(failure: Failure, request_id: str) -> bytes:
    return json.dumps(
        {
            "errorMessage": failure.message,
            "errorType": failure.type,
            "requestId": request_id,
            "stackTrace": list(failure.stack_trace),
        }
    ).encode()
