"""What a tenant may ask for, and in which words it is refused."""

from dataclasses import replace
from typing import Any

import pytest

from sandlot_engine.catalog.validation import (
    MAX_ALLOWED_CIDRS,
    MAX_ENVIRONMENT,
    RESERVED_KEYS,
    check_config,
    check_kind,
    check_name,
    check_network,
    checked_cidrs,
)
from sandlot_engine.errors import InvalidParameter, PermissionDenied
from sandlot_engine.model.function import (
    IMAGE,
    Code,
    FunctionConfig,
    ImageConfig,
    ImageSource,
    InitMode,
    LayerUse,
)
from sandlot_engine.model.network import Network
from tests.fakes.things import tenant

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
        {"network": Network.HOST},
        {"environment": {"PATH": "/bin", "aB_9": ""}},
        {"environment": {"AB": "x" * (MAX_ENVIRONMENT - len('{"AB":""}'))}},
    ],
)
def test_settings_at_their_limits_pass(changes: dict[str, Any]) -> None:
    check_config(replace(GOOD, **changes), RUNTIMES)


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"memory_mb": 127}, "The memory is 127; it must be 128 to 10240 MB"),
        ({"memory_mb": 10_241}, "The memory is 10241"),
        ({"memory_mb": True}, "memory is True"),
        ({"memory_mb": "128"}, "memory is '128'"),
        ({"timeout_s": 0}, "1 to 900 seconds"),
        ({"timeout_s": 901}, "The timeout is 901"),
        ({"timeout_s": True}, "The timeout is True"),
        ({"ephemeral_storage_mb": 511}, "512 to 10240"),
        ({"description": "x" * 257}, "257 characters of 256"),
        ({"handler": ""}, "no white space"),
        ({"handler": "app.han dler"}, "no white space"),
        ({"handler": "app.handler\n"}, "no white space"),
        ({"handler": "x" * 129}, "1 to 128"),
        ({"handler": "app.\ud800"}, "1 to 128"),
        ({"init_mode": "always"}, "auto, per-instance"),
        ({"network": "internet"}, "none, egress, host"),
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


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"runtime": "nodejs20.x"}, "nodejs20.x is not supported for SnapStart"),
        ({"per_tenant": True}, "tenant isolation cannot have SnapStart"),
        ({"init_mode": InitMode.PER_INSTANCE}, "'per-instance' cannot have SnapStart"),
        ({"ephemeral_storage_mb": 513}, "has 512 MB of ephemeral storage at most"),
    ],
)
def test_not_every_function_can_have_a_snapshot(
    changes: dict[str, Any], because: str
) -> None:
    runtimes = {*RUNTIMES, "nodejs20.x"}
    config = replace(GOOD, **changes)
    check_config(config, runtimes)
    check_config(replace(GOOD, snap_start=True, ephemeral_storage_mb=512), runtimes)

    with pytest.raises(InvalidParameter, match=because) as refusal:
        check_config(replace(config, snap_start=True), runtimes)

    assert refusal.value.field == "snap_start"


def test_a_package_is_of_the_kind_that_its_function_is() -> None:
    zipped, image = b"PK", ImageSource(uri="oci:/images/app")
    for is_new in (True, False):
        check_kind(GOOD, zipped, is_new=is_new)
        check_kind(OF_IMAGE, image, is_new=is_new)

    with pytest.raises(InvalidParameter, match="Please don't provide ImageUri"):
        check_kind(GOOD, image, is_new=False)
    with pytest.raises(InvalidParameter, match="Please provide ImageUri"):
        check_kind(OF_IMAGE, zipped, is_new=False)


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


@pytest.mark.parametrize(
    ("asked", "most", "may"),
    [
        (Network.NONE, Network.NONE, True),
        (Network.EGRESS, Network.NONE, False),
        (Network.HOST, Network.NONE, False),
        (Network.NONE, Network.EGRESS, True),
        (Network.EGRESS, Network.EGRESS, True),
        (Network.HOST, Network.EGRESS, False),
        (Network.NONE, Network.HOST, True),
        (Network.EGRESS, Network.HOST, True),
        (Network.HOST, Network.HOST, True),
    ],
)
def test_a_function_has_at_most_the_network_of_its_tenant(
    asked: Network, most: Network, *, may: bool
) -> None:
    owner = replace(tenant(), network=most)

    if may:
        check_network(asked, owner)
    else:
        with pytest.raises(PermissionDenied) as refusal:
            check_network(asked, owner)
        assert refusal.value.reason == "NetworkNotAllowed"


