"""Policies as AWS writes them in JSON: written, and read from whole documents.

Pure. What such a document says and this engine could not hold to is refused by name:
who writes "all but these" must not be told "yes" and get something else.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from sandlot_engine.catalog.permits import KEYS, OPERATORS, matches
from sandlot_engine.errors import InvalidParameter
from sandlot_engine.model.policy import EVERYONE, Condition, Effect, Policy, Statement

MAX_POLICY = 20_480
"""Bytes of a policy as it is written."""

_SHOWN = 200
"""Characters of what is refused that are repeated in a message."""

_VERSIONS = ("2012-10-17", "2008-10-17")
_SID = re.compile(r"[a-zA-Z0-9_.-]{0,100}")
_ACTION = re.compile(r"\*|lambda:[a-zA-Z*?]+")
_ACCOUNT = re.compile(r"[0-9]{12}")
_IAM_ARN = re.compile(
    r"arn:aws[a-zA-Z-]*:(iam|sts)::[0-9]{12}:"
    r"(root|(user|role|assumed-role|federated-user)/\S+)"
)
_SERVICE = re.compile(r"[a-zA-Z0-9-]+(\.[a-zA-Z0-9-]+)*\.amazonaws\.com(\.cn)?")
_INVALID_PRINCIPAL = (
    "The provided principal was invalid. Please check the principal and try again."
)


def policy_text(policy: Policy, arn: str) -> str:
    """The document of a policy that belongs to `arn`."""
    document = {
        "Version": policy.version,
        "Id": policy.id,
        "Statement": [_statement(each, arn) for each in policy.statements],
    }
    return _text(document)


def statement_text(statement: Statement, arn: str) -> str:
    """One statement of such a document."""
    return _text(_statement(statement, arn))


def parse_policy(text: str, *, resource: str) -> Policy:
    """The policy of a whole document for `resource`, an ARN without a region to speak
    of: functions are the same in all. Raises `InvalidParameter`."""
    document = _object(_loaded(text), "The policy", _DOCUMENT)
    version = document.get("Version", _VERSIONS[0])
    if version not in _VERSIONS:
        raise _bad(f"Version {_short(version)} is not one of {', '.join(_VERSIONS)}.")
    given = document.get("Statement", [])
    statements = given if isinstance(given, list) else [given]
    if not statements:
        raise _bad("The policy has no statement. Delete it instead.")
    parsed = tuple(_parsed(statement, resource) for statement in statements)
    sids = [statement.sid for statement in parsed if statement.sid]
    if twice := sorted({sid for sid in sids if sids.count(sid) > 1}):
        raise _bad(f"Statement ids have to be different: {', '.join(twice)}.")
    id_ = document.get("Id", "default")
    if not isinstance(id_, str):
        raise _bad("Id must be text.")
    return Policy(statements=parsed, id=id_, version=version)


def with_principal(statement: Statement, text: str) -> Statement:
    """The statement, also for who is named by `text`: `*`, an account, an ARN, or a
    service. Raises `InvalidParameter`."""
    if _SERVICE.fullmatch(text):
        return replace(statement, services=(*statement.services, text))
    if _ACCOUNT.fullmatch(text):
        text = f"arn:aws:iam::{text}:root"
    if text == EVERYONE or _IAM_ARN.fullmatch(text):
        return replace(statement, accounts=(*statement.accounts, text))
    raise InvalidParameter(_INVALID_PRINCIPAL, field="principal")


# --- written --------------------------------------------------------------------------


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"))


def _statement(statement: Statement, arn: str) -> dict[str, Any]:
    written: dict[str, Any] = {"Sid": statement.sid} if statement.sid else {}
    written |= {
        "Effect": statement.effect.value,
        "Principal": _principal(statement),
        "Action": _one_or_all(statement.actions),
        "Resource": arn,
    }
    if statement.conditions:
        conditions: dict[str, dict[str, Any]] = {}
        for each in statement.conditions:
            keys = conditions.setdefault(each.operator, {})
            keys[each.key] = _one_or_all(each.values)
        written["Condition"] = conditions
    return written


def _principal(statement: Statement) -> str | dict[str, Any]:
    if statement.accounts == (EVERYONE,) and not statement.services:
        return EVERYONE
    principal: dict[str, Any] = {}
    if statement.services:
        principal["Service"] = _one_or_all(statement.services)
    if statement.accounts:
        principal["AWS"] = _one_or_all(statement.accounts)
    return principal


def _one_or_all(values: tuple[str, ...]) -> str | list[str]:
    return values[0] if len(values) == 1 else list(values)


# --- read -----------------------------------------------------------------------------

_DOCUMENT = frozenset({"Version", "Id", "Statement"})
_STATEMENT = frozenset(
    {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}
)


def _loaded(text: str) -> object:
    try:
        loaded: object = json.loads(text, object_pairs_hook=_without_doubles)
        # Half a surrogate pair can be in JSON, and in no store.
        json.dumps(loaded, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise _bad(f"The policy is no JSON: {_short(error)}.") from error
    return loaded


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # JSON's last one would win in silence, and a policy's reader may see the first.
    loaded = dict(pairs)
    if len(loaded) < len(pairs):
        raise ValueError("a name is there twice in one object")
    return loaded


def _object(value: object, what: str, known: Iterable[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _bad(f"{what} must be a JSON object.")
    if unknown := sorted(value.keys() - set(known)):
        raise _bad(
            f"{what} has {_short(', '.join(unknown))}, which this engine could not "
            f"hold to. It may have {', '.join(sorted(known))}."
        )
    return value


def _parsed(value: object, resource: str) -> Statement:
    given = _object(value, "A statement", _STATEMENT)
    sid = given.get("Sid", "")
    if not isinstance(sid, str) or not _SID.fullmatch(sid):
        raise _bad(
            f"Sid {_short(sid)} must have at most 100 letters, digits, '-', '_' "
            "and '.'."
        )
    if given.get("Effect") not in tuple(Effect):
        raise _bad(f"Effect must be one of {', '.join(Effect)}.")
    _check_resource(given.get("Resource", resource), resource)
    statement = Statement(
        sid=sid,
        effect=Effect(given["Effect"]),
        actions=_parsed_actions(given.get("Action")),
        conditions=_parsed_conditions(given.get("Condition", {})),
    )
    statement = _for_principal(statement, given.get("Principal"))
    _check_deniable(statement)
    return statement


def _check_resource(given: object, resource: str) -> None:
    arn_parts = resource.split(":")
    for text in _texts(given, "Resource"):
        parts = text.split(":")
        # The region is the fourth part, and any is right.
        if parts[:3] != arn_parts[:3] or parts[4:] != arn_parts[4:]:
            raise _bad(f"Resource {_short(text)} is not {resource}.")


def _for_principal(statement: Statement, given: object) -> Statement:
    if given == EVERYONE:
        return with_principal(statement, EVERYONE)
    principal = _object(given, "Principal", {"AWS", "Service"})
    for kind in ("AWS", "Service"):
        for text in _texts(principal.get(kind, []), "Principal"):
            if bool(_SERVICE.fullmatch(text)) != (kind == "Service"):
                raise InvalidParameter(_INVALID_PRINCIPAL, field="policy")
            statement = with_principal(statement, text)
    if not (statement.accounts or statement.services):
        raise InvalidParameter(_INVALID_PRINCIPAL, field="policy")
    return statement


def _parsed_actions(given: object) -> tuple[str, ...]:
    actions = _texts(given, "Action")
    for action in actions:
        if not _ACTION.fullmatch(action):
            raise _bad(f"Action {_short(action)} is none of Lambda's.")
    if not actions:
        raise _bad("A statement must have an Action.")
    return actions


def _parsed_conditions(given: object) -> tuple[Condition, ...]:
    operators = _object(given, "Condition", OPERATORS)
    conditions = []
    for operator, keys in operators.items():
        for key, values in _condition_keys(keys).items():
            texts = _texts(values, f"Condition {key}")
            if not texts:
                raise _bad(f"Condition {key} has no value.")
            conditions.append(Condition(operator=operator, key=key, values=texts))
    return tuple(conditions)


def _condition_keys(keys: object) -> dict[str, Any]:
    given = keys if isinstance(keys, dict) else {}
    if unknown := sorted(key for key in given if key.lower() not in KEYS):
        raise _bad(
            f"Condition on {_short(', '.join(unknown))} is nothing that this engine "
            f"could hold to. There are {', '.join(sorted(KEYS))}."
        )
    if not given:
        raise _bad("Condition must say what it compares.")
    return given


def _check_deniable(statement: Statement) -> None:
    """To a user or role nothing is allowed here, since there are none; but neither is
    anything denied, and whoever writes that relies on it."""
    if statement.effect is Effect.ALLOW:
        return
    for arn in statement.accounts:
        if arn != EVERYONE and not matches("arn:*:iam::*:root", arn):
            raise _bad(
                f"A statement denies something to {_short(arn)}. Accounts have no "
                "users or roles here: deny it to the account."
            )


def _texts(given: object, what: str) -> tuple[str, ...]:
    texts = []
    for value in given if isinstance(given, list) else [given]:
        # JSON's own true and false are what AWS takes for a `Bool`, too.
        text = str(value).lower() if isinstance(value, bool) else value
        if not isinstance(text, str):
            raise _bad(f"{what} must be text, or a list of texts.")
        texts.append(text)
    return tuple(texts)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _bad(message: str) -> InvalidParameter:
    return InvalidParameter(message, field="policy")
