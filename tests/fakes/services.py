# ruff: noqa: N802  # methods bear the names that the .proto files give them
"""The services of the fake engine, but that of events: what each call does to it."""

import base64
import hashlib
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import grpc

from sandlot.v1 import functions_pb2 as fn
from sandlot.v1 import functions_pb2_grpc as fn_grpc
from sandlot.v1 import invocations_pb2 as inv
from sandlot.v1 import invocations_pb2_grpc as inv_grpc
from sandlot.v1 import tenants_pb2 as ten
from sandlot.v1 import tenants_pb2_grpc as ten_grpc
from sandlot.v1 import urls_pb2 as urls
from sandlot.v1 import urls_pb2_grpc as url_grpc
from tests.fakes.engine import NOW, Engine, Refusal, page


def _arns(tenant_id: str, layers: Iterable[str]) -> list[str]:
    prefix = f"arn:aws:lambda:us-east-1:{tenant_id}:layer:"
    return [one if one.startswith("arn:") else prefix + one for one in layers]


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
        made.config.layers[:] = _arns(tenant_id, request.config.layers)
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
            elif name.name == "layers":
                changed.config.layers[:] = _arns(where[0], value.words)
            elif name.name not in {"name", "revision_id"}:
                setattr(changed.config, name.name, value)
        return fn.UpdateFunctionConfigurationResponse(
            function=self._update(where, changed)
        )

    def GetFunction(self, request: Any, context: Any) -> Any:
        tenant_id = self.engine.enter(request, context)
        self.engine.find(tenant_id, request.name)
        if request.qualifier:
            return fn.GetFunctionResponse(
                function=self.engine.look_at_version(
                    self.engine.version(tenant_id, request.name, request.qualifier)
                )
            )
        return fn.GetFunctionResponse(
            function=self.engine.look((tenant_id, request.name))
        )

    def ListFunctions(self, request: Any, context: Any) -> Any:
        tenant_id = self.engine.enter(request, context)
        mine = [
            f for (t, _), f in sorted(self.engine.functions.items()) if t == tenant_id
        ]
        items, token = page(mine, request)
        return fn.ListFunctionsResponse(functions=items, next_page_token=token)

    def DeleteFunction(self, request: Any, context: Any) -> Any:
        tenant_id = self.engine.enter(request, context)
        self.engine.find(tenant_id, request.name)
        del self.engine.functions[tenant_id, request.name]
        return fn.DeleteFunctionResponse()

    def TagFunction(self, request: Any, context: Any) -> Any:
        tags = self.engine.find(self.engine.enter(request, context), request.name).tags
        tags.update(request.tags)
        return fn.TagFunctionResponse(tags=tags)

    def UntagFunction(self, request: Any, context: Any) -> Any:
        tags = self.engine.find(self.engine.enter(request, context), request.name).tags
        for key in request.keys:
            tags.pop(key, None)
        return fn.UntagFunctionResponse(tags=tags)

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
                self.engine.requests.append(one.request)
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
        items, token = page(wanted, request)
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
        wanted = {request.function or name for name, _ in self.engine.urls}
        mine = [each for (name, _), each in found if name in wanted]
        items, token = page(mine, request)
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
        if request.HasField("suspended"):
            tenant.suspended = request.suspended
        return ten.UpdateTenantResponse(tenant=tenant)

    def ListTenants(self, request: Any, context: Any) -> Any:
        self.engine.enter(request, context)
        tenants = [self.engine.tenants[one] for one in sorted(self.engine.tenants)]
        items, token = page(tenants, request)
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
        items, token = page(keys, request)
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
                ten.Runtime(name="nodejs20.x", version="20.1.2"),
                ten.Runtime(name="nodejs22.x", version="22.1.2"),
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


def _sum(name: str, reports: list[inv.Report]) -> ten.BillLine:
    return ten.BillLine(
        function=name,
        invocations=len(reports),
        billed_ms=sum(report.billed_ms for report in reports),
        billed_mb_ms=sum(report.billed_mb_ms for report in reports),
    )
