"""Commands about functions, run as a user runs them against an engine in memory."""

import json
import re
from pathlib import Path

import grpc
import pytest

from sandlot.cli.deploy import compiled_for_another, why_not_imported
from sandlot.v1 import functions_pb2
from tests.fakes.engine import Engine, Failure, Refusal
from tests.unit.conftest import Cli

CANNOT = "Runtime.ImportModuleError: Unable to import module 'app':"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "hello.py"
    file.write_text("def main(event, context): return event\n")
    return file


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

    done = cli("deploy", str(source))
    said = done.stderr

    assert done.exit_code == 1
    assert done.stdout.startswith("arn:")
    assert cli("deploy", str(source), "--json").exit_code == 1
    assert "cannot be imported: Runtime.ImportModuleError: No module named" in said
    assert "mend it and deploy again" in said
    assert "invoke it" not in said
    assert "imports by itself" not in said


def test_an_import_that_fails_at_length_is_told_on_as_many_lines(
    cli: Cli, engine: Engine, source: Path
) -> None:
    cli("deploy", str(source))
    function = engine.functions["000000000001", "hello"]
    function.fork_safety_reason = (
        "the import failed: Runtime.ImportModuleError: \n\nIMPORTANT: read\n\x1bthis"
    )

    said = cli("deploy", str(source)).stderr

    assert (
        "ImportModuleError: \n      \n      IMPORTANT: read\n      \\u001bthis" in said
    )


@pytest.mark.parametrize("whole", [True, False])
def test_a_program_that_is_not_executable_is_told_at_once(
    cli: Cli, tmp_path: Path, whole: bool
) -> None:
    program = tmp_path / "bootstrap"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o644)
    source = str(tmp_path if whole else program)

    before = cli("deploy", source, "--name", "shell")
    program.chmod(0o755)
    after = cli("deploy", source, "--name", "shell")

    assert (before.exit_code, after.exit_code) == (1, 0)
    assert "chmod +x" in before.stderr
    assert "invoke it" not in before.stderr
    assert "chmod +x" not in after.stderr
    assert "invoke it" in after.stderr


@pytest.mark.parametrize("how", [(), ("--json",)], ids=str)
def test_a_program_with_the_line_ends_of_windows_is_told_at_once(
    cli: Cli, tmp_path: Path, how: tuple[str, ...]
) -> None:
    program = tmp_path / "bootstrap"
    program.write_bytes(b"#!/bin/sh\r\nexit\r\n")
    program.chmod(0o755)

    done = cli("deploy", str(program), "--name", "shell", *how)

    assert done.exit_code == 1
    assert "Windows' line ends: sed -i 's/\\r$//' bootstrap" in done.stderr
    assert "invoke it" not in done.stderr


def test_what_requirements_name_is_told_to_be_installed_by_hand(
    cli: Cli, engine: Engine, tmp_path: Path
) -> None:
    folder = tmp_path / "my site"
    folder.mkdir()
    (folder / "app.py").write_text("import requests\ndef handler(e, c): ...\n")
    (folder / "requirements.txt").write_text("requests\n")
    cli("deploy", str(folder), "--name", "site")
    function = engine.functions["000000000001", "site"]
    function.fork_safety_reason = (
        "the import failed: Runtime.ImportModuleError: No module named 'requests'"
    )

    said = cli("deploy", str(folder), "--name", "site").stderr

    quoted = f"'{folder}' -r '{folder}/requirements.txt'"
    assert f"pip install --target {quoted}\n" in said


def test_a_handler_that_gives_way_is_told(
    cli: Cli, engine: Engine, source: Path
) -> None:
    cli("deploy", str(source))
    function = engine.functions["000000000001", "hello"]
    function.config.handler = "gone.main"
    function.fork_safety_reason = (
        "the import failed: Runtime.ImportModuleError: No module named 'gone'"
    )

    said = cli("deploy", str(source)).stderr

    assert "its handler was gone.main, which is not there: now it is hello.h" in said


