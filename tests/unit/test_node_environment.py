"""What a function is told of itself."""

from dataclasses import replace
from typing import cast

import pytest

from sandlot_engine.model.function import Logging
from sandlot_engine.model.invocation import Ended, Invocation
from sandlot_engine.node.environment import environment_of, settings_of
from sandlot_engine.node.instances import HostedInstance
from sandlot_sandbox import outcome
from sandlot_sandbox.frames import EventHeader
from sandlot_sandbox.host.instance import Instance
from sandlot_sandbox.outcome import Ending
from tests.fakes.things import function, revision


@pytest.mark.parametrize("version", ["$LATEST", "7"])
def test_a_function_finds_its_version_in_its_environment(version: str) -> None:
    published = function(version=version)

    environment = environment_of(published, revision(), "eu-north-1")
    settings = settings_of(published, revision(), "eu-north-1", import_in_zygote=True)

    assert environment["AWS_LAMBDA_FUNCTION_VERSION"] == version
    assert environment["AWS_LAMBDA_LOG_GROUP_NAME"] == "/aws/lambda/resize"
    # The guest makes the name of its log stream of it.
    assert settings["version"] == version


_REST = "/var/runtime/node_modules:/var/task"


@pytest.mark.parametrize(
    ("runtime", "variable", "expected"),
    [
        ("python3.12-own", "AWS_EXECUTION_ENV", "AWS_Lambda_python3.12"),
        ("nodejs22.x-own", "AWS_EXECUTION_ENV", "AWS_Lambda_nodejs22.x"),
        (
            "nodejs22.x-own",
            "NODE_PATH",
            f"/opt/nodejs/node22/node_modules:/opt/nodejs/node_modules:{_REST}",
        ),
    ],
)
def test_code_does_not_see_an_operator_s_label(
    runtime: str, variable: str, expected: str
) -> None:
    config = replace(revision().config, runtime=runtime)

    environment = environment_of(
        function(), replace(revision(), config=config), "eu-north-1"
    )

    assert environment[variable] == expected


def test_pythons_libraries_are_told_to_start_no_threads_at_import() -> None:
    config = replace(revision().config, environment={"OMP_NUM_THREADS": "4"})

    environment = environment_of(
        function(), replace(revision(), config=config), "eu-north-1"
    )

    assert environment["OPENBLAS_NUM_THREADS"] == "1"
    assert environment["JE_ARROW_MALLOC_CONF"] == "background_thread:false"
    assert environment["TOKENIZERS_PARALLELISM"] == "false"
    assert environment["ORT_DISABLE_TELEMETRY"] == "1"
    assert environment["OMP_NUM_THREADS"] == "4"


@pytest.mark.parametrize("runtime", ["python3.11", "nodejs22.x", "image"])
def test_tracers_are_told_to_raise_nothing_unless_the_function_says_so(
    runtime: str,
) -> None:
    config = replace(revision().config, runtime=runtime)
    own = replace(config, environment={"AWS_XRAY_CONTEXT_MISSING": "IGNORE_ERROR"})

    said = [
        environment_of(function(), replace(revision(), config=each), "eu-north-1")
        for each in (config, own)
    ]

    found = [environment["AWS_XRAY_CONTEXT_MISSING"] for environment in said]
    assert found == ["LOG_ERROR", "IGNORE_ERROR"]


def test_a_log_group_of_ones_own_is_in_the_environment() -> None:
    config = replace(revision().config, logging=Logging(group="/my/own"))

    environment = environment_of(
        function(), replace(revision(), config=config), "eu-north-1"
    )

    assert environment["AWS_LAMBDA_LOG_GROUP_NAME"] == "/my/own"


class Listening:
    """A sandboxed instance that keeps the header it was sent."""

    is_settling = False
    header: EventHeader

    async def invoke(
        self,
        header: EventHeader,
        payload: bytes,
        *,
        timeout_s: float,
        init_counts: bool,
        sink: object,
        tells_init: bool,
    ) -> Ending:
        assert sink is None
        self.header = header
        return Ending(ended=outcome.Ended.ANSWERED, duration_s=0.001, peak_memory_kb=1)


@pytest.mark.parametrize(
    ("qualifier", "invoked_arn", "told"),
    [
        ("", "", "arn:aws:lambda:eu-north-1:1:function:resize"),
        ("live", "", "arn:aws:lambda:eu-north-1:1:function:resize:live"),
        (
            "live",
            "arn:aws:lambda:us-west-2:1:function:resize:live",
            "arn:aws:lambda:us-west-2:1:function:resize:live",
        ),
    ],
)
async def test_an_invocation_knows_how_and_for_whom_it_was_called(
    qualifier: str, invoked_arn: str, told: str
) -> None:
    listening = Listening()
    instance = HostedInstance(
        cast("Instance", listening),
        region="eu-north-1",
        is_clone=True,
        note_late_init=lambda: None,
        printed=lambda _: None,
    )
    invocation = Invocation(
        request_id="r",
        tenant_id="1",
        function="resize",
        payload=b"{}",
        qualifier=qualifier,
        invoked_arn=invoked_arn,
        isolation_key="ann",
        arrived=0.0,
    )

    run = await instance.run(function(version="3"), invocation, wait_s=0.0)

    assert run.ended is Ended.ANSWERED
    assert listening.header.function_arn == told
    assert listening.header.tenant_id == "ann"
