from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ProvisionStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROVISION_STATUS_UNSPECIFIED: _ClassVar[ProvisionStatus]
    PROVISION_STATUS_IN_PROGRESS: _ClassVar[ProvisionStatus]
    PROVISION_STATUS_READY: _ClassVar[ProvisionStatus]
    PROVISION_STATUS_FAILED: _ClassVar[ProvisionStatus]
PROVISION_STATUS_UNSPECIFIED: ProvisionStatus
PROVISION_STATUS_IN_PROGRESS: ProvisionStatus
PROVISION_STATUS_READY: ProvisionStatus
PROVISION_STATUS_FAILED: ProvisionStatus

class Concurrency(_message.Message):
    __slots__ = ("limit", "unreserved", "reserved", "provisioned")
    class ReservedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class ProvisionedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    UNRESERVED_FIELD_NUMBER: _ClassVar[int]
    RESERVED_FIELD_NUMBER: _ClassVar[int]
    PROVISIONED_FIELD_NUMBER: _ClassVar[int]
    limit: int
    unreserved: int
    reserved: _containers.ScalarMap[str, int]
    provisioned: _containers.ScalarMap[str, int]
    def __init__(self, limit: _Optional[int] = ..., unreserved: _Optional[int] = ..., reserved: _Optional[_Mapping[str, int]] = ..., provisioned: _Optional[_Mapping[str, int]] = ...) -> None: ...

class ProvisionedConcurrency(_message.Message):
    __slots__ = ("function", "qualifier", "requested", "allocated", "available", "status", "reason", "last_modified")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    QUALIFIER_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_FIELD_NUMBER: _ClassVar[int]
    ALLOCATED_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    LAST_MODIFIED_FIELD_NUMBER: _ClassVar[int]
    function: str
    qualifier: str
    requested: int
    allocated: int
    available: int
    status: ProvisionStatus
    reason: str
    last_modified: _timestamp_pb2.Timestamp
    def __init__(self, function: _Optional[str] = ..., qualifier: _Optional[str] = ..., requested: _Optional[int] = ..., allocated: _Optional[int] = ..., available: _Optional[int] = ..., status: _Optional[_Union[ProvisionStatus, str]] = ..., reason: _Optional[str] = ..., last_modified: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetConcurrencyRequest(_message.Message):
    __slots__ = ("function",)
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    function: str
    def __init__(self, function: _Optional[str] = ...) -> None: ...

class GetConcurrencyResponse(_message.Message):
    __slots__ = ("concurrency",)
    CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    concurrency: Concurrency
    def __init__(self, concurrency: _Optional[_Union[Concurrency, _Mapping]] = ...) -> None: ...

class PutReservedConcurrencyRequest(_message.Message):
    __slots__ = ("function", "concurrency")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    function: str
    concurrency: int
    def __init__(self, function: _Optional[str] = ..., concurrency: _Optional[int] = ...) -> None: ...

class PutReservedConcurrencyResponse(_message.Message):
    __slots__ = ("concurrency",)
    CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    concurrency: Concurrency
    def __init__(self, concurrency: _Optional[_Union[Concurrency, _Mapping]] = ...) -> None: ...

class DeleteReservedConcurrencyRequest(_message.Message):
    __slots__ = ("function",)
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    function: str
    def __init__(self, function: _Optional[str] = ...) -> None: ...

class DeleteReservedConcurrencyResponse(_message.Message):
    __slots__ = ("concurrency",)
    CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    concurrency: Concurrency
    def __init__(self, concurrency: _Optional[_Union[Concurrency, _Mapping]] = ...) -> None: ...

class PutProvisionedConcurrencyRequest(_message.Message):
    __slots__ = ("function", "qualifier", "requested")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    QUALIFIER_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_FIELD_NUMBER: _ClassVar[int]
    function: str
    qualifier: str
    requested: int
    def __init__(self, function: _Optional[str] = ..., qualifier: _Optional[str] = ..., requested: _Optional[int] = ...) -> None: ...

class PutProvisionedConcurrencyResponse(_message.Message):
    __slots__ = ("provisioned",)
    PROVISIONED_FIELD_NUMBER: _ClassVar[int]
    provisioned: ProvisionedConcurrency
    def __init__(self, provisioned: _Optional[_Union[ProvisionedConcurrency, _Mapping]] = ...) -> None: ...

class GetProvisionedConcurrencyRequest(_message.Message):
    __slots__ = ("function", "qualifier")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    QUALIFIER_FIELD_NUMBER: _ClassVar[int]
    function: str
    qualifier: str
    def __init__(self, function: _Optional[str] = ..., qualifier: _Optional[str] = ...) -> None: ...

class GetProvisionedConcurrencyResponse(_message.Message):
    __slots__ = ("provisioned",)
    PROVISIONED_FIELD_NUMBER: _ClassVar[int]
    provisioned: ProvisionedConcurrency
    def __init__(self, provisioned: _Optional[_Union[ProvisionedConcurrency, _Mapping]] = ...) -> None: ...

class ListProvisionedConcurrencyRequest(_message.Message):
    __slots__ = ("function", "page_size", "page_token")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    function: str
    page_size: int
    page_token: str
    def __init__(self, function: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListProvisionedConcurrencyResponse(_message.Message):
    __slots__ = ("provisioned", "next_page_token")
    PROVISIONED_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    provisioned: _containers.RepeatedCompositeFieldContainer[ProvisionedConcurrency]
    next_page_token: str
    def __init__(self, provisioned: _Optional[_Iterable[_Union[ProvisionedConcurrency, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteProvisionedConcurrencyRequest(_message.Message):
    __slots__ = ("function", "qualifier")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    QUALIFIER_FIELD_NUMBER: _ClassVar[int]
    function: str
    qualifier: str
    def __init__(self, function: _Optional[str] = ..., qualifier: _Optional[str] = ...) -> None: ...

class DeleteProvisionedConcurrencyResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
