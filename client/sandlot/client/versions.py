"""Versions of functions, and aliases: names that lead to them."""

from collections.abc import Iterator, Mapping

from sandlot import calls, steps
from sandlot.client.connection import Service
from sandlot.results import Alias, Function
from sandlot.transport import DEPLOY_DEADLINE_S


class Versions(Service):
    """See `Client`."""

    def publish_version(
        self,
        name: str,
        *,
        description: str | None = None,
        code_sha256: str = "",
        revision_id: str = "",
        deadline: float | None = None,
    ) -> Function:
        """Make a version of what the function is now, and wait until it serves. Where
        nothing has changed since the last one, that is it.

        Raises `DeployFailed` where it cannot be made ready, and another `Refused` where
        the function is not at `code_sha256` or `revision_id`, of those given.
        """
        call = calls.publish_version(
            name,
            description=description,
            code_sha256=code_sha256,
            revision_id=revision_id,
        )
        errand = steps.publish(name, call)
        return self._connection.drive(errand, deadline, DEPLOY_DEADLINE_S)

    def list_versions(self, name: str) -> Iterator[Function]:
        """Its versions: `$LATEST`, and then those published, the oldest first."""
        return self._connection.pages(lambda token: calls.list_versions(name, token))

    def delete_version(self, name: str, version: str | int) -> None:
        """Delete a version to which no alias leads. Its number is not used again."""
        self._connection.ask(calls.delete_version(name, version))

    def put_alias(
        self,
        name: str,
        alias: str,
        version: str | int,
        *,
        weights: Mapping[str, float] | None = None,
        description: str | None = None,
        revision_id: str = "",
    ) -> Alias:
        """Have an alias lead to a version; make it where there is none.

        `weights` is one other version and its share of the invocations, 0 to 1; without
        it there is none. A description that is not given stays. Raises `Conflict` where
        the alias is not at `revision_id`, if that is given.
        """
        return self._connection.ask(
            calls.put_alias(
                name,
                alias,
                version,
                weights=weights or {},
                description=description,
                revision_id=revision_id,
            )
        )

    def list_aliases(self, name: str, *, version: str | int = "") -> Iterator[Alias]:
        """Its aliases by name; those that lead to a version, if one is given."""
        return self._connection.pages(
            lambda token: calls.list_aliases(name, token, version=version)
        )

    def delete_alias(self, name: str, alias: str) -> None:
        """Delete it, with its URL, its policy and what is provisioned for it."""
        self._connection.ask(calls.delete_alias(name, alias))
