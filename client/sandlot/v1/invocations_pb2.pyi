from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class InvocationType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INVOCATION_TYPE_UNSPECIFIED: _ClassVar[InvocationType]
    INVOCATION_TYPE_REQUEST_RESPONSE: _ClassVar[InvocationType]
    INVOCATION_TYPE_EVENT: _ClassVar[InvocationType]
    INVOCATION_TYPE_DRY_RUN: _ClassVar[InvocationType]

class InvocationStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INVOCATION_STATUS_UNSPECIFIED: _ClassVar[InvocationStatus]
    INVOCATION_STATUS_OK: _ClassVar[InvocationStatus]
    INVOCATION_STATUS_ERROR: _ClassVar[InvocationStatus]
    INVOCATION_STATUS_TIMEOUT: _ClassVar[InvocationStatus]
    INVOCATION_STATUS_CRASHED: _ClassVar[InvocationStatus]
    INVOCATION_STATUS_INIT_FAILED: _ClassVar[InvocationStatus]
    INVOCATION_STATUS_CANCELLED: _ClassVar[InvocationStatus]

class LogSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LOG_SOURCE_UNSPECIFIED: _ClassVar[LogSource]
    LOG_SOURCE_PLATFORM: _ClassVar[LogSource]
    LOG_SOURCE_FUNCTION: _ClassVar[LogSource]
INVOCATION_TYPE_UNSPECIFIED: InvocationType
INVOCATION_TYPE_REQUEST_RESPONSE: InvocationType
INVOCATION_TYPE_EVENT: InvocationType
INVOCATION_TYPE_DRY_RUN: InvocationType
INVOCATION_STATUS_UNSPECIFIED: InvocationStatus
INVOCATION_STATUS_OK: InvocationStatus
INVOCATION_STATUS_ERROR: InvocationStatus
INVOCATION_STATUS_TIMEOUT: InvocationStatus
INVOCATION_STATUS_CRASHED: InvocationStatus
INVOCATION_STATUS_INIT_FAILED: InvocationStatus
INVOCATION_STATUS_CANCELLED: InvocationStatus
LOG_SOURCE_UNSPECIFIED: LogSource
LOG_SOURCE_PLATFORM: LogSource
LOG_SOURCE_FUNCTION: LogSource

class Report(_message.Message):
    __slots__ = ("request_id", "duration", "init_duration", "billed_ms", "memory_mb", "max_memory_used_mb", "billed_mb_ms", "wait_duration", "cold")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    INIT_DURATION_FIELD_NUMBER: _ClassVar[int]
    BILLED_MS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_MB_FIELD_NUMBER: _ClassVar[int]
    MAX_MEMORY_USED_MB_FIELD_NUMBER: _ClassVar[int]
    BILLED_MB_MS_FIELD_NUMBER: _ClassVar[int]
    WAIT_DURATION_FIELD_NUMBER: _ClassVar[int]
    COLD_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    duration: _duration_pb2.Duration
    init_duration: _duration_pb2.Duration
    billed_ms: int
    memory_mb: int
    max_memory_used_mb: int
    billed_mb_ms: int
    wait_duration: _duration_pb2.Duration
    cold: bool
    def __init__(self, request_id: _Optional[str] = ..., duration: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., init_duration: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., billed_ms: _Optional[int] = ..., memory_mb: _Optional[int] = ..., max_memory_used_mb: _Optional[int] = ..., billed_mb_ms: _Optional[int] = ..., wait_duration: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., cold: bool = ...) -> None: ...

