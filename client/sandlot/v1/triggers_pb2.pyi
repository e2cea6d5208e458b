from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MissedRuns(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MISSED_RUNS_UNSPECIFIED: _ClassVar[MissedRuns]
    MISSED_RUNS_RUN_ONCE: _ClassVar[MissedRuns]
    MISSED_RUNS_SKIP: _ClassVar[MissedRuns]

class SignatureScheme(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SIGNATURE_SCHEME_UNSPECIFIED: _ClassVar[SignatureScheme]
    SIGNATURE_SCHEME_GENERIC: _ClassVar[SignatureScheme]
    SIGNATURE_SCHEME_GITHUB: _ClassVar[SignatureScheme]
    SIGNATURE_SCHEME_STRIPE: _ClassVar[SignatureScheme]
    SIGNATURE_SCHEME_SLACK: _ClassVar[SignatureScheme]
MISSED_RUNS_UNSPECIFIED: MissedRuns
MISSED_RUNS_RUN_ONCE: MissedRuns
MISSED_RUNS_SKIP: MissedRuns
SIGNATURE_SCHEME_UNSPECIFIED: SignatureScheme
SIGNATURE_SCHEME_GENERIC: SignatureScheme
SIGNATURE_SCHEME_GITHUB: SignatureScheme
SIGNATURE_SCHEME_STRIPE: SignatureScheme
SIGNATURE_SCHEME_SLACK: SignatureScheme

class Trigger(_message.Message):
    __slots__ = ("name", "group", "function", "qualifier", "description", "enabled", "created", "modified", "path", "schedule", "webhook", "bucket", "directory")
    NAME_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    QUALIFIER_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    MODIFIED_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    WEBHOOK_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    name: str
    group: str
    function: str
    qualifier: str
    description: str
    enabled: bool
    created: _timestamp_pb2.Timestamp
    modified: _timestamp_pb2.Timestamp
    path: str
    schedule: Schedule
    webhook: Webhook
    bucket: Bucket
    directory: Directory
    def __init__(self, name: _Optional[str] = ..., group: _Optional[str] = ..., function: _Optional[str] = ..., qualifier: _Optional[str] = ..., description: _Optional[str] = ..., enabled: bool = ..., created: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., modified: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., path: _Optional[str] = ..., schedule: _Optional[_Union[Schedule, _Mapping]] = ..., webhook: _Optional[_Union[Webhook, _Mapping]] = ..., bucket: _Optional[_Union[Bucket, _Mapping]] = ..., directory: _Optional[_Union[Directory, _Mapping]] = ...) -> None: ...

class Schedule(_message.Message):
    __slots__ = ("expression", "timezone", "start", "end", "window_minutes", "missed_runs", "delete_after_completion", "input", "maximum_event_age_seconds", "maximum_retry_attempts", "progress")
    EXPRESSION_FIELD_NUMBER: _ClassVar[int]
    TIMEZONE_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    WINDOW_MINUTES_FIELD_NUMBER: _ClassVar[int]
    MISSED_RUNS_FIELD_NUMBER: _ClassVar[int]
    DELETE_AFTER_COMPLETION_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_EVENT_AGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_RETRY_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    expression: str
    timezone: str
    start: _timestamp_pb2.Timestamp
    end: _timestamp_pb2.Timestamp
    window_minutes: int
    missed_runs: MissedRuns
    delete_after_completion: bool
    input: str
    maximum_event_age_seconds: int
    maximum_retry_attempts: int
    progress: ScheduleProgress
    def __init__(self, expression: _Optional[str] = ..., timezone: _Optional[str] = ..., start: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., end: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., window_minutes: _Optional[int] = ..., missed_runs: _Optional[_Union[MissedRuns, str]] = ..., delete_after_completion: bool = ..., input: _Optional[str] = ..., maximum_event_age_seconds: _Optional[int] = ..., maximum_retry_attempts: _Optional[int] = ..., progress: _Optional[_Union[ScheduleProgress, _Mapping]] = ...) -> None: ...

class ScheduleProgress(_message.Message):
    __slots__ = ("next_due", "last_due", "fired", "missed", "last_error")
    NEXT_DUE_FIELD_NUMBER: _ClassVar[int]
    LAST_DUE_FIELD_NUMBER: _ClassVar[int]
    FIRED_FIELD_NUMBER: _ClassVar[int]
    MISSED_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_FIELD_NUMBER: _ClassVar[int]
    next_due: _timestamp_pb2.Timestamp
    last_due: _timestamp_pb2.Timestamp
    fired: int
    missed: int
    last_error: str
    def __init__(self, next_due: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., last_due: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., fired: _Optional[int] = ..., missed: _Optional[int] = ..., last_error: _Optional[str] = ...) -> None: ...

class Webhook(_message.Message):
    __slots__ = ("scheme",)
    SCHEME_FIELD_NUMBER: _ClassVar[int]
    scheme: SignatureScheme
    def __init__(self, scheme: _Optional[_Union[SignatureScheme, str]] = ...) -> None: ...

class ObjectFilter(_message.Message):
    __slots__ = ("buckets", "events", "prefix", "suffix")
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    SUFFIX_FIELD_NUMBER: _ClassVar[int]
    buckets: _containers.RepeatedScalarFieldContainer[str]
    events: _containers.RepeatedScalarFieldContainer[str]
    prefix: str
    suffix: str
    def __init__(self, buckets: _Optional[_Iterable[str]] = ..., events: _Optional[_Iterable[str]] = ..., prefix: _Optional[str] = ..., suffix: _Optional[str] = ...) -> None: ...

class Bucket(_message.Message):
    __slots__ = ("filter",)
    FILTER_FIELD_NUMBER: _ClassVar[int]
    filter: ObjectFilter
    def __init__(self, filter: _Optional[_Union[ObjectFilter, _Mapping]] = ...) -> None: ...

class Directory(_message.Message):
    __slots__ = ("path", "filter")
    PATH_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    path: str
    filter: ObjectFilter
    def __init__(self, path: _Optional[str] = ..., filter: _Optional[_Union[ObjectFilter, _Mapping]] = ...) -> None: ...

class CreateTriggerRequest(_message.Message):
    __slots__ = ("trigger", "paused", "secret")
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    trigger: Trigger
    paused: bool
    secret: str
    def __init__(self, trigger: _Optional[_Union[Trigger, _Mapping]] = ..., paused: bool = ..., secret: _Optional[str] = ...) -> None: ...

class CreateTriggerResponse(_message.Message):
    __slots__ = ("trigger", "secret")
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    trigger: Trigger
    secret: str
    def __init__(self, trigger: _Optional[_Union[Trigger, _Mapping]] = ..., secret: _Optional[str] = ...) -> None: ...

class GetTriggerRequest(_message.Message):
    __slots__ = ("name", "group")
    NAME_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    name: str
    group: str
    def __init__(self, name: _Optional[str] = ..., group: _Optional[str] = ...) -> None: ...

class GetTriggerResponse(_message.Message):
    __slots__ = ("trigger",)
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    trigger: Trigger
    def __init__(self, trigger: _Optional[_Union[Trigger, _Mapping]] = ...) -> None: ...

class ListTriggersRequest(_message.Message):
    __slots__ = ("function", "kind", "page_size", "page_token")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    function: str
    kind: str
    page_size: int
    page_token: str
    def __init__(self, function: _Optional[str] = ..., kind: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListTriggersResponse(_message.Message):
    __slots__ = ("triggers", "next_page_token")
    TRIGGERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    triggers: _containers.RepeatedCompositeFieldContainer[Trigger]
    next_page_token: str
    def __init__(self, triggers: _Optional[_Iterable[_Union[Trigger, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateTriggerRequest(_message.Message):
    __slots__ = ("name", "group", "enabled", "description", "function", "qualifier", "schedule", "filter")
    NAME_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    QUALIFIER_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    name: str
    group: str
    enabled: bool
    description: str
    function: str
    qualifier: str
    schedule: Schedule
    filter: ObjectFilter
    def __init__(self, name: _Optional[str] = ..., group: _Optional[str] = ..., enabled: bool = ..., description: _Optional[str] = ..., function: _Optional[str] = ..., qualifier: _Optional[str] = ..., schedule: _Optional[_Union[Schedule, _Mapping]] = ..., filter: _Optional[_Union[ObjectFilter, _Mapping]] = ...) -> None: ...

class UpdateTriggerResponse(_message.Message):
    __slots__ = ("trigger",)
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    trigger: Trigger
    def __init__(self, trigger: _Optional[_Union[Trigger, _Mapping]] = ...) -> None: ...

class RotateTriggerSecretRequest(_message.Message):
    __slots__ = ("name", "secret")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    name: str
    secret: str
    def __init__(self, name: _Optional[str] = ..., secret: _Optional[str] = ...) -> None: ...

class RotateTriggerSecretResponse(_message.Message):
    __slots__ = ("secret",)
    SECRET_FIELD_NUMBER: _ClassVar[int]
    secret: str
    def __init__(self, secret: _Optional[str] = ...) -> None: ...

class TestTriggerRequest(_message.Message):
    __slots__ = ("name", "group")
    NAME_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    name: str
    group: str
    def __init__(self, name: _Optional[str] = ..., group: _Optional[str] = ...) -> None: ...

class TestTriggerResponse(_message.Message):
    __slots__ = ("request_id",)
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    def __init__(self, request_id: _Optional[str] = ...) -> None: ...

class DeleteTriggerRequest(_message.Message):
    __slots__ = ("name", "group")
    NAME_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    name: str
    group: str
    def __init__(self, name: _Optional[str] = ..., group: _Optional[str] = ...) -> None: ...

class DeleteTriggerResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
