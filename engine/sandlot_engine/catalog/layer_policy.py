"""The policy of a layer version: who besides its owner may use and read it. Nothing of
this is kept here: a version is taken, and another returned. Texts are AWS's.
"""

import json
import re
from dataclasses import replace

from sandlot_engine.errors import (
    AlreadyExists,
    Conflict,
    InvalidParameter,
    NotFound,
    QuotaExceeded,
)
from sandlot_engine.model.layer import ANYBODY, LayerPermission, LayerVersion

ACTION = "lambda:GetLayerVersion"
"""All that can be allowed."""

MAX_POLICY = 20_480
"""Characters of a policy, as text."""

_ACCOUNT = re.compile(r"([0-9]{12})|arn:aws[a-zA-Z-]*:iam::([0-9]{12}):root")


def with_permission(
    version: LayerVersion, permission: LayerPermission, region: str
) -> LayerVersion:
    """Raises `AlreadyExists` and `QuotaExceeded`."""
    if any(known.id == permission.id for known in version.permissions):
        raise AlreadyExists(
            f"The statement id ({permission.id}) provided already exists. Please "
            "provide a new statement id, or remove the existing statement."
        )
    changed = replace(version, permissions=(*version.permissions, permission))
    size = len(text_of(changed, region))
    if size > MAX_POLICY:
        raise QuotaExceeded(
            f"The final policy size ({size}) is bigger than the limit ({MAX_POLICY}).",
            reason="PolicyLengthExceededException",
            limit=MAX_POLICY,
        )
    return changed


def without_permission(version: LayerVersion, statement_id: str) -> LayerVersion:
    """Raises `NotFound`."""
    left = tuple(known for known in version.permissions if known.id != statement_id)
    if left == version.permissions:
        raise NotFound(f"Statement {statement_id} is not found in resource policy.")
    return replace(version, permissions=left)


def text_of(version: LayerVersion, region: str) -> str:
    """The policy document that AWS would show."""
    arn = version.arn(region)
    statements = [_statement(permission, arn) for permission in version.permissions]
    return _text({"Version": "2012-10-17", "Id": "default", "Statement": statements})


def statement_text(permission: LayerPermission, arn: str) -> str:
    """What adding it is answered with."""
    return _text(_statement(permission, arn))


def _text(document: dict[str, object]) -> str:
    return json.dumps(document, separators=(",", ":"))


def _statement(permission: LayerPermission, arn: str) -> dict[str, object]:
    principal: object = permission.principal
    if principal != ANYBODY:
        principal = {"AWS": f"arn:aws:iam::{principal}:root"}
    return {
        "Sid": permission.id,
        "Effect": "Allow",
        "Principal": principal,
        "Action": ACTION,
        "Resource": arn,
    }


def checked_principal(principal: str) -> str:
    """A tenant id, or `ANYBODY`. Raises `InvalidParameter`."""
    if principal == ANYBODY:
        return principal
    match = _ACCOUNT.fullmatch(principal)
    if match is None:
        raise InvalidParameter(
            "The provided principal was invalid. Please check the principal and try "
            "again.",
            field="principal",
        )
    return match[1] or match[2]


def check_action(action: str) -> None:
    """Raises `InvalidParameter` for any but `ACTION`."""
    if action != ACTION:
        raise InvalidParameter(
            f"1 validation error detected: Value '{action[:200]}' at 'action' failed "
            "to satisfy constraint: Member must satisfy regular expression pattern: "
            f"{ACTION}",
            field="action",
        )


def check_revision(version: LayerVersion, revision_id: str) -> None:
    """Raises `Conflict` where the policy is another one by now."""
    if revision_id and revision_id != version.policy_revision_id:
        raise Conflict(
            "The Revision Id provided does not match the latest Revision Id. Call the "
            "GetLayerPolicy API to retrieve the latest Revision Id",
            reason="PreconditionFailed",
        )
