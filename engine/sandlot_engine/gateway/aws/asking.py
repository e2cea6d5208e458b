"""A request -> what it asks for: read and checked, and nothing of it ignored."""

from collections.abc import Mapping, Sequence
from typing import Any

from sandlot_engine.gateway.aws.checking import check
from sandlot_engine.gateway.aws.faults import AwsError
from sandlot_engine.gateway.aws.invoke import Headers
from sandlot_engine.gateway.aws.reading import read
from sandlot_engine.gateway.aws.service import Operation

MAX_TOLD, MAX_TOLD_NAME = 5, 64
"""Unknown parameters that a refusal names, and the characters of each."""


def asked_of(
    operation: Operation,
    labels: Mapping[str, str],
    query: Sequence[tuple[str, str]],
    headers: Headers,
    body: bytes,
    *,
    unknown_code: str,
    blobs: dict[str, bytes] | None = None,
) -> dict[str, Any]:
    """An operation's input, as `read` makes it of what is given.

    Raises what `read` and `check` raise, and `AwsError` with `unknown_code` for what no
    member takes.
    """
    asked = read(
        operation,
        labels,
        # How a presigned URL is signed is no parameter of what it asks.
        [pair for pair in query if not pair[0].startswith("X-Amz-")],
        {name.decode(): value.decode("latin-1") for name, value in headers.items()},
        body,
        blobs=blobs,
    )
    if asked.unknown:
        names = ", ".join(name[:MAX_TOLD_NAME] for name in asked.unknown[:MAX_TOLD])
        raise AwsError(unknown_code, f"{operation.name} has no parameter {names}")
    check(operation, asked.input)
    return asked.input
