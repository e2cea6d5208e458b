"""Packages in an S3-compatible store: fetched with botocore, beside the loop."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from sandlot_engine.catalog.packages import MAX_ZIPPED
from sandlot_engine.errors import InvalidParameter, TooLarge, Unavailable

TIMEOUT_S = 30
"""For a connection, and for each answer on it."""

AT_ONCE = 2
"""Packages that are fetched at once; the others wait."""


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

    async def read(self, bucket: str, key: str, version: str = "") -> bytes:
        """An object. Raises `InvalidParameter` with the store's own words, `TooLarge`,
        and `Unavailable` where it does not answer."""
        if self._access is None:
            raise InvalidParameter(
                "S3Bucket is not supported by this engine: it was given no store. "
                "Start it with --s3-endpoint URL, and S3_ACCESS_KEY_ID and "
                "S3_SECRET_ACCESS_KEY in its environment; or send the package itself.",
                field="S3Bucket",
            )
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._threads, _get, self._access, bucket, key, version
        )


def _get(access: BucketAccess, bucket: str, key: str, version: str) -> bytes:
    # Imported for those who use it: it is slow to load.
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.session import Session

    client: Any = Session().create_client(
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
    which = {"Bucket": bucket, "Key": key}
    if version:
        which["VersionId"] = version
    try:
        found = client.get_object(**which)
        if found["ContentLength"] > MAX_ZIPPED:
            raise TooLarge(
                f"s3://{bucket}/{key} has {found['ContentLength']} bytes of "
                f"{MAX_ZIPPED} allowed, from a bucket as well. Publish its libraries "
                "as layers, of which each may have as many.",
                field="S3Key",
            )
        body: bytes = found["Body"].read()
    except ClientError as error:
        said = error.response["Error"]
        raise InvalidParameter(
            f"Error occurred while GetObject. S3 Error Code: {said['Code']}. S3 Error "
            f"Message: {said['Message']}",
            field="S3Key",
        ) from error
    except BotoCoreError as error:
        raise Unavailable(
            f"The store at {access.endpoint} did not give s3://{bucket}/{key}: {error}"
        ) from error
    finally:
        client.close()
    return body
