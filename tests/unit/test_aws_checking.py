"""AWS's texts for what its model does not allow."""

import re
from typing import Any

import pytest

from sandlot_engine.gateway.aws.checking import MAX_ERRORS, check, pattern_of
from sandlot_engine.gateway.aws.faults import AwsError
from sandlot_engine.gateway.aws.service import Kind, Service, Shape

SERVICE = Service.load()
ROLE = "arn:aws:iam::123456789012:role/r"
GOOD = {"FunctionName": "f", "Role": ROLE, "Code": {"ZipFile": b""}}


def refusal_of(name: str, values: dict[str, Any]) -> AwsError:
    with pytest.raises(AwsError) as refusal:
        check(SERVICE.operation(name), values)
    return refusal.value


def test_what_the_model_allows_passes() -> None:
    values = GOOD | {
        "Runtime": "python3.11",
        "Tags": {"Größe": "中 1/2"},
        "MemorySize": 128,
        "Architectures": ["arm64"],
        "KMSKeyArn": "",
    }

    check(SERVICE.operation("CreateFunction"), values)
    check(SERVICE.operation("GetAccountSettings"), {})


FAILED = " failed to satisfy constraint: "


@pytest.mark.parametrize(
    ("changes", "what", "must"),
    [
        (
            {"Timeout": 0},
            "Value '0' at 'timeout'",
            "Member must have value greater than or equal to 1",
        ),
        (
            {"Timeout": 901},
            "Value '901' at 'timeout'",
            "Member must have value less than or equal to 900",
        ),
        (
            {"MemorySize": 10_241},
            "Value '10241' at 'memorySize'",
            "Member must have value less than or equal to 10240",
        ),
        (
            {"EphemeralStorage": {"Size": 10_241}},
            "Value '10241' at 'ephemeralStorage.size'",
            "Member must have value less than or equal to 10240",
        ),
        (
            {"Description": "x" * 257},
            f"Value '{'x' * 257}' at 'description'",
            "Member must have length less than or equal to 256",
        ),
        (
            {"Handler": "a b"},
            "Value 'a b' at 'handler'",
            r"Member must satisfy regular expression pattern: [^\s]+",
        ),
        (
            {"PackageType": "Rpm"},
            "Value 'Rpm' at 'packageType'",
            "Member must satisfy enum value set: [Zip, Image]",
        ),
        (
            {"Architectures": ["m68k"]},
            "Value '[m68k]' at 'architectures'",
            (
                "Member must satisfy constraint: [Member must satisfy enum value set: "
                "[x86_64, arm64], Member must not be null]"
            ),
        ),
        (
            {"Architectures": []},
            "Value '[]' at 'architectures'",
            "Member must have length greater than or equal to 1",
        ),
        (
            {"FileSystemConfigs": [{"Arn": ""}]},
            "Value null at 'fileSystemConfigs.1.member.localMountPath'",
            "Member must not be null",
        ),
        (
            {"Environment": {"Variables": {"1": "secret"}}},
            "Value at 'environment.variables'",
            (
                "Map keys must satisfy constraint: [Member must satisfy regular "
                "expression pattern: [a-zA-Z]([a-zA-Z0-9_])+, Member must not be null]"
            ),
        ),
        (
            {"SnapStart": {"ApplyOn": "x"}},
            "Value 'x' at 'snapStart.applyOn'",
            "Member must satisfy enum value set: [PublishedVersions, None]",
        ),
        (
            {"KMSKeyArn": "k"},
            "Value 'k' at 'kMSKeyArn'",
            (
                "Member must satisfy regular expression pattern: "
                "(arn:(aws[a-zA-Z-]*)?:[a-z0-9-.]+:.*)|()"
            ),
        ),
    ],
)
def test_a_broken_constraint_is_told_in_aws_s_words(
    changes: dict[str, Any], what: str, must: str
) -> None:
    refusal = refusal_of("CreateFunction", GOOD | changes)

    assert refusal.code == "ValidationException"
    assert f"{what}{FAILED}{must}" in refusal.message


