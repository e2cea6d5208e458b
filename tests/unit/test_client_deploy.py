"""Deploying: create or update, and wait until it serves."""

from pathlib import Path
from typing import Any

import pytest

from sandlot import Client, errors, results
from sandlot.packing import pack
from sandlot.results import Network
from sandlot.v1 import functions_pb2 as fn
from sandlot_engine.node import hosted
from sandlot_sandbox.guest import zygote
from tests.fakes.engine import Engine


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "src" / "hello.py"
    file.parent.mkdir()
    file.write_text("def handler(event, context): return event\n")
    return file


def asked(engine: Engine) -> list[str]:
    """The kinds of request that changed something, in order."""
    kinds = [type(one).__name__.removesuffix("Request") for one in engine.requests]
    return [kind for kind in kinds if not kind.startswith(("Get", "List"))]


def test_a_new_function_is_created_and_waited_for(
    client: Client, engine: Engine, source: Path
) -> None:
    engine.polls_until_ready = 3

    hello = client.deploy(source, memory=256, env={"MODE": "fast"})

    assert hello.deployed is not None
    assert (hello.name, hello.deployed.state) == ("hello", "Active")
    assert hello.deployed.handler == "hello.handler"
    assert hello.deployed.environment == {"MODE": "fast"}
    assert engine.zips["hello"] == pack(source).zip


def test_the_engines_newest_python_is_taken_if_it_lacks_ours(
    client: Client, source: Path
) -> None:
    hello = client.deploy(source)

    assert hello.config().runtime == "python3.10"


def test_deploying_the_same_again_changes_nothing(
    client: Client, engine: Engine, source: Path
) -> None:
    client.deploy(source, memory=256)
    engine.requests.clear()

    client.deploy(source, memory=256)

    assert asked(engine) == []


def test_an_existing_function_gets_only_what_differs_and_settings_first(
    client: Client, engine: Engine, source: Path
) -> None:
    client.deploy(source, memory=256, timeout=10)
    source.write_text("def handler(event, context): return 2\n")
    engine.requests.clear()

    hello = client.deploy(source, memory=512, timeout=10)

    assert asked(engine) == ["UpdateFunctionConfiguration", "UpdateFunctionCode"]
    assert hello.deployed is not None
    assert (hello.deployed.memory_mb, hello.deployed.timeout_s) == (512, 10)
    (change,) = (
        one
        for one in engine.requests
        if isinstance(one, fn.UpdateFunctionConfigurationRequest)
    )
    assert not change.HasField("timeout_s")


def test_a_function_that_cannot_be_made_ready_says_why(
    client: Client, engine: Engine, source: Path
) -> None:
    engine.next_updates.append((fn.FUNCTION_STATE_FAILED, "No module named 'nmupy'"))

    with pytest.raises(errors.DeployFailed, match="No module named 'nmupy'"):
        client.deploy(source)


def test_a_function_that_never_served_is_made_anew_with_its_settings(
    client: Client, engine: Engine, source: Path
) -> None:
    engine.next_updates.append((fn.FUNCTION_STATE_FAILED, "no"))
    with pytest.raises(errors.DeployFailed):
        client.deploy(source, memory=512, handler="hello.wrong")
    engine.requests.clear()

    hello = client.deploy(source, handler="hello.handler")

    assert asked(engine) == ["DeleteFunction", "CreateFunction"]
    assert hello.deployed is not None
    assert (hello.deployed.handler, hello.deployed.memory_mb) == ("hello.handler", 512)


def test_a_failed_update_says_that_the_old_code_serves(
    client: Client, engine: Engine, source: Path
) -> None:
    client.deploy(source)
    engine.next_updates.append((fn.UPDATE_STATUS_FAILED, "SyntaxError"))
    source.write_text("def")

    with pytest.raises(errors.DeployFailed, match="still serves: SyntaxError"):
        client.deploy(source)


def test_a_deploy_that_takes_too_long_says_that_it_goes_on(
    client: Client, engine: Engine, source: Path
) -> None:
    engine.polls_until_ready = 1_000_000

    with pytest.raises(errors.DeadlineExceeded, match="still being made ready"):
        client.deploy(source, deadline=0.3)


def test_a_folder_without_a_likely_handler_needs_one(
    client: Client, source: Path
) -> None:
    (source.parent / "other.py").touch()

    with pytest.raises(errors.InvalidParameter, match="no handler"):
        client.deploy(source.parent)