class InvokeRequest(_message.Message):
    __slots__ = ("function", "qualifier", "payload", "invocation_type", "tail_log", "client_context", "idempotency_key")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    QUALIFIER_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    INVOCATION_TYPE_FIELD_NUMBER: _ClassVar[int]
    TAIL_LOG_FIELD_NUMBER: _ClassVar[int]
    CLIENT_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    function: str
    qualifier: str
    payload: bytes
    invocation_type: InvocationType
    tail_log: bool
    client_context: str
    idempotency_key: str
    def __init__(self, function: _Optional[str] = ..., qualifier: _Optional[str] = ..., payload: _Optional[bytes] = ..., invocation_type: _Optional[_Union[InvocationType, str]] = ..., tail_log: bool = ..., client_context: _Optional[str] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class InvokeResponse(_message.Message):
    __slots__ = ("payload", "function_error", "executed_version", "log_tail", "report", "request_id", "status", "replayed")
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_ERROR_FIELD_NUMBER: _ClassVar[int]
    EXECUTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    LOG_TAIL_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    payload: bytes
    function_error: str
    executed_version: str
    log_tail: bytes
    report: Report
    request_id: str
    status: InvocationStatus
    replayed: bool
    def __init__(self, payload: _Optional[bytes] = ..., function_error: _Optional[str] = ..., executed_version: _Optional[str] = ..., log_tail: _Optional[bytes] = ..., report: _Optional[_Union[Report, _Mapping]] = ..., request_id: _Optional[str] = ..., status: _Optional[_Union[InvocationStatus, str]] = ..., replayed: bool = ...) -> None: ...

class InvokeStreamRequest(_message.Message):
    __slots__ = ("request",)
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request: InvokeRequest
    def __init__(self, request: _Optional[_Union[InvokeRequest, _Mapping]] = ...) -> None: ...

class InvokeStreamResponse(_message.Message):
    __slots__ = ("content_type", "piece", "complete")
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    PIECE_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    content_type: str
    piece: bytes
    complete: InvokeResponse
    def __init__(self, content_type: _Optional[str] = ..., piece: _Optional[bytes] = ..., complete: _Optional[_Union[InvokeResponse, _Mapping]] = ...) -> None: ...

class InvokeManyRequest(_message.Message):
    __slots__ = ("id", "request")
    ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    id: int
    request: InvokeRequest
    def __init__(self, id: _Optional[int] = ..., request: _Optional[_Union[InvokeRequest, _Mapping]] = ...) -> None: ...

class Refused(_message.Message):
    __slots__ = ("code", "reason", "message", "retry_after")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    code: int
    reason: str
    message: str
    retry_after: _duration_pb2.Duration
    def __init__(self, code: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., retry_after: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class InvokeManyResponse(_message.Message):
    __slots__ = ("id", "response", "refused")
    ID_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    id: int
    response: InvokeResponse
    refused: Refused
    def __init__(self, id: _Optional[int] = ..., response: _Optional[_Union[InvokeResponse, _Mapping]] = ..., refused: _Optional[_Union[Refused, _Mapping]] = ...) -> None: ...

class LogLine(_message.Message):
    __slots__ = ("time", "request_id", "source", "text")
    TIME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    request_id: str
    source: LogSource
    text: bytes
    def __init__(self, time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., request_id: _Optional[str] = ..., source: _Optional[_Union[LogSource, str]] = ..., text: _Optional[bytes] = ...) -> None: ...

class TailLogsRequest(_message.Message):
    __slots__ = ("function", "since", "follow")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    function: str
    since: _timestamp_pb2.Timestamp
    follow: bool
    def __init__(self, function: _Optional[str] = ..., since: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., follow: bool = ...) -> None: ...

class TailLogsResponse(_message.Message):
    __slots__ = ("lines",)
    LINES_FIELD_NUMBER: _ClassVar[int]
    lines: _containers.RepeatedCompositeFieldContainer[LogLine]
    def __init__(self, lines: _Optional[_Iterable[_Union[LogLine, _Mapping]]] = ...) -> None: ...

class InvocationRecord(_message.Message):
    __slots__ = ("function", "time", "status", "error_type", "report")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ERROR_TYPE_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    function: str
    time: _timestamp_pb2.Timestamp
    status: InvocationStatus
    error_type: str
    report: Report
    def __init__(self, function: _Optional[str] = ..., time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., status: _Optional[_Union[InvocationStatus, str]] = ..., error_type: _Optional[str] = ..., report: _Optional[_Union[Report, _Mapping]] = ...) -> None: ...

class ListInvocationsRequest(_message.Message):
    __slots__ = ("function", "page_size", "page_token")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    function: str
    page_size: int
    page_token: str
    def __init__(self, function: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListInvocationsResponse(_message.Message):
    __slots__ = ("invocations", "next_page_token")
    INVOCATIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    invocations: _containers.RepeatedCompositeFieldContainer[InvocationRecord]
    next_page_token: str
    def __init__(self, invocations: _Optional[_Iterable[_Union[InvocationRecord, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