def test_one_error_is_one_and_two_are_errors() -> None:
    one = refusal_of("CreateFunction", GOOD | {"Timeout": 0})
    two = refusal_of(
        "CreateFunction", {"FunctionName": "f", "Role": ROLE, "Timeout": 0}
    )

    assert one.message == (
        "1 validation error detected: Value '0' at 'timeout' failed to satisfy "
        "constraint: Member must have value greater than or equal to 1"
    )
    assert two.message == (
        "2 validation errors detected: Value null at 'code' failed to satisfy "
        "constraint: Member must not be null; Value '0' at 'timeout' failed to satisfy "
        "constraint: Member must have value greater than or equal to 1"
    )


def test_cors_methods_are_refused_as_recorded() -> None:
    values = {
        "FunctionName": "f",
        "AuthType": "NONE",
        "Cors": {"AllowMethods": ["GET", "POST", "OPTIONS"]},
    }

    refusal = refusal_of("CreateFunctionUrlConfig", values)

    assert refusal.message == (
        "1 validation error detected: Value '[GET, POST, OPTIONS]' at "
        "'cors.allowMethods' failed to satisfy constraint: Member must satisfy "
        "constraint: [Member must have length less than or equal to 6, Member must "
        "have length greater than or equal to 0, Member must satisfy regular "
        "expression pattern: .*, Member must not be null]"
    )


@pytest.mark.parametrize(
    ("weights", "shown", "must"),
    [
        (
            {"$LATEST": 0.1},
            "{$LATEST=0.1}",
            (
                "Map keys must satisfy constraint: [Member must have length less than "
                "or equal to 1024, Member must have length greater than or equal to 1, "
                "Member must satisfy regular expression pattern: [0-9]+, Member must "
                "not be null]"
            ),
        ),
        (
            {"1": 2.0},
            "{1=2.0}",
            (
                "Map value must satisfy constraint: [Member must have value less than "
                "or equal to 1.0, Member must have value greater than or equal to 0.0, "
                "Member must not be null]"
            ),
        ),
    ],
)
def test_weights_are_refused_as_recorded(
    weights: dict[str, float], shown: str, must: str
) -> None:
    values = {
        "FunctionName": "f",
        "Name": "live",
        "FunctionVersion": "1",
        "RoutingConfig": {"AdditionalVersionWeights": weights},
    }

    refusal = refusal_of("CreateAlias", values)

    where = "routingConfig.additionalVersionWeights"
    assert refusal.message == (
        f"1 validation error detected: Value '{shown}' at '{where}'{FAILED}{must}"
    )


@pytest.mark.parametrize("runtime", ["python3.12-own", "nodejs22.x-a_1.b"])
def test_a_runtime_with_an_operator_s_label_is_left_to_the_catalog(
    runtime: str,
) -> None:
    check(SERVICE.operation("CreateFunction"), GOOD | {"Runtime": runtime})


@pytest.mark.parametrize(
    "runtime", ["python3.12-", "python3.12-/", "ruby3.3-own", "python3.12-own\n"]
)
def test_other_words_after_a_runtime_are_refused(runtime: str) -> None:
    refusal = refusal_of("CreateFunction", GOOD | {"Runtime": runtime})

    assert refusal.code == "InvalidParameterValueException"


def test_an_unknown_runtime_is_a_parameter_s_error() -> None:
    refusal = refusal_of("CreateFunction", GOOD | {"Runtime": "cobol"})

    assert refusal.code == "InvalidParameterValueException"
    assert refusal.message.startswith(
        "Value cobol at 'runtime' failed to satisfy constraint: Member must satisfy "
        "enum value set: ["
    )
    assert refusal.message.endswith("] or be a valid ARN")
    assert "python3.11" in refusal.message


