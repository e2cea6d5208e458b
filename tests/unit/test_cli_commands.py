"""The other commands, run as a user runs them, against an engine in memory."""

import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import pytest

from sandlot.v1 import events_pb2 as evt
from sandlot.v1 import functions_pb2
from tests.fakes.server import OPERATOR, Engine, Refusal, Server
from tests.unit.conftest import Cli


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "hello.py"
    file.write_text("def main(event, context): return event\n")
    return file


# --- functions ---------------------------------------------------------------


def test_deploy_makes_a_function_of_a_file_and_a_handler(
    cli: Cli, engine: Engine, source: Path
) -> None:
    done = cli("deploy", f"{source}:main", "--memory", "256", "--env", "A=1=2")

    function = engine.functions["000000000001", "hello"]
    assert done.exit_code == 0
    assert done.stdout.strip() == function.arn
    assert function.config.handler == "hello.main"
    assert (function.config.memory_mb, function.config.environment["A"]) == (256, "1=2")


def test_deploy_as_json_is_the_function(cli: Cli, source: Path) -> None:
    told = json.loads(cli("deploy", str(source), "--name", "x", "--json").stdout)

    assert (told["name"], told["state"]) == ("x", "Active")


def test_deploy_says_why_instances_are_not_forked(
    cli: Cli, engine: Engine, source: Path
) -> None:
    cli("deploy", str(source))
    function = engine.functions["000000000001", "hello"]
    function.fork_safe, function.fork_safety_reason = False, "an open socket"

    assert "an open socket" in cli("deploy", str(source)).stderr


def test_deploy_shows_a_network_where_there_is_one(
    cli: Cli, engine: Engine, source: Path
) -> None:
    without = cli("deploy", str(source)).stderr
    egress = cli("deploy", str(source), "--network", "egress").stderr
    host = cli("deploy", str(source), "--network", "host").stderr

    assert "network" not in without
    assert "network egress · Active" in egress
    assert "shares the machine's network" not in egress
    assert "network host · Active" in host
    assert "shares the machine's network" in host


def test_a_network_is_shown_in_lists_and_in_json(cli: Cli, engine: Engine) -> None:
    engine.add_function("plain")
    engine.add_function("shared").config.network = functions_pb2.NETWORK_HOST

    first, *rows = cli("fn", "list").stdout.splitlines()
    told = json.loads(cli("fn", "list", "--json").stdout)

    column = first.split().index("NETWORK")
    # `128 MB` and `3 s`, before it, are two words each.
    assert [row.split()[column + 2] for row in rows] == ["-", "host"]
    assert [one["network"] for one in told] == ["none", "host"]


def test_a_network_that_is_refused_is_explained_by_the_engine_alone(
    cli: Cli, engine: Engine
) -> None:
    why = "may have 'none' at most. Deploy it with network 'none', or have the operator"
    denied = grpc.StatusCode.PERMISSION_DENIED
    engine.refuse_next.append(Refusal(denied, "NetworkNotAllowed", why))

    done = cli("fn", "config", "hello", "--network", "host")

    assert done.exit_code == 3
    assert done.stderr == f"PermissionDenied: {why}\n"


def test_a_function_that_cannot_be_imported_is_not_offered_for_invocation(
    cli: Cli, engine: Engine, source: Path
) -> None:
    cli("deploy", str(source))
    function = engine.functions["000000000001", "hello"]
    function.fork_safe = False
    function.fork_safety_reason = (
        "the import failed: Runtime.ImportModuleError: No module named 'nmupy'"
    )

    said = cli("deploy", str(source)).stderr

    assert "cannot be imported: Runtime.ImportModuleError: No module named" in said
    assert "mend it and deploy again" in said
    assert "invoke it" not in said
    assert "imports by itself" not in said


def test_functions_are_listed_as_plain_columns_in_a_pipe(
    cli: Cli, engine: Engine
) -> None:
    engine.add_function("a")
    engine.add_function("much-longer")

    first, *rows = cli("fn", "list").stdout.splitlines()

    assert first.split()[:2] == ["NAME", "RUNTIME"]
    assert [row.split()[0] for row in rows] == ["a", "much-longer"]
    assert {row.index("python3.11") for row in rows} == {first.index("RUNTIME")}


def test_a_list_as_json_is_one_document(cli: Cli, engine: Engine) -> None:
    for name in "abc":
        engine.add_function(name)

    assert [one["name"] for one in json.loads(cli("fn", "list", "--json").stdout)] == [
        *"abc"
    ]


