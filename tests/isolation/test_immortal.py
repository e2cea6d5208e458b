"""What is inert is immortal in a real clone, where its interpreter can; and what has a
finaliser keeps it."""

import pytest

from tests.isolation.machine import RUNTIME, Sandbox

pytestmark = pytest.mark.asyncio(loop_scope="session")

HAS_IMMORTALS = RUNTIME in ("python3.12", "python3.13")


async def test_a_clone_counts_no_references_to_what_is_inert(sandbox: Sandbox) -> None:
    async with sandbox.running("inert") as guest:
        expected = ["function", "class", "constant"] if HAS_IMMORTALS else []

        assert await guest.ask("immortal") == expected


async def test_what_has_a_finaliser_keeps_it(sandbox: Sandbox) -> None:
    async with sandbox.running("inert") as guest:
        for _ in range(2):
            assert sorted(await guest.ask("drop")) == ["a function", "an instance"]
