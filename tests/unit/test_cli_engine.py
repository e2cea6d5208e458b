"""Commands that start an engine, look at its machine and register runtimes."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sandlot.cli import main
from tests.fakes.app import FakeApp
from tests.unit.conftest import Cli


def test_up_hands_its_options_to_the_engine_and_exits_as_it_says(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = FakeApp()
    app.install(monkeypatch)

    done = cli(
        *("up", "--data", str(tmp_path), "--http", "127.0.0.1:0", "--json"),
        *("--runtime", "python3.12=/usr/bin/python3.12", "--insecure-network"),
        *("--workers", "2"),
    )

    assert done.exit_code == 7
    assert app.calls == [
        {
            "data": tmp_path,
            "http": "127.0.0.1:0",
            "grpc": "127.0.0.1:9071",
            "as_json": True,
            "tls_cert": None,
            "tls_key": None,
            "allow_plaintext": False,
            "user": None,
            "region": "us-east-1",
            "idle_s": 300.0,
            "workers": 2,
            "max_instances": 3_200,
            "standbys": 256,
            "memory_mb": 0,
            "scaling": 1_000,
            "requests": 10,
            "s3_endpoint": "",
            "public_url": "",
            "idempotency_s": 86_400.0,
            "keep_records_days": 0,
            "watch_dirs": (),
            "image_dirs": (),
            "event_retry_delays_s": (60.0, 120.0),
            "destinations": {},
            "runtimes": {"python3.12": "/usr/bin/python3.12"},
            "given_up": frozenset({"network"}),
        }
    ]


def test_a_weaker_jail_cannot_come_from_the_environment(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = FakeApp()
    app.install(monkeypatch)
    monkeypatch.setenv("SANDLOT_INSECURE_SECCOMP", "1")
    monkeypatch.setenv("SANDLOT_INSECURE", "seccomp")

    cli("up")

    assert app.calls[0]["given_up"] == frozenset()


def test_layers_are_given_up_by_a_list_and_by_their_flags(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = FakeApp()
    app.install(monkeypatch)

    cli("up", "--insecure=landlock,cgroup", "--insecure", "x", "--insecure-network")

    assert app.calls[0]["given_up"] == {"landlock", "cgroup", "x", "network"}


def layer(name: str, *, holds: bool = True, **more: Any) -> dict[str, Any]:
    """A layer as the engine's doctor has it."""
    return {
        "name": name,
        "stops": f"what {name} stops",
        "holds": holds,
        "detail": "",
        "given_up": False,
        "required": True,
        **more,
    }


def findings(*layers: dict[str, Any], ok: bool = True) -> dict[str, Any]:
    """What the engine's doctor finds."""
    return {
        "layers": list(layers),
        "egress": {"missing": "there is no slirp4netns"},
        "runtimes": [{"name": "python3.11", "version": "3.11.2"}],
        "ok": ok,
    }


