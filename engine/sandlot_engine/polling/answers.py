"""What a function's answer means for the messages of its batch: pure.

https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from sandlot_engine.polling.records import Message

OK = "OK"
FAILED = "PROBLEM: Function call failed"
MALFORMED = (
    "PROBLEM: Function call failed: its answer is no list of batchItemFailures with "
    "ids of the batch's messages"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of a batch's messages."""

    done: tuple[Message, ...] = ()
    """Deleted."""

    left: tuple[Message, ...] = ()
    """Their queue gives them again when they are visible."""

    result: str
    """`LastProcessingResult`."""


class _Malformed(Exception):
    pass


def judge(
    batch: Sequence[Message], *, is_ok: bool, payload: bytes, reports_items: bool
) -> Verdict:
    """`payload` is what the function answered."""
    if not is_ok:
        return Verdict(left=tuple(batch), result=FAILED)
    if not reports_items:
        return Verdict(done=tuple(batch), result=OK)
    try:
        failed = _failed_ids(payload, {message.id for message in batch})
    except _Malformed:
        return Verdict(left=tuple(batch), result=MALFORMED)
    return Verdict(
        done=tuple(each for each in batch if each.id not in failed),
        left=tuple(each for each in batch if each.id in failed),
        result=OK if len(failed) < len(batch) else FAILED,
    )


class _Item(msgspec.Struct):
    itemIdentifier: str  # noqa: N815 - AWS's name


class _Answer(msgspec.Struct):
    """What is looked at; all else may be megabytes of anything, and is passed over."""

    batchItemFailures: list[_Item] | None = None  # noqa: N815 - AWS's name


def _failed_ids(payload: bytes, ids: set[str]) -> set[str]:
    """Raises `_Malformed`: then the whole batch has failed, as AWS has it."""
    if payload.strip() in _NOTHING:
        return set()
    try:
        answer = msgspec.json.decode(payload, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _Malformed from error
    failed = {item.itemIdentifier for item in answer.batchItemFailures or ()}
    if not failed <= ids:
        raise _Malformed
    return failed


_NOTHING = (b"", b"null", b'""', b"[]", b"0", b"false")
"""Answers by which nothing has failed; an empty object is one as well."""
