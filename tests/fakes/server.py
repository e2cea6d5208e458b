"""An engine in memory: the services of `proto/sandlot/v1` behind a real gRPC server.

Refusals carry the same `google.rpc` details that the engine sends.
"""

import threading
from concurrent.futures import ThreadPoolExecutor

import grpc

from sandlot import transport
from sandlot.v1 import concurrency_pb2_grpc as con_grpc
from sandlot.v1 import events_pb2_grpc as evt_grpc
from sandlot.v1 import functions_pb2_grpc as fn_grpc
from sandlot.v1 import invocations_pb2_grpc as inv_grpc
from sandlot.v1 import layers_pb2_grpc as lay_grpc
from sandlot.v1 import permissions_pb2_grpc as per_grpc
from sandlot.v1 import tenants_pb2_grpc as ten_grpc
from sandlot.v1 import urls_pb2_grpc as url_grpc
from sandlot.v1 import versions_pb2_grpc as ver_grpc
from tests.fakes.concurrency_service import Concurrency
from tests.fakes.engine import Engine
from tests.fakes.event_service import Events
from tests.fakes.layer_service import Layers
from tests.fakes.permission_service import Permissions
from tests.fakes.refusals import Refusals
from tests.fakes.services import Billing, Functions, Invocations, Status, Tenants, Urls
from tests.fakes.version_service import Versions


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
        per_grpc.add_PermissionServiceServicer_to_server(
            Permissions(self.engine), self._server
        )
        lay_grpc.add_LayerServiceServicer_to_server(Layers(self.engine), self._server)
        con_grpc.add_ConcurrencyServiceServicer_to_server(
            Concurrency(self.engine), self._server
        )
        ver_grpc.add_VersionServiceServicer_to_server(
            Versions(self.engine), self._server
        )
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
