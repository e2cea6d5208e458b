"""Networks of functions: what a tenant's policy allows, before and after it changes."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from sandlot_engine.errors import PermissionDenied
from sandlot_engine.model.function import FunctionState
from sandlot_engine.model.network import Network
from tests.fakes.catalog import OTHER_ZIP, TENANT, Bench, Node, opened
from tests.fakes.stores import MemoryStore
from tests.fakes.waiting import DEADLINE_S, eventually


async def test_a_network_that_the_tenant_may_not_have_is_refused_at_deploy(
    bench: Bench,
) -> None:
    with pytest.raises(PermissionDenied, match="may have 'none' at most"):
        await bench.create(network=Network.EGRESS)

    assert await bench.functions.list(TENANT) == ([], "")
    await bench.codes_left(0)


async def test_a_network_that_the_tenant_may_not_have_is_refused_as_a_change(
    bench: Bench,
) -> None:
    await bench.create()
    old = await bench.settled()

    with pytest.raises(PermissionDenied, match="may have 'none' at most"):
        await bench.functions.update_configuration(
            TENANT, "resize", {"network": Network.HOST}
        )

    assert await bench.functions.get(TENANT, "resize") == old


async def test_a_function_above_its_tenants_policy_changes_only_to_less(
    bench: Bench,
) -> None:
    await bench.set_policy(Network.HOST)
    await bench.create(network=Network.HOST)
    await bench.settled()
    await bench.set_policy(Network.EGRESS)

    with pytest.raises(PermissionDenied):
        await bench.functions.update_code(TENANT, "resize", OTHER_ZIP)
    with pytest.raises(PermissionDenied):
        await bench.functions.update_configuration(TENANT, "resize", {"timeout_s": 9})
    await bench.functions.update_configuration(
        TENANT, "resize", {"network": Network.EGRESS}
    )
    less = await bench.settled()

    assert less.current.config.network is Network.EGRESS
    await bench.codes_left(1)


async def test_a_changed_policy_ends_what_ran_before_it_and_nothing_else(
    bench: Bench,
) -> None:
    await bench.set_policy(Network.EGRESS)
    await bench.create("without")
    await bench.create("with", code=OTHER_ZIP, network=Network.EGRESS)
    without = await bench.settled("without")
    old = await bench.settled("with")

    await bench.set_policy(Network.EGRESS)
    new = bench.functions.resolve(TENANT, "with")

    async def is_retired() -> bool:
        return bench.node.retired == [old.current.id]

    await eventually(is_retired)
    assert new.current.id != old.current.id
    assert replace(new, serving=old.serving) == old
    assert await bench.store.get_function(TENANT, "with") == new
    assert bench.functions.resolve(TENANT, "without") == without
    await bench.codes_left(2)


async def test_a_change_that_is_under_way_goes_by_the_new_policy(bench: Bench) -> None:
    await bench.set_policy(Network.EGRESS)
    created = await bench.create(network=Network.EGRESS)
    async with asyncio.timeout(DEADLINE_S):
        await bench.node.preparing.wait()

    await bench.set_policy(Network.NONE)
    failed = await bench.settled()

    assert failed.state is FunctionState.FAILED
    assert "may have 'none' at most" in failed.state_reason
    assert bench.node.prepared == []
    assert bench.node.cancelled == [created.current.id]


async def test_a_change_that_is_still_allowed_is_made_ready_under_the_new_policy(
    bench: Bench,
) -> None:
    await bench.set_policy(Network.EGRESS)
    created = await bench.create(network=Network.EGRESS)
    async with asyncio.timeout(DEADLINE_S):
        await bench.node.preparing.wait()

    await bench.set_policy(Network.HOST)
    ready = await bench.settled()

    assert ready.state is FunctionState.ACTIVE
    assert bench.node.prepared == [ready.current.id] != [created.current.id]
    assert created.current.id in bench.node.retired


async def test_a_policy_that_changed_while_the_engine_was_down_holds_at_its_start(
    tmp_path: Path,
) -> None:
    store = MemoryStore()
    async with opened(tmp_path, store, Node(), None) as before:
        await before.set_policy(Network.HOST)
        await before.create(network=Network.HOST)

    async with opened(tmp_path, store, Node(), None) as after:
        failed = await after.settled()

        assert failed.state is FunctionState.FAILED
        assert after.node.prepared == []


async def test_functions_are_counted_by_their_network(bench: Bench) -> None:
    await bench.set_policy(Network.HOST)
    await bench.create("a", network=Network.HOST)
    await bench.create("b", network=Network.HOST)
    await bench.create("c", network=Network.EGRESS)

    assert bench.functions.count_by_network(Network.HOST) == {TENANT: 2}
    assert bench.functions.count_by_network(Network.EGRESS) == {TENANT: 1}