def test_a_program_is_not_told_that_it_is_not_forked(cli: Cli, engine: Engine) -> None:
    cli("deploy", "oci:hello:1", "--name", "hello")
    function = engine.functions["000000000001", "hello"]
    function.fork_safe, function.fork_safety_reason = False, "it is a program"

    said = cli("deploy", "oci:hello:2", "--name", "hello").stderr

    assert "it is a program" not in said
    assert "invoke it" in said


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (
            "Runtime.HandlerNotFound: Handler 'handler' missing on module 'app'",
            "its handler is app.handler: name another with --handler MODULE.FUNCTION",
        ),
        (
            f"{CANNOT} No module named 'app'",
            "its handler is app.handler: name another with --handler MODULE.FUNCTION",
        ),
        (
            f"{CANNOT} No module named 'yaml.nodes'",
            (
                "what it imports has to be in its folder, or in a layer: pip install "
                "--target FOLDER yaml"
            ),
        ),
        ("ValueError: No module named 'app'", ""),
        (
            "Runtime.MalformedHandlerName: Bad handler 'app:handler': not enough",
            "its handler is app.handler: name another with --handler MODULE.FUNCTION",
        ),
        (
            (
                "Runtime.ImportModuleError: Unable to import module 'app': attempted "
                "relative import with no known parent package"
            ),
            (
                "its module is in no package: import what lies beside it by name "
                "alone, without the dot"
            ),
        ),
        ("MemoryError: ", "it wants more memory than it has: add --memory MB"),
    ],
)
def test_what_newcomers_most_often_have_to_mend_is_said(error: str, hint: str) -> None:
    assert why_not_imported(error, "app.handler") == hint


@pytest.mark.parametrize(
    ("runtime", "found", "is_told"),
    [
        ("python3.12", {"python3.9"}, True),
        ("python3.12", {"python3.12 on macOS"}, True),
        ("python3.12", {"python3.9", "python3.12"}, False),
        ("python3.12-custom", {"python3.12"}, False),
        ("python3.12", set(), False),
    ],
)
def test_a_package_for_another_python_is_told(
    runtime: str, found: set[str], is_told: bool
) -> None:
    error = f"{CANNOT} No module named 'pydantic_core._pydantic_core'"

    told = compiled_for_another(error, runtime, found)

    assert bool(told) is is_told
    assert not is_told or "--python-version 3.12 --only-binary :all:" in told
    assert not compiled_for_another("ValueError: no", runtime, found)


def test_a_folder_too_many_is_told() -> None:
    missing = f"{CANNOT} No module named 'app'"
    there = "Runtime.HandlerNotFound: Handler 'handler' missing on module 'app'"

    told = why_not_imported(missing, "app.handler", only_folder="site")

    assert "all files are in the folder site: pack what is in that folder" in told
    assert "--handler site/MODULE.FUNCTION" in told
    assert "site" not in why_not_imported(there, "app.handler", only_folder="site")


def test_a_node_function_without_a_file_for_its_handler_is_not_offered_for_invocation(
    cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "app.js").write_text("exports.handler = async () => 1")
    words = ("--name", "it", "--runtime", "nodejs22.x", "--handler")

    wrong = cli("deploy", str(tmp_path), *words, "app.handler").stderr
    right = cli("deploy", str(tmp_path), *words, "site/app.handler").stderr

    assert "no file of the package is that of its handler" in wrong
    assert "all files are in the folder site" in wrong
    assert "invoke it" not in wrong
    assert "invoke it" in right


def test_a_handler_that_is_kept_and_that_nobody_has_looked_for_is_told(
    cli: Cli, source: Path
) -> None:
    node = source.with_name("index.js")
    node.write_text("exports.handler = async () => 1")

    cli("deploy", f"{node}:nope", "--runtime", "nodejs22.x")
    again = cli("deploy", str(node)).stderr
    python = cli("deploy", str(source)).stderr

    assert "its handler is index.nope, which the first invocation looks for" in again
    assert "its handler is" not in python