def test_a_guessed_handler_never_replaces_one_that_was_given(
    client: Client, source: Path
) -> None:
    client.deploy(source, handler="hello.main")

    client.deploy(source)

    assert client.get_function("hello").handler == "hello.main"


def lacks(engine: Engine, module: str) -> None:
    """What `hello` answers from now on to whoever asks how its import went."""
    function = engine.functions["000000000001", "hello"]
    function.fork_safe = False
    function.fork_safety_reason = (
        "the import failed: Runtime.ImportModuleError: Unable to import module "
        f"'hello': No module named '{module}'"
    )


def test_another_file_under_a_name_has_its_own_handler(
    client: Client, engine: Engine, source: Path
) -> None:
    client.deploy(source)
    other = source.with_name("other.py")
    other.write_text("def handler(event, context): return 2\n")
    lacks(engine, "hello")
    engine.requests.clear()

    done = client.deploy(other, name="hello")

    assert asked(engine) == ["UpdateFunctionCode", "UpdateFunctionConfiguration"]
    assert client.get_function("hello").handler == "other.handler"
    assert done.replaced_handler == "hello.handler"


def test_a_handler_that_is_elsewhere_and_found_is_kept(
    client: Client, source: Path
) -> None:
    """As that of a layer, which no package has."""
    client.deploy(source, handler="wrapper.handler")
    source.write_text("def handler(event, context): return 2\n")

    done = client.deploy(source)

    assert client.get_function("hello").handler == "wrapper.handler"
    assert done.replaced_handler == ""


def test_a_handler_that_its_file_calls_otherwise_now_gives_way(
    client: Client, engine: Engine, source: Path
) -> None:
    client.deploy(source)
    source.write_text("def lambda_handler(event, context): return 2\n")
    engine.functions["000000000001", "hello"].fork_safety_reason = (
        "the import failed: Runtime.HandlerNotFound: Handler 'handler' missing on"
        " module 'hello'"
    )

    done = client.deploy(source)

    assert client.get_function("hello").handler == "hello.lambda_handler"
    assert done.replaced_handler == "hello.handler"


def test_a_handler_without_a_file_gives_way_where_nothing_was_imported(
    client: Client, source: Path
) -> None:
    client.deploy(source.parent, name="it", init_mode="per-instance")
    source.rename(source.with_name("renamed.py"))

    done = client.deploy(source.parent, name="it")

    assert client.get_function("it").handler == "renamed.handler"
    assert done.replaced_handler == "hello.handler"


@pytest.mark.parametrize("missing", ["numpy", "hello.parts"])
def test_a_handler_whose_own_imports_fail_is_kept(
    client: Client, engine: Engine, source: Path, missing: str
) -> None:
    client.deploy(source, handler="hello.main")
    lacks(engine, missing)

    assert client.deploy(source).replaced_handler == ""
    assert client.get_function("hello").handler == "hello.main"


def test_a_handler_that_is_given_is_taken_though_it_is_not_there(
    client: Client, engine: Engine, source: Path
) -> None:
    client.deploy(source)
    lacks(engine, "nowhere")

    assert client.deploy(source, handler="nowhere.main").replaced_handler == ""
    assert client.get_function("hello").handler == "nowhere.main"


@pytest.mark.parametrize("name", ["it.js", "it.mjs", "it.cjs"])
def test_a_file_in_javascript_gets_the_newest_node(
    client: Client, source: Path, name: str
) -> None:
    file = source.with_name(name)
    file.write_text("exports.handler = async () => 1")

    assert client.deploy(file).config().runtime == "nodejs22.x"


def test_another_file_of_node_under_a_name_has_its_own_handler(
    client: Client, engine: Engine, source: Path
) -> None:
    """Though nothing of Node's is imported that could fail."""
    one, other = source.with_name("one.js"), source.with_name("other.mjs")
    for file in (one, other):
        file.write_text("")
    client.deploy(one, name="it")

    again = client.deploy(one, name="it")
    done = client.deploy(other, name="it")

    assert again.replaced_handler == ""
    assert done.replaced_handler == "one.handler"
    assert client.get_function("it").handler == "other.handler"


