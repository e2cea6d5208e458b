from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FunctionState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FUNCTION_STATE_UNSPECIFIED: _ClassVar[FunctionState]
    FUNCTION_STATE_PENDING: _ClassVar[FunctionState]
    FUNCTION_STATE_ACTIVE: _ClassVar[FunctionState]
    FUNCTION_STATE_FAILED: _ClassVar[FunctionState]
    FUNCTION_STATE_INACTIVE: _ClassVar[FunctionState]

class UpdateStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UPDATE_STATUS_UNSPECIFIED: _ClassVar[UpdateStatus]
    UPDATE_STATUS_IN_PROGRESS: _ClassVar[UpdateStatus]
    UPDATE_STATUS_SUCCESSFUL: _ClassVar[UpdateStatus]
    UPDATE_STATUS_FAILED: _ClassVar[UpdateStatus]

class InitMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INIT_MODE_UNSPECIFIED: _ClassVar[InitMode]
    INIT_MODE_AUTO: _ClassVar[InitMode]
    INIT_MODE_PER_INSTANCE: _ClassVar[InitMode]

class Network(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NETWORK_UNSPECIFIED: _ClassVar[Network]
    NETWORK_NONE: _ClassVar[Network]
    NETWORK_EGRESS: _ClassVar[Network]
    NETWORK_HOST: _ClassVar[Network]
FUNCTION_STATE_UNSPECIFIED: FunctionState
FUNCTION_STATE_PENDING: FunctionState
FUNCTION_STATE_ACTIVE: FunctionState
FUNCTION_STATE_FAILED: FunctionState
FUNCTION_STATE_INACTIVE: FunctionState
UPDATE_STATUS_UNSPECIFIED: UpdateStatus
UPDATE_STATUS_IN_PROGRESS: UpdateStatus
UPDATE_STATUS_SUCCESSFUL: UpdateStatus
UPDATE_STATUS_FAILED: UpdateStatus
INIT_MODE_UNSPECIFIED: InitMode
INIT_MODE_AUTO: InitMode
INIT_MODE_PER_INSTANCE: InitMode
NETWORK_UNSPECIFIED: Network
NETWORK_NONE: Network
NETWORK_EGRESS: Network
NETWORK_HOST: Network

class FunctionConfig(_message.Message):
    __slots__ = ("handler", "runtime", "memory_mb", "timeout_s", "environment", "ephemeral_storage_mb", "description", "init_mode", "network", "snap_start", "entry_point", "command", "working_directory", "layers")
    class EnvironmentEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    HANDLER_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    MEMORY_MB_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_S_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    EPHEMERAL_STORAGE_MB_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    INIT_MODE_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    SNAP_START_FIELD_NUMBER: _ClassVar[int]
    ENTRY_POINT_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    WORKING_DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    handler: str
    runtime: str
    memory_mb: int
    timeout_s: int
    environment: _containers.ScalarMap[str, str]
    ephemeral_storage_mb: int
    description: str
    init_mode: InitMode
    network: Network
    snap_start: bool
    entry_point: _containers.RepeatedScalarFieldContainer[str]
    command: _containers.RepeatedScalarFieldContainer[str]
    working_directory: str
    layers: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, handler: _Optional[str] = ..., runtime: _Optional[str] = ..., memory_mb: _Optional[int] = ..., timeout_s: _Optional[int] = ..., environment: _Optional[_Mapping[str, str]] = ..., ephemeral_storage_mb: _Optional[int] = ..., description: _Optional[str] = ..., init_mode: _Optional[_Union[InitMode, str]] = ..., network: _Optional[_Union[Network, str]] = ..., snap_start: bool = ..., entry_point: _Optional[_Iterable[str]] = ..., command: _Optional[_Iterable[str]] = ..., working_directory: _Optional[str] = ..., layers: _Optional[_Iterable[str]] = ...) -> None: ...

