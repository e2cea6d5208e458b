# ruff: noqa: N802  # methods bear the names that the .proto files give them
"""An engine in memory: the services of `proto/sandlot/v1` behind a real gRPC server.

It runs no code: a function answers its event, unless `answers` holds something else
for it. Refusals carry the same `google.rpc` details that the engine sends.
"""

import base64
import hashlib
import json
import threading
import uuid
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc
from google.protobuf import any_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from sandlot import transport
from sandlot.v1 import events_pb2_grpc as evt_grpc
from sandlot.v1 import functions_pb2 as fn
from sandlot.v1 import functions_pb2_grpc as fn_grpc
from sandlot.v1 import invocations_pb2 as inv
from sandlot.v1 import invocations_pb2_grpc as inv_grpc
from sandlot.v1 import tenants_pb2 as ten
from sandlot.v1 import tenants_pb2_grpc as ten_grpc
from sandlot.v1 import urls_pb2 as urls
from sandlot.v1 import urls_pb2_grpc as url_grpc
from tests.fakes.event_service import Events

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

        self.urls: dict[tuple[str, str], urls.Url] = {}
        """By function and alias."""

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

    def look(self, where: tuple[str, str]) -> fn.Function:
        if where in self.settling:
            left, made = self.settling.pop(where)
            if left:
                self.settling[where] = (left - 1, made)
            else:
                self.functions[where] = made
        return self.functions[where]


class Functions(fn_grpc.FunctionServiceServicer):
    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def CreateFunction(self, request: Any, context: Any) -> Any:
        tenant_id = self.engine.enter(request, context)
        where = (tenant_id, request.name)
        if where in self.engine.functions:
            raise Refusal(
                grpc.StatusCode.ALREADY_EXISTS, "AlreadyExists", "the name is taken"
            )
        made = self.engine.add_function(request.name, tenant_id=tenant_id)
        made.config.MergeFrom(request.config)
        self._take(made, request.zip)
        self._take_image(made, request.image_uri)
        made.state, made.state_reason = self._end(fn.FUNCTION_STATE_ACTIVE)
        pending = fn.Function()
        pending.CopyFrom(made)
        pending.state, pending.state_reason = fn.FUNCTION_STATE_PENDING, "Creating"
        self.engine.functions[where] = pending
        self.engine.settle(where, made)
        return fn.CreateFunctionResponse(function=pending)

    def UpdateFunctionCode(self, request: Any, context: Any) -> Any:
        where, changed = self._copy(request, context)
        self._take(changed, request.zip)
        self._take_image(changed, request.image_uri)
        return fn.UpdateFunctionCodeResponse(function=self._update(where, changed))

    def UpdateFunctionConfiguration(self, request: Any, context: Any) -> Any:
        where, changed = self._copy(request, context)
        for name, value in request.ListFields():
            if name.name == "environment":
                changed.config.environment.clear()
                changed.config.environment.update(value.variables)
            elif name.name in {"entry_point", "command"}:
                getattr(changed.config, name.name)[:] = value.words
            elif name.name not in {"name", "revision_id"}:
                setattr(changed.config, name.name, value)
        return fn.UpdateFunctionConfigurationResponse(
            function=self._update(where, changed)
        )

    def GetFunction(self, request: Any, context: Any) -> Any:
        tenant_id = self.engine.enter(request, context)
        self.engine.find(tenant_id, request.name)
        return fn.GetFunctionResponse(
            function=self.engine.look((tenant_id, request.name))
        )

    def ListFunctions(self, request: Any, context: Any) -> Any:
        tenant_id = self.engine.enter(request, context)
        mine = [
            f for (t, _), f in sorted(self.engine.functions.items()) if t == tenant_id
        ]
        items, token = _page(mine, request)
        return fn.ListFunctionsResponse(functions=items, next_page_token=token)

    def DeleteFunction(self, request: Any, context: Any) -> Any:
        tenant_id = self.engine.enter(request, context)
        self.engine.find(tenant_id, request.name)
        del self.engine.functions[tenant_id, request.name]
        return fn.DeleteFunctionResponse()

    def _copy(self, request: Any, context: Any) -> tuple[tuple[str, str], fn.Function]:
        tenant_id = self.engine.enter(request, context)
        changed = fn.Function()
        changed.CopyFrom(self.engine.find(tenant_id, request.name))
        return (tenant_id, request.name), changed

    def _update(self, where: tuple[str, str], changed: fn.Function) -> fn.Function:
        old = self.engine.functions[where]
        status, reason = self._end(fn.UPDATE_STATUS_SUCCESSFUL)
        if status == fn.UPDATE_STATUS_FAILED:
            changed = fn.Function()
            changed.CopyFrom(old)
        changed.update_status, changed.update_reason = status, reason
        old.update_status = fn.UPDATE_STATUS_IN_PROGRESS
        return self.engine.settle(where, changed)

    def _take(self, function: fn.Function, package: bytes) -> None:
        digest = hashlib.sha256(package).digest()
        function.code_sha256 = base64.b64encode(digest).decode()
        function.code_size = len(package)
        self.engine.zips[function.name] = package

    def _take_image(self, function: fn.Function, uri: str) -> None:
        function.image_uri = uri
        if uri:
            function.config.handler = function.config.runtime = ""

    def _end(self, usual: Any) -> tuple[Any, str]:
        queue = self.engine.next_updates
        return queue.popleft() if queue else (usual, "")


