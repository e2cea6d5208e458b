"""The life of a function: made ready, changed, found, deleted, resumed."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from sandlot_engine.catalog.code import CodeStore
from sandlot_engine.catalog.life import Prepared, changed_config
from sandlot_engine.errors import (
    AlreadyExists,
    Conflict,
    Internal,
    InvalidParameter,
    NotFound,
)
from sandlot_engine.model.function import (
    IMAGE,
    FunctionConfig,
    FunctionState,
    ImageConfig,
    UpdateStatus,
)
from tests.fakes.building import build_here
from tests.fakes.catalog import (
    ARN,
    CONFIG,
    OTHER_ZIP,
    READY,
    TENANT,
    ZIP,
    Bench,
    Node,
    opened,
)
from tests.fakes.stores import MemoryStore
from tests.fakes.waiting import DEADLINE_S, eventually


async def test_a_new_function_is_pending_until_it_is_made_ready(bench: Bench) -> None:
    created = await bench.create()

    assert created.state is FunctionState.PENDING
    assert created.state_reason == "The function is being created."
    assert created.update_status is UpdateStatus.NONE
    with pytest.raises(
        Conflict,
        match=r"^The operation cannot be performed at this time\. The function is "
        r"currently in the following state: Pending$",
    ):
        bench.functions.resolve(TENANT, "resize")

    ready = await bench.settled()

    assert ready.state is FunctionState.ACTIVE
    assert ready.state_reason == ""
    assert ready.update_status is UpdateStatus.SUCCESSFUL
    assert ready.serving == created.pending
    assert bench.functions.resolve(TENANT, "resize", "$LATEST") == ready
    assert await bench.store.get_function(TENANT, "resize") == ready


async def test_a_revision_id_is_new_when_a_change_is_accepted_and_when_it_settles(
    bench: Bench,
) -> None:
    created = await bench.create()
    ready = await bench.settled()
    bench.node.go.clear()
    updating = await bench.functions.update_code(TENANT, "resize", ZIP)
    updated = await bench.settled()

    ids = [each.revision_id for each in (created, ready, updating, updated)]
    assert len(set(ids)) == 4
    assert all(ids)


async def test_a_dry_run_shows_the_code_and_changes_nothing(bench: Bench) -> None:
    await bench.create()
    ready = await bench.settled()

    shown = await bench.functions.update_code(TENANT, "resize", OTHER_ZIP, dry_run=True)

    assert shown.current.code.sha256 != ready.current.code.sha256
    assert shown.update_status is UpdateStatus.SUCCESSFUL
    assert await bench.functions.get(TENANT, "resize") == ready
    await bench.codes_left(1)
    with pytest.raises(InvalidParameter):
        await bench.functions.update_code(TENANT, "resize", b"no zip", dry_run=True)


async def test_tenant_isolation_is_chosen_once(bench: Bench) -> None:
    await bench.functions.create(
        TENANT, "resize", replace(CONFIG, per_tenant=True), ZIP
    )
    await bench.settled()

    with pytest.raises(InvalidParameter, match="chosen when a function is created"):
        await bench.functions.update_configuration(
            TENANT, "resize", {"per_tenant": False}
        )
    with pytest.raises(InvalidParameter, match="cannot have SnapStart"):
        await bench.functions.update_configuration(
            TENANT, "resize", {"snap_start": True}
        )


def test_what_is_run_of_an_image_may_be_changed_in_part() -> None:
    wanted = ImageConfig(entry_point=("/run",), command=("a",))
    config = FunctionConfig(handler="", runtime=IMAGE, image_config=wanted)

    in_part = changed_config(config, {"image_config": {"command": ("b",)}})
    whole = changed_config(config, {"image_config": ImageConfig(command=("b",))})

    assert in_part.image_config == ImageConfig(entry_point=("/run",), command=("b",))
    assert whole.image_config == ImageConfig(command=("b",))


async def test_what_the_import_left_behind_is_kept(bench: Bench) -> None:
    bench.node.answer = Prepared(fork_safe=False, reason="an open socket")
    await bench.create()

    ready = await bench.settled()

    assert not ready.fork_safe
    assert ready.fork_safety_reason == "an open socket"


async def test_what_is_learnt_of_an_import_later_is_kept(tmp_path: Path) -> None:
    store = MemoryStore()
    async with opened(tmp_path, store, Node(), None) as before:
        before.node.answer = Prepared(fork_safe=False, reason="it came late")
        await before.create()
        found = await before.settled()
        assert found.serving is not None

        before.functions.note_learnt(found, found.serving, READY)

        async def is_known() -> bool:
            return (await before.settled()).revision_id != found.revision_id

        await eventually(is_known)

    async with opened(tmp_path, store, Node(), None) as after:
        ready = await after.settled()
        assert (ready.fork_safe, ready.fork_safety_reason) == (True, "")
        assert ready.serving == found.serving


async def test_what_is_learnt_of_a_revision_that_serves_no_more_is_nothing(
    bench: Bench,
) -> None:
    await bench.create()
    found = await bench.settled()
    assert found.serving is not None

    old = replace(found.serving, id="another")
    unsafe = Prepared(fork_safe=False, reason="a thread")
    await bench.functions._changing.note_learnt(found, old, unsafe)  # noqa: SLF001

    assert await bench.settled() == found


@pytest.mark.parametrize("qualifier", ["", "$LATEST", "7", "live"])
async def test_what_is_not_there_is_not_found_by_its_arn(
    bench: Bench, qualifier: str
) -> None:
    with pytest.raises(NotFound) as refusal:
        bench.functions.resolve(TENANT, "resize", qualifier)

    assert str(refusal.value) == f"Function not found: {ARN}:{qualifier or '$LATEST'}"


async def test_a_function_is_not_found_by_another_tenant(bench: Bench) -> None:
    await bench.create()

    with pytest.raises(NotFound, match=r"^Function not found: arn:aws:lambda:"):
        await bench.functions.get("000000000001", "resize")


async def test_a_name_is_taken_once(bench: Bench) -> None:
    await bench.create()

    with pytest.raises(AlreadyExists, match=r"^Function already exist: resize$"):
        await bench.create()


async def test_of_two_who_create_at_once_one_is_refused(bench: Bench) -> None:
    results = await asyncio.gather(
        bench.create(), bench.create(code=OTHER_ZIP), return_exceptions=True
    )

    assert sum(isinstance(each, AlreadyExists) for each in results) == 1
    await bench.codes_left(1)


@pytest.mark.parametrize(
    ("name", "config", "code"),
    [
        ("a b", CONFIG, ZIP),
        ("resize", replace(CONFIG, memory_mb=1), ZIP),
        ("resize", CONFIG, b"no zip"),
    ],
)
async def test_what_is_refused_leaves_nothing_behind(
    bench: Bench, name: str, config: FunctionConfig, code: bytes
) -> None:
    with pytest.raises(InvalidParameter):
        await bench.functions.create(TENANT, name, config, code)

    assert await bench.functions.list(TENANT) == ([], "")
    await bench.codes_left(0)


async def test_a_change_of_settings_names_what_it_changes(bench: Bench) -> None:
    await bench.create()
    old = await bench.settled()

    await bench.functions.update_configuration(
        TENANT, "resize", {"memory_mb": 256, "environment": {"AB": "c"}}
    )
    new = await bench.settled()

    assert new.current.config == replace(CONFIG, memory_mb=256, environment={"AB": "c"})
    assert new.current.code == old.current.code
    assert new.current.id != old.current.id
    await bench.codes_left(1)


@pytest.mark.parametrize("changes", [{"memory_mb": 1}, {"colour": "red"}])
async def test_settings_that_are_wrong_change_nothing(
    bench: Bench, changes: dict[str, object]
) -> None:
    await bench.create()
    old = await bench.settled()

    with pytest.raises(InvalidParameter):
        await bench.functions.update_configuration(TENANT, "resize", changes)

    assert await bench.functions.get(TENANT, "resize") == old


async def test_a_second_update_at_once_is_refused(bench: Bench) -> None:
    await bench.create()
    await bench.settled()
    bench.node.go.clear()
    await bench.functions.update_code(TENANT, "resize", OTHER_ZIP)

    with pytest.raises(Conflict) as refusal:
        await bench.functions.update_configuration(TENANT, "resize", {"timeout_s": 9})

    assert str(refusal.value) == (
        "The operation cannot be performed at this time. An update is in progress for "
        f"resource: {ARN}"
    )


async def test_an_update_of_an_older_revision_is_refused(bench: Bench) -> None:
    await bench.create()
    ready = await bench.settled()

    with pytest.raises(
        Conflict, match=r"^The Revision Id provided does not"
    ) as refusal:
        await bench.functions.update_code(TENANT, "resize", ZIP, "older")
    await bench.functions.update_code(TENANT, "resize", ZIP, ready.revision_id)

    assert refusal.value.reason == "PreconditionFailed"


async def test_a_deleted_function_is_gone_with_all_that_ran_of_it(
    bench: Bench,
) -> None:
    await bench.create()
    ready = await bench.settled()

    await bench.functions.delete(TENANT, "resize")

    with pytest.raises(NotFound, match=f"^Function not found: {ARN}$"):
        await bench.functions.get(TENANT, "resize")
    assert bench.node.retired == [ready.current.id]
    assert await bench.store.all_functions() == []
    await bench.codes_left(0)


async def test_deleting_stops_what_is_being_made_ready(bench: Bench) -> None:
    created = await bench.create()
    async with asyncio.timeout(DEADLINE_S):
        await bench.node.preparing.wait()

    await bench.functions.delete(TENANT, "resize")

    assert bench.node.cancelled == bench.node.retired == [created.current.id]
    assert bench.node.prepared == []
    await bench.codes_left(0)


async def test_a_package_stays_while_another_function_has_it(bench: Bench) -> None:
    await bench.create("first")
    await bench.create("second")
    await bench.settled("first")
    second = await bench.settled("second")

    await bench.functions.delete(TENANT, "first")

    path = await bench.functions.code_path(second.current)
    assert (path / "app.py").exists()
    assert await bench.code_of("second") == ZIP


async def test_a_package_that_arrives_while_its_last_user_goes_is_kept(
    bench: Bench,
) -> None:
    await bench.create("old")
    await bench.settled("old")

    await asyncio.gather(bench.functions.delete(TENANT, "old"), bench.create("new"))
    await bench.settled("new")

    assert await bench.code_of("new") == ZIP


async def test_a_caller_who_hangs_up_does_not_leave_half_a_function(
    bench: Bench,
) -> None:
    call = asyncio.create_task(bench.create())
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.wait({call})

    async def is_stored() -> bool:
        return await bench.store.get_function(TENANT, "resize") is not None

    await eventually(is_stored)

    assert (await bench.settled()).state is FunctionState.ACTIVE


async def test_functions_are_listed_by_name_and_page_by_page(bench: Bench) -> None:
    for name in ("c", "a", "b"):
        await bench.create(name)

    page, token = await bench.functions.list(TENANT, 2)
    rest, end = await bench.functions.list(TENANT, 2, token)

    assert [each.name for each in page] == ["a", "b"]
    assert [each.name for each in rest] == ["c"]
    assert end == ""


async def test_an_engine_that_stopped_half_way_goes_on(tmp_path: Path) -> None:
    store = MemoryStore()
    async with opened(tmp_path, store, Node(), None) as before:
        await before.create("updating")
        await before.settled("updating")
        before.node.go.clear()
        await before.create("new")
        update = await before.functions.update_code(TENANT, "updating", OTHER_ZIP)

    async with opened(tmp_path, store, Node(), None) as after:
        old = after.functions.resolve(TENANT, "updating").serving
        new = await after.settled("new")
        updated = await after.settled("updating")

        assert old is not None
        assert old.id != update.current.id
        assert new.state is FunctionState.ACTIVE
        assert updated.serving == update.pending
        assert len(after.node.prepared) == 2


async def test_an_engine_that_starts_removes_packages_nobody_has(
    tmp_path: Path,
) -> None:
    async with CodeStore(tmp_path / "code", build=build_here) as codes:
        await codes.put(ZIP, CONFIG.runtime)

    async with opened(tmp_path, MemoryStore(), Node(), None) as bench:
        await bench.codes_left(0)


async def test_a_store_that_fails_leaves_things_as_they_were(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise Internal("disk full")

    await bench.create()
    ready = await bench.settled()
    monkeypatch.setattr(bench.store, "put_function", fail)

    with pytest.raises(Internal):
        await bench.functions.update_code(TENANT, "resize", OTHER_ZIP)

    assert bench.functions.resolve(TENANT, "resize") == ready
    await bench.codes_left(1)