def test_an_unknown_runtime_in_a_list_is_the_model_s() -> None:
    refusal = refusal_of(
        "PublishLayerVersion",
        {"LayerName": "l", "Content": {}, "CompatibleRuntimes": ["cobol"]},
    )

    assert refusal.code == "ValidationException"
    assert "Value '[cobol]' at 'compatibleRuntimes'" in refusal.message


@pytest.mark.parametrize("length", [65, 140])
def test_a_name_that_is_too_long_for_a_function_is_a_parameter_s_error(
    length: int,
) -> None:
    name = "x" * length

    refusal = refusal_of("CreateFunction", GOOD | {"FunctionName": name})

    assert refusal.code == "InvalidParameterValueException"
    assert refusal.message == (
        f"1 validation error detected: Value '{name}' at 'functionName' failed to "
        "satisfy constraint: Member must have length less than or equal to 64"
    )


def test_a_name_that_no_function_can_have_is_one_that_is_not_there() -> None:
    check(SERVICE.operation("GetFunction"), {"FunctionName": "x" * 65})


def test_a_name_that_is_too_long_for_an_arn_is_the_model_s() -> None:
    name = f"arn:aws:lambda:us-east-1:123456789012:function:{'x' * 100}"

    refusal = refusal_of("CreateFunction", GOOD | {"FunctionName": name})

    assert refusal.code == "ValidationException"
    assert refusal.message.endswith("Member must have length less than or equal to 140")
    assert refusal.message.startswith("1 validation error")


def test_a_pattern_is_of_the_whole_value() -> None:
    refusal = refusal_of("GetAlias", {"FunctionName": "f\n", "Name": "123"})

    assert refusal.message.startswith("2 validation errors")


@pytest.mark.parametrize("name", ["٣", "é", "a b", ""])
def test_letters_are_ascii_s_where_the_pattern_says_so(name: str) -> None:
    assert (
        refusal_of("GetFunction", {"FunctionName": name}).code == "ValidationException"
    )


def test_a_text_without_a_limit_of_the_model_s_has_one_of_ours() -> None:
    variables = {"A" * 1_000_000: ""}

    refusal = refusal_of(
        "CreateFunction", GOOD | {"Environment": {"Variables": variables}}
    )

    assert "Map keys must satisfy constraint" in refusal.message


@pytest.mark.parametrize(
    ("pattern", "text", "is_like"),
    [
        (r"\p{L}+", "äß中", True),
        (r"\p{L}+", "a1", False),
        (r"\p{Lu}", "Ä", True),
        (r"\p{Lu}", "ä", False),
        (r"[^\p{L}\]]+", "1 ", True),
        (r"[^\p{L}\]]+", "1]", False),
        (r"\[\p{Z}", "[\u2028", True),
        (r"\d", "٣", False),
    ],
)
def test_java_s_patterns_mean_the_same(pattern: str, text: str, is_like: bool) -> None:
    shape = Shape(name="Text", kind=Kind.STRING, pattern=pattern)

    assert bool(pattern_of(shape).fullmatch(text)) is is_like


def test_a_category_that_there_is_not_is_no_pattern() -> None:
    with pytest.raises(re.error, match="no category"):
        pattern_of(Shape(name="Text", kind=Kind.STRING, pattern=r"\p{Alpha}"))


def test_errors_without_end_have_one() -> None:
    values = GOOD | {"Layers": [None] * 1_000_000, "Description": "x" * 1_000_000}
    many: list[dict[str, Any]] = [{} for _ in range(100_000)]

    refusal = refusal_of("CreateFunction", values)
    updates = refusal_of(
        "CheckpointDurableExecution",
        {"DurableExecutionArn": "a", "CheckpointToken": "a", "Updates": many},
    )

    assert len(refusal.message) < 20_000
    assert updates.message.startswith(f"{MAX_ERRORS} validation errors")
