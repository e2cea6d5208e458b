"""Packages in an S3-compatible store: fetched with botocore, beside the loop."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from sandlot_engine.catalog.packages import PIECE, check_size
from sandlot_engine.errors import InvalidParameter, Unavailable
from sandlot_engine.gateway.turns import Turns

TIMEOUT_S = 30
"""For a connection, and for each answer on it."""

AT_ONCE, OF_TENANT = 2, 1
"""Packages that are fetched at once, of all and of one tenant; the others wait."""

WAITING, WAIT_S = 16, 60.0
"""Of one tenant, and how long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketAccess:
    """Where the store is, and a key for it."""

    endpoint: str
    """`http://127.0.0.1:9000`"""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    region: str = "us-east-1"


class Buckets:
    """Reads objects. Without an access it refuses to, and says how to have one."""

    def __init__(self, access: BucketAccess | None) -> None:
        self._access = access
        # Whoever gives up has its place in the queue given back, and no thread that
        # fetches: that goes on, with a package in it.
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="bucket")
        # Before anything is begun: a client of botocore's has megabytes.
        self._turns = Turns(
            "packages in a bucket",
            most=AT_ONCE,
            of_tenant=OF_TENANT,
            waiting=WAITING,
            wait_s=WAIT_S,
        )

    async def read(
        self,
        bucket: str,
        key: str,
        version: str = "",
        *,
        tenant_id: str,
        hold: Callable[[int], object],
    ) -> bytes:
        """An object, when it is the tenant's turn; `hold` is told its bytes before they
        are read, and may refuse.

        Raises `InvalidParameter` with the store's own words, `TooLarge`, `Unavailable`
        where it does not answer, `Throttled`, and what `hold` raises.
        """
        if self._access is None:
            raise InvalidParameter(
                "S3Bucket is not supported by this engine: it was given no store. "
                "Start it with --s3-endpoint URL, and S3_ACCESS_KEY_ID and "
                "S3_SECRET_ACCESS_KEY in its environment; or send the package itself.",
                field="S3Bucket",
            )
        async with self._turns.take(tenant_id):
            return await self._fetched(
                _Fetch(self._access, bucket, key, version), hold=hold
            )

    async def _fetched(
        self, fetch: "_Fetch", *, hold: Callable[[int], object]
    ) -> bytes:
        loop = asyncio.get_running_loop()
        try:
            size = await loop.run_in_executor(self._threads, fetch.begin)
            check_size(size, field="S3Key")
            hold(size)
            return await loop.run_in_executor(self._threads, fetch.rest)
        finally:
            fetch.end()


class _Fetch:
    """One object on its way. Begun and read in threads, which nobody can stop: they
    look whether anybody still wants it."""

    def __init__(
        self, access: BucketAccess, bucket: str, key: str, version: str
    ) -> None:
        self._access = access
        self._name = f"s3://{bucket}/{key}"
        self._which = {"Bucket": bucket, "Key": key}
        if version:
            self._which["VersionId"] = version
        self._open = ExitStack()
        self._body: Any = None
        self._turn = threading.Lock()
        self._is_over = self._is_in_thread = False

    def begin(self) -> int:
        """How many bytes it has."""
        with self._in_thread(), self._told():
            client = self._open.enter_context(closing(_client(self._access)))
            found = client.get_object(**self._which)
            self._body = self._open.enter_context(closing(found["Body"]))
            return int(found["ContentLength"])

    def rest(self) -> bytes:
        """All of them."""
        with self._in_thread(), self._told(), BytesIO() as kept:
            for piece in self._body.iter_chunks(PIECE):
                if self._is_over:
                    break
                kept.write(piece)
            return kept.getvalue()

    def end(self) -> None:
        """Nobody wants it any more."""
        with self._turn:
            self._is_over = True
            if not self._is_in_thread:
                self._open.close()

    @contextmanager
    def _in_thread(self) -> Iterator[None]:
        with self._turn:
            self._is_in_thread = True
        try:
            yield
        finally:
            with self._turn:
                self._is_in_thread = False
                if self._is_over:
                    self._open.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """In the words of the store, where it has some."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            said = error.response["Error"]
            raise InvalidParameter(
                f"Error occurred while GetObject. S3 Error Code: {said['Code']}. S3 "
                f"Error Message: {said['Message']}",
                field="S3Key",
            ) from error
        except BotoCoreError as error:
            raise Unavailable(
                f"The store at {self._access.endpoint} did not give {self._name}: "
                f"{error}"
            ) from error


def _client(access: BucketAccess) -> Any:
    # Imported for those who use it: it is slow to load.
    from botocore.config import Config
    from botocore.session import Session

    return Session().create_client(
        "s3",
        region_name=access.region,
        endpoint_url=access.endpoint,
        aws_access_key_id=access.access_key_id,
        aws_secret_access_key=access.secret_access_key,
        config=Config(
            connect_timeout=TIMEOUT_S,
            read_timeout=TIMEOUT_S,
            retries={"max_attempts": 2},
            s3={"addressing_style": "path"},
        ),
    )