class Function(_message.Message):
    __slots__ = ("name", "arn", "version", "config", "code_size", "code_sha256", "state", "state_reason", "update_status", "update_reason", "fork_safe", "fork_safety_reason", "last_modified", "revision_id", "image_uri", "instances", "standbys", "tags")
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    ARN_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    CODE_SIZE_FIELD_NUMBER: _ClassVar[int]
    CODE_SHA256_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STATE_REASON_FIELD_NUMBER: _ClassVar[int]
    UPDATE_STATUS_FIELD_NUMBER: _ClassVar[int]
    UPDATE_REASON_FIELD_NUMBER: _ClassVar[int]
    FORK_SAFE_FIELD_NUMBER: _ClassVar[int]
    FORK_SAFETY_REASON_FIELD_NUMBER: _ClassVar[int]
    LAST_MODIFIED_FIELD_NUMBER: _ClassVar[int]
    REVISION_ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_URI_FIELD_NUMBER: _ClassVar[int]
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    STANDBYS_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    name: str
    arn: str
    version: str
    config: FunctionConfig
    code_size: int
    code_sha256: str
    state: FunctionState
    state_reason: str
    update_status: UpdateStatus
    update_reason: str
    fork_safe: bool
    fork_safety_reason: str
    last_modified: _timestamp_pb2.Timestamp
    revision_id: str
    image_uri: str
    instances: int
    standbys: int
    tags: _containers.ScalarMap[str, str]
    def __init__(self, name: _Optional[str] = ..., arn: _Optional[str] = ..., version: _Optional[str] = ..., config: _Optional[_Union[FunctionConfig, _Mapping]] = ..., code_size: _Optional[int] = ..., code_sha256: _Optional[str] = ..., state: _Optional[_Union[FunctionState, str]] = ..., state_reason: _Optional[str] = ..., update_status: _Optional[_Union[UpdateStatus, str]] = ..., update_reason: _Optional[str] = ..., fork_safe: bool = ..., fork_safety_reason: _Optional[str] = ..., last_modified: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., revision_id: _Optional[str] = ..., image_uri: _Optional[str] = ..., instances: _Optional[int] = ..., standbys: _Optional[int] = ..., tags: _Optional[_Mapping[str, str]] = ...) -> None: ...

class CreateFunctionRequest(_message.Message):
    __slots__ = ("name", "config", "zip", "image_uri")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    ZIP_FIELD_NUMBER: _ClassVar[int]
    IMAGE_URI_FIELD_NUMBER: _ClassVar[int]
    name: str
    config: FunctionConfig
    zip: bytes
    image_uri: str
    def __init__(self, name: _Optional[str] = ..., config: _Optional[_Union[FunctionConfig, _Mapping]] = ..., zip: _Optional[bytes] = ..., image_uri: _Optional[str] = ...) -> None: ...

class CreateFunctionResponse(_message.Message):
    __slots__ = ("function",)
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    function: Function
    def __init__(self, function: _Optional[_Union[Function, _Mapping]] = ...) -> None: ...

class UpdateFunctionCodeRequest(_message.Message):
    __slots__ = ("name", "zip", "revision_id", "image_uri")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ZIP_FIELD_NUMBER: _ClassVar[int]
    REVISION_ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_URI_FIELD_NUMBER: _ClassVar[int]
    name: str
    zip: bytes
    revision_id: str
    image_uri: str
    def __init__(self, name: _Optional[str] = ..., zip: _Optional[bytes] = ..., revision_id: _Optional[str] = ..., image_uri: _Optional[str] = ...) -> None: ...

class UpdateFunctionCodeResponse(_message.Message):
    __slots__ = ("function",)
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    function: Function
    def __init__(self, function: _Optional[_Union[Function, _Mapping]] = ...) -> None: ...

class Environment(_message.Message):
    __slots__ = ("variables",)
    class VariablesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    VARIABLES_FIELD_NUMBER: _ClassVar[int]
    variables: _containers.ScalarMap[str, str]
    def __init__(self, variables: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Words(_message.Message):
    __slots__ = ("words",)
    WORDS_FIELD_NUMBER: _ClassVar[int]
    words: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, words: _Optional[_Iterable[str]] = ...) -> None: ...

