"""Who may do what by a policy: a table, and what holds for all of them."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandlot_engine.catalog.permits import (
    INVOKE,
    INVOKE_URL,
    KEYS,
    MAX_VERDICTS,
    OPERATORS,
    Verdict,
    Verdicts,
    matches,
    verdict_of,
)
from sandlot_engine.model.policy import Condition, Effect, Policy, Statement

ACCOUNT = "123456789012"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
BUCKET = "arn:aws:s3:::pictures"


def condition(operator: str, key: str, *values: str) -> Condition:
    return Condition(operator=operator, key=key, values=values)


def statement(
    *,
    accounts: tuple[str, ...] = (ROOT,),
    services: tuple[str, ...] = (),
    actions: tuple[str, ...] = (INVOKE,),
    effect: Effect = Effect.ALLOW,
    conditions: tuple[Condition, ...] = (),
) -> Statement:
    return Statement(
        accounts=accounts,
        services=services,
        actions=actions,
        effect=effect,
        conditions=conditions,
    )


def policy(*statements: Statement) -> Policy:
    return Policy(statements=statements)


def allows(policy: Policy, **asked: Any) -> bool:
    return verdict_of(policy, **asked) is Verdict.ALLOWED


FROM_BUCKET = condition("ArnLike", "AWS:SourceArn", BUCKET)


@pytest.mark.parametrize(
    ("why", "given_statement", "is_allowed"),
    [
        ("the account's root", statement(), True),
        ("the account's number", statement(accounts=(ACCOUNT,)), True),
        ("everyone", statement(accounts=("*",)), True),
        ("one of several", statement(accounts=("arn:aws:iam::1:root", ROOT)), True),
        (
            "another partition",
            statement(accounts=(f"arn:aws-cn:iam::{ACCOUNT}:root",)),
            True,
        ),
        (
            "another account",
            statement(accounts=("arn:aws:iam::210987654321:root",)),
            False,
        ),
        (
            "a user of the account",
            statement(accounts=(f"arn:aws:iam::{ACCOUNT}:user/x",)),
            False,
        ),
        ("a service", statement(accounts=(), services=("s3.amazonaws.com",)), False),
        ("nobody", statement(accounts=()), False),
        ("all of Lambda's actions", statement(actions=("lambda:*",)), True),
        ("all actions", statement(actions=("*",)), True),
        ("a part of the name", statement(actions=("lambda:Invoke*",)), True),
        ("actions in any case", statement(actions=("LAMBDA:invokefunction",)), True),
        ("another action", statement(actions=(INVOKE_URL,)), False),
        ("no action", statement(actions=()), False),
        ("a condition that cannot hold", statement(conditions=(FROM_BUCKET,)), False),
        (
            "an organization, of which there is none",
            statement(
                conditions=(condition("StringEquals", "aws:PrincipalOrgID", "o-1"),)
            ),
            False,
        ),
        (
            "an unknown comparison",
            statement(conditions=(condition("StringNotEquals", "aws:SourceArn", "x"),)),
            False,
        ),
        (
            "an unknown key",
            statement(
                conditions=(condition("StringEquals", "aws:SourceIp", "1.2.3.4"),)
            ),
            False,
        ),
        ("a denial", statement(effect=Effect.DENY), False),
    ],
)
def test_an_account_is_allowed_what_a_statement_says(
    why: str, given_statement: Statement, is_allowed: bool
) -> None:
    found = allows(policy(given_statement), action=INVOKE, principal_account=ACCOUNT)

    assert found is is_allowed, why


def test_a_denial_wins_wherever_it_stands() -> None:
    allow, deny = statement(accounts=("*",)), statement(effect=Effect.DENY)

    for order in ((allow, deny), (deny, allow)):
        verdict = verdict_of(policy(*order), action=INVOKE, principal_account=ACCOUNT)
        assert verdict is Verdict.DENIED
    assert allows(policy(allow, deny), action=INVOKE, principal_account="2" * 12)


def test_a_denial_under_a_condition_that_nobody_can_tell_denies() -> None:
    unknown = condition("DateLessThan", "aws:CurrentTime", "2030-01-01")
    deny = statement(effect=Effect.DENY, conditions=(unknown,))

    verdict = verdict_of(
        policy(statement(), deny), action=INVOKE, principal_account=ACCOUNT
    )

    assert verdict is Verdict.DENIED


def test_a_denial_under_a_condition_that_does_not_hold_denies_nothing() -> None:
    unknown = condition("DateLessThan", "aws:CurrentTime", "2030-01-01")
    deny = statement(effect=Effect.DENY, conditions=(unknown, FROM_BUCKET))

    assert allows(policy(statement(), deny), action=INVOKE, principal_account=ACCOUNT)


@pytest.mark.parametrize(
    ("pattern", "arn", "holds"),
    [
        (BUCKET, BUCKET, True),
        ("arn:aws:s3:::*", BUCKET, True),
        ("arn:*:s3:*:*:pic*s", BUCKET, True),
        ("arn:aws:s3:::picture?", BUCKET, True),
        ("arn:aws:s3:::other", BUCKET, False),
        ("*", BUCKET, False),
        ("arn:*", BUCKET, False),
        ("arn:aws:sqs:*:1:*", "arn:aws:sqs:eu-north-1:1:a:b", True),
        ("arn:aws:sqs:*:1:a:*", "arn:aws:sqs:eu-north-1:1:a:b", True),
        ("arn:aws:sqs:*:1:a:*", "arn:aws:sqs:eu-north-1:1:b:a", False),
    ],
)
def test_a_source_is_compared_part_by_part(pattern: str, arn: str, holds: bool) -> None:
    for operator in ("ArnLike", "ArnEquals"):
        only = condition(operator, "aws:SourceArn", pattern)
        assert holds is allows(
            policy(
                statement(
                    accounts=(), services=("s3.amazonaws.com",), conditions=(only,)
                )
            ),
            action=INVOKE,
            principal_account="",
            principal_service="s3.amazonaws.com",
            source_arn=arn,
        )


def test_all_conditions_have_to_hold_and_one_value_of_each() -> None:
    both = statement(
        conditions=(
            FROM_BUCKET,
            condition("StringEquals", "AWS:SourceAccount", "1" * 12, ACCOUNT),
        )
    )

    def is_allowed(source_account: str, source_arn: str) -> bool:
        return allows(
            policy(both),
            action=INVOKE,
            principal_account=ACCOUNT,
            source_arn=source_arn,
            source_account=source_account,
        )

    assert is_allowed(ACCOUNT, BUCKET)
    assert not is_allowed("2" * 12, BUCKET)
    assert not is_allowed(ACCOUNT, "arn:aws:s3:::other")
    assert not is_allowed(ACCOUNT, "")


def test_a_url_is_for_everyone_under_its_auth_type_alone() -> None:
    public = statement(
        accounts=("*",),
        actions=(INVOKE_URL,),
        conditions=(condition("StringEquals", "lambda:FunctionUrlAuthType", "NONE"),),
    )

    for auth_type, is_allowed in (("NONE", True), ("AWS_IAM", False), (None, False)):
        assert is_allowed is allows(
            policy(public),
            action=INVOKE_URL,
            principal_account="",
            function_url_auth_type=auth_type,
            via_function_url=True,
        )


def test_a_permission_for_one_service_is_none_for_another() -> None:
    of_s3 = policy(statement(accounts=(), services=("s3.amazonaws.com",)))

    for service in ("s3", "events"):
        assert (service == "s3") is allows(
            of_s3,
            action=INVOKE,
            principal_account="",
            principal_service=f"{service}.amazonaws.com",
        )


@pytest.mark.parametrize("via_url", [True, False])
def test_a_permission_for_calls_of_a_url_is_none_for_others(via_url: bool) -> None:
    only = condition("Bool", "lambda:InvokedViaFunctionUrl", "true")

    assert via_url is allows(
        policy(statement(accounts=("*",), conditions=(only,))),
        action=INVOKE,
        principal_account=ACCOUNT,
        via_function_url=via_url,
    )


@pytest.mark.parametrize(
    ("pattern", "text", "does"),
    [
        ("", "", True),
        ("", "a", False),
        ("*", "", True),
        ("a*b", "ab", True),
        ("a*b*c", "a-b-b-c", True),
        ("a*b*c", "a-b-b", False),
        ("?", "", False),
        ("a?c", "abc", True),
        ("[a]", "a", False),
        ("*a" * 40, "a" * 40 + "b", False),
    ],
)
def test_patterns(pattern: str, text: str, does: bool) -> None:
    assert matches(pattern, text) is does


TEXTS = st.text("ab*?:", max_size=6)


@given(TEXTS, st.text("ab:", max_size=6))
def test_a_pattern_is_as_the_expression_that_says_the_same(
    pattern: str, text: str
) -> None:
    expression = pattern.replace("*", ".*").replace("?", ".")

    assert matches(pattern, text) is (re.fullmatch(expression, text) is not None)


CONDITIONS = st.builds(
    Condition,
    operator=st.sampled_from([*OPERATORS, "NumericEquals", "StringNotLike"]),
    key=st.sampled_from([*KEYS, "aws:SourceIp"]),
    values=st.lists(TEXTS, min_size=1, max_size=2).map(tuple),
)
STATEMENTS = st.builds(
    Statement,
    sid=st.just(""),
    effect=st.sampled_from(Effect),
    accounts=st.lists(st.sampled_from(["*", ROOT, ACCOUNT, "arn"]), max_size=2).map(
        tuple
    ),
    services=st.just(()),
    actions=st.lists(
        st.sampled_from(["*", "lambda:*", INVOKE, INVOKE_URL]), max_size=2
    ).map(tuple),
    conditions=st.lists(CONDITIONS, max_size=2).map(tuple),
)
POLICIES = st.lists(STATEMENTS, max_size=5).map(lambda all_: policy(*all_))


def is_allowed(of: Policy, source: str) -> bool:
    return allows(of, action=INVOKE, principal_account=ACCOUNT, source_arn=source)


@given(POLICIES, TEXTS)
def test_without_a_statement_that_allows_it_nothing_is_allowed(
    of: Policy, source: str
) -> None:
    denials = [each for each in of.statements if each.effect is Effect.DENY]

    assert not is_allowed(policy(*denials), source)


@given(POLICIES, TEXTS)
def test_a_policy_allows_no_more_with_a_denial_and_no_less_with_a_permission(
    of: Policy, source: str
) -> None:
    allow, deny = statement(), statement(effect=Effect.DENY)

    assert not is_allowed(policy(*of.statements, deny), source)
    if is_allowed(of, source):
        assert is_allowed(policy(*of.statements, allow), source)


@given(POLICIES, TEXTS)
def test_what_is_allowed_is_allowed_by_one_statement_alone(
    of: Policy, source: str
) -> None:
    if is_allowed(of, source):
        assert any(is_allowed(policy(each), source) for each in of.statements)


@given(POLICIES, TEXTS)
def test_an_unknown_comparison_never_allows(of: Policy, source: str) -> None:
    unknown = condition("StringNotEquals", "aws:SourceArn", "x")
    spoiled = [
        replace(each, conditions=(*each.conditions, unknown)) for each in of.statements
    ]

    assert not is_allowed(policy(*spoiled), source)


# --- what was said before -------------------------------------------------------------


class Counted(tuple[str, ...]):
    """Texts that count how often somebody goes through them."""

    times = 0

    def __iter__(self) -> Iterator[str]:
        type(self).times += 1
        return super().__iter__()


def test_a_policy_is_read_through_once_for_each_question() -> None:
    class Actions(Counted):
        pass

    verdicts = Verdicts()
    of = policy(statement(accounts=("*",), actions=Actions(("lambda:*?x",) * 1_500)))

    said = {
        verdicts.of(
            of, action=INVOKE_URL, principal_account="", function_url_auth_type="NONE"
        )
        for _ in range(100)
    }

    assert said == {Verdict.SILENT}
    assert Actions.times == 1


@given(POLICIES, st.sampled_from([INVOKE, INVOKE_URL]), st.sampled_from([ACCOUNT, ""]))
def test_what_was_said_is_what_would_be_said(
    of: Policy, action: str, account: str
) -> None:
    verdicts = Verdicts()

    for auth_type in (None, "NONE", "AWS_IAM") * 2:
        assert verdicts.of(
            of,
            action=action,
            principal_account=account,
            function_url_auth_type=auth_type,
        ) is verdict_of(
            of,
            action=action,
            principal_account=account,
            function_url_auth_type=auth_type,
            via_function_url=auth_type is not None,
        )


def test_what_was_said_of_a_policy_goes_with_it() -> None:
    verdicts = Verdicts()
    of = policy(statement())
    for number in range(MAX_VERDICTS + 1):
        verdicts.of(of, action=INVOKE, principal_account=str(number))

    del of

    assert len(verdicts) == 0