class Invocations(inv_grpc.InvocationServiceServicer):
    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def Invoke(self, request: Any, context: Any) -> Any:
        return self.engine.run(self.engine.enter(request, context), request)

    def InvokeMany(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        """Takes what there is, and answers the newest first: never in order."""
        tenant_id = self.engine.enter(inv.InvokeManyRequest(), context)
        held: deque[Any] = deque()
        arrived = threading.Condition()
        ended = threading.Event()

        def read() -> None:
            with suppress(grpc.RpcError):  # a caller that hangs up
                for one in requests:
                    with arrived:
                        held.append(one)
                        arrived.notify()
            with arrived:
                ended.set()
                arrived.notify()

        threading.Thread(target=read, daemon=True).start()
        while True:
            with arrived:
                arrived.wait_for(lambda: held or ended.is_set(), timeout=30)
                if not held:
                    return
                self.engine.most_under_way = max(self.engine.most_under_way, len(held))
                one = held.pop()
            yield self._answer(tenant_id, one)

    def _answer(self, tenant_id: str, one: Any) -> Any:
        try:
            response = self.engine.run(tenant_id, one.request)
        except Refusal as refusal:
            refused = inv.Refused(
                code=refusal.code.value[0],
                reason=refusal.reason,
                message=refusal.message,
            )
            if refusal.retry_after_s is not None:
                refused.retry_after.FromNanoseconds(int(refusal.retry_after_s * 1e9))
            return inv.InvokeManyResponse(id=one.id, refused=refused)
        return inv.InvokeManyResponse(id=one.id, response=response)

    def TailLogs(self, request: Any, context: Any) -> Iterator[Any]:
        self.engine.find(self.engine.enter(request, context), request.function)
        if lines := self.engine.logs[request.function]:
            yield inv.TailLogsResponse(lines=lines)

    def ListInvocations(self, request: Any, context: Any) -> Any:
        self.engine.enter(request, context)
        wanted = [
            record
            for record in reversed(self.engine.records)
            if request.function in {"", record.function}
        ]
        items, token = _page(wanted, request)
        return inv.ListInvocationsResponse(invocations=items, next_page_token=token)


class Urls(url_grpc.UrlServiceServicer):
    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def PutUrl(self, request: Any, context: Any) -> Any:
        self.engine.find(self.engine.enter(request, context), request.function)
        made = urls.Url(
            function=request.function,
            alias=request.alias,
            url=f"http://engine.test/url/{request.function}{request.alias}/",
            auth=request.auth,
            cors=request.cors if request.HasField("cors") else None,
            streamed=request.streamed,
            created=NOW,
        )
        self.engine.urls[request.function, request.alias] = made
        return urls.PutUrlResponse(url=made)

    def ListUrls(self, request: Any, context: Any) -> Any:
        self.engine.enter(request, context)
        found = sorted(self.engine.urls.items())
        mine = [each for (name, _), each in found if name == request.function]
        items, token = _page(mine, request)
        return urls.ListUrlsResponse(urls=items, next_page_token=token)

    def DeleteUrl(self, request: Any, context: Any) -> Any:
        self.engine.enter(request, context)
        if self.engine.urls.pop((request.function, request.alias), None) is None:
            raise Refusal(grpc.StatusCode.NOT_FOUND, "NotFound", "there is none")
        return urls.DeleteUrlResponse()


class Tenants(ten_grpc.TenantServiceServicer):
    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def CreateTenant(self, request: Any, context: Any) -> Any:
        self.engine.enter(request, context)
        tenant_id = request.id or f"{len(self.engine.tenants) + 1:012}"
        key = (f"KEY{tenant_id}00001", f"secret-of-{tenant_id}")
        tenant = self.engine.add_tenant(
            tenant_id, request.name, key=key, concurrency=request.concurrency or 1000
        )
        if request.network:
            tenant.network = request.network
        tenant.network_allow.extend(request.network_allow)
        return ten.CreateTenantResponse(
            tenant=tenant, access_key_id=key[0], secret_access_key=key[1]
        )

    def UpdateTenant(self, request: Any, context: Any) -> Any:
        self.engine.enter(request, context)
        tenant = self.engine.tenants[request.id]
        if request.HasField("name"):
            tenant.name = request.name
        if request.HasField("concurrency"):
            tenant.concurrency = request.concurrency
        if request.HasField("network"):
            tenant.network = request.network
        if request.HasField("network_allow"):
            tenant.network_allow[:] = request.network_allow.cidrs
        return ten.UpdateTenantResponse(tenant=tenant)

    def ListTenants(self, request: Any, context: Any) -> Any:
        self.engine.enter(request, context)
        tenants = [self.engine.tenants[one] for one in sorted(self.engine.tenants)]
        items, token = _page(tenants, request)
        return ten.ListTenantsResponse(tenants=items, next_page_token=token)

    def DeleteTenant(self, request: Any, context: Any) -> Any:
        self.engine.enter(request, context)
        del self.engine.tenants[request.id]
        return ten.DeleteTenantResponse()

    def CreateKey(self, request: Any, context: Any) -> Any:
        own = self.engine.enter(request, context)
        number = len(self.engine.keys) + 1
        key = self.engine.add_key(
            request.tenant_id or own, f"MADEKEY{number:012}", f"secret-{number}"
        )
        return ten.CreateKeyResponse(key=key, secret_access_key=f"secret-{number}")

    def ImportKey(self, request: Any, context: Any) -> Any:
        own = self.engine.enter(request, context)
        key = self.engine.add_key(
            request.tenant_id or own, request.access_key_id, request.secret_access_key
        )
        return ten.ImportKeyResponse(key=key)

    def ListKeys(self, request: Any, context: Any) -> Any:
        tenant_id = request.tenant_id or self.engine.enter(request, context)
        keys = [
            key
            for _, key in sorted(self.engine.keys.items())
            if key.tenant_id == tenant_id
        ]
        items, token = _page(keys, request)
        return ten.ListKeysResponse(keys=items, next_page_token=token)

    def RevokeKey(self, request: Any, context: Any) -> Any:
        self.engine.enter(request, context)
        del self.engine.keys[request.access_key_id]
        return ten.RevokeKeyResponse()


class Billing(ten_grpc.BillingServiceServicer):
    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def GetBill(self, request: Any, context: Any) -> Any:
        tenant_id = request.tenant_id or self.engine.enter(request, context)
        by_function: dict[str, list[inv.Report]] = defaultdict(list)
        for record in self.engine.records:
            by_function[record.function].append(record.report)
        lines = [_sum(name, reports) for name, reports in sorted(by_function.items())]
        every = [report for reports in by_function.values() for report in reports]
        return ten.GetBillResponse(
            tenant_id=tenant_id, lines=lines, total=_sum("", every)
        )


class Status(ten_grpc.EngineServiceServicer):
    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def GetStatus(self, request: Any, context: Any) -> Any:
        self.engine.enter(request, context)
        return ten.GetStatusResponse(
            version="0.0.0-fake",
            mode="rootless",
            layers=[ten.IsolationLayer(name="seccomp", stops="syscalls", holds=True)],
            runtimes=[
                ten.Runtime(name="python3.9", version="3.9.1"),
                ten.Runtime(name="python3.10", version="3.10.2"),
                ten.Runtime(name="python3.12-own", version="3.12.1"),
            ],
            on_host_network=[
                ten.HostNetwork(tenant_id=tenant_id, functions=count)
                for tenant_id, count in Counter(
                    tenant_id
                    for (tenant_id, _), function in self.engine.functions.items()
                    if function.config.network == fn.NETWORK_HOST
                ).items()
            ],
        )

    def ListRuntimes(self, request: Any, context: Any) -> Any:
        self.engine.enter(request, context)
        return ten.ListRuntimesResponse(
            runtimes=[
                ten.Runtime(
                    name="python3.10",
                    version="3.10.2",
                    kind=ten.RUNTIME_KIND_ZYGOTE,
                    functions=2,
                ),
                ten.Runtime(
                    name="python3.12-x",
                    kind=ten.RUNTIME_KIND_ZYGOTE,
                    path="/x",
                    is_registered=True,
                    problem="/x is not there",
                ),
            ]
        )


class Refusals(grpc.ServerInterceptor):
    """Turns a raised `Refusal` into the status that the engine would send."""

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = continuation(details)
        if handler is None or handler.request_streaming or handler.response_streaming:
            return handler and _guard_stream(handler)
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: _guarded(handler.unary_unary, request, context),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


def _guard_stream(handler: Any) -> Any:
    inner = handler.stream_stream or handler.unary_stream

    def outer(request: Any, context: Any) -> Iterator[Any]:
        try:
            yield from inner(request, context)
        except Refusal as refusal:
            abort(context, refusal)

    make = (
        grpc.stream_stream_rpc_method_handler
        if handler.request_streaming
        else grpc.unary_stream_rpc_method_handler
    )
    return make(
        outer,
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )


def _guarded(method: Any, request: Any, context: Any) -> Any:
    try:
        return method(request, context)
    except Refusal as refusal:
        abort(context, refusal)


def abort(context: grpc.ServicerContext, refusal: Refusal) -> NoReturn:
    details: list[Any] = [
        error_details_pb2.ErrorInfo(
            reason=refusal.reason, domain="sandlot", metadata=refusal.facts
        )
    ]
    if refusal.retry_after_s is not None:
        delay = Duration()
        delay.FromNanoseconds(int(refusal.retry_after_s * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if refusal.request_id:
        details.append(error_details_pb2.RequestInfo(request_id=refusal.request_id))
    packed = []
    for detail in details:
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    status = status_pb2.Status(
        code=refusal.code.value[0], message=refusal.message, details=packed
    )
    context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError("abort does not return")


class Server:
    """The fake engine, listening on a free port of 127.0.0.1; plain, or with TLS."""

    def __init__(self, credentials: grpc.ServerCredentials | None = None) -> None:
        self.engine = Engine()
        self.stopped = threading.Event()
        self._pool = ThreadPoolExecutor(max_workers=8)
        self._server = grpc.server(
            self._pool,
            interceptors=[Refusals()],
            options=[("grpc.max_receive_message_length", transport.MAX_MESSAGE)],
        )
        fn_grpc.add_FunctionServiceServicer_to_server(
            Functions(self.engine), self._server
        )
        inv_grpc.add_InvocationServiceServicer_to_server(
            Invocations(self.engine), self._server
        )
        ten_grpc.add_TenantServiceServicer_to_server(Tenants(self.engine), self._server)
        url_grpc.add_UrlServiceServicer_to_server(Urls(self.engine), self._server)
        ten_grpc.add_BillingServiceServicer_to_server(
            Billing(self.engine), self._server
        )
        ten_grpc.add_EngineServiceServicer_to_server(Status(self.engine), self._server)
        self.events = Events(self.engine)
        evt_grpc.add_EventServiceServicer_to_server(self.events, self._server)
        self.port = (
            self._server.add_secure_port("127.0.0.1:0", credentials)
            if credentials
            else self._server.add_insecure_port("127.0.0.1:0")
        )

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> "Server":
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_now()
        self._pool.shutdown(wait=False)

    def stop_now(self) -> None:
        """Break every call; what a behaviour may do too, in a thread of its own."""
        self._server.stop(grace=0).wait(timeout=10)
        self.stopped.set()


def _page(items: list[Any], request: Any) -> tuple[list[Any], str]:
    start = int(request.page_token or 0)
    end = start + min(request.page_size or 50, PAGE)
    return items[start:end], str(end) if end < len(items) else ""


def _sum(name: str, reports: list[inv.Report]) -> ten.BillLine:
    return ten.BillLine(
        function=name,
        invocations=len(reports),
        billed_ms=sum(report.billed_ms for report in reports),
        billed_mb_ms=sum(report.billed_mb_ms for report in reports),
    )


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
