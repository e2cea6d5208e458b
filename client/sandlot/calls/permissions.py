"""Calls about who else may invoke a function."""

from sandlot import parsing
from sandlot.calls.call import Call, member
from sandlot.calls.urls import URL_AUTHS
from sandlot.results import Permission, UrlAuth
from sandlot.v1 import permissions_pb2 as wire


def add_permission(
    function: str,
    id: str,  # noqa: A002 - what it is called everywhere
    principal: str,
    *,
    qualifier: str,
    action: str,
    source_arn: str,
    source_account: str,
    url_auth: UrlAuth | str | None,
    via_url: bool | None,
) -> Call[Permission]:
    request = wire.AddPermissionRequest(
        function=function,
        qualifier=qualifier,
        id=id,
        action=action,
        principal=principal,
        source_arn=source_arn,
        source_account=source_account,
    )
    if url_auth is not None:
        request.url_auth = URL_AUTHS[member(UrlAuth, url_auth)]
    if via_url is not None:
        request.via_url = via_url
    return Call(
        method="/sandlot.v1.PermissionService/AddPermission",
        request=request,
        response=wire.AddPermissionResponse,
        parse=lambda message: parsing.permission(message.permission),
    )


def list_permissions(function: str, *, qualifier: str) -> Call[tuple[Permission, ...]]:
    return Call(
        method="/sandlot.v1.PermissionService/ListPermissions",
        request=wire.ListPermissionsRequest(function=function, qualifier=qualifier),
        response=wire.ListPermissionsResponse,
        parse=lambda m: tuple(map(parsing.permission, m.permissions)),
    )


def remove_permission(function: str, id: str, *, qualifier: str) -> Call[None]:  # noqa: A002 - as above
    return Call(
        method="/sandlot.v1.PermissionService/RemovePermission",
        request=wire.RemovePermissionRequest(
            function=function, qualifier=qualifier, id=id
        ),
        response=wire.RemovePermissionResponse,
        parse=parsing.nothing,
    )
