from sandlot.v1 import urls_pb2 as _urls_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PermissionCondition(_message.Message):
    __slots__ = ("operator", "key", "values")
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    operator: str
    key: str
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, operator: _Optional[str] = ..., key: _Optional[str] = ..., values: _Optional[_Iterable[str]] = ...) -> None: ...

class Permission(_message.Message):
    __slots__ = ("id", "is_denial", "actions", "principals", "conditions")
    ID_FIELD_NUMBER: _ClassVar[int]
    IS_DENIAL_FIELD_NUMBER: _ClassVar[int]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    PRINCIPALS_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    id: str
    is_denial: bool
    actions: _containers.RepeatedScalarFieldContainer[str]
    principals: _containers.RepeatedScalarFieldContainer[str]
    conditions: _containers.RepeatedCompositeFieldContainer[PermissionCondition]
    def __init__(self, id: _Optional[str] = ..., is_denial: bool = ..., actions: _Optional[_Iterable[str]] = ..., principals: _Optional[_Iterable[str]] = ..., conditions: _Optional[_Iterable[_Union[PermissionCondition, _Mapping]]] = ...) -> None: ...

class AddPermissionRequest(_message.Message):
    __slots__ = ("function", "qualifier", "id", "action", "principal", "source_arn", "source_account", "url_auth", "via_url")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    QUALIFIER_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    SOURCE_ARN_FIELD_NUMBER: _ClassVar[int]
    SOURCE_ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    URL_AUTH_FIELD_NUMBER: _ClassVar[int]
    VIA_URL_FIELD_NUMBER: _ClassVar[int]
    function: str
    qualifier: str
    id: str
    action: str
    principal: str
    source_arn: str
    source_account: str
    url_auth: _urls_pb2.UrlAuth
    via_url: bool
    def __init__(self, function: _Optional[str] = ..., qualifier: _Optional[str] = ..., id: _Optional[str] = ..., action: _Optional[str] = ..., principal: _Optional[str] = ..., source_arn: _Optional[str] = ..., source_account: _Optional[str] = ..., url_auth: _Optional[_Union[_urls_pb2.UrlAuth, str]] = ..., via_url: bool = ...) -> None: ...

class AddPermissionResponse(_message.Message):
    __slots__ = ("permission",)
    PERMISSION_FIELD_NUMBER: _ClassVar[int]
    permission: Permission
    def __init__(self, permission: _Optional[_Union[Permission, _Mapping]] = ...) -> None: ...

class ListPermissionsRequest(_message.Message):
    __slots__ = ("function", "qualifier")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    QUALIFIER_FIELD_NUMBER: _ClassVar[int]
    function: str
    qualifier: str
    def __init__(self, function: _Optional[str] = ..., qualifier: _Optional[str] = ...) -> None: ...

class ListPermissionsResponse(_message.Message):
    __slots__ = ("permissions",)
    PERMISSIONS_FIELD_NUMBER: _ClassVar[int]
    permissions: _containers.RepeatedCompositeFieldContainer[Permission]
    def __init__(self, permissions: _Optional[_Iterable[_Union[Permission, _Mapping]]] = ...) -> None: ...

class RemovePermissionRequest(_message.Message):
    __slots__ = ("function", "qualifier", "id")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    QUALIFIER_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    function: str
    qualifier: str
    id: str
    def __init__(self, function: _Optional[str] = ..., qualifier: _Optional[str] = ..., id: _Optional[str] = ...) -> None: ...

class RemovePermissionResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
