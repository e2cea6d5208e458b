"""What extensions are told of an instance's life, in AWS's words."""

from collections.abc import Mapping
from typing import Any

from sandlot_sandbox.host.extensions_api import Identity
from sandlot_sandbox.host.platform_events import PlatformEvents
from sandlot_sandbox.host.wire import FrameWire
from sandlot_sandbox.outcome import Ended


class Wire(FrameWire):
    """Has somebody who listens, and nothing else."""

    __slots__ = ("_identity", "told")

    listens = True

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self.told: list[tuple[str, Any]] = []

    @property
    def identity(self) -> Identity:  # type: ignore[override]
        return self._identity

    def tell(
        self,
        kind: str,
        name: str,
        record: Mapping[str, Any] | str,
        at: float | None = None,
    ) -> None:
        self.told.append((name.removeprefix(f"{kind}."), record))


def events(initialization: str = "on-demand") -> tuple[PlatformEvents, Wire]:
    wire = Wire(Identity(name="f", version="7", initialization=initialization))
    return PlatformEvents(wire, memory_mb=128), wire


def test_an_init_comes_before_its_invocation() -> None:
    platform, wire = events("provisioned-concurrency")

    platform.init_started()
    platform.init_done(0.25)
    platform.started("r-1")

    kind = {"initializationType": "provisioned-concurrency", "phase": "init"}
    done = {**kind, "status": "success"}
    assert wire.told == [
        (
            "initStart",
            {
                **kind,
                "functionName": "f",
                "functionVersion": "7",
                "instanceMaxMemory": 128 << 20,
            },
        ),
        ("initRuntimeDone", done),
        ("initReport", {**done, "metrics": {"durationMs": 250.0}}),
        ("start", {"requestId": "r-1", "version": "7"}),
    ]


def test_an_invocation_with_tenant_isolation_says_whose_it_is() -> None:
    platform, wire = events()

    platform.started("r-1", "a b")
    platform.runtime_done(Ended.ANSWERED, "", took_s=0.5, produced=2)
    platform.reported(took_s=0.5, peak_kb=1_024)

    told = dict(wire.told)
    assert told["start"] == {"requestId": "r-1", "version": "7", "tenantId": "a b"}
    assert told["report"]["tenantId"] == "a b"
    assert "tenantId" not in told["runtimeDone"]


def test_an_init_that_is_within_an_invocation_is_in_its_duration() -> None:
    platform, wire = events()

    platform.started("r-1")
    platform.init_started(is_within=True)
    platform.init_done(0.25)
    platform.runtime_done(Ended.ANSWERED, "", took_s=0.5, produced=2)
    platform.reported(took_s=0.5, peak_kb=1_024)
    platform.started("r-2")
    platform.runtime_done(Ended.ANSWERED, "", took_s=0.5, produced=2)
    platform.reported(took_s=0.5, peak_kb=1_024)

    names = [name for name, _ in wire.told]
    assert names[:4] == ["start", "initStart", "initRuntimeDone", "initReport"]
    assert [wire.told[at][1]["phase"] for at in (1, 2, 3)] == ["invoke"] * 3
    reports = [record["metrics"] for name, record in wire.told if name == "report"]
    assert [each["durationMs"] for each in reports] == [750.0, 500.0]
    assert [each["billedDurationMs"] for each in reports] == [750, 500]
    assert not any("initDurationMs" in each for each in reports)
    done = [record["metrics"] for name, record in wire.told if name == "runtimeDone"]
    assert [each["durationMs"] for each in done] == [750.0, 500.0]


def test_an_init_that_fails_says_so() -> None:
    platform, wire = events()

    platform.init_failed(0.5, Ended.INIT_FAILED, "Runtime.ImportModuleError")

    assert wire.told[-1] == (
        "initReport",
        {
            "initializationType": "on-demand",
            "phase": "init",
            "status": "error",
            "errorType": "Runtime.ImportModuleError",
            "metrics": {"durationMs": 500.0},
        },
    )