def test_a_network_that_is_refused_says_what_why_and_who_can_change_it() -> None:
    with pytest.raises(PermissionDenied) as refusal:
        check_network(Network.HOST, replace(tenant(), network=Network.EGRESS))

    assert str(refusal.value) == (
        "The function asks for network 'host', and tenant 000000000007 may have "
        "'egress' at most. Deploy it with network 'egress', or have the operator allow "
        "more: sandlot tenant update 000000000007 --network host"
    )


def test_networks_are_canonical_sorted_and_there_once() -> None:
    given = ["10.1.0.0/255.255.0.0", "10.1.0.0/16", "10.0.0.9", "0.0.0.0/0"]

    assert checked_cidrs(given) == ("0.0.0.0/0", "10.0.0.9/32", "10.1.0.0/16")


@pytest.mark.parametrize(
    ("cidr", "because"),
    [
        ("", "is no network such as"),
        ("example.org", "is no network such as"),
        ("10.1.2.3/16", "whose bits after the 16th are 0"),
        ("10.0.0.0/33", "is no network such as"),
        ("10.0.0.0/8,11.0.0.0/8", "is no network such as"),
        ("127.0.0.0/8", "is loopback"),
        ("::1", "is loopback"),
        ("fe80::%eth0/64", "is IPv6"),
        ("fd00::/8", "is IPv6"),
    ],
)
def test_what_cannot_be_allowed_is_refused(cidr: str, because: str) -> None:
    with pytest.raises(InvalidParameter, match=because) as refusal:
        checked_cidrs(["10.1.0.0/16", cidr])

    assert refusal.value.field == "network_allow"


def test_a_tenant_has_a_bounded_number_of_networks() -> None:
    most = [f"10.{number}.0.0/16" for number in range(MAX_ALLOWED_CIDRS)]

    assert len(checked_cidrs(most)) == MAX_ALLOWED_CIDRS
    with pytest.raises(InvalidParameter, match="65 networks of 64 allowed"):
        checked_cidrs([*most, "192.168.0.0/16"])


OF_IMAGE = FunctionConfig(handler="", runtime=IMAGE)
PACKAGE = Code(sha256="0" * 64, size=1, unpacked_size=1)


@pytest.mark.parametrize(
    "wanted",
    [
        ImageConfig(),
        ImageConfig(entry_point=("x" * 4_096, ""), command=("x",) * 1_500),
        ImageConfig(entry_point=("x" * 4_000,) * 4, working_directory="/" * 384),
        ImageConfig(working_directory="/" * 1_000),
    ],
)
def test_what_is_run_of_an_image_passes_at_its_limits(wanted: ImageConfig) -> None:
    check_config(replace(OF_IMAGE, image_config=wanted), RUNTIMES)


@pytest.mark.parametrize(
    ("wanted", "because"),
    [
        (ImageConfig(command=("x" * 4_097,)), "4096 characters at most, and no NUL"),
        (ImageConfig(entry_point=("a\0b",)), "no NUL"),
        (ImageConfig(working_directory="\ud800"), "nothing that could be run"),
        (ImageConfig(command=("x",) * 1_501), "Command has 1501 words of 1500 allowed"),
        (ImageConfig(entry_point=("",) * 1_501), "EntryPoint has 1501 words of 1500"),
        (
            ImageConfig(entry_point=("x" * 4_000,) * 4, working_directory="/" * 385),
            "ImageConfig has 16385 bytes of 16384 allowed",
        ),
        (ImageConfig(working_directory="/" * 1_001), "more than 1000 characters"),
    ],
)
def test_what_cannot_be_run_of_an_image_is_refused(
    wanted: ImageConfig, because: str
) -> None:
    with pytest.raises(InvalidParameter, match=because) as refusal:
        check_config(replace(OF_IMAGE, image_config=wanted), RUNTIMES)

    assert refusal.value.field == "image_config"


@pytest.mark.parametrize(
    "more",
    [
        {"handler": "app.handler"},
        {"layers": (LayerUse(arn="arn", code=PACKAGE),)},
        {"snap_start": True},
    ],
)
def test_what_an_image_has_no_use_for_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter, match="type Image has no") as refusal:
        check_config(replace(OF_IMAGE, **more), RUNTIMES)

    assert refusal.value.field in more


def test_what_is_run_is_said_of_images_alone() -> None:
    config = replace(GOOD, image_config=ImageConfig(command=("app.handler",)))

    with pytest.raises(InvalidParameter, match="for functions with package type Image"):
        check_config(config, RUNTIMES)
