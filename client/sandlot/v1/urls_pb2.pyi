from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class UrlAuth(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    URL_AUTH_UNSPECIFIED: _ClassVar[UrlAuth]
    URL_AUTH_IAM: _ClassVar[UrlAuth]
    URL_AUTH_NONE: _ClassVar[UrlAuth]
URL_AUTH_UNSPECIFIED: UrlAuth
URL_AUTH_IAM: UrlAuth
URL_AUTH_NONE: UrlAuth

class UrlCors(_message.Message):
    __slots__ = ("allow_origins", "allow_methods", "allow_headers", "expose_headers", "allow_credentials", "max_age_s")
    ALLOW_ORIGINS_FIELD_NUMBER: _ClassVar[int]
    ALLOW_METHODS_FIELD_NUMBER: _ClassVar[int]
    ALLOW_HEADERS_FIELD_NUMBER: _ClassVar[int]
    EXPOSE_HEADERS_FIELD_NUMBER: _ClassVar[int]
    ALLOW_CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
    MAX_AGE_S_FIELD_NUMBER: _ClassVar[int]
    allow_origins: _containers.RepeatedScalarFieldContainer[str]
    allow_methods: _containers.RepeatedScalarFieldContainer[str]
    allow_headers: _containers.RepeatedScalarFieldContainer[str]
    expose_headers: _containers.RepeatedScalarFieldContainer[str]
    allow_credentials: bool
    max_age_s: int
    def __init__(self, allow_origins: _Optional[_Iterable[str]] = ..., allow_methods: _Optional[_Iterable[str]] = ..., allow_headers: _Optional[_Iterable[str]] = ..., expose_headers: _Optional[_Iterable[str]] = ..., allow_credentials: bool = ..., max_age_s: _Optional[int] = ...) -> None: ...

class Url(_message.Message):
    __slots__ = ("function", "alias", "url", "auth", "cors", "streamed", "created")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    AUTH_FIELD_NUMBER: _ClassVar[int]
    CORS_FIELD_NUMBER: _ClassVar[int]
    STREAMED_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    function: str
    alias: str
    url: str
    auth: UrlAuth
    cors: UrlCors
    streamed: bool
    created: _timestamp_pb2.Timestamp
    def __init__(self, function: _Optional[str] = ..., alias: _Optional[str] = ..., url: _Optional[str] = ..., auth: _Optional[_Union[UrlAuth, str]] = ..., cors: _Optional[_Union[UrlCors, _Mapping]] = ..., streamed: bool = ..., created: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class PutUrlRequest(_message.Message):
    __slots__ = ("function", "alias", "auth", "cors", "streamed")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    AUTH_FIELD_NUMBER: _ClassVar[int]
    CORS_FIELD_NUMBER: _ClassVar[int]
    STREAMED_FIELD_NUMBER: _ClassVar[int]
    function: str
    alias: str
    auth: UrlAuth
    cors: UrlCors
    streamed: bool
    def __init__(self, function: _Optional[str] = ..., alias: _Optional[str] = ..., auth: _Optional[_Union[UrlAuth, str]] = ..., cors: _Optional[_Union[UrlCors, _Mapping]] = ..., streamed: bool = ...) -> None: ...

class PutUrlResponse(_message.Message):
    __slots__ = ("url",)
    URL_FIELD_NUMBER: _ClassVar[int]
    url: Url
    def __init__(self, url: _Optional[_Union[Url, _Mapping]] = ...) -> None: ...

class ListUrlsRequest(_message.Message):
    __slots__ = ("function", "page_size", "page_token")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    function: str
    page_size: int
    page_token: str
    def __init__(self, function: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListUrlsResponse(_message.Message):
    __slots__ = ("urls", "next_page_token")
    URLS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    urls: _containers.RepeatedCompositeFieldContainer[Url]
    next_page_token: str
    def __init__(self, urls: _Optional[_Iterable[_Union[Url, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteUrlRequest(_message.Message):
    __slots__ = ("function", "alias")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    function: str
    alias: str
    def __init__(self, function: _Optional[str] = ..., alias: _Optional[str] = ...) -> None: ...

class DeleteUrlResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
