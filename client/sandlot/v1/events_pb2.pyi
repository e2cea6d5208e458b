from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EventState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EVENT_STATE_UNSPECIFIED: _ClassVar[EventState]
    EVENT_STATE_QUEUED: _ClassVar[EventState]
    EVENT_STATE_RUNNING: _ClassVar[EventState]
    EVENT_STATE_DELIVERING: _ClassVar[EventState]
    EVENT_STATE_SUCCEEDED: _ClassVar[EventState]
    EVENT_STATE_FAILED: _ClassVar[EventState]
    EVENT_STATE_DEAD: _ClassVar[EventState]
EVENT_STATE_UNSPECIFIED: EventState
EVENT_STATE_QUEUED: EventState
EVENT_STATE_RUNNING: EventState
EVENT_STATE_DELIVERING: EventState
EVENT_STATE_SUCCEEDED: EventState
EVENT_STATE_FAILED: EventState
EVENT_STATE_DEAD: EventState

class EventAttempt(_message.Message):
    __slots__ = ("started", "ended", "status", "error_type", "error", "version", "billed")
    STARTED_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ERROR_TYPE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    BILLED_FIELD_NUMBER: _ClassVar[int]
    started: _timestamp_pb2.Timestamp
    ended: _timestamp_pb2.Timestamp
    status: str
    error_type: str
    error: str
    version: str
    billed: bool
    def __init__(self, started: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., ended: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., status: _Optional[str] = ..., error_type: _Optional[str] = ..., error: _Optional[str] = ..., version: _Optional[str] = ..., billed: bool = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("request_id", "function", "qualifier", "state", "size", "accepted", "next_attempt", "ended", "runs", "throttles", "condition", "reason", "undelivered", "attempts")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    QUALIFIER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    NEXT_ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    THROTTLES_FIELD_NUMBER: _ClassVar[int]
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    UNDELIVERED_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    function: str
    qualifier: str
    state: EventState
    size: int
    accepted: _timestamp_pb2.Timestamp
    next_attempt: _timestamp_pb2.Timestamp
    ended: _timestamp_pb2.Timestamp
    runs: int
    throttles: int
    condition: str
    reason: str
    undelivered: str
    attempts: _containers.RepeatedCompositeFieldContainer[EventAttempt]
    def __init__(self, request_id: _Optional[str] = ..., function: _Optional[str] = ..., qualifier: _Optional[str] = ..., state: _Optional[_Union[EventState, str]] = ..., size: _Optional[int] = ..., accepted: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., next_attempt: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., ended: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., runs: _Optional[int] = ..., throttles: _Optional[int] = ..., condition: _Optional[str] = ..., reason: _Optional[str] = ..., undelivered: _Optional[str] = ..., attempts: _Optional[_Iterable[_Union[EventAttempt, _Mapping]]] = ...) -> None: ...

class GetEventRequest(_message.Message):
    __slots__ = ("request_id", "wait", "payload")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    wait: _duration_pb2.Duration
    payload: bool
    def __init__(self, request_id: _Optional[str] = ..., wait: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., payload: bool = ...) -> None: ...

class GetEventResponse(_message.Message):
    __slots__ = ("event", "payload")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    event: Event
    payload: bytes
    def __init__(self, event: _Optional[_Union[Event, _Mapping]] = ..., payload: _Optional[bytes] = ...) -> None: ...

class ListEventsRequest(_message.Message):
    __slots__ = ("function", "states", "page_size", "page_token")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    function: str
    states: _containers.RepeatedScalarFieldContainer[EventState]
    page_size: int
    page_token: str
    def __init__(self, function: _Optional[str] = ..., states: _Optional[_Iterable[_Union[EventState, str]]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListEventsResponse(_message.Message):
    __slots__ = ("events", "next_page_token")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    next_page_token: str
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class RedriveEventsRequest(_message.Message):
    __slots__ = ("request_id", "function")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    function: str
    def __init__(self, request_id: _Optional[str] = ..., function: _Optional[str] = ...) -> None: ...

class RedriveEventsResponse(_message.Message):
    __slots__ = ("count", "more")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    count: int
    more: bool
    def __init__(self, count: _Optional[int] = ..., more: bool = ...) -> None: ...

class PurgeEventsRequest(_message.Message):
    __slots__ = ("request_id", "function")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    function: str
    def __init__(self, request_id: _Optional[str] = ..., function: _Optional[str] = ...) -> None: ...

class PurgeEventsResponse(_message.Message):
    __slots__ = ("count", "more")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    count: int
    more: bool
    def __init__(self, count: _Optional[int] = ..., more: bool = ...) -> None: ...

class EventSettings(_message.Message):
    __slots__ = ("function", "qualifier", "max_retries", "max_age_s", "on_success", "on_failure")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    QUALIFIER_FIELD_NUMBER: _ClassVar[int]
    MAX_RETRIES_FIELD_NUMBER: _ClassVar[int]
    MAX_AGE_S_FIELD_NUMBER: _ClassVar[int]
    ON_SUCCESS_FIELD_NUMBER: _ClassVar[int]
    ON_FAILURE_FIELD_NUMBER: _ClassVar[int]
    function: str
    qualifier: str
    max_retries: int
    max_age_s: int
    on_success: str
    on_failure: str
    def __init__(self, function: _Optional[str] = ..., qualifier: _Optional[str] = ..., max_retries: _Optional[int] = ..., max_age_s: _Optional[int] = ..., on_success: _Optional[str] = ..., on_failure: _Optional[str] = ...) -> None: ...

class GetEventSettingsRequest(_message.Message):
    __slots__ = ("function", "qualifier")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    QUALIFIER_FIELD_NUMBER: _ClassVar[int]
    function: str
    qualifier: str
    def __init__(self, function: _Optional[str] = ..., qualifier: _Optional[str] = ...) -> None: ...

class GetEventSettingsResponse(_message.Message):
    __slots__ = ("settings",)
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    settings: EventSettings
    def __init__(self, settings: _Optional[_Union[EventSettings, _Mapping]] = ...) -> None: ...

class PutEventSettingsRequest(_message.Message):
    __slots__ = ("function", "qualifier", "max_retries", "max_age_s", "on_success", "on_failure")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    QUALIFIER_FIELD_NUMBER: _ClassVar[int]
    MAX_RETRIES_FIELD_NUMBER: _ClassVar[int]
    MAX_AGE_S_FIELD_NUMBER: _ClassVar[int]
    ON_SUCCESS_FIELD_NUMBER: _ClassVar[int]
    ON_FAILURE_FIELD_NUMBER: _ClassVar[int]
    function: str
    qualifier: str
    max_retries: int
    max_age_s: int
    on_success: str
    on_failure: str
    def __init__(self, function: _Optional[str] = ..., qualifier: _Optional[str] = ..., max_retries: _Optional[int] = ..., max_age_s: _Optional[int] = ..., on_success: _Optional[str] = ..., on_failure: _Optional[str] = ...) -> None: ...

class PutEventSettingsResponse(_message.Message):
    __slots__ = ("settings",)
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    settings: EventSettings
    def __init__(self, settings: _Optional[_Union[EventSettings, _Mapping]] = ...) -> None: ...

class DeleteEventSettingsRequest(_message.Message):
    __slots__ = ("function", "qualifier")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    QUALIFIER_FIELD_NUMBER: _ClassVar[int]
    function: str
    qualifier: str
    def __init__(self, function: _Optional[str] = ..., qualifier: _Optional[str] = ...) -> None: ...

class DeleteEventSettingsResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
