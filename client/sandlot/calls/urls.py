"""Calls about function URLs."""

from sandlot import parsing
from sandlot.calls.call import PAGE_SIZE, Call, member
from sandlot.parsing import Page
from sandlot.results import Cors, Url, UrlAuth
from sandlot.v1 import urls_pb2 as addresses

URL_AUTHS = {
    UrlAuth.NONE: addresses.URL_AUTH_NONE,
    UrlAuth.IAM: addresses.URL_AUTH_IAM,
}


def put_url(
    function: str, *, auth: UrlAuth | str, alias: str, cors: Cors | None, stream: bool
) -> Call[Url]:
    return Call(
        method="/sandlot.v1.UrlService/PutUrl",
        request=addresses.PutUrlRequest(
            function=function,
            alias=alias,
            auth=URL_AUTHS[member(UrlAuth, auth)],
            cors=None if cors is None else _cors(cors),
            streamed=stream,
        ),
        response=addresses.PutUrlResponse,
        parse=lambda message: parsing.url(message.url),
    )


def list_urls(function: str, token: str) -> Call[Page[Url]]:
    return Call(
        method="/sandlot.v1.UrlService/ListUrls",
        request=addresses.ListUrlsRequest(
            function=function, page_size=PAGE_SIZE, page_token=token
        ),
        response=addresses.ListUrlsResponse,
        parse=lambda m: parsing.page(m.urls, parsing.url, m.next_page_token),
    )


def delete_url(function: str, *, alias: str) -> Call[None]:
    return Call(
        method="/sandlot.v1.UrlService/DeleteUrl",
        request=addresses.DeleteUrlRequest(function=function, alias=alias),
        response=addresses.DeleteUrlResponse,
        parse=parsing.nothing,
    )


def _cors(cors: Cors) -> addresses.UrlCors:
    return addresses.UrlCors(
        allow_origins=cors.origins,
        allow_methods=cors.methods,
        allow_headers=cors.headers,
        expose_headers=cors.expose_headers,
        allow_credentials=cors.credentials,
        max_age_s=cors.max_age_s,
    )
