"""Layers by the SDK, both twins."""

from pathlib import Path

import pytest

from sandlot import AsyncClient, Client, errors
from sandlot.packing import pack
from tests.fakes.engine import Engine


@pytest.fixture
def deps(tmp_path: Path) -> Path:
    folder = tmp_path / "deps"
    (folder / "python").mkdir(parents=True)
    (folder / "python" / "deps.py").write_text("ANSWER = 42")
    return folder


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    file = tmp_path / "hello.py"
    file.write_text("def handler(event, context): ...")
    return file


def test_a_layer_has_versions(client: Client, deps: Path) -> None:
    first = client.publish_layer(deps, description="mine", runtimes=["python3.11"])
    second = client.publish_layer(pack(deps).zip, name="deps")
    client.publish_layer(deps, name="another")

    assert (first.name, first.version, first.description) == ("deps", 1, "mine")
    assert first.compatible_runtimes == ("python3.11",)
    assert first.code_sha256 == second.code_sha256
    assert [each.name for each in client.list_layers()] == ["another", "deps"]
    assert list(client.list_layer_versions("deps")) == [second, first]
    client.delete_layer_version("deps", 1)
    assert list(client.list_layer_versions("deps")) == [second]


def test_a_layer_that_is_not_there_is_not_found(client: Client) -> None:
    with pytest.raises(errors.NotFound):
        list(client.list_layer_versions("nothing"))
    with pytest.raises(errors.NotFound):
        client.delete_layer_version("nothing", 1)


def test_a_file_is_no_layer(client: Client, engine: Engine, hello: Path) -> None:
    with pytest.raises(errors.UsageError, match="what Python is to import"):
        client.publish_layer(hello)
    with pytest.raises(errors.UsageError, match="no name of its own"):
        client.publish_layer(pack(hello).zip)
    with pytest.raises(errors.UsageError, match="a list"):
        client.publish_layer(hello.parent, runtimes="python3.11")

    assert engine.requests == []


def test_a_function_has_layers_and_deploying_again_changes_nothing(
    client: Client, engine: Engine, hello: Path
) -> None:
    arn = "arn:aws:lambda:us-east-1:000000000001:layer:deps:1"
    other = arn.replace("000000000001", "123456789012")

    made = client.deploy(hello, layers=["deps:1", other]).deployed
    engine.requests.clear()
    client.deploy(hello, layers=("deps:1", other))
    client.deploy(hello)
    asked = {type(one).__name__ for one in engine.requests}

    assert made is not None
    assert made.layers == (arn, other)
    assert asked == {"GetFunctionRequest"}
    assert client.update_function("hello", layers=[]).layers == ()


def test_one_text_is_no_list_of_layers(client: Client, hello: Path) -> None:
    with pytest.raises(errors.UsageError, match="layers is a list"):
        client.deploy(hello, layers="deps:1")


def test_a_handler_of_node_may_be_in_a_layer(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "it.js"
    file.write_text("")
    client.deploy(file, handler="wrapper.handler", layers=["wrapper:1"])
    file.write_text("// another")

    done = client.deploy(file)

    assert (done.replaced_handler, done.lacks_handler) == ("", False)


async def test_the_twin_does_the_same(aclient: AsyncClient, deps: Path) -> None:
    made = await aclient.publish_layer(deps)

    assert [each async for each in aclient.list_layers()] == [made]
    assert [each async for each in aclient.list_layer_versions("deps")] == [made]
    await aclient.delete_layer_version("deps", made.version)
    assert [each async for each in aclient.list_layers()] == []