@pytest.mark.parametrize(
    "handler",
    [
        *("lib/it.handler", "./index.handler", "wrapper.handler", "dotted.a.handler"),
        "/opt/nodejs/wrapper.handler",
    ],
)
def test_a_handler_that_node_finds_is_kept(
    client: Client, source: Path, handler: str
) -> None:
    root = source.with_name("site")
    for name in ("index.js", "lib/it.cjs", "node_modules/wrapper/main.js", "dotted"):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
    client.deploy(root, handler=handler, runtime="nodejs22.x")
    (root / "index.js").write_text("// another")

    done = client.deploy(root)

    assert (done.replaced_handler, done.lacks_handler) == ("", False)
    assert client.get_function("site").handler == handler


def test_a_folder_gets_node_by_its_likely_handler_alone(
    client: Client, source: Path
) -> None:
    source.with_name("index.js").write_text("")

    likely = client.deploy(source.parent, name="likely").config()
    named = client.deploy(source.parent, name="named", handler="index.handler").config()
    given = client.deploy(source.parent, name="given", handler="hello.main").config()

    assert (likely.runtime, likely.handler) == ("nodejs22.x", "index.handler")
    assert (named.runtime, named.handler) == ("nodejs22.x", "index.handler")
    assert given.runtime == "python3.10"


@pytest.mark.parametrize(
    ("file", "handler"),
    [
        ("index.js", "index.main"),
        ("app.mjs", "app.handler"),
        ("src/app.cjs", "src/app.handler"),
    ],
)
def test_a_handler_that_is_named_has_the_language_of_its_file(
    client: Client, tmp_path: Path, file: str, handler: str
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / file).write_text("")
    (tmp_path / "src" / "tool.py").write_text("")

    made = client.deploy(tmp_path, name="made", handler=handler).config()
    other = client.deploy(tmp_path, name="other", handler="src.tool.handler").config()

    assert (made.runtime, made.handler) == ("nodejs22.x", handler)
    assert other.runtime == "python3.10"


def test_a_file_of_another_language_is_not_put_in_a_function_s_place(
    client: Client, engine: Engine, source: Path
) -> None:
    client.deploy(source)
    script = source.with_name("it.js")
    script.write_text("")
    engine.requests.clear()

    with pytest.raises(errors.UsageError, match="hello is a function of python"):
        client.deploy(script, name="hello")

    assert asked(engine) == []
    taken = client.deploy(script, name="hello", runtime="nodejs20.x")
    assert taken.config().runtime == "nodejs20.x"


@pytest.mark.parametrize("is_folder", [True, False])
def test_with_force_the_file_of_another_language_changes_the_runtime(
    client: Client, engine: Engine, source: Path, *, is_folder: bool
) -> None:
    client.deploy(source, name="it", memory=512)
    script = source.with_name("site") / "index.js"
    script.parent.mkdir()
    script.write_text("")
    what = script.parent if is_folder else script
    with pytest.raises(errors.UsageError, match="have it changed"):
        client.deploy(what, name="it")

    made = client.deploy(what, name="it", force=True).config()

    assert (made.runtime, made.handler) == ("nodejs22.x", "index.handler")
    assert made.memory_mb == 512


def test_with_force_code_is_sent_that_is_there(
    client: Client, engine: Engine, source: Path
) -> None:
    client.deploy(source)
    engine.requests.clear()

    client.deploy(source, force=True)

    assert asked(engine) == ["UpdateFunctionCode"]


@pytest.mark.parametrize("is_there", [True, False])
def test_a_runtime_that_does_not_run_the_file_is_refused(
    client: Client, engine: Engine, source: Path, *, is_there: bool
) -> None:
    if is_there:
        client.deploy(source)
    engine.requests.clear()

    with pytest.raises(errors.UsageError, match=r"hello\.py is not run by nodejs22\.x"):
        client.deploy(source, runtime="nodejs22.x")

    assert engine.requests == []
    assert client.deploy(source, runtime="python3.12-mine").name == "hello"


def test_a_zip_of_a_folder_is_told_from_one_of_what_is_in_it(
    client: Client, source: Path
) -> None:
    inside = source.with_name("outside") / "site"
    inside.mkdir(parents=True)
    (inside / "app.py").write_text("")
    (inside.parent / "__MACOSX").mkdir()
    (inside.parent / "__MACOSX" / "._site").write_text("")

    with pytest.raises(errors.UsageError, match="files are in the folder 'site': pack"):
        client.deploy(pack(inside.parent).zip, name="site")

    assert client.deploy(pack(inside).zip, name="site").only_folder == ""