def test_doctor_has_a_row_for_each_layer_and_a_line_that_sums_up(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    app = FakeApp(
        found=findings(
            layer("user"),
            layer("landlock", detail="version 7"),
            layer("cgroup", holds=False, required=False, detail="The warden watches"),
            layer("seccomp", given_up=True),
        )
    )
    app.install(monkeypatch)

    done = cli("doctor", "--insecure=seccomp")

    assert done.exit_code == 0
    assert app.calls == [{"seccomp"}]
    no_egress = "there is no slirp4netns. Until then no function can have egress"
    assert done.stdout.splitlines() == [
        "         LAYER     STOPS A FUNCTION FROM",
        "ok       user      what user stops",
        "ok       landlock  what landlock stops · version 7",
        "weaker   cgroup    what cgroup stops",
        "                   The warden watches",
        "given up seccomp   what seccomp stops",
        "none     egress    reaching private networks, where it may reach public ones",
        f"                   {no_egress}",
        "runtimes: python3.11 (3.11.2)",
        "sandlot up would start here, WITHOUT seccomp, with cgroup weaker.",
    ]


def test_doctor_tells_what_is_registered_and_cannot_be_used(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = findings(layer("user"))
    broken = {"name": "python3.12-x", "version": "", "problem": "/x is not there"}
    programs = {"name": "provided.al2", "version": ""}
    found["runtimes"] += [programs, broken]
    FakeApp(found=found).install(monkeypatch)

    lines = cli("doctor").stdout.splitlines()

    assert "runtimes: python3.11 (3.11.2), provided.al2" in lines
    assert "python3.12-x: /x is not there" in lines


def test_a_runtime_is_registered_by_the_engine_s_own_code_and_says_what_it_shows(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    app = FakeApp()
    app.install(monkeypatch)
    where = ("--data", str(tmp_path))

    added = cli("runtime", "add", "python3.12-x", "/opt/python/bin/python3.12", *where)
    refused = cli("runtime", "add", "python3.12-y", "/bad", *where)
    removed = cli("runtime", "remove", "python3.12-x", "--force", *where)

    assert added.exit_code == removed.exit_code == 0
    assert "version 3.12.1, hello world in 9.5 ms" in added.stdout
    assert "all of /opt/python can be read" in added.stderr
    assert (refused.exit_code, refused.stderr) == (
        3,
        "NotRegistered: python3.12-y: no answer\n",
    )
    path = "/opt/python/bin/python3.12"
    assert app.calls == [
        (tmp_path, "python3.12-x", path, frozenset()),
        (tmp_path, "python3.12-y", "/bad", frozenset()),
        (tmp_path, "python3.12-x"),
    ]


def test_the_master_key_is_rotated_by_the_engine_s_own_code(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    app = FakeApp()
    app.install(monkeypatch)

    done = cli("key", "rotate-master", "--data", str(tmp_path))
    refused = cli("key", "rotate-master", "--data", str(tmp_path / "taken"))

    assert done.exit_code == 0
    assert done.stdout == "12 secrets are sealed with another master.key\n"
    assert "1 could not be opened" in done.stderr
    assert refused.exit_code == 3
    assert "NotRotated: another engine is running" in refused.stderr
    assert app.calls == [tmp_path, tmp_path / "taken"]


def test_what_is_not_known_to_be_unused_is_not_removed(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    app = FakeApp()
    app.install(monkeypatch)

    done = cli("runtime", "remove", "python3.12-x", "--data", str(tmp_path))

    assert (done.exit_code, app.calls) == (3, [])
    assert "--force" in done.stderr


def test_runtimes_are_listed_with_their_state(cli: Cli) -> None:
    header, *rows = cli("runtime", "list").stdout.splitlines()

    assert header.split() == ["NAME", "KIND", "VERSION", "STATE", "FUNCTIONS", "PATH"]
    assert rows[0].split()[:4] == ["python3.10", "zygote", "3.10.2", "found"]
    assert "not usable: /x is not there" in rows[1]


@pytest.mark.parametrize("arguments", [(), ("--json",), ("--prove",)], ids=str)
def test_doctor_ends_with_78_where_up_would_refuse(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    lacking = layer("mount", holds=False, detail="EPERM. Run outside a container")
    app = FakeApp(found=findings(layer("user"), lacking, ok=False))
    app.install(monkeypatch)

    done = cli("doctor", *arguments)

    assert done.exit_code == 78
    assert "Run outside a container" in done.stdout


@pytest.mark.parametrize(("no_color", "has_colours"), [("", True), ("1", False)])
def test_doctor_has_no_colours_where_nobody_wants_any(
    monkeypatch: pytest.MonkeyPatch, no_color: str, *, has_colours: bool
) -> None:
    FakeApp(found=findings(layer("user"))).install(monkeypatch)

    done = CliRunner().invoke(main, ["doctor"], color=True, env={"NO_COLOR": no_color})

    assert ("\x1b[" in done.stdout) is has_colours


def test_doctor_prints_what_the_engine_found_as_json(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = FakeApp(found=findings(layer("user")))
    app.install(monkeypatch)

    assert json.loads(cli("doctor", "--json").stdout) == app.found


@pytest.mark.parametrize("lacking", ["sandlot_engine", "uvloop", "pyseccomp"])
def test_without_the_engine_up_says_how_to_install_it(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    monkeypatch.setitem(sys.modules, lacking, None)
    monkeypatch.delitem(sys.modules, "sandlot_engine.app", raising=False)

    done = cli("up")

    assert done.exit_code == 4
    assert "pip install 'sandlot[engine]'" in done.stderr


@pytest.mark.parametrize("region", ["", "../x", "EU", "eu_central", "eu-", "a" * 40])
def test_a_region_that_no_arn_can_have_is_refused(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, region: str
) -> None:
    app = FakeApp()
    app.install(monkeypatch)

    done = cli("up", "--region", region)

    assert done.exit_code == 2
    assert "is no region" in done.stderr
    assert app.calls == []


def test_doctor_says_so_where_there_is_no_folder_for_what_it_tries(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = FakeApp()
    app.install(monkeypatch)
    monkeypatch.setattr(sys.modules["sandlot_engine.app"], "doctor", _no_folder)

    done = cli("doctor")

    assert done.exit_code != 0
    assert "No usable temporary directory" in done.stderr
    assert "TMPDIR" in done.stderr
    assert "Traceback" not in done.stderr


def _no_folder(**_: object) -> None:
    raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")
