from google.protobuf import timestamp_pb2 as _timestamp_pb2
from sandlot.v1 import functions_pb2 as _functions_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RuntimeKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUNTIME_KIND_UNSPECIFIED: _ClassVar[RuntimeKind]
    RUNTIME_KIND_ZYGOTE: _ClassVar[RuntimeKind]
    RUNTIME_KIND_PROGRAM: _ClassVar[RuntimeKind]
RUNTIME_KIND_UNSPECIFIED: RuntimeKind
RUNTIME_KIND_ZYGOTE: RuntimeKind
RUNTIME_KIND_PROGRAM: RuntimeKind

class Tenant(_message.Message):
    __slots__ = ("id", "name", "concurrency", "created", "network", "network_allow", "suspended")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    NETWORK_ALLOW_FIELD_NUMBER: _ClassVar[int]
    SUSPENDED_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    concurrency: int
    created: _timestamp_pb2.Timestamp
    network: _functions_pb2.Network
    network_allow: _containers.RepeatedScalarFieldContainer[str]
    suspended: bool
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., concurrency: _Optional[int] = ..., created: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., network: _Optional[_Union[_functions_pb2.Network, str]] = ..., network_allow: _Optional[_Iterable[str]] = ..., suspended: bool = ...) -> None: ...

class Key(_message.Message):
    __slots__ = ("tenant_id", "access_key_id", "is_operator", "created")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    ACCESS_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    IS_OPERATOR_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    access_key_id: str
    is_operator: bool
    created: _timestamp_pb2.Timestamp
    def __init__(self, tenant_id: _Optional[str] = ..., access_key_id: _Optional[str] = ..., is_operator: bool = ..., created: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CreateTenantRequest(_message.Message):
    __slots__ = ("name", "id", "concurrency", "network", "network_allow")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    NETWORK_ALLOW_FIELD_NUMBER: _ClassVar[int]
    name: str
    id: str
    concurrency: int
    network: _functions_pb2.Network
    network_allow: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., id: _Optional[str] = ..., concurrency: _Optional[int] = ..., network: _Optional[_Union[_functions_pb2.Network, str]] = ..., network_allow: _Optional[_Iterable[str]] = ...) -> None: ...

class CreateTenantResponse(_message.Message):
    __slots__ = ("tenant", "access_key_id", "secret_access_key")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    ACCESS_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    SECRET_ACCESS_KEY_FIELD_NUMBER: _ClassVar[int]
    tenant: Tenant
    access_key_id: str
    secret_access_key: str
    def __init__(self, tenant: _Optional[_Union[Tenant, _Mapping]] = ..., access_key_id: _Optional[str] = ..., secret_access_key: _Optional[str] = ...) -> None: ...

class Cidrs(_message.Message):
    __slots__ = ("cidrs",)
    CIDRS_FIELD_NUMBER: _ClassVar[int]
    cidrs: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, cidrs: _Optional[_Iterable[str]] = ...) -> None: ...

class UpdateTenantRequest(_message.Message):
    __slots__ = ("id", "name", "concurrency", "network", "network_allow", "suspended")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    NETWORK_ALLOW_FIELD_NUMBER: _ClassVar[int]
    SUSPENDED_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    concurrency: int
    network: _functions_pb2.Network
    network_allow: Cidrs
    suspended: bool
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., concurrency: _Optional[int] = ..., network: _Optional[_Union[_functions_pb2.Network, str]] = ..., network_allow: _Optional[_Union[Cidrs, _Mapping]] = ..., suspended: bool = ...) -> None: ...

class UpdateTenantResponse(_message.Message):
    __slots__ = ("tenant",)
    TENANT_FIELD_NUMBER: _ClassVar[int]
    tenant: Tenant
    def __init__(self, tenant: _Optional[_Union[Tenant, _Mapping]] = ...) -> None: ...

class ListTenantsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListTenantsResponse(_message.Message):
    __slots__ = ("tenants", "next_page_token")
    TENANTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    tenants: _containers.RepeatedCompositeFieldContainer[Tenant]
    next_page_token: str
    def __init__(self, tenants: _Optional[_Iterable[_Union[Tenant, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteTenantRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class DeleteTenantResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CreateKeyRequest(_message.Message):
    __slots__ = ("tenant_id", "operator")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    operator: bool
    def __init__(self, tenant_id: _Optional[str] = ..., operator: bool = ...) -> None: ...

class CreateKeyResponse(_message.Message):
    __slots__ = ("key", "secret_access_key")
    KEY_FIELD_NUMBER: _ClassVar[int]
    SECRET_ACCESS_KEY_FIELD_NUMBER: _ClassVar[int]
    key: Key
    secret_access_key: str
    def __init__(self, key: _Optional[_Union[Key, _Mapping]] = ..., secret_access_key: _Optional[str] = ...) -> None: ...

class ImportKeyRequest(_message.Message):
    __slots__ = ("tenant_id", "access_key_id", "secret_access_key")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    ACCESS_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    SECRET_ACCESS_KEY_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    access_key_id: str
    secret_access_key: str
    def __init__(self, tenant_id: _Optional[str] = ..., access_key_id: _Optional[str] = ..., secret_access_key: _Optional[str] = ...) -> None: ...

class ImportKeyResponse(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: Key
    def __init__(self, key: _Optional[_Union[Key, _Mapping]] = ...) -> None: ...

class ListKeysRequest(_message.Message):
    __slots__ = ("tenant_id", "page_size", "page_token")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    page_size: int
    page_token: str
    def __init__(self, tenant_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListKeysResponse(_message.Message):
    __slots__ = ("keys", "next_page_token")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedCompositeFieldContainer[Key]
    next_page_token: str
    def __init__(self, keys: _Optional[_Iterable[_Union[Key, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class RevokeKeyRequest(_message.Message):
    __slots__ = ("access_key_id",)
    ACCESS_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    access_key_id: str
    def __init__(self, access_key_id: _Optional[str] = ...) -> None: ...

class RevokeKeyResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class BillLine(_message.Message):
    __slots__ = ("function", "invocations", "billed_ms", "billed_mb_ms")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    INVOCATIONS_FIELD_NUMBER: _ClassVar[int]
    BILLED_MS_FIELD_NUMBER: _ClassVar[int]
    BILLED_MB_MS_FIELD_NUMBER: _ClassVar[int]
    function: str
    invocations: int
    billed_ms: int
    billed_mb_ms: int
    def __init__(self, function: _Optional[str] = ..., invocations: _Optional[int] = ..., billed_ms: _Optional[int] = ..., billed_mb_ms: _Optional[int] = ...) -> None: ...

class GetBillRequest(_message.Message):
    __slots__ = ("tenant_id", "since", "until")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    def __init__(self, tenant_id: _Optional[str] = ..., since: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetBillResponse(_message.Message):
    __slots__ = ("tenant_id", "lines", "total")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    lines: _containers.RepeatedCompositeFieldContainer[BillLine]
    total: BillLine
    def __init__(self, tenant_id: _Optional[str] = ..., lines: _Optional[_Iterable[_Union[BillLine, _Mapping]]] = ..., total: _Optional[_Union[BillLine, _Mapping]] = ...) -> None: ...

class IsolationLayer(_message.Message):
    __slots__ = ("name", "stops", "holds", "detail", "given_up")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STOPS_FIELD_NUMBER: _ClassVar[int]
    HOLDS_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    GIVEN_UP_FIELD_NUMBER: _ClassVar[int]
    name: str
    stops: str
    holds: bool
    detail: str
    given_up: bool
    def __init__(self, name: _Optional[str] = ..., stops: _Optional[str] = ..., holds: bool = ..., detail: _Optional[str] = ..., given_up: bool = ...) -> None: ...

class Runtime(_message.Message):
    __slots__ = ("name", "version", "kind", "path", "is_registered", "problem", "functions")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    IS_REGISTERED_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    FUNCTIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    kind: RuntimeKind
    path: str
    is_registered: bool
    problem: str
    functions: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., kind: _Optional[_Union[RuntimeKind, str]] = ..., path: _Optional[str] = ..., is_registered: bool = ..., problem: _Optional[str] = ..., functions: _Optional[int] = ...) -> None: ...

class ListRuntimesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListRuntimesResponse(_message.Message):
    __slots__ = ("runtimes",)
    RUNTIMES_FIELD_NUMBER: _ClassVar[int]
    runtimes: _containers.RepeatedCompositeFieldContainer[Runtime]
    def __init__(self, runtimes: _Optional[_Iterable[_Union[Runtime, _Mapping]]] = ...) -> None: ...

class HostNetwork(_message.Message):
    __slots__ = ("tenant_id", "functions")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    FUNCTIONS_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    functions: int
    def __init__(self, tenant_id: _Optional[str] = ..., functions: _Optional[int] = ...) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("version", "mode", "layers", "runtimes", "zygotes", "instances", "on_host_network")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    RUNTIMES_FIELD_NUMBER: _ClassVar[int]
    ZYGOTES_FIELD_NUMBER: _ClassVar[int]
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    ON_HOST_NETWORK_FIELD_NUMBER: _ClassVar[int]
    version: str
    mode: str
    layers: _containers.RepeatedCompositeFieldContainer[IsolationLayer]
    runtimes: _containers.RepeatedCompositeFieldContainer[Runtime]
    zygotes: int
    instances: int
    on_host_network: _containers.RepeatedCompositeFieldContainer[HostNetwork]
    def __init__(self, version: _Optional[str] = ..., mode: _Optional[str] = ..., layers: _Optional[_Iterable[_Union[IsolationLayer, _Mapping]]] = ..., runtimes: _Optional[_Iterable[_Union[Runtime, _Mapping]]] = ..., zygotes: _Optional[int] = ..., instances: _Optional[int] = ..., on_host_network: _Optional[_Iterable[_Union[HostNetwork, _Mapping]]] = ...) -> None: ...
