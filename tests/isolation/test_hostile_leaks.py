"""Hostile programs that look for what others left: nothing is found."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.isolation.aftermath import Arena, Either, Only, arena, attacked, instance_of
from tests.isolation.machine import Guest, Sandbox, ask

pytestmark = pytest.mark.asyncio(loop_scope="session")

STARTED_WITH = Only("LANG", "LC_CTYPE", "LD_BIND_NOW", "LD_LIBRARY_PATH", "PATH", "TZ")

LEAKS = {
    "read_the_environment": [],
    "read_the_arguments": [],
    "read_names_of_the_machine": Either(
        ["sandlot"], ["localhost", "sandlot"], ["sandbox.localdomain", "sandlot"]
    ),
    "read_the_first_environment": STARTED_WITH,
    "read_users_of_the_machine": [["sandlot"], ["sandlot"], True],
    "read_the_id_map": [["1000", "1"]],
    "read_ids_of_the_machine": [],
    "list_processes": [],
    "list_modules_of_the_engine": [],
    "read_unwritten_stack": [],
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def jail(sandbox: Sandbox, curious: Guest) -> AsyncIterator[Arena]:
    async with arena(sandbox, curious, "hostile/leaks") as made:
        yield made


@pytest.mark.parametrize(("program", "expected"), LEAKS.items())
async def test_nothing_of_others_is_found(
    sandbox: Sandbox, jail: Arena, program: str, expected: object
) -> None:
    paths = [str(sandbox.store.code), str(sandbox.store.code.parent)]

    assert await jail.play(program, paths=paths) == expected


async def test_its_control_group_has_a_name_that_says_nothing(jail: Arena) -> None:
    paths = await jail.play("read_its_cgroup")

    assert all(re.fullmatch(r"/|/\.\./[0-9a-f]{16}", path) for path in paths), paths


@pytest.mark.parametrize("program", ["search_fresh_memory", "search_its_own_memory"])
async def test_memory_of_an_earlier_tenant_is_not_found(
    sandbox: Sandbox, curious: Guest, program: str
) -> None:
    async with attacked(sandbox, curious, "hostile/leaks") as earlier:
        assert await ask(await instance_of(earlier), "plant_a_secret") == "planted"

    async with attacked(sandbox, curious, "hostile/leaks", memory_mb=256) as later:
        assert await ask(await instance_of(later), program) == []


async def test_memory_of_a_sibling_is_not_found(
    sandbox: Sandbox, curious: Guest
) -> None:
    async with attacked(sandbox, curious, "hostile/leaks") as guest:
        earlier = await instance_of(guest)
        assert await ask(earlier, "plant_a_secret") == "planted"
        assert await ask(earlier, "search_its_own_memory") != [], "it would be found"
        await earlier.destroy()

        assert await guest.ask("search_fresh_memory") == []
        assert await guest.ask("search_its_own_memory") == []


async def test_two_tenants_have_neither_addresses_nor_a_hash_seed_in_common(
    sandbox: Sandbox, curious: Guest
) -> None:
    told = []
    for _ in range(2):
        async with attacked(sandbox, curious, "hostile/leaks") as guest:
            told.append(await ask(await instance_of(guest), "tell_what_must_differ"))

    one, other = told
    assert [name for name in one if one[name] == other[name]] == []


async def test_two_instances_draw_different_random_numbers(
    sandbox: Sandbox, curious: Guest
) -> None:
    async with attacked(sandbox, curious, "hostile/leaks") as guest:
        instances = [await instance_of(guest), await guest.fork()]
        one, other = [await ask(one, "tell_what_must_differ") for one in instances]

    assert one["random"] != other["random"]
    assert one["urandom"] != other["urandom"]
