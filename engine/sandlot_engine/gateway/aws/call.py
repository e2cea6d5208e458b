"""One request for an operation, and what every operation needs of it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sandlot_engine.catalog.packages import check_sent
from sandlot_engine.errors import InvalidParameter, NotFound
from sandlot_engine.gateway.aws import names
from sandlot_engine.gateway.aws.buckets import Buckets
from sandlot_engine.gateway.aws.downloads import Downloads
from sandlot_engine.gateway.aws.faults import AwsError
from sandlot_engine.gateway.aws.names import FunctionId, parse_function
from sandlot_engine.gateway.ports import Catalog
from sandlot_engine.gateway.urls.addresses import Addresses
from sandlot_engine.model.function import Code, ImageSource
from sandlot_engine.model.tenant import Caller
from sandlot_engine.polling.poller import NOBODY, Sources

MAX_PAGE = 1_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What operations work on."""

    catalog: Catalog
    region: str
    """The engine's own, which ARNs have in the catalog's texts."""

    buckets: Buckets
    downloads: Downloads
    addresses: Addresses
    sources: Sources = NOBODY
    """Who reads what event source mappings name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Authentic, and as the model allows it."""

    caller: Caller
    region: str
    """Of the signature. Functions are the same in all; ARNs in the answer have it."""

    request_id: str
    operation: str
    input: Mapping[str, Any]
    parts: Parts
    base_url: str
    """Where the client reached us: `http://127.0.0.1:9000`."""

    hold: Callable[[int], None]
    """Count so many bytes until there is an answer, and until what is done `whole` is
    done. Raises `Throttled`."""

    check_key: Callable[[], Awaitable[object]]
    """Raises `AwsError` where it was taken back since it was looked at."""

    begun: list["asyncio.Task[Any]"] = field(default_factory=list)
    """What is done `whole`."""

    async def whole(self, work: Coroutine[Any, Any, T]) -> T:
        """What the catalog does with a package. It goes on to the end, and has the
        package in memory, though the caller may hang up or is told that it is late."""
        task = asyncio.ensure_future(work)
        # Looked at, so that asyncio does not complain where nobody waits any more.
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
        self.begun.append(task)
        return await asyncio.shield(task)

    @property
    def tenant_id(self) -> str:
        return self.caller.tenant_id

    @property
    def catalog(self) -> Catalog:
        return self.parts.catalog

    def in_region(self, text: str) -> str:
        """A text of the catalog's, with ARNs as the caller has them."""
        ours, theirs = (
            names.arn_prefix(self.parts.region),
            names.arn_prefix(self.region),
        )
        return text.replace(ours, theirs)

    def from_region(self, text: str) -> str:
        """The other way round."""
        ours, theirs = (
            names.arn_prefix(self.parts.region),
            names.arn_prefix(self.region),
        )
        return text.replace(theirs, ours)

    def own_function(self, text: str, qualifier: str | None = None) -> FunctionId:
        """The caller's function that is meant. Raises `AwsError`, also for another
        account's: what can be done to that is to invoke it."""
        asked = parse_function(
            text, region=self.region, account=self.tenant_id, qualifier=qualifier
        )
        if asked.account != self.tenant_id:
            raise AwsError(
                "AccessDeniedException",
                f"User: arn:aws:iam::{self.tenant_id}:root is not authorized to "
                f"perform: lambda:{self.operation} on resource: "
                f"{asked.arn(self.region)}",
            )
        return asked

    def own_signing_config(self, arn: str, *, for_function: bool = False) -> str:
        """The id of the caller's code signing config that is meant. Raises `AwsError`
        where there is none, as another account's, by the name that AWS has for that
        where a function is to have it, or else."""
        asked = names.parse_thing(
            names.CODE_SIGNING_CONFIG, arn, region=self.region, account=self.tenant_id
        )
        config = asked.name if asked.account == self.tenant_id else arn
        try:
            self.catalog.signing.get(self.tenant_id, config)
        except NotFound as error:
            if for_function:
                raise AwsError(
                    "CodeSigningConfigNotFoundException",
                    "The code signing configuration cannot be found. Check that the "
                    f"provided configuration is not deleted: {arn}.",
                ) from error
            raise AwsError(
                "ResourceNotFoundException",
                f"The Lambda code signing configuration {arn} can not be found.",
            ) from error
        return config

    def page(self, *, at_most: int = MAX_PAGE) -> tuple[int, str]:
        """How many things are asked for, 0 for as many as there are by default, and
        where they begin."""
        size = min(self.input.get("MaxItems", 0), at_most)
        return size, self.input.get("Marker", "")

    async def function_package(self, given: Mapping[str, Any]) -> bytes | ImageSource:
        """What a function is made of: a zip, as `package`, or an image."""
        if not given.get("ImageUri"):
            return await self.package(given)
        if given.keys() & {"ZipFile", "S3Bucket", "S3Key"}:
            raise InvalidParameter(
                "Please provide one source for function code: a zip or an ImageUri.",
                field="Code",
            )
        return ImageSource(uri=given["ImageUri"])

    async def package(self, given: Mapping[str, Any]) -> bytes:
        """A zip, sent along or fetched from a bucket.

        Raises `InvalidParameter` where there is neither, or both, `TooLarge`, and what
        `Buckets.read` raises.
        """
        in_bucket = "S3Bucket" in given and "S3Key" in given
        if ("ZipFile" in given) == in_bucket:
            raise InvalidParameter(
                "Please provide a source for function code: ZipFile, or S3Bucket and "
                "S3Key.",
                field="Code",
            )
        if in_bucket:
            package = await self.parts.buckets.read(
                given["S3Bucket"],
                given["S3Key"],
                given.get("S3ObjectVersion", ""),
                tenant_id=self.tenant_id,
                hold=self.hold,
            )
            await self.check_key()  # it may have taken two minutes
            return package
        return check_sent(given["ZipFile"])

    def code_url(self, code: Code) -> str:
        """A link to a package, for ten minutes."""
        return self.parts.downloads.url(self.base_url, code.sha256)