def test_config_changes_what_is_given_and_shows_the_rest(
    cli: Cli, engine: Engine
) -> None:
    engine.add_function("hello")

    told = json.loads(cli("fn", "config", "hello", "--timeout", "9", "--json").stdout)

    assert (told["timeout_s"], told["memory_mb"]) == (9, 128)


def test_deploy_makes_a_function_of_an_image(cli: Cli, engine: Engine) -> None:
    run = ("--entrypoint", "/run --fast", "--command", "app.handler 'a b'")
    done = cli("deploy", "--image", "oci:hello:1", "--name", "it", *run)
    moved = cli("fn", "config", "it", "--workdir", "/srv", "--command", "", "--json")

    assert done.exit_code == 0, done.output
    assert "image · 128 MB" in done.stderr
    created = next(
        one
        for one in engine.requests
        if isinstance(one, functions_pb2.CreateFunctionRequest)
    )
    assert created.config.command == ["app.handler", "a b"]
    told = json.loads(moved.stdout)
    assert (told["image"], told["entry_point"]) == ("oci:hello:1", ["/run", "--fast"])
    assert (told["command"], told["working_directory"]) == ([], "/srv")


def test_an_image_is_shown_with_what_is_run_of_it(cli: Cli) -> None:
    run = ("--command", "app.handler --fast")
    cli("deploy", "--image", "oci:hello:1", "--name", "it", *run)

    shown = cli("fn", "show", "it").stdout
    listed = cli("fn", "list").stdout.splitlines()[1]

    assert re.search(r"^image +oci:hello:1$", shown, re.MULTILINE)
    assert re.search(r"^command +app.handler, --fast$", shown, re.MULTILINE)
    assert re.search(r"^entry_point +-$", shown, re.MULTILINE)
    assert listed.split()[:2] == ["it", "image"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--image", "docker://a/b"), "Nothing is pulled from registries"),
        (("--image", "a/b:1"), "oci:PATH:TAG or oci-archive:FILE:TAG"),
        (("--image", "oci:a", "src"), "give a PATH or --image, not both"),
        (("--image", "oci:a"), "an image has no name of its own"),
        (
            ("--image", "oci:a", "--name", "b", "--command", "'c"),
            "No closing quotation",
        ),
        (("--command", "app.handler"), "say what is run of an --image"),
        (("--entrypoint", ""), "say what is run of an --image"),
        (("--workdir", "/srv"), "say what is run of an --image"),
    ],
)
def test_what_is_no_image_is_refused_before_anything_is_sent(
    cli: Cli, engine: Engine, arguments: tuple[str, ...], why: str
) -> None:
    done = cli("deploy", *arguments)

    assert done.exit_code == 2
    assert why in " ".join(done.stderr.split())
    assert not engine.requests


def test_what_cannot_be_undone_is_not_done_unasked(cli: Cli, engine: Engine) -> None:
    engine.add_function("hello")

    refused = cli("fn", "delete", "hello")
    still_there = ("000000000001", "hello") in engine.functions
    done = cli("fn", "delete", "hello", "--yes")

    assert (refused.exit_code, still_there) == (2, True)
    assert "--yes" in refused.stderr
    assert (done.exit_code, engine.functions) == (0, {})


# --- insight -----------------------------------------------------------------


def test_logs_show_time_request_and_text(cli: Cli, engine: Engine) -> None:
    engine.add_function("hello")
    engine.log("hello", b"saying hello", request_id="4f1c8a02-aaaa")

    assert cli("logs", "hello", "--since", "1h").stdout.endswith(
        " 4f1c8a02…  saying hello\n"
    )


def test_logs_as_json_are_an_object_on_each_line(cli: Cli, engine: Engine) -> None:
    engine.add_function("hello")
    engine.log("hello", b"one")
    engine.log("hello", b"two")

    lines = cli("logs", "hello", "--json").stdout.splitlines()

    assert [json.loads(line)["text"] for line in lines] == ["one", "two"]


def test_a_time_that_is_none_is_a_usage_error(cli: Cli) -> None:
    done = cli("logs", "hello", "--since", "yesterday")

    assert done.exit_code == 2
    assert "10m" in done.stderr


def test_runs_are_listed_newest_first_and_no_more_than_asked_for(
    cli: Cli, engine: Engine
) -> None:
    engine.add_function("a")
    for _ in range(4):
        cli("invoke", "a")

    told = json.loads(cli("runs", "list", "a", "--limit", "3", "--json").stdout)

    newest = [record.report.request_id for record in reversed(engine.records)]
    assert [one["report"]["request_id"] for one in told] == newest[:3]