class UpdateFunctionConfigurationRequest(_message.Message):
    __slots__ = ("name", "revision_id", "handler", "runtime", "memory_mb", "timeout_s", "environment", "ephemeral_storage_mb", "description", "init_mode", "network", "snap_start", "entry_point", "command", "working_directory", "layers")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REVISION_ID_FIELD_NUMBER: _ClassVar[int]
    HANDLER_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    MEMORY_MB_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_S_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    EPHEMERAL_STORAGE_MB_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    INIT_MODE_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    SNAP_START_FIELD_NUMBER: _ClassVar[int]
    ENTRY_POINT_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    WORKING_DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    name: str
    revision_id: str
    handler: str
    runtime: str
    memory_mb: int
    timeout_s: int
    environment: Environment
    ephemeral_storage_mb: int
    description: str
    init_mode: InitMode
    network: Network
    snap_start: bool
    entry_point: Words
    command: Words
    working_directory: str
    layers: Words
    def __init__(self, name: _Optional[str] = ..., revision_id: _Optional[str] = ..., handler: _Optional[str] = ..., runtime: _Optional[str] = ..., memory_mb: _Optional[int] = ..., timeout_s: _Optional[int] = ..., environment: _Optional[_Union[Environment, _Mapping]] = ..., ephemeral_storage_mb: _Optional[int] = ..., description: _Optional[str] = ..., init_mode: _Optional[_Union[InitMode, str]] = ..., network: _Optional[_Union[Network, str]] = ..., snap_start: bool = ..., entry_point: _Optional[_Union[Words, _Mapping]] = ..., command: _Optional[_Union[Words, _Mapping]] = ..., working_directory: _Optional[str] = ..., layers: _Optional[_Union[Words, _Mapping]] = ...) -> None: ...

class UpdateFunctionConfigurationResponse(_message.Message):
    __slots__ = ("function",)
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    function: Function
    def __init__(self, function: _Optional[_Union[Function, _Mapping]] = ...) -> None: ...

class GetFunctionRequest(_message.Message):
    __slots__ = ("name", "qualifier")
    NAME_FIELD_NUMBER: _ClassVar[int]
    QUALIFIER_FIELD_NUMBER: _ClassVar[int]
    name: str
    qualifier: str
    def __init__(self, name: _Optional[str] = ..., qualifier: _Optional[str] = ...) -> None: ...

class GetFunctionResponse(_message.Message):
    __slots__ = ("function",)
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    function: Function
    def __init__(self, function: _Optional[_Union[Function, _Mapping]] = ...) -> None: ...

class ListFunctionsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListFunctionsResponse(_message.Message):
    __slots__ = ("functions", "next_page_token")
    FUNCTIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    functions: _containers.RepeatedCompositeFieldContainer[Function]
    next_page_token: str
    def __init__(self, functions: _Optional[_Iterable[_Union[Function, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteFunctionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DeleteFunctionResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TagFunctionRequest(_message.Message):
    __slots__ = ("name", "tags")
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    name: str
    tags: _containers.ScalarMap[str, str]
    def __init__(self, name: _Optional[str] = ..., tags: _Optional[_Mapping[str, str]] = ...) -> None: ...

class TagFunctionResponse(_message.Message):
    __slots__ = ("tags",)
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TAGS_FIELD_NUMBER: _ClassVar[int]
    tags: _containers.ScalarMap[str, str]
    def __init__(self, tags: _Optional[_Mapping[str, str]] = ...) -> None: ...

class UntagFunctionRequest(_message.Message):
    __slots__ = ("name", "keys")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    name: str
    keys: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., keys: _Optional[_Iterable[str]] = ...) -> None: ...

class UntagFunctionResponse(_message.Message):
    __slots__ = ("tags",)
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TAGS_FIELD_NUMBER: _ClassVar[int]
    tags: _containers.ScalarMap[str, str]
    def __init__(self, tags: _Optional[_Mapping[str, str]] = ...) -> None: ...
