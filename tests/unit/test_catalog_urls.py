"""Function URLs: one each, permanent, found by its id."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandlot_engine.catalog.urls import Urls, kept_urls
from sandlot_engine.errors import AlreadyExists, InvalidParameter, NotFound
from sandlot_engine.model.url import Cors, InvokeMode, UrlAuthType
from tests.fakes.catalog import ARN, TENANT, Bench, Node, opened
from tests.fakes.runner import FakeClock
from tests.fakes.stores import MemoryStore

IAM, NONE = UrlAuthType.AWS_IAM, UrlAuthType.NONE


@dataclass
class World:
    bench: Bench
    urls: Urls
    clock: FakeClock


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """With a function that has a version 1 and an alias."""
    store, clock = MemoryStore(), FakeClock()
    kept = kept_urls(store)
    async with opened(tmp_path, store, Node(), None, belongings=[kept]) as bench:
        await bench.create()
        await bench.settled()
        await bench.publish()
        await bench.functions.aliases.create(TENANT, "resize", "live", "1")
        yield World(bench, Urls(kept, bench.functions, clock=clock), clock)


@pytest.fixture
def urls(world: World) -> Urls:
    return world.urls


async def test_a_url_is_found_by_its_id(urls: Urls) -> None:
    url = await urls.create(TENANT, "resize", auth_type=NONE)
    of_alias = await urls.create(TENANT, "resize", "live", auth_type=IAM)

    assert re.fullmatch(r"[a-z2-7]{32}", url.id)
    assert urls.by_id(url.id) == url == urls.get(TENANT, "resize")
    assert urls.by_id(of_alias.id) == of_alias
    assert urls.by_id("") is None
    assert urls.list(TENANT, "resize") == ([url, of_alias], "")
    assert urls.list(TENANT, "resize", 1) == ([url], "resize,")
    assert urls.list(TENANT, "resize", 1, "resize,") == ([of_alias], "")


async def test_those_of_all_functions_are_listed_by_function(
    world: World, urls: Urls
) -> None:
    await world.bench.create("resize-2")
    other = await urls.create(TENANT, "resize-2", auth_type=IAM)
    of_alias = await urls.create(TENANT, "resize", "live", auth_type=IAM)
    url = await urls.create(TENANT, "resize", auth_type=NONE)

    first, token = urls.list(TENANT, "", 2)

    assert (first, urls.list(TENANT, "", 2, token)) == ([url, of_alias], ([other], ""))
    assert urls.list("999999999999", "") == ([], "")


async def test_an_update_changes_what_is_given_and_keeps_the_id(
    world: World, urls: Urls
) -> None:
    cors = Cors(allow_origins=("*",), allow_methods=("GET",), max_age_s=86_400)
    url = await urls.create(TENANT, "resize", auth_type=NONE, cors=cors)
    world.clock.advance(60)
    changed = await urls.update(
        TENANT, "resize", auth_type=IAM, invoke_mode=InvokeMode.RESPONSE_STREAM
    )

    assert (changed.id, changed.cors) == (url.id, cors)
    assert (changed.auth_type, changed.created) == (IAM, url.created)
    assert changed.last_modified > url.last_modified
    assert urls.by_id(url.id) == changed
    assert (await urls.update(TENANT, "resize", cors=Cors())).cors == Cors()


async def test_there_is_one_each(urls: Urls) -> None:
    await urls.create(TENANT, "resize", "live", auth_type=NONE)

    with pytest.raises(AlreadyExists) as refusal:
        await urls.create(TENANT, "resize", "live", auth_type=NONE)
    await urls.create(TENANT, "resize", auth_type=NONE)

    assert str(refusal.value) == (
        f"Failed to create function url config for [functionArn = {ARN}:live]. Error "
        "message:  FunctionUrlConfig exists for this Lambda function"
    )


@pytest.mark.parametrize("qualifier", ["1", "$LATEST", "dev"])
async def test_it_is_a_functions_or_an_aliass(urls: Urls, qualifier: str) -> None:
    with pytest.raises(NotFound, match=r"^Function does not exist$"):
        await urls.create(TENANT, "resize", qualifier, auth_type=NONE)


async def test_what_there_is_not(urls: Urls) -> None:
    with pytest.raises(
        NotFound, match=r"^The resource you requested does not exist\.$"
    ):
        urls.get(TENANT, "nobody")
    with pytest.raises(
        NotFound, match=r"^The resource you requested does not exist\.$"
    ):
        await urls.update(TENANT, "resize", auth_type=NONE)
    with pytest.raises(NotFound, match=r"^Function does not exist$"):
        await urls.update(TENANT, "nobody", auth_type=NONE)
    with pytest.raises(
        NotFound, match=r"^The resource you requested does not exist\.$"
    ):
        await urls.delete(TENANT, "resize")
    with pytest.raises(NotFound, match=r"^Function does not exist$"):
        urls.list(TENANT, "nobody")


@pytest.mark.parametrize(
    ("cors", "named"),
    [
        (Cors(max_age_s=86_401), "MaxAge"),
        (Cors(allow_methods=("get",)), "AllowMethods"),
        (Cors(allow_origins=("x",) * 101), "items"),
        (Cors(expose_headers=("x" * 1_025,)), "items"),
        (Cors(allow_origins=("",)), "AllowOrigins"),
        (Cors(allow_origins=("x" * 254,)), "AllowOrigins"),
    ],
)
async def test_cors_has_limits(urls: Urls, cors: Cors, named: str) -> None:
    with pytest.raises(InvalidParameter, match=named):
        await urls.create(TENANT, "resize", auth_type=NONE, cors=cors)


async def test_a_deleted_one_is_gone_for_good(urls: Urls) -> None:
    url = await urls.create(TENANT, "resize", auth_type=NONE)

    await urls.delete(TENANT, "resize")
    again = await urls.create(TENANT, "resize", auth_type=NONE)

    assert urls.by_id(url.id) is None
    assert again.id != url.id


async def test_a_url_outlives_its_alias_and_not_its_function(
    world: World, urls: Urls
) -> None:
    url = await urls.create(TENANT, "resize", "live", auth_type=NONE)

    await world.bench.functions.aliases.delete(TENANT, "resize", "live")
    assert urls.by_id(url.id) == url
    await world.bench.functions.delete(TENANT, "resize")

    assert urls.by_id(url.id) is None


async def test_an_engine_that_starts_knows_them(world: World, urls: Urls) -> None:
    cors = Cors(allow_credentials=True, allow_headers=("x-a",))
    url = await urls.create(TENANT, "resize", auth_type=NONE, cors=cors)

    kept = kept_urls(world.bench.store)
    await kept.load()

    assert kept.named(url.id) == url