def test_the_bill_shows_exact_sums_and_prices_them(cli: Cli, engine: Engine) -> None:
    engine.add_function("hello")
    cli("invoke", "hello", "-n", "1000", "--summary")

    told = json.loads(cli("bill", "--json").stdout)
    shown = cli("bill").stdout

    assert told["total"]["billed_mb_ms"] == 512_000
    assert told["total"]["cost"] == "0.00020833335"
    assert shown.splitlines()[-1].split()[-1] == "$0.000208333"


# --- tenants -----------------------------------------------------------------


def test_a_new_tenant_is_printed_with_its_key_as_scripts_expect(cli: Cli) -> None:
    done = cli(
        "tenant",
        "create",
        "acme",
        "--id",
        "123456789012",
        "--concurrency",
        "5",
        "--json",
    )

    assert json.loads(done.stdout) == {
        "tenant_id": "123456789012",
        "access_key_id": "KEY12345678901200001",
        "secret_access_key": "secret-of-123456789012",
    }


def test_tenants_are_listed_changed_and_deleted(cli: Cli, engine: Engine) -> None:
    cli("tenant", "create", "acme", "--id", "123456789012")

    cli("tenant", "update", "123456789012", "--concurrency", "7")
    listed = json.loads(cli("tenant", "list", "--json").stdout)
    cli("tenant", "delete", "123456789012", "--yes")

    assert [one["concurrency"] for one in listed] == [1000, 7]
    assert list(engine.tenants) == ["000000000001"]


def test_a_tenants_network_is_given_shown_and_taken_back(
    cli: Cli, engine: Engine
) -> None:
    given = ("--network", "egress", "--allow-cidr", "10.1.0.0/16")
    cli("tenant", "create", "acme", "--id", "123456789012", *given)

    table = cli("tenant", "list").stdout.splitlines()
    shown = cli(
        "tenant", "update", "123456789012", "--allow-cidr", "192.168.0.0/16"
    ).stdout
    emptied = cli("tenant", "update", "123456789012", "--allow-no-cidr", "--json")
    host = cli("tenant", "update", "123456789012", "--network", "host", "--json")

    assert "egress, 10.1.0.0/16" in table[-1]
    assert "host" in table[1]
    assert re.search(r"^network_allow +192.168.0.0/16$", shown, re.MULTILINE)
    assert json.loads(emptied.stdout)["network_allow"] == []
    assert json.loads(emptied.stdout)["network"] == "egress"
    assert json.loads(host.stdout)["network"] == "host"


@pytest.mark.parametrize(
    "arguments", [(), ("--allow-no-cidr", "--allow-cidr", "10.0.0.0/8")]
)
def test_a_change_of_a_tenant_that_says_nothing_is_a_usage_error(
    cli: Cli, engine: Engine, arguments: tuple[str, ...]
) -> None:
    assert cli("tenant", "update", "000000000001", *arguments).exit_code == 2
    assert engine.requests == []


def test_an_imported_secret_comes_from_stdin(cli: Cli, engine: Engine) -> None:
    done = cli("key", "import", "FIXEDKEY000000001", stdin="fixed-secret\n")

    assert done.exit_code == 0
    assert engine.secrets["FIXEDKEY000000001"] == "fixed-secret"
    assert "fixed-secret" not in done.output


def test_keys_are_made_listed_and_revoked(cli: Cli, engine: Engine) -> None:
    made = json.loads(cli("key", "create", "--json").stdout)
    listed = json.loads(cli("key", "list", "--json").stdout)
    cli("key", "revoke", made["access_key_id"], "--yes")

    assert {one["access_key_id"] for one in listed} == {
        made["access_key_id"],
        OPERATOR[0],
    }
    assert list(engine.keys) == [OPERATOR[0]]


def test_the_tenant_flag_acts_for_another(cli: Cli, engine: Engine) -> None:
    cli("fn", "list", "--tenant", "123456789012")

    assert engine.metadata[-1]["sandlot-tenant"] == "123456789012"


# --- errors ------------------------------------------------------------------


