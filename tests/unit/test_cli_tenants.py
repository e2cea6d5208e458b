"""Commands about tenants and their keys."""

import json
import re

import pytest

from tests.fakes.engine import OPERATOR, Engine
from tests.unit.conftest import Cli


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


def test_a_tenant_is_suspended_and_resumed(cli: Cli, engine: Engine) -> None:
    engine.add_tenant("123456789012", "acme", key=("KEY", "secret"))

    off = cli("tenant", "suspend", "123456789012", "--json")
    listed = cli("tenant", "list")
    on = cli("tenant", "resume", "123456789012", "--json")

    assert json.loads(off.stdout)["suspended"]
    assert "suspended" in listed.stdout
    assert not json.loads(on.stdout)["suspended"]


def test_a_tenant_is_deleted_with_its_functions(cli: Cli, engine: Engine) -> None:
    engine.add_tenant("123456789012", "acme", key=("KEY", "secret"))
    for name in ("one", "two"):
        engine.add_function(name, tenant_id="123456789012")

    done = cli("tenant", "delete", "123456789012", "--with-functions", "--yes")

    assert done.exit_code == 0
    assert not any(owner == "123456789012" for owner, *_ in engine.functions)
    assert "123456789012" not in engine.tenants
