# ruff: noqa: N802  # methods bear the names that the .proto files give them
"""The fake engine's versions and aliases."""

from typing import Any

import grpc

from sandlot.v1 import functions_pb2 as fn
from sandlot.v1 import versions_pb2 as wire
from sandlot.v1 import versions_pb2_grpc
from tests.fakes.engine import Engine, Refusal, page


class Versions(versions_pb2_grpc.VersionServiceServicer):
    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def PublishVersion(self, request: Any, context: Any) -> Any:
        where = self.engine.enter(request, context), request.function
        published = self.engine.versions[where]
        made = fn.Function()
        made.CopyFrom(self.engine.find(*where))
        if request.revision_id not in ("", made.revision_id):
            raise Refusal(grpc.StatusCode.ABORTED, "Conflict", "it is another now")
        made.version = str(len(published) + 1)
        made.arn += f":{made.version}"
        if request.HasField("description"):
            made.config.description = request.description
        queue = self.engine.next_updates
        made.state, made.state_reason = (
            queue.popleft() if queue else (fn.FUNCTION_STATE_ACTIVE, "")
        )
        pending = fn.Function()
        pending.CopyFrom(made)
        pending.state = fn.FUNCTION_STATE_PENDING
        published.append(made)
        self.engine.settling_versions[made.arn] = self.engine.polls_until_ready
        return wire.PublishVersionResponse(version=pending)

    def ListVersions(self, request: Any, context: Any) -> Any:
        where = self.engine.enter(request, context), request.function
        items, token = page(
            [self.engine.find(*where), *self.engine.versions[where]], request
        )
        return wire.ListVersionsResponse(versions=items, next_page_token=token)

    def DeleteVersion(self, request: Any, context: Any) -> Any:
        where = self.engine.enter(request, context), request.function
        found = self.engine.version(*where, request.version)
        self.engine.versions[where].remove(found)
        return wire.DeleteVersionResponse()

    def PutAlias(self, request: Any, context: Any) -> Any:
        where = self.engine.enter(request, context), request.function
        self.engine.version(*where, request.version)
        old = self.engine.aliases.get((request.function, request.name))
        made = wire.Alias(
            function=request.function,
            name=request.name,
            arn=f"{self.engine.find(*where).arn}:{request.name}",
            version=request.version,
            weights=request.weights,
            description=request.description,
            revision_id=str(len(self.engine.requests)),
        )
        if old is not None and not request.HasField("description"):
            made.description = old.description
        self.engine.aliases[request.function, request.name] = made
        return wire.PutAliasResponse(alias=made)

    def ListAliases(self, request: Any, context: Any) -> Any:
        self.engine.enter(request, context)
        mine = [
            alias
            for (function, _), alias in sorted(self.engine.aliases.items())
            if function == request.function
            and (not request.version or request.version == alias.version)
        ]
        items, token = page(mine, request)
        return wire.ListAliasesResponse(aliases=items, next_page_token=token)

    def DeleteAlias(self, request: Any, context: Any) -> Any:
        self.engine.enter(request, context)
        if self.engine.aliases.pop((request.function, request.name), None) is None:
            raise Refusal(
                grpc.StatusCode.NOT_FOUND,
                "NotFound",
                f"Alias not found: arn:aws:lambda:eu-1:1:function:{request.function}:"
                f"{request.name}",
            )
        return wire.DeleteAliasResponse()