def test_what_is_not_there_exits_3_and_says_what_to_do(cli: Cli) -> None:
    done = cli("fn", "show", "nowhere")

    assert done.exit_code == 3
    assert "NotFound: there is no function 'nowhere': see `sandlot fn list`" in (
        done.stderr
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("deploy", "nowhere.py"),
        ("deploy", "."),
        ("fn", "list", "--profile", "nobody"),
        ("fn", "list", "--endpoint", "no-port"),
        ("fn", "list", "--endpoint", "example.org:1"),
    ],
)
def test_a_mistake_on_this_side_exits_2_and_asks_nothing_of_the_engine(
    cli: Cli,
    engine: Engine,
    arguments: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)

    done = cli(*arguments)

    assert done.exit_code == 2
    assert done.stderr.startswith("UsageError: ")
    assert engine.requests == []


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "0", "-1", "1e300", "soon"])
@pytest.mark.parametrize(
    "command",
    [
        ("fn", "list", "--deadline"),
        ("up", "--idle"),
        ("fn", "config", "x", "--timeout"),
    ],
    ids=["deadline", "idle", "timeout"],
)
def test_a_time_span_that_is_none_is_refused_in_clear_words(
    cli: Cli, command: tuple[str, ...], value: str
) -> None:
    done = cli(*command, value)

    assert done.exit_code == 2
    assert re.search(
        rf"'{command[-1]}'.*: '{value}' is no (whole )?number of seconds", done.stderr
    )


def test_no_engine_exits_4_and_says_how_to_start_one(cli: Cli) -> None:
    done = cli("fn", "list", "--endpoint", "127.0.0.1:1")

    assert done.exit_code == 4
    assert "sandlot up" in done.stderr


def test_a_data_directory_names_the_engine_and_outranks_the_environment(
    cli: Cli, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SANDLOT_ENDPOINT", "127.0.0.1:1")
    (tmp_path / "engine.json").write_text(json.dumps({"grpc": server.address}))
    (tmp_path / "operator.json").write_text(
        json.dumps({"access_key_id": OPERATOR[0], "secret_access_key": OPERATOR[1]})
    )

    assert cli("fn", "list", "--data", str(tmp_path)).exit_code == 0


def test_an_interrupt_exits_130(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sandlot.Client.functions", interrupt)

    assert cli("fn", "list").exit_code == 130


def test_verbose_shows_where_an_error_comes_from(cli: Cli) -> None:
    assert "Traceback" in cli("fn", "show", "nowhere", "-v").stderr
    assert "Traceback" not in cli("fn", "show", "nowhere").stderr


# --- the engine --------------------------------------------------------------


@dataclass
class FakeApp:
    """Stands where `sandlot_engine.app` would."""

    calls: list[Any] = field(default_factory=list)
    found: dict[str, Any] = field(default_factory=dict)
    """What its doctor finds."""

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        module = ModuleType("sandlot_engine.app")
        module.__dict__.update(
            UpOptions=dict,
            up=self.up,
            doctor=self.doctor,
            register=self.register,
            unregister=self.unregister,
            NotRegistered=self.NotRegistered,
        )
        monkeypatch.setitem(sys.modules, "sandlot_engine.app", module)

    def up(self, options: Any) -> int:
        self.calls.append(options)
        return 7

    def doctor(
        self, *, given_up: frozenset[str], data: str | None = None
    ) -> dict[str, Any]:
        self.calls.append(given_up)
        return self.found

    class NotRegistered(Exception):
        """As the engine has it."""

    def register(
        self, data: Path, name: str, path: str, *, given_up: frozenset[str]
    ) -> dict[str, Any]:
        self.calls.append((data, name, path, given_up))
        if "bad" in path:
            raise self.NotRegistered(f"{name}: no answer")
        return {
            "name": name,
            "version": "3.12.1",
            "path": path,
            "visible": "/opt/python",
            "hello_ms": 9.5,
        }

    def unregister(self, data: Path, name: str) -> None:
        self.calls.append((data, name))


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
    found["runtimes"].append(broken)
    FakeApp(found=found).install(monkeypatch)

    lines = cli("doctor").stdout.splitlines()

    assert "runtimes: python3.11 (3.11.2)" in lines
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


def test_doctor_prints_what_the_engine_found_as_json(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = FakeApp(found=findings(layer("user")))
    app.install(monkeypatch)

    assert json.loads(cli("doctor", "--json").stdout) == app.found


def test_without_the_engine_up_says_how_to_install_it(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sandlot_engine", None)
    monkeypatch.delitem(sys.modules, "sandlot_engine.app", raising=False)

    done = cli("up")

    assert done.exit_code == 4
    assert "pip install 'sandlot[engine]'" in done.stderr


# --- events ------------------------------------------------------------------


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
