"""Whether a resource policy allows something. Pure.

An explicit Deny wins, and what nobody allows is not allowed. What cannot be decided
here, such as a comparison this engine does not know, never allows, and always denies.
"""

import weakref
from collections.abc import Callable, Mapping
from enum import Enum

from sandlot_engine.model.policy import EVERYONE, Condition, Effect, Policy, Statement

INVOKE = "lambda:InvokeFunction"
INVOKE_URL = "lambda:InvokeFunctionUrl"

SOURCE_ARN = "aws:sourcearn"
SOURCE_ACCOUNT = "aws:sourceaccount"
ORGANIZATION = "aws:principalorgid"
SOURCE_TOKEN = "lambda:eventsourcetoken"  # noqa: S105 -- a condition's key
URL_AUTH_TYPE = "lambda:functionurlauthtype"
VIA_URL = "lambda:invokedviafunctionurl"

KEYS = frozenset(
    {SOURCE_ARN, SOURCE_ACCOUNT, ORGANIZATION, SOURCE_TOKEN, URL_AUTH_TYPE, VIA_URL}
)
"""In lower case, because AWS does not mind the case of keys. Tenants are in no
organization and no request has a token, so that conditions on those never hold."""


MAX_VERDICTS = 1_024
"""Of one policy that are at hand: one for each tenant that asks, nearly."""


class Verdict(Enum):
    ALLOWED = "allowed"
    DENIED = "denied"
    """By a statement that says so, whoever asks."""

    SILENT = "silent"
    """No statement is about it."""


def verdict_of(
    policy: Policy,
    *,
    action: str,
    principal_account: str,
    principal_service: str = "",
    function_url_auth_type: str | None = None,
    via_function_url: bool = False,
    source_arn: str = "",
    source_account: str = "",
) -> Verdict:
    """What a policy by itself says of an account, or a service of AWS's, that is to do
    `action`: its owner needs no permission, but can be denied.

    An empty account is somebody who has none, whom only what is for everyone is for.
    """
    if not policy.statements:
        return Verdict.SILENT
    request = {
        SOURCE_ARN: source_arn,
        SOURCE_ACCOUNT: source_account,
        URL_AUTH_TYPE: function_url_auth_type or "",
        VIA_URL: "true" if via_function_url else "false",
    }
    about = [
        (statement.effect, _hold(statement, request))
        for statement in policy.statements
        if _is_for(statement, principal_account, principal_service)
        and _is_about(statement, action)
    ]
    if any(effect is Effect.DENY and holds is not False for effect, holds in about):
        return Verdict.DENIED
    if any(effect is Effect.ALLOW and holds is True for effect, holds in about):
        return Verdict.ALLOWED
    return Verdict.SILENT


class Verdicts:
    """What `verdict_of` has said of policies, for as long as these live.

    A policy of 20 KB takes milliseconds to be read through, of the loop, and whoever
    calls a function URL has it asked each time, though it be to be refused.
    """

    def __init__(self) -> None:
        self._of: dict[int, dict[tuple[str, str, str | None], Verdict]] = {}
        """By the policy's identity, which is faster to tell than what is in it."""

    def __len__(self) -> int:
        """How many policies it knows."""
        return len(self._of)

    def of(
        self,
        policy: Policy,
        *,
        action: str,
        principal_account: str,
        function_url_auth_type: str | None = None,
    ) -> Verdict:
        """Of a call; by a function URL where its auth type is given."""
        if not policy.statements:
            return Verdict.SILENT  # nearly always, and at each invocation
        said = self._said_of(policy)
        asked = action, principal_account, function_url_auth_type
        if (verdict := said.get(asked)) is None:
            if len(said) >= MAX_VERDICTS:
                said.clear()
            verdict = said[asked] = verdict_of(
                policy,
                action=action,
                principal_account=principal_account,
                function_url_auth_type=function_url_auth_type,
                via_function_url=function_url_auth_type is not None,
            )
        return verdict

    def _said_of(self, policy: Policy) -> dict[tuple[str, str, str | None], Verdict]:
        said = self._of.get(id(policy))
        if said is None:
            said = self._of[id(policy)] = {}
            # Before another object can have its id.
            weakref.finalize(policy, self._of.pop, id(policy), None).atexit = False
        return said


def matches(pattern: str, text: str) -> bool:
    """Whether `text` is as `pattern`, where `*` is any text and `?` any character.

    Takes no longer than the product of both lengths: either may be a stranger's.
    """
    if "*" not in pattern and "?" not in pattern:
        return pattern == text  # nearly always, and at each call of a function URL
    at, star, resume = 0, -1, 0
    place = 0
    while place < len(text):
        if at < len(pattern) and pattern[at] == "*":
            star, resume = at, place
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", text[place]):
            at, place = at + 1, place + 1
        elif star >= 0:
            # The last star takes one more; those before it have what they need.
            resume += 1
            at, place = star + 1, resume
        else:
            return False
    return not pattern[at:].strip("*")


def _is_for(statement: Statement, account: str, service: str) -> bool:
    if EVERYONE in statement.accounts:
        return True
    if service:
        return service in statement.services
    # Here an account has no users or roles, so that its root is all that it is.
    return bool(account) and any(
        arn == account or _is_root_of(arn, account) for arn in statement.accounts
    )


def _is_root_of(arn: str, account: str) -> bool:
    parts = arn.split(":")
    return parts[0] == "arn" and parts[2:] == ["iam", "", account, "root"]


def _is_about(statement: Statement, action: str) -> bool:
    return any(
        matches(pattern.lower(), action.lower()) for pattern in statement.actions
    )


def _hold(statement: Statement, request: Mapping[str, str]) -> bool | None:
    """Whether all conditions hold; None where nobody can say, and none is known not
    to."""
    hold = [_holds(condition, request) for condition in statement.conditions]
    if False in hold:
        return False
    return None if None in hold else True


def _holds(condition: Condition, request: Mapping[str, str]) -> bool | None:
    compare = OPERATORS.get(condition.operator)
    key = condition.key.lower()
    if compare is None or key not in KEYS:
        return None
    # Empty is what the request does not have; nothing compares to that.
    actual = request.get(key, "")
    return bool(actual) and any(compare(value, actual) for value in condition.values)


def _arn_matches(pattern: str, arn: str) -> bool:
    # A star does not reach over a colon, except in the last part.
    patterns, parts = pattern.split(":", 5), arn.split(":", 5)
    return len(patterns) == len(parts) and all(map(matches, patterns, parts))


OPERATORS: Mapping[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda value, actual: value == actual,
    "StringEqualsIgnoreCase": lambda value, actual: value.lower() == actual.lower(),
    "StringLike": matches,
    "ArnEquals": _arn_matches,
    "ArnLike": _arn_matches,
    "Bool": lambda value, actual: value.lower() == actual.lower(),
}
"""What is compared here. The others are refused, and never allow."""
