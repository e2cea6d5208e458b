"""What is inert is immortal in a real clone, where its interpreter can; and what has a
finaliser keeps it."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.isolation.machine import RUNTIME, Guest, Sandbox, ask, send

pytestmark = pytest.mark.asyncio(loop_scope="session")

HAS_IMMORTALS = RUNTIME in ("python3.12", "python3.13")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def jail(sandbox: Sandbox) -> AsyncIterator[Guest]:
    async with sandbox.running("hostile/immortals") as guest:
        yield guest


async def test_a_clone_counts_no_references_to_what_is_inert(sandbox: Sandbox) -> None:
    async with sandbox.running("inert") as guest:
        expected = ["function", "class", "constant"] if HAS_IMMORTALS else []

        assert await guest.ask("immortal") == expected


async def test_what_has_a_finaliser_keeps_it(sandbox: Sandbox) -> None:
    async with sandbox.running("inert") as guest:
        for _ in range(2):
            assert sorted(await guest.ask("drop")) == ["a function", "an instance"]


@pytest.mark.parametrize(
    "program",
    [
        *("many_cycles", "collector_callbacks", "unfreeze", "drop_modules"),
        *("clear_namespaces", "drop_builtins", "mortal_again", "drop_references"),
    ],
)
async def test_what_a_clone_does_to_them_is_its_own_loss(
    jail: Guest, program: str
) -> None:
    older = await jail.fork()
    before = await ask(older, "state")
    instance = await jail.fork()

    for _ in range(2):
        if not (await send(instance, program)).is_reusable:
            break

    assert await ask(older, "state") == before
    assert await jail.ask("state") == before
    await older.destroy()
    await instance.destroy()
