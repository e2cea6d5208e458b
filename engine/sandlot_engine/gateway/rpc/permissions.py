"""`PermissionService`: who else may invoke the caller's functions."""

from sandlot.v1 import permissions_pb2 as wire
from sandlot.v1 import urls_pb2 as urls
from sandlot_engine.catalog.permits import INVOKE
from sandlot_engine.errors import InvalidParameter
from sandlot_engine.gateway.ports import Backend
from sandlot_engine.gateway.rpc import Context
from sandlot_engine.gateway.rpc.call import current_caller
from sandlot_engine.model.policy import Effect, Statement
from sandlot_engine.model.url import UrlAuthType

_URL_AUTH = {
    urls.URL_AUTH_UNSPECIFIED: UrlAuthType.AWS_IAM,
    urls.URL_AUTH_IAM: UrlAuthType.AWS_IAM,
    urls.URL_AUTH_NONE: UrlAuthType.NONE,
}


class PermissionService:
    """Wire to catalog and back."""

    def __init__(self, backend: Backend) -> None:
        self._policies = backend.policies

    async def AddPermission(
        self, request: wire.AddPermissionRequest, _: Context
    ) -> wire.AddPermissionResponse:
        tenant_id = current_caller().tenant_id
        await self._policies.add(
            tenant_id,
            request.function,
            request.qualifier,
            statement_id=request.id,
            action=request.action or INVOKE,
            principal=request.principal,
            source_arn=request.source_arn,
            source_account=request.source_account,
            function_url_auth_type=_url_auth(request),
            via_function_url=request.via_url if request.HasField("via_url") else None,
        )
        added = next(
            each
            for each in self._policies.of(
                tenant_id, request.function, request.qualifier
            ).statements
            if each.sid == request.id
        )
        return wire.AddPermissionResponse(permission=_out(added))

    async def ListPermissions(
        self, request: wire.ListPermissionsRequest, _: Context
    ) -> wire.ListPermissionsResponse:
        statements = self._policies.list(
            current_caller().tenant_id, request.function, request.qualifier
        )
        return wire.ListPermissionsResponse(permissions=map(_out, statements))

    async def RemovePermission(
        self, request: wire.RemovePermissionRequest, _: Context
    ) -> wire.RemovePermissionResponse:
        await self._policies.remove(
            current_caller().tenant_id,
            request.function,
            request.qualifier,
            statement_id=request.id,
        )
        return wire.RemovePermissionResponse()


def _url_auth(request: wire.AddPermissionRequest) -> str:
    if not request.HasField("url_auth"):
        return ""
    if request.url_auth not in _URL_AUTH:
        raise InvalidParameter(
            f"url_auth {request.url_auth} is unknown", field="url_auth"
        )
    return _URL_AUTH[request.url_auth].value


def _out(statement: Statement) -> wire.Permission:
    return wire.Permission(
        id=statement.sid,
        is_denial=statement.effect is Effect.DENY,
        actions=statement.actions,
        principals=(*statement.accounts, *statement.services),
        conditions=[
            wire.PermissionCondition(
                operator=each.operator, key=each.key, values=each.values
            )
            for each in statement.conditions
        ],
    )
