"""What a tenant may ask for, and in which words it is refused."""

from dataclasses import replace
from typing import Any

import pytest

from sandlot_engine.catalog.validation import (
    MAX_ENVIRONMENT,
    RESERVED_KEYS,
    check_config,
    check_name,
)
from sandlot_engine.errors import InvalidParameter
from sandlot_engine.model.function import FunctionConfig

GOOD = FunctionConfig(handler="app.handler", runtime="python3.11")
RUNTIMES = {"python3.11", "python3.9"}


@pytest.mark.parametrize("name", ["a", "A-z_0", "x" * 64])
def test_a_good_name_passes(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("name", ["", "x" * 65, "a.b", "a b", "a\n", "ä", "../etc"])
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidParameter, match="1 to 64") as refusal:
        check_name(name)
    assert refusal.value.field == "name"


@pytest.mark.parametrize(
    "changes",
    [
        {"memory_mb": 128},
        {"memory_mb": 10_240},
        {"timeout_s": 1},
        {"timeout_s": 900},
        {"ephemeral_storage_mb": 512},
        {"ephemeral_storage_mb": 10_240},
        {"description": "x" * 256},
        {"handler": "x" * 126 + ".y"},
        {"environment": {"PATH": "/bin", "aB_9": ""}},
        {"environment": {"AB": "x" * (MAX_ENVIRONMENT - len('{"AB":""}'))}},
    ],
)
def test_settings_at_their_limits_pass(changes: dict[str, Any]) -> None:
    check_config(replace(GOOD, **changes), RUNTIMES)


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"memory_mb": 127}, "memory_mb is 127; it must be 128 to 10240 MB"),
        ({"memory_mb": 10_241}, "memory_mb"),
        ({"memory_mb": True}, "memory_mb is True"),
        ({"memory_mb": "128"}, "memory_mb"),
        ({"timeout_s": 0}, "1 to 900 seconds"),
        ({"timeout_s": 901}, "timeout_s"),
        ({"ephemeral_storage_mb": 511}, "512 to 10240"),
        ({"description": "x" * 257}, "257 characters of 256"),
        ({"handler": ""}, "no white space"),
        ({"handler": "app.han dler"}, "no white space"),
        ({"handler": "app.handler\n"}, "no white space"),
        ({"handler": "x" * 129}, "1 to 128"),
        ({"handler": "app.\ud800"}, "1 to 128"),
        ({"init_mode": "always"}, "auto, per-instance"),
        ({"environment": {"A": "one letter"}}, "two or more"),
        ({"environment": {"1A": "digit"}}, "two or more"),
        ({"environment": {"A-B": "hyphen"}}, "two or more"),
        ({"environment": {"AB\n": "x"}}, "two or more"),
        ({"environment": {"AB": "\0"}}, "no environment can hold"),
        ({"environment": {"AB": "\udc80"}}, "no environment can hold"),
        ({"environment": {"AB": 1}}, "must be text"),
    ],
)
def test_settings_over_their_limits_are_refused(
    changes: dict[str, Any], because: str
) -> None:
    with pytest.raises(InvalidParameter, match=because) as refusal:
        check_config(replace(GOOD, **changes), RUNTIMES)
    assert refusal.value.field in changes


@pytest.mark.parametrize("key", sorted(RESERVED_KEYS))
def test_a_reserved_key_is_refused_in_awss_words(key: str) -> None:
    with pytest.raises(
        InvalidParameter,
        match=f"reserved keys that are currently not supported for modification. "
        f"Reserved keys used in this request: {key}$",
    ):
        check_config(replace(GOOD, environment={key: "x"}), RUNTIMES)


def test_an_environment_over_4_kb_is_refused_in_awss_words() -> None:
    # Bytes count, not characters.
    environment = {"AB": "ü" * (MAX_ENVIRONMENT // 2)}

    with pytest.raises(
        InvalidParameter, match=r'exceeded the 4KB limit\. String measured: {"AB":"ü'
    ):
        check_config(replace(GOOD, environment=environment), RUNTIMES)


def test_an_unknown_runtime_is_refused_with_those_there_are() -> None:
    with pytest.raises(
        InvalidParameter,
        match=r"^Value ruby at 'runtime' failed to satisfy constraint: Member must "
        r"satisfy enum value set: \[python3\.11, python3\.9\]",
    ):
        check_config(replace(GOOD, runtime="ruby"), RUNTIMES)