def test_a_module_that_hides_behind_one_of_python_s_is_told() -> None:
    error = "Runtime.HandlerNotFound: Handler 'handler' missing on module 'json'"

    assert why_not_imported(error, "json.handler").startswith("Python has a module")
    error = f"{CANNOT} No module named 'site.app'; 'site' is not a package"
    assert "called site, which" in why_not_imported(error, "site/app.handler")


def test_a_change_after_which_it_cannot_be_imported_fails(
    cli: Cli, engine: Engine
) -> None:
    function = engine.add_function("hello")
    function.fork_safety_reason = f"the import failed: {CANNOT} No module named 'a'"

    changed = cli("fn", "config", "hello", "--memory", "256")
    shown = cli("fn", "config", "hello")

    assert (changed.exit_code, shown.exit_code) == (1, 0)
    assert "cannot be imported: Runtime.ImportModuleError" in changed.stderr
    assert "cannot be imported" not in shown.stderr


def test_an_environment_is_emptied(cli: Cli, engine: Engine, source: Path) -> None:
    cli("deploy", str(source), "--env", "AB=1", "--env", "CD=2")

    cli("fn", "config", "hello", "--memory", "256")
    environment = engine.functions["000000000001", "hello"].config.environment
    kept = dict(environment)
    cli("fn", "config", "hello", "--env", "")

    emptied = engine.functions["000000000001", "hello"].config.environment
    assert (kept, dict(emptied)) == ({"AB": "1", "CD": "2"}, {})


def test_tags_are_added_changed_and_taken_away(cli: Cli, engine: Engine) -> None:
    engine.add_function("hello")

    added = cli("fn", "tag", "hello", "team=blue", "stage=a=b", "--json")
    cli("fn", "tag", "hello", "team=red")
    shown = json.loads(cli("fn", "show", "hello", "--json").stdout)["tags"]
    left = cli("fn", "untag", "hello", "stage", "never-there")

    assert json.loads(added.stdout) == {"team": "blue", "stage": "a=b"}
    assert shown == {"team": "red", "stage": "a=b"}
    assert left.stdout.split() == ["team", "red"]
    assert cli("fn", "untag", "hello", "team").stdout == ""


@pytest.mark.parametrize(
    "words", [("tag", "hello"), ("tag", "hello", "x"), ("untag", "h")]
)
def test_what_is_no_tag_asks_for_nothing(
    cli: Cli, engine: Engine, words: tuple[str, ...]
) -> None:
    assert cli("fn", *words).exit_code == 2
    assert engine.requests == []


def test_what_to_run_next_is_of_the_same_tenant(
    cli: Cli, engine: Engine, source: Path
) -> None:
    engine.add_tenant("123456789012", "acme", key=("AKIA2", "s"))

    def fail(_: object) -> None:
        raise Failure("ValueError", "no")

    deployed = cli("deploy", str(source), "--tenant", "123456789012")
    engine.answers["hello"] = fail
    failed = cli("invoke", "hello", "--tenant", "123456789012")

    assert "sandlot invoke hello '{}' --tenant 123456789012\n" in deployed.stderr
    assert "sandlot logs hello --tenant 123456789012\n" in failed.stderr


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
    assert "with its versions, aliases, URLs and triggers?" in refused.stderr
    assert (done.exit_code, engine.functions) == (0, {})


@pytest.mark.parametrize("word", ["delete", "rm", "remove"])
def test_a_command_answers_to_other_tools_words_for_it(
    cli: Cli, engine: Engine, word: str
) -> None:
    engine.add_function("hello")

    done = cli("fn", word, "hello", "--yes")

    assert done.exit_code == 0, done.output
    assert engine.functions == {}
    assert cli("fn", "ls").exit_code == 0
    assert "No such command 'purge'" in cli("fn", "purge", "hello").stderr
