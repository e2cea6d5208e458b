"""How things are called, in all the ways that AWS takes."""

import pytest

from sandlot_engine.gateway.aws.faults import AwsError
from sandlot_engine.gateway.aws.names import (
    CODE_SIGNING_CONFIG,
    EVENT_SOURCE_MAPPING,
    FunctionId,
    ThingId,
    bare_name,
    code_signing_config_arn,
    event_source_mapping_arn,
    function_arn,
    kind_of,
    parse_function,
    parse_thing,
    runtime_version_arn,
)

REGION = "eu-west-1"
MINE = "111111111111"
OTHER = "222222222222"
ARN = f"arn:aws:lambda:{REGION}"


def parse(text: str, qualifier: str | None = None) -> FunctionId:
    return parse_function(text, region=REGION, account=MINE, qualifier=qualifier)


@pytest.mark.parametrize(
    ("text", "account", "qualifier"),
    [
        ("f", MINE, None),
        ("f:1", MINE, "1"),
        ("f:$LATEST", MINE, "$LATEST"),
        ("f:$LATEST.PUBLISHED", MINE, "$LATEST.PUBLISHED"),
        ("f:live", MINE, "live"),
        ("function:f", MINE, None),
        ("function:f:live", MINE, "live"),
        (f"{OTHER}:function:f", OTHER, None),
        (f"{OTHER}:f", OTHER, None),
        (f"{OTHER}:function:f:7", OTHER, "7"),
        (f"{ARN}:{MINE}:function:f", MINE, None),
        (f"{ARN}:{OTHER}:function:f:live", OTHER, "live"),
        (f"arn:aws-cn:lambda:{REGION}:{MINE}:function:f", MINE, None),
    ],
)
def test_a_function_is_found_in_every_form(
    text: str, account: str, qualifier: str | None
) -> None:
    assert parse(text) == FunctionId(account, "f", qualifier)


@pytest.mark.parametrize(
    ("text", "given", "qualifier"),
    [
        ("f", None, None),
        ("f", "", None),
        ("f", "live", "live"),
        ("f:live", "live", "live"),
        ("f:live", None, "live"),
    ],
)
def test_a_qualifier_is_the_name_s_or_the_parameter_s(
    text: str, given: str | None, qualifier: str | None
) -> None:
    assert parse(text, given).qualifier == qualifier


def test_two_qualifiers_that_differ_are_refused_as_recorded() -> None:
    with pytest.raises(AwsError) as refusal:
        parse("f:1", "2")

    assert refusal.value.code == "InvalidParameterValueException"
    assert refusal.value.message == (
        "The derived qualifier from the function name does not match the specified "
        "qualifier."
    )


def test_another_region_is_refused_as_recorded() -> None:
    with pytest.raises(AwsError) as refusal:
        parse(f"arn:aws:lambda:us-east-1:{MINE}:function:f")

    assert refusal.value.code == "ResourceNotFoundException"
    assert refusal.value.message == (
        "Functions from 'us-east-1' are not reachable in this region ('eu-west-1')"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "f:",
        ":f",
        "f:1:2",
        "a b",
        "f\n",
        "é",
        f"{ARN}:{MINE}:layer:l:1",
        f"arn:aws:s3:{REGION}:{MINE}:function:f",
        f"{ARN}:12:function:f",
        "x" * 100_000 + ":",
    ],
)
def test_what_is_no_function_is_refused(text: str) -> None:
    with pytest.raises(AwsError) as refusal:
        parse(text)

    assert refusal.value.code == "InvalidParameterValueException"
    assert len(refusal.value.message) < 300


def test_the_bare_name_is_found_or_empty() -> None:
    assert bare_name(f"{ARN}:{MINE}:function:f:1") == "f"
    assert bare_name("a b") == ""


def test_a_function_s_arn_is_qualified_as_it_is() -> None:
    assert parse("f").arn(REGION) == f"{ARN}:{MINE}:function:f"
    assert parse("f:live").arn(REGION) == f"{ARN}:{MINE}:function:f:live"


def test_mappings_and_signing_configs_are_found_by_name_or_arn() -> None:
    uuid = "5d2a8f0e-0000-4000-8000-000000000000"
    mapping = event_source_mapping_arn(REGION, OTHER, uuid)

    assert parse_thing(
        EVENT_SOURCE_MAPPING, mapping, region=REGION, account=MINE
    ) == ThingId(REGION, OTHER, uuid)
    assert parse_thing(
        CODE_SIGNING_CONFIG, "csc-0", region=REGION, account=MINE
    ) == ThingId(REGION, MINE, "csc-0")
    with pytest.raises(AwsError, match="Invalid code-signing-config"):
        parse_thing(CODE_SIGNING_CONFIG, mapping, region=REGION, account=MINE)


@pytest.mark.parametrize(
    ("arn", "kind"),
    [
        (function_arn(REGION, MINE, "f", "1"), "function"),
        (f"{ARN}:{MINE}:layer:l:1", "layer"),
        (event_source_mapping_arn(REGION, MINE, "u"), "event-source-mapping"),
        (code_signing_config_arn(REGION, MINE, "c"), "code-signing-config"),
        (f"{ARN}:{MINE}:capacity-provider:p", "capacity-provider"),
        ("f", ""),
        ("", ""),
    ],
)
def test_an_arn_says_what_it_is_of(arn: str, kind: str) -> None:
    assert kind_of(arn) == kind


def test_a_partition_follows_from_the_region() -> None:
    assert function_arn("cn-north-1", MINE, "f").startswith("arn:aws-cn:lambda:cn-")
    assert code_signing_config_arn("us-gov-west-1", MINE, "c").startswith(
        "arn:aws-us-gov:"
    )
    assert runtime_version_arn(REGION, "abc") == f"{ARN}::runtime:abc"
