"""Triggers of each kind run functions of a real engine, and go on after a restart."""

import hashlib
import hmac
import json
import os
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from sandlot import Bucket, Client, Directory, FunctionHandle, Schedule, Webhook
from tests.e2e.conftest import Deploy
from tests.e2e.engines import USER, Engine, Mode, new_engine
from tests.e2e.waiting import wait_until

PRINTING = {
    "app.py": "import json\n"
    "def handler(event, context): print('GOT', json.dumps(event))\n"
}


@pytest.fixture
def function(deploy: Deploy) -> FunctionHandle:
    """One that prints its event."""
    return deploy(PRINTING)


def got(function: FunctionHandle, count: int = 1) -> list[Any]:
    """The events that it had, once there are as many."""

    def look() -> list[Any]:
        lines = [line.text for line in function.logs()]
        found = [
            json.loads(line.removeprefix("GOT "))
            for line in lines
            if line.startswith("GOT ")
        ]
        return found if len(found) >= count else []

    return wait_until(look, f"{count} events to be printed")


def post(url: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
    request = urllib.request.Request(url, data=body, headers=headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, json.loads(refusal.read())


def name_of(kind: str) -> str:
    return f"{kind}-{uuid4().hex[:8]}"


def seconds_ago(seconds: int) -> str:
    moment = datetime.now(UTC) - timedelta(seconds=seconds)
    return f"at({moment:%Y-%m-%dT%H:%M:%S})"


def test_a_schedule_runs_its_function(client: Client, function: FunctionHandle) -> None:
    name = name_of("schedule")
    source = Schedule(expression=seconds_ago(1), input='{"hello": "there"}')

    client.create_trigger(name, function.name, source)

    assert got(function) == [{"hello": "there"}]
    wait_until(
        lambda: (
            (shown := client.get_trigger(name).schedule) is not None
            and shown.progress is not None
            and shown.progress.fired == 1
        ),
        "its progress to be noted",
    )
    assert client.get_trigger(name).schedule.progress.next_due is None  # type: ignore[union-attr]


def test_one_that_is_tried_runs_its_function(
    client: Client, function: FunctionHandle
) -> None:
    name = name_of("schedule")
    source = Schedule(expression="rate(1 day)", input='{"tried": 1}')
    client.create_trigger(name, function.name, source, paused=True)

    request_id = client.test_trigger(name)

    assert got(function) == [{"tried": 1}]
    assert [run.request_id for run in function.runs()] == [request_id]


def test_a_signed_post_runs_its_function(
    engine: Engine, client: Client, function: FunctionHandle
) -> None:
    made = client.create_trigger(name_of("hook"), function.name, Webhook())
    url, body, now = engine.ready["http"] + made.trigger.path, b'{"n":1}', time.time()
    signed = f"{now:.0f}.".encode() + body
    digest = hmac.new(made.secret.encode(), signed, hashlib.sha256).hexdigest()
    headers = {
        "x-signature-timestamp": f"{now:.0f}",
        "x-signature-256": f"sha256={digest}",
    }

    taken = [post(url, body, headers) for _ in range(2)]
    refused = post(url, b'{"n":2}', headers)

    (event,) = got(function)
    assert event["body"] == '{"n":1}'
    assert taken == [(202, {"requestId": event["id"]})] * 2
    assert refused[0] == 404
    assert len(list(function.runs())) == 1


def test_a_buckets_notification_runs_its_function(
    engine: Engine, client: Client, function: FunctionHandle
) -> None:
    made = client.create_trigger(
        name_of("bucket"), function.name, Bucket(suffix=".jpg")
    )
    record = {
        "eventName": "s3:ObjectCreated:Put",
        "eventSource": "minio:s3",
        "s3": {"bucket": {"name": "pictures"}, "object": {"key": "a.jpg"}},
    }
    other = record | {"s3": {"bucket": {"name": "b"}, "object": {"key": "a.txt"}}}
    body = json.dumps({"Records": [record, other]}).encode()

    status, _ = post(
        engine.ready["http"] + made.trigger.path,
        body,
        {"authorization": f"Bearer {made.secret}"},
    )

    assert status == 202
    (event,) = got(function)
    assert [one["s3"]["object"]["key"] for one in event["Records"]] == ["a.jpg"]
    assert event["Records"][0]["eventName"] == "ObjectCreated:Put"


# --- an engine of one's own ---------------------------------------------------------


@pytest.fixture
def watched(mode: Mode) -> Iterator[Path]:
    """A folder that the engine may read, whoever it is."""
    with tempfile.TemporaryDirectory(prefix="sandlot-watched-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        if mode is Mode.ROOTLESS and os.geteuid() == 0:
            os.chown(folder, USER, USER)
        yield folder


@pytest.fixture
def own_engine(mode: Mode) -> Iterator[Engine]:
    with new_engine(mode) as engine:
        yield engine


def deployed(client: Client) -> FunctionHandle:
    from tests.fakes.zips import zip_of

    return client.deploy(zip_of(PRINTING), name="printing", handler="app.handler")


def test_a_file_in_a_watched_folder_runs_its_function(
    own_engine: Engine, watched: Path
) -> None:
    own_engine.start("--watch-dir", str(watched))
    client = own_engine.client()
    function = deployed(client)
    client.create_trigger("inbox", function.name, Directory(path=str(watched)))

    (watched / "new.csv").write_text("1,2,3")

    (event,) = got(function)
    (record,) = event["Records"]
    assert record["eventName"] == "ObjectCreated:Put"
    assert record["s3"]["object"] == {"key": "new.csv", "size": 5}


def test_after_a_restart_triggers_go_on_and_nothing_is_fired_twice(
    own_engine: Engine, watched: Path
) -> None:
    own_engine.start("--watch-dir", str(watched))
    client = own_engine.client()
    function = deployed(client)
    client.create_trigger(
        "once", function.name, Schedule(expression=seconds_ago(1), input='"once"')
    )
    client.create_trigger("inbox", function.name, Directory(path=str(watched)))
    got(function)
    wait_until(
        lambda: client.get_trigger("once").schedule.progress.fired == 1,  # type: ignore[union-attr]
        "its progress to be noted",
    )
    assert own_engine.stop() == 0

    own_engine.start("--watch-dir", str(watched))
    client = own_engine.client()
    function = client.function("printing")
    (watched / "new.csv").touch()

    # What is told of the file came after what a schedule would have fired at once.
    assert got(function, 2)[1]["Records"][0]["s3"]["object"]["key"] == "new.csv"
    assert [one.name for one in client.list_triggers()] == ["inbox", "once"]
    assert len(list(function.runs())) == 2


def test_what_is_no_folder_keeps_an_engine_from_starting(
    own_engine: Engine, watched: Path
) -> None:
    status, said = own_engine.start_in_vain("--watch-dir", str(watched / "nothing"))

    assert status == 2
    assert "nothing" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user may read its own")
def test_a_folder_that_may_not_be_read_keeps_an_engine_from_starting(
    own_engine: Engine, watched: Path
) -> None:
    os.chown(watched, 0, 0)
    watched.chmod(0o700)

    status, said = own_engine.start_in_vain("--watch-dir", str(watched))

    # Where engine and operator are one user, the command line looks first.
    assert status == (78 if own_engine.mode is Mode.ROOT else 2)
    assert str(watched) in said
    assert "read" in said
    assert "Traceback" not in said
