"""Calls about versions of functions, and about aliases of these."""

from collections.abc import Mapping

from sandlot import parsing
from sandlot.calls.call import PAGE_SIZE, Call
from sandlot.parsing import Page
from sandlot.results import Alias, Function
from sandlot.v1 import versions_pb2 as versions


def publish_version(
    function: str, *, description: str | None, code_sha256: str, revision_id: str
) -> Call[Function]:
    return Call(
        method="/sandlot.v1.VersionService/PublishVersion",
        request=versions.PublishVersionRequest(
            function=function,
            description=description,
            code_sha256=code_sha256,
            revision_id=revision_id,
        ),
        response=versions.PublishVersionResponse,
        parse=lambda message: parsing.function(message.version),
    )


def list_versions(function: str, token: str) -> Call[Page[Function]]:
    return Call(
        method="/sandlot.v1.VersionService/ListVersions",
        request=versions.ListVersionsRequest(
            function=function, page_size=PAGE_SIZE, page_token=token
        ),
        response=versions.ListVersionsResponse,
        parse=lambda m: parsing.page(m.versions, parsing.function, m.next_page_token),
    )


def delete_version(function: str, version: str | int) -> Call[None]:
    return Call(
        method="/sandlot.v1.VersionService/DeleteVersion",
        request=versions.DeleteVersionRequest(function=function, version=str(version)),
        response=versions.DeleteVersionResponse,
        parse=parsing.nothing,
    )


def put_alias(
    function: str,
    name: str,
    version: str | int,
    *,
    weights: Mapping[str, float],
    description: str | None,
    revision_id: str,
) -> Call[Alias]:
    return Call(
        method="/sandlot.v1.VersionService/PutAlias",
        request=versions.PutAliasRequest(
            function=function,
            name=name,
            version=str(version),
            weights={str(version): share for version, share in weights.items()},
            description=description,
            revision_id=revision_id,
        ),
        response=versions.PutAliasResponse,
        parse=lambda message: parsing.alias(message.alias),
    )


def list_aliases(function: str, token: str, *, version: str | int) -> Call[Page[Alias]]:
    return Call(
        method="/sandlot.v1.VersionService/ListAliases",
        request=versions.ListAliasesRequest(
            function=function,
            version=str(version),
            page_size=PAGE_SIZE,
            page_token=token,
        ),
        response=versions.ListAliasesResponse,
        parse=lambda m: parsing.page(m.aliases, parsing.alias, m.next_page_token),
    )


def delete_alias(function: str, name: str) -> Call[None]:
    return Call(
        method="/sandlot.v1.VersionService/DeleteAlias",
        request=versions.DeleteAliasRequest(function=function, name=name),
        response=versions.DeleteAliasResponse,
        parse=parsing.nothing,
    )
