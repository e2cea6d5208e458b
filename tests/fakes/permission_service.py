# ruff: noqa: N802  # methods bear the names that the .proto files give them
"""`PermissionService` of the fake engine: what was said, as it was said."""

from typing import Any

import grpc

from sandlot.v1 import permissions_pb2 as wire
from sandlot.v1 import permissions_pb2_grpc
from sandlot.v1 import urls_pb2 as urls
from tests.fakes.engine import Engine, Refusal

_AUTH = {urls.URL_AUTH_IAM: "AWS_IAM", urls.URL_AUTH_NONE: "NONE"}


class Permissions(permissions_pb2_grpc.PermissionServiceServicer):
    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def AddPermission(self, request: Any, context: Any) -> Any:
        self.engine.find(self.engine.enter(request, context), request.function)
        made = wire.Permission(
            id=request.id,
            actions=[request.action or "lambda:InvokeFunction"],
            principals=[request.principal],
            conditions=_conditions(request),
        )
        key = request.function, request.qualifier
        self.engine.permissions.setdefault(key, []).append(made)
        return wire.AddPermissionResponse(permission=made)

    def ListPermissions(self, request: Any, context: Any) -> Any:
        self.engine.find(self.engine.enter(request, context), request.function)
        found = self.engine.permissions.get((request.function, request.qualifier), [])
        return wire.ListPermissionsResponse(permissions=found)

    def RemovePermission(self, request: Any, context: Any) -> Any:
        self.engine.enter(request, context)
        found = self.engine.permissions.get((request.function, request.qualifier), [])
        left = [each for each in found if each.id != request.id]
        if len(left) == len(found):
            raise Refusal(
                grpc.StatusCode.NOT_FOUND,
                "NotFound",
                f"Statement {request.id} is not found in resource policy.",
            )
        self.engine.permissions[request.function, request.qualifier] = left
        return wire.RemovePermissionResponse()


def _conditions(request: Any) -> list[wire.PermissionCondition]:
    given = [
        ("ArnLike", "AWS:SourceArn", request.source_arn),
        ("StringEquals", "AWS:SourceAccount", request.source_account),
    ]
    if request.HasField("url_auth"):
        auth = _AUTH[request.url_auth]
        given.append(("StringEquals", "lambda:FunctionUrlAuthType", auth))
    if request.HasField("via_url"):
        via = str(request.via_url).lower()
        given.append(("Bool", "lambda:InvokedViaFunctionUrl", via))
    return [
        wire.PermissionCondition(operator=operator, key=key, values=[value])
        for operator, key, value in given
        if value
    ]