@pytest.mark.parametrize("what", ["bootstrap", "."])
def test_a_program_gets_the_runtime_of_programs(
    client: Client, tmp_path: Path, what: str
) -> None:
    (tmp_path / "bootstrap").write_text("#!/bin/sh")

    made = client.deploy(tmp_path / what, name="it").config()

    assert (made.runtime, made.handler) == ("provided.al2023", "bootstrap")


def test_a_program_does_not_take_the_place_of_python(
    client: Client, source: Path, tmp_path: Path
) -> None:
    client.deploy(source, name="it")
    (tmp_path / "bootstrap").write_text("#!/bin/sh")

    with pytest.raises(errors.UsageError, match="does not run such a file"):
        client.deploy(tmp_path / "bootstrap", name="it")


def test_a_setting_that_there_is_not_is_told_with_those_there_are(
    client: Client, source: Path
) -> None:
    with pytest.raises(TypeError, match=r"memory_mb; there are .*memory, "):
        client.deploy(source, memory_mb=256)  # type: ignore[call-arg]


def test_nothing_is_deployed_to_an_alias(
    client: Client, engine: Engine, source: Path
) -> None:
    client.deploy(source)
    before = len(engine.requests)

    with pytest.raises(errors.UsageError, match="by its name alone"):
        client.deploy(source, name="hello:live")

    assert len(engine.requests) == before


def test_a_zip_is_called_as_its_file(
    client: Client, engine: Engine, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "greet.zip").write_bytes(pack(source).zip)

    client.deploy(tmp_path / "greet.zip", handler="hello.handler")

    assert client.get_function("greet").handler == "hello.handler"
    with pytest.raises(errors.InvalidParameter, match="no name of its own"):
        client.deploy(pack(source).zip, handler="hello.handler")


def test_an_empty_environment_can_be_told_from_none(
    client: Client, engine: Engine, source: Path
) -> None:
    client.deploy(source, env={"A": "1"})

    client.update_function("hello", memory=256)
    kept = client.get_function("hello").environment
    client.update_function("hello", env={})
    emptied = client.get_function("hello").environment

    assert (kept, emptied) == ({"A": "1"}, {})


@pytest.mark.parametrize("network", list(Network))
def test_a_network_travels_both_ways(
    client: Client, source: Path, network: Network
) -> None:
    client.deploy(source, network=network)

    assert client.get_function("hello").network is network


def test_a_network_can_be_changed_and_is_left_alone_unless_it_is_named(
    client: Client, engine: Engine, source: Path
) -> None:
    client.deploy(source, network="egress")
    engine.requests.clear()

    client.deploy(source)
    unchanged = asked(engine)
    client.update_function("hello", network="none")

    assert unchanged == []
    assert client.get_function("hello").network is Network.NONE


@pytest.mark.parametrize("option", ["network", "init_mode"])
def test_a_value_that_there_is_not_is_refused_with_those_there_are(
    client: Client, engine: Engine, source: Path, option: str
) -> None:
    with pytest.raises(errors.UsageError, match="'internet' is not one of"):
        client.deploy(source, **{option: "internet"})  # type: ignore[arg-type]

    assert asked(engine) == []


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("the import failed: Runtime.ImportModuleError: No m", "Runtime.ImportModule"),
        ("the import ended the process: exit status 3", "exit status 3"),
        ("an open socket", ""),
        ("", ""),
    ],
)
def test_an_import_that_fails_is_told_from_one_that_only_must_not_be_cloned(
    client: Client, engine: Engine, source: Path, reason: str, told: str
) -> None:
    client.deploy(source)
    engine.functions["000000000001", "hello"].fork_safety_reason = reason

    error = client.get_function("hello").import_error

    assert error.startswith(told)
    assert bool(error) is bool(told)


def test_the_engines_words_for_a_failing_import_are_those_that_we_know() -> None:
    # The client must not import the engine, so nothing else holds the two together.
    engines = Path(hosted.__file__).read_text() + Path(zygote.__file__).read_text()

    assert [one for one in results.NO_IMPORT if f'"{one}' not in engines] == []


def test_init_mode_travels_both_ways(client: Client, source: Path) -> None:
    client.deploy(source, init_mode="per-instance")

    assert client.get_function("hello").init_mode == "per-instance"


# --- images ------------------------------------------------------------------


def test_neither_an_image_nor_a_package_takes_the_other_s_place(
    client: Client, engine: Engine, source: Path
) -> None:
    client.deploy("oci:hello:1", name="image")
    client.deploy(source)
    engine.requests.clear()

    with pytest.raises(errors.UsageError, match="image is an image, and this is none"):
        client.deploy(source, name="image")
    with pytest.raises(errors.UsageError, match="hello is no image"):
        client.deploy("oci:hello:1", name="hello")

    assert asked(engine) == []


