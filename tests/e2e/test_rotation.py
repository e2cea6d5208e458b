"""Another master key: all that was sealed opens with it, wherever a crash comes."""

import hashlib
import hmac
import subprocess
import sys
import time

import pytest

from sandlot import Client, NewTrigger, Webhook
from tests.e2e.conftest import client_of, deploy_guest
from tests.e2e.engines import Engine
from tests.e2e.test_triggers import post

_DIES = """
import os, sys
from pathlib import Path
from sandlot_engine import rotation
from sandlot_engine.catalog import seal
from sandlot_engine.store.sqlite import SqliteStore

def die(*_, **__):
    os._exit(9)

setattr({"reseal": SqliteStore, "take_next": seal}[sys.argv[2]], sys.argv[2], die)
rotation.rotate_master_key(Path(sys.argv[1]))
"""


def _master_key(engine: Engine) -> bytes:
    return (engine.data / "master.key").read_bytes()


def _hook(client: Client) -> NewTrigger:
    function = deploy_guest(client, "counter")
    return client.create_trigger("hook", function.name, Webhook())


def _posted(hook: NewTrigger, engine: Engine) -> int:
    now = f"{time.time():.0f}"
    digest = hmac.new(hook.secret.encode(), f"{now}.{{}}".encode(), hashlib.sha256)
    headers = {
        "x-signature-timestamp": now,
        "x-signature-256": f"sha256={digest.hexdigest()}",
    }
    return post(engine.ready["http"] + hook.trigger.path, b"{}", headers)[0]


def test_a_rotated_master_key_opens_all_secrets_and_the_older_none(
    fresh_engine: Engine,
) -> None:
    engine = fresh_engine
    key = engine.client().create_tenant("acme")
    hook = _hook(client_of(engine, key))
    before = _master_key(engine)
    while_it_runs = engine.run("key", "rotate-master")
    engine.stop()

    status, said = engine.run("key", "rotate-master")

    assert while_it_runs[0] == 3
    assert "another engine is running" in while_it_runs[1]
    assert (status, said) == (0, "3 secrets are sealed with another master.key\n")
    assert _master_key(engine) != before
    engine.start()
    assert len(list(client_of(engine, key).functions())) == 1
    assert _posted(hook, engine) == 202
    engine.stop()
    (engine.data / "master.key").write_bytes(before)
    status, said = engine.start_in_vain()
    assert status == 78
    assert "opens none of the secrets" in said


@pytest.mark.parametrize("step", ["reseal", "take_next"])
def test_a_rotation_that_dies_half_way_is_ended_or_undone_by_the_next_start(
    fresh_engine: Engine, step: str
) -> None:
    engine = fresh_engine
    key = engine.client().create_tenant("acme")
    hook = _hook(client_of(engine, key))
    before = _master_key(engine)
    engine.stop()

    died = subprocess.run(
        [sys.executable, "-c", _DIES, str(engine.data), step], check=False
    )

    assert died.returncode == 9
    assert (engine.data / "master.key.next").exists()
    engine.start()
    assert len(list(client_of(engine, key).functions())) == 1
    assert _posted(hook, engine) == 202
    assert (_master_key(engine) == before) is (step == "reseal")
    assert not (engine.data / "master.key.next").exists()
