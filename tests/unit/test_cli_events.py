"""Commands about events, and what `up` does for them."""

import json
from typing import Any

import pytest

from sandlot.v1 import events_pb2 as evt
from tests.fakes.app import FakeApp
from tests.fakes.server import Server
from tests.unit.conftest import Cli


def add_event(server: Server, **fields: Any) -> evt.Event:
    event = evt.Event(request_id="e-1", function="hello", **fields)
    event.accepted.FromSeconds(0)
    server.events.all.append(event)
    return event


def test_an_event_is_shown_with_its_attempts(cli: Cli, server: Server) -> None:
    event = add_event(server, state=evt.EVENT_STATE_DEAD, reason="E: \x1b[31mboom")
    event.attempts.add(status="error", error_type="E", error="boom")

    done = cli("event", "show", "e-1")
    told = json.loads(cli("event", "show", "e-1", "--wait", "--json").stdout)

    assert "dead" in done.stdout
    assert "attempt 1" in done.stdout
    assert "\x1b[31m" not in done.stdout
    assert (told["state"], told["attempts"][0]["error"]) == ("dead", "boom")


def test_an_events_payload_is_printed_as_it_is(cli: Cli, server: Server) -> None:
    add_event(server)

    assert cli("event", "show", "e-1", "--payload").stdout == '{"n":1}'


def test_an_event_that_is_not_there_is_refused(cli: Cli) -> None:
    assert cli("event", "show", "nothing").exit_code == 3


def test_events_are_listed(cli: Cli, server: Server) -> None:
    add_event(server, state=evt.EVENT_STATE_DEAD, reason="boom")
    add_event(server, state=evt.EVENT_STATE_QUEUED)

    everything = json.loads(cli("event", "list", "--json").stdout)
    dead = cli("dead-letter", "list", "hello").stdout.splitlines()
    shown = json.loads(cli("dead-letter", "show", "e-1", "--json").stdout)

    assert len(everything) == 2
    assert len(dead) == 2
    assert dead[1].endswith("boom")
    assert shown["state"] == "dead"


def test_dead_letters_are_run_again_and_deleted(cli: Cli, server: Server) -> None:
    server.events.batches = [(1, False), (2, False), (3, False)]

    one = cli("dead-letter", "redrive", "e-1")
    some = json.loads(
        cli("dead-letter", "purge", "--function", "hello", "--yes", "--json").stdout
    )
    every = cli("dead-letter", "purge", "--all", "--yes")

    assert one.stdout == "1 run again\n"
    assert some == {"count": 2}
    assert every.stdout == "3 deleted\n"
    assert server.engine.requests[-1].function == ""


@pytest.mark.parametrize("which", [(), ("e-1", "--all"), ("--function", "f", "--all")])
@pytest.mark.parametrize("command", ["redrive", "purge"])
def test_which_dead_letters_has_to_be_said(
    cli: Cli, command: str, which: tuple[str, ...]
) -> None:
    done = cli("dead-letter", command, *which, "--yes")

    assert done.exit_code == 2
    assert "give one of" in done.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--event-retry-delays", "60,x"), "no list of seconds"),
        (("--event-retry-delays", "-1"), "no list of seconds"),
        (("--event-retry-delays", "3601"), "no list of seconds"),
        (("--destination", "ftp=http://127.0.0.1"), "there are sqs, sns, events"),
        (("--destination", "sqs=127.0.0.1:9324"), "is no URL"),
    ],
)
def test_what_up_cannot_do_for_events_is_refused(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], says: str
) -> None:
    FakeApp().install(monkeypatch)

    done = cli("up", *options)

    assert done.exit_code == 2
    assert says in done.stderr


def test_up_takes_delays_and_destinations(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = FakeApp()
    app.install(monkeypatch)

    cli(
        *("up", "--event-retry-delays", "0.5,0", "--destination"),
        "sqs=http://127.0.0.1:9324",
    )

    [options] = app.calls
    assert options["event_retry_delays_s"] == (0.5, 0.0)
    assert options["destinations"] == {"sqs": "http://127.0.0.1:9324"}


def test_how_events_are_treated_is_shown_and_changed(cli: Cli, server: Server) -> None:
    shown = cli("event", "config", "hello").stdout
    changed = json.loads(
        cli(
            *("event", "config", "hello:live", "--retries", "0", "--max-age", "60"),
            *("--on-failure", "other", "--json"),
        ).stdout
    )

    assert ["max_retries", "2"] in [line.split() for line in shown.splitlines()]
    assert changed == {
        "function": "hello",
        "qualifier": "live",
        "max_retries": 0,
        "max_age_s": 60,
        "on_success": "",
        "on_failure": "other",
    }
    assert set(server.events.settings) == {("hello", "live")}


def test_what_is_not_said_of_events_stays_unless_it_is_reset(
    cli: Cli, server: Server
) -> None:
    cli("event", "config", "hello", "--retries", "0", "--on-success", "other")

    cli("event", "config", "hello", "--on-success", "")
    kept = server.events.settings["hello", ""]
    cli("event", "config", "hello", "--reset", "--max-age", "60")
    reset = server.events.settings["hello", ""]

    assert (kept.max_retries, kept.on_success) == (0, "")
    assert (reset.max_retries, reset.max_age_s) == (2, 60)


@pytest.mark.parametrize("option", [("--retries", "3"), ("--max-age", "0")])
def test_settings_of_events_that_cannot_be_ask_for_nothing(
    cli: Cli, server: Server, option: tuple[str, str]
) -> None:
    assert cli("event", "config", "hello", *option).exit_code == 2
    assert server.engine.requests == []