def test_with_force_one_of_another_kind_is_made_anew_once_it_can_be(
    client: Client, engine: Engine, source: Path
) -> None:
    client.deploy("oci:hello:1", name="it", memory=512, env={"A": "1"}, command=("a",))
    other = source.with_name("other.py")
    other.touch()
    engine.requests.clear()

    with pytest.raises(errors.UsageError, match="no handler"):
        client.deploy(source.parent, name="it", force=True)
    assert asked(engine) == []
    other.unlink()
    done = client.deploy(source.parent, name="it", force=True)

    trial = ["CreateFunction", "DeleteFunction"]
    assert asked(engine) == [*trial, "DeleteFunction", "CreateFunction"]
    assert done.is_made_anew
    made = done.config()
    assert (made.image, made.handler, made.command) == ("", "hello.handler", ())
    assert (made.memory_mb, made.environment) == (512, {"A": "1"})
    assert [one.name for one in client.functions()] == ["it"]


def test_an_image_is_created_with_what_is_run_of_it(
    client: Client, engine: Engine
) -> None:
    handle = client.deploy(
        "oci:hello:1", name="it", entry_point=["/run"], command=("a", "b c")
    )

    made = handle.deployed
    assert made is not None
    assert (made.image, made.runtime, made.handler) == ("oci:hello:1", "", "")
    assert (made.entry_point, made.command) == (("/run",), ("a", "b c"))
    assert asked(engine) == ["CreateFunction"]


def test_of_an_image_only_what_differs_is_set(client: Client, engine: Engine) -> None:
    run = {"entry_point": ["/run"], "working_directory": "/srv"}
    client.deploy("oci:hello:1", name="it", command=["a"], **run)  # type: ignore[arg-type]
    engine.requests.clear()

    again = client.deploy("oci:hello:2", name="it", command=["b"], **run)  # type: ignore[arg-type]

    assert asked(engine) == ["UpdateFunctionConfiguration", "UpdateFunctionCode"]
    (change,) = (
        one
        for one in engine.requests
        if isinstance(one, fn.UpdateFunctionConfigurationRequest)
    )
    assert [field.name for field, _ in change.ListFields()] == ["name", "command"]
    assert again.deployed is not None
    assert (again.deployed.command, again.deployed.entry_point) == (("b",), ("/run",))


def test_an_image_s_own_command_can_be_told_from_none_said(client: Client) -> None:
    client.deploy("oci:hello:1", name="it", command=["a"], working_directory="/srv")

    kept = client.update_function("it", memory=256)
    own = client.update_function("it", command=[], working_directory="")

    assert (kept.command, kept.working_directory) == (("a",), "/srv")
    assert (own.command, own.working_directory) == ((), "")


@pytest.mark.parametrize("option", ["entry_point", "command"])
def test_a_text_is_not_taken_for_a_list_of_words(client: Client, option: str) -> None:
    wrong = {option: "app.handler"}

    with pytest.raises(
        errors.InvalidParameter, match=r"list of words: \['app.handler'"
    ):
        client.deploy("oci:hello:1", name="it", **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"memory": "big"}, "memory cannot be of type str"),
        ({"memory": 2**40}, "memory cannot be of type int"),
        ({"timeout": 1.5}, "timeout cannot be of type float"),
        ({"handler": 3}, "handler cannot be of type int"),
        ({"layers": [3]}, "layers cannot be of type list"),
        ({"env": {"PORT": 8080}}, "what is given for 'PORT' is of type int"),
        ({"env": ["A=1"]}, "what is given for 'env' is of type list"),
    ],
    ids=repr,
)
def test_a_value_of_another_type_is_told_by_its_setting(
    client: Client, engine: Engine, source: Path, options: Any, told: str
) -> None:
    with pytest.raises(errors.UsageError, match=told):
        client.deploy(source, **options)

    assert asked(engine) == []


def test_a_client_that_is_closed_says_so(client: Client, engine: Engine) -> None:
    engine.add_function("hello")
    client.invoke("hello")
    client.close()

    calls: list[Any] = [client.invoke, client.runs, client.logs, client.stream]
    for call in calls:
        with pytest.raises(errors.UsageError, match="this client is closed"):
            list(call("hello"))
