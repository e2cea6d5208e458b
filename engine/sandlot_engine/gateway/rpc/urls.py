"""`UrlService`: the addresses of the caller's functions."""

from sandlot.v1 import urls_pb2 as wire
from sandlot_engine.catalog.open_urls import OpenUrls
from sandlot_engine.errors import InvalidParameter
from sandlot_engine.gateway.paging import page_size
from sandlot_engine.gateway.ports import Backend
from sandlot_engine.gateway.rpc import Context
from sandlot_engine.gateway.rpc.call import current_caller
from sandlot_engine.gateway.rpc.convert import timestamp
from sandlot_engine.model.url import Cors, FunctionUrl, InvokeMode, UrlAuthType

_AUTH: dict[int, UrlAuthType] = {
    wire.URL_AUTH_UNSPECIFIED: UrlAuthType.AWS_IAM,
    wire.URL_AUTH_IAM: UrlAuthType.AWS_IAM,
    wire.URL_AUTH_NONE: UrlAuthType.NONE,
}
_AUTH_OUT = {
    UrlAuthType.AWS_IAM: wire.URL_AUTH_IAM,
    UrlAuthType.NONE: wire.URL_AUTH_NONE,
}


class UrlService:
    """Wire to catalog and back."""

    def __init__(self, backend: Backend) -> None:
        self._urls = backend.urls
        self._open_urls = OpenUrls(backend.urls, backend.policies)
        self._addresses = backend.addresses

    async def PutUrl(
        self, request: wire.PutUrlRequest, _: Context
    ) -> wire.PutUrlResponse:
        if request.auth not in _AUTH:
            raise InvalidParameter(f"auth {request.auth} is unknown", field="auth")
        url = await self._open_urls.put(
            current_caller().tenant_id,
            request.function,
            request.alias,
            auth_type=_AUTH[request.auth],
            cors=_cors_of(request.cors) if request.HasField("cors") else None,
            invoke_mode=InvokeMode.RESPONSE_STREAM
            if request.streamed
            else InvokeMode.BUFFERED,
        )
        return wire.PutUrlResponse(url=self._out(url))

    async def ListUrls(
        self, request: wire.ListUrlsRequest, _: Context
    ) -> wire.ListUrlsResponse:
        page, token = self._urls.list(
            current_caller().tenant_id,
            request.function,
            page_size(request.page_size),
            request.page_token,
        )
        return wire.ListUrlsResponse(
            urls=[self._out(url) for url in page], next_page_token=token
        )

    async def DeleteUrl(
        self, request: wire.DeleteUrlRequest, _: Context
    ) -> wire.DeleteUrlResponse:
        await self._open_urls.delete(
            current_caller().tenant_id, request.function, request.alias
        )
        return wire.DeleteUrlResponse()

    def _out(self, url: FunctionUrl) -> wire.Url:
        cors = url.active_cors
        return wire.Url(
            function=url.function,
            alias=url.qualifier,
            url=self._addresses.of(url.id),
            auth=_AUTH_OUT[url.auth_type],
            cors=None if cors is None else _cors_out(cors),
            streamed=url.invoke_mode is InvokeMode.RESPONSE_STREAM,
            created=timestamp(url.created),
        )


def _cors_of(message: wire.UrlCors) -> Cors:
    return Cors(
        allow_credentials=message.allow_credentials or None,
        allow_headers=tuple(message.allow_headers) or None,
        allow_methods=tuple(message.allow_methods) or None,
        allow_origins=tuple(message.allow_origins) or None,
        expose_headers=tuple(message.expose_headers) or None,
        max_age_s=message.max_age_s or None,
    )


def _cors_out(cors: Cors) -> wire.UrlCors:
    return wire.UrlCors(
        allow_origins=cors.allow_origins,
        allow_methods=cors.allow_methods,
        allow_headers=cors.allow_headers,
        expose_headers=cors.expose_headers,
        allow_credentials=bool(cors.allow_credentials),
        max_age_s=cors.max_age_s or 0,
    )
