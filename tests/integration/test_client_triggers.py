"""Triggers by the SDK and by the command, against a real gRPC server."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sandlot import (
    AsyncClient,
    Bucket,
    MissedRuns,
    Schedule,
    Scheme,
    Webhook,
    errors,
)
from sandlot.cli import main
from tests.fakes.backend import ACME, FakeEngine, fake_engine

Run = Callable[..., Awaitable[Result]]


@dataclass
class World:
    engine: FakeEngine
    client: AsyncClient


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with (
        fake_engine() as engine,
        AsyncClient(
            f"127.0.0.1:{engine.port}",
            access_key_id="key-of-acme",
            secret_access_key="key-of-acme-secret",
        ) as client,
    ):
        yield World(engine, client)


@pytest.fixture
def run(world: World, tmp_path: Path) -> Run:
    """Run the command, as Acme, on a thread of its own."""
    environment = {
        "HOME": str(tmp_path),
        "SANDLOT_ENDPOINT": f"127.0.0.1:{world.engine.port}",
        "SANDLOT_ACCESS_KEY_ID": "key-of-acme",
        "SANDLOT_SECRET_ACCESS_KEY": "key-of-acme-secret",
    }

    async def run(*arguments: str, stdin: str | None = None) -> Result:
        return await asyncio.to_thread(
            CliRunner().invoke, main, arguments, env=environment, input=stdin
        )

    return run


async def told(run: Run, *arguments: str) -> Any:
    done = await run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


# --- the SDK ----------------------------------------------------------------------


async def test_a_schedule_comes_back_as_it_was_sent(world: World) -> None:
    source = Schedule(
        expression="cron(0 8 ? * MON-FRI *)",
        timezone="Europe/Berlin",
        start=datetime(2040, 1, 1, tzinfo=UTC),
        end=datetime(2041, 1, 1, tzinfo=UTC),
        window_minutes=5,
        missed_runs=MissedRuns.SKIP,
        delete_after_completion=True,
        input="[1]",
        maximum_event_age_s=60,
        maximum_retry_attempts=0,
    )

    made = await world.client.create_trigger("nightly", "echo", source, paused=True)
    read = await world.client.get_trigger("nightly")

    assert made.secret == ""
    assert read == made.trigger
    assert (read.kind, read.group, read.enabled) == ("schedule", "default", False)
    shown = read.schedule
    assert shown is not None
    progress = shown.progress
    assert progress is not None
    assert (progress.next_due, progress.fired) == (None, 0)
    for name in Schedule.__dataclass_fields__:
        if name != "progress":
            assert getattr(shown, name) == getattr(source, name), name


async def test_other_kinds_come_back_too(world: World) -> None:
    create = world.client.create_trigger
    hook = await create("push", "echo", Webhook(scheme="github"))
    store = await create(
        "pictures", "echo", Bucket(buckets=("b",), events=("ObjectCreated:*",))
    )

    listed = [one async for one in world.client.list_triggers()]
    hooks = [one async for one in world.client.list_triggers(kind="webhook")]

    assert hook.trigger.source == Webhook(scheme=Scheme.GITHUB)
    assert hook.trigger.path == f"/hooks/{ACME}/push"
    assert store.trigger.source == Bucket(buckets=("b",), events=("ObjectCreated:*",))
    assert hook.secret not in repr(hook)
    assert listed == [store.trigger, hook.trigger]
    assert hooks == [hook.trigger]


async def test_one_is_changed_tried_rotated_and_deleted(world: World) -> None:
    client = world.client
    made = await client.create_trigger("pictures", "echo", Bucket())

    paused = await client.update_trigger("pictures", enabled=False)
    changed = await client.update_trigger(
        "pictures", function="slow", source=Bucket(prefix="in/")
    )
    token = await client.rotate_trigger_secret("pictures")
    request_id = await client.test_trigger("pictures")
    await client.delete_trigger("pictures")

    assert (paused.enabled, paused.source) == (False, Bucket())
    assert (changed.function, changed.source) == ("slow", Bucket(prefix="in/"))
    assert token not in ("", made.secret)
    assert [event.request_id for event in world.engine.fired.taken] == [request_id]
    with pytest.raises(errors.NotFound):
        await client.get_trigger("pictures")


async def test_what_there_is_not_is_refused_before_it_is_sent(world: World) -> None:
    with pytest.raises(errors.UsageError, match="'gitlab' is not one of generic"):
        await world.client.create_trigger("x", "echo", Webhook(scheme="gitlab"))
    with pytest.raises(errors.UsageError, match="scheme stays"):
        await world.client.update_trigger("x", source=Webhook())


# --- the command --------------------------------------------------------------------


async def test_a_schedule_is_added_listed_and_shown(world: World, run: Run) -> None:
    added = await run("schedule", "add", "nightly", "echo", "rate(1 hour)")
    await run(
        *("trigger", "add", "schedule", "daily", "echo", "cron(0 8 * * ? *)"),
        *("--timezone", "Europe/Berlin", "--missed", "skip", "--input", "[1]"),
    )

    listed = (await run("schedule", "list")).stdout.splitlines()
    (one, _) = await told(run, "trigger", "list", "--kind", "schedule")
    shown = (await run("schedule", "show", "nightly")).stdout

    assert added.exit_code == 0, added.output
    assert added.stdout.strip() == "nightly"
    due = datetime(2026, 5, 17, 12, 30, tzinfo=UTC).astimezone()
    assert f"due: {due:%Y-%m-%d %H:%M:%S %Z}\n" in added.stderr
    assert listed[0].split() == (
        ["NAME", "KIND", "FUNCTION", "STATE", "WHEN", "NEXT", "FIRED", "MISSED"]
    )
    assert "cron(0 8 * * ? *) Europe/Berlin" in listed[1]
    assert one["schedule"]["missed_runs"] == "skip"
    assert one["schedule"]["input"] == "[1]"
    assert one["schedule"]["progress"]["next_due"] == "2026-05-18T06:00:00Z"
    assert "expression" in shown
    assert dict(line.split(maxsplit=1) for line in shown.splitlines())["fired"] == "0"
    assert "progress" not in shown


async def test_a_schedule_is_changed_paused_tried_and_deleted(
    world: World, run: Run, tmp_path: Path
) -> None:
    event = tmp_path / "event.json"
    event.write_text('{"from": "a file"}')
    await run("schedule", "add", "nightly", "echo", "rate(1 hour)", "--window", "5")

    changed = await told(
        run, "schedule", "config", "nightly", "--input-file", str(event)
    )
    paused = await told(run, "schedule", "pause", "nightly")
    tried = await told(run, "schedule", "test", "nightly")
    resumed = await told(run, "trigger", "resume", "nightly")
    deleted = await run("schedule", "rm", "nightly", "--yes")

    assert changed["schedule"]["input"] == '{"from": "a file"}'
    assert changed["schedule"]["window_minutes"] == 5
    assert (paused["enabled"], resumed["enabled"]) == (False, True)
    (taken,) = world.engine.fired.taken
    assert (taken.request_id, taken.payload) == (
        tried["request_id"],
        b'{"from": "a file"}',
    )
    assert deleted.exit_code == 0
    assert await told(run, "schedule", "list") == []


async def test_a_webhook_is_added_with_its_senders_secret_or_one_of_ours(
    run: Run,
) -> None:
    ours = await run("trigger", "add", "webhook", "push", "echo", "--scheme", "github")
    theirs = await run(
        *("trigger", "add", "webhook", "pay", "echo", "--scheme", "stripe"),
        *("--secret-file", "-"),
        stdin="whsec_0123456789abcdef\n",
    )
    rotated = await told(run, "trigger", "rotate-secret", "push")

    name, path, secret = ours.stdout.split()
    assert (name, path) == ("push", f"/hooks/{ACME}/push")
    assert len(secret) == 43
    assert "shown this once" in ours.stderr
    assert "signed with the secret: what is not signed gets 404" in ours.stderr
    assert theirs.stdout.split()[2] == "whsec_0123456789abcdef"
    assert rotated["secret"] != secret


async def test_a_bucket_is_added_with_its_filter(run: Run) -> None:
    made = await told(
        run,
        *("trigger", "add", "bucket", "pictures", "echo", "--bucket", "b"),
        *("--event", "ObjectCreated:*", "--suffix", ".jpg"),
    )

    assert len(made["secret"]) == 43
    assert made["bucket"] == {
        "buckets": ["b"],
        "events": ["ObjectCreated:*"],
        "prefix": "",
        "suffix": ".jpg",
    }


async def test_what_a_bucket_s_posts_need_is_told(run: Run) -> None:
    done = await run("trigger", "add", "bucket", "pictures", "echo", "--bucket", "b")

    assert "with `Authorization: Bearer` and the token" in done.stderr


async def test_a_directory_is_for_operators(run: Run) -> None:
    done = await run("trigger", "add", "directory", "inbox", "echo", "/tmp")

    assert done.exit_code == 3
    assert "only an operator makes one" in done.stderr


async def test_what_does_not_go_together_is_a_mistake(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "event.json"
    file.touch()
    await run("trigger", "add", "webhook", "push", "echo")

    both = await run(
        *("schedule", "add", "x", "echo", "rate(1 day)", "--input", "1"),
        *("--input-file", str(file)),
    )
    none = await run("schedule", "config", "push", "--input", "1")
    unsure = await run("trigger", "rm", "push")

    assert [done.exit_code for done in (both, none, unsure)] == [2, 2, 2]
