"""Points in time, as commands show and read them: people's are local, JSON has UTC."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from unittest.mock import Mock

import pytest

from sandlot.cli.trigger_views import show_trigger
from sandlot.triggers import Schedule, ScheduleProgress, Trigger
from sandlot.v1 import events_pb2 as evt
from tests.fakes.engine import Engine
from tests.fakes.server import Server
from tests.unit.conftest import Cli

pytestmark = pytest.mark.usefixtures("tokyo")


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nine hours ahead of UTC, all year."""
    monkeypatch.setenv("TZ", "XYZ-9")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_lists_have_the_same_local_time_as_logs(cli: Cli, engine: Engine) -> None:
    engine.add_function("hello")
    engine.log("hello", b"a line")
    cli("invoke", "hello")

    # NOW is 2026-10-26 07:33:20 in UTC.
    assert cli("logs", "hello").stdout.startswith("2026-10-26 16:33:20")
    assert "2026-10-26 16:33" in cli("fn", "list").stdout
    assert "2026-10-26 16:33" in cli("tenant", "list").stdout


def test_what_is_shown_alone_says_whose_time_it_is(cli: Cli, engine: Engine) -> None:
    engine.add_function("hello")

    assert "2026-10-26 16:33:20 XYZ" in cli("fn", "show", "hello").stdout
    assert "2026-10-26T07:33:20Z" in cli("fn", "show", "hello", "--json").stdout


def test_an_event_has_local_times_those_of_its_attempts_too(
    cli: Cli, server: Server
) -> None:
    event = evt.Event(request_id="e-1", function="hello")
    event.accepted.FromSeconds(0)
    event.attempts.add(status="ok").ended.FromSeconds(60)
    server.events.all.append(event)

    shown = cli("event", "show", "e-1").stdout

    assert "1970-01-01 09:00:00 XYZ" in shown
    assert "1970-01-01 09:01:00 XYZ  ok" in shown


def test_a_schedule_has_local_times(capsys: pytest.CaptureFixture[str]) -> None:
    due = datetime(2026, 12, 24, 18, tzinfo=UTC)
    progress = ScheduleProgress(next_due=due)
    nightly = Trigger(
        name="nightly",
        group="default",
        function="hello",
        qualifier="",
        description="",
        enabled=True,
        path="",
        source=Schedule(expression="rate(1 day)", start=due, progress=progress),
        created=due,
        modified=due,
    )

    show_trigger(Mock(as_json=False), nightly)

    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    for name in ("created", "modified", "start", "next_due"):
        assert rows[name] == "2026-12-25 03:00:00 XYZ"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-10-26 16:33", "2026-10-26 07:33"),
        ("2026-10-26T16:33:00Z", "2026-10-26 16:33"),
        ("2026-10-26T16:33:00+01:00", "2026-10-26 15:33"),
    ],
)
def test_a_time_that_is_read_in_a_log_is_the_one_that_it_is_asked_since(
    cli: Cli, engine: Engine, text: str, meant: str
) -> None:
    engine.add_function("hello")

    cli("logs", "hello", "--since", text)

    asked = engine.requests[-1].since.ToDatetime()
    assert asked == datetime.fromisoformat(meant)


def test_a_bills_dates_are_of_utc_as_its_months_are(cli: Cli, engine: Engine) -> None:
    cli("bill", "--since", "2026-01-01", "--until", "2026-02-01")

    assert engine.requests[-1].since.ToDatetime() == datetime(2026, 1, 1)  # noqa: DTZ001  # protobuf's are naive
