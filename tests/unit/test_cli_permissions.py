"""`sandlot permission`, and the SDK's calls behind it, both twins."""

import json

import pytest

from sandlot import AsyncClient, Client, errors
from sandlot.results import Condition, Permission
from tests.fakes.engine import Engine
from tests.unit.conftest import Cli

OTHER = "210987654321"


def test_add_prints_the_id_alone_on_stdout(cli: Cli, engine: Engine) -> None:
    engine.add_function("hello")

    done = cli("permission", "add", "hello", OTHER)

    assert (done.exit_code, done.stdout) == (0, OTHER + "\n")
    assert f"sandlot permission remove hello {OTHER}" in done.stderr
    (made,) = engine.permissions["hello", ""]
    assert list(made.principals) == [OTHER]
    assert list(made.actions) == ["lambda:InvokeFunction"]


def test_a_url_takes_two_and_both_are_taken_back(cli: Cli, engine: Engine) -> None:
    engine.add_function("hello")

    done = cli("permission", "add", "hello:live", "*", "--url")
    made = list(engine.permissions["hello", "live"])
    gone = cli("permission", "rm", "hello:live", *done.stdout.split())

    assert [each.id for each in made] == ["everybody", "everybody-via-url"]
    assert [(each.actions[0], each.conditions[0].values[0]) for each in made] == [
        ("lambda:InvokeFunctionUrl", "AWS_IAM"),
        ("lambda:InvokeFunction", "true"),
    ]
    assert gone.exit_code == 0
    assert engine.permissions["hello", "live"] == []


def test_a_list_says_who_may_do_what_and_when(cli: Cli, engine: Engine) -> None:
    engine.add_function("hello")
    cli("permission", "add", "hello", OTHER, "--id", "one", "--source-account", OTHER)

    shown = cli("permission", "list", "hello")
    document = json.loads(cli("permission", "list", "hello", "--json").stdout)

    assert shown.stdout.splitlines()[1].split() == [
        *("one", OTHER, "lambda:InvokeFunction", f"AWS:SourceAccount={OTHER}")
    ]
    (only,) = document
    assert (only["id"], only["principals"], only["is_denial"]) == (
        "one",
        [OTHER],
        False,
    )


def test_what_is_not_there_is_told_with_where_to_look(cli: Cli, engine: Engine) -> None:
    engine.add_function("hello")

    done = cli("permission", "remove", "hello", "none")

    assert done.exit_code == 3
    assert "sandlot permission list hello" in done.stderr


def test_url_says_by_itself_what_is_allowed(cli: Cli, engine: Engine) -> None:
    done = cli("permission", "add", "hello", "*", "--url", "--action", "lambda:*")

    assert done.exit_code == 2
    assert engine.permissions == {}


def test_the_sdk_has_values(client: Client, engine: Engine) -> None:
    engine.add_function("hello")

    made = client.add_permission("hello", "one", "*", via_url=True)

    via = Condition(
        operator="Bool", key="lambda:InvokedViaFunctionUrl", values=("true",)
    )
    assert made == Permission(
        id="one",
        is_denial=False,
        actions=("lambda:InvokeFunction",),
        principals=("*",),
        conditions=(via,),
    )
    assert client.list_permissions("hello") == (made,)
    client.remove_permission("hello", "one")
    assert client.list_permissions("hello") == ()


async def test_its_twin_has_the_same(aclient: AsyncClient, engine: Engine) -> None:
    engine.add_function("hello")

    made = await aclient.add_permission("hello", "one", "*", url_auth="none")

    assert await aclient.list_permissions("hello") == (made,)
    await aclient.remove_permission("hello", "one")
    with pytest.raises(errors.NotFound):
        await aclient.remove_permission("hello", "one")
