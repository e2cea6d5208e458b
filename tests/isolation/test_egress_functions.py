"""Functions and images with a way out: whole jails, on a machine with its internet."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from sandlot_sandbox.host.recipe import Recipe
from sandlot_sandbox.host.zygote import Zygote
from sandlot_sandbox.limits import Limits
from sandlot_sandbox.spec import EGRESS, IMAGE, NONE
from tests.fakes.images import image_of, layer
from tests.isolation.egress import (
    NOT_FOR_CELLS,
    REFUSED,
    UNHEARD,
    WAIT_S,
    World,
    namespace,
    processes_in,
)
from tests.isolation.images import AS_IT_SAYS, built, python
from tests.isolation.internet import (
    METADATA,
    PORT,
    PRIVATE,
    PUBLIC,
    UNHEARD_S,
)
from tests.isolation.machine import (
    GUESTS,
    RUNTIME,
    Guest,
    Sandbox,
    Store,
    ask,
    started,
    wait_gone,
)

pytestmark = pytest.mark.usefixtures("an_internet")


@contextlib.asynccontextmanager
async def _function(
    sandbox: Sandbox, *, network: str, allow: tuple[str, ...] = ()
) -> AsyncIterator[Guest]:
    """The guest that wants out, with a network."""
    recipe = Recipe(
        runtime=RUNTIME,
        limits=Limits(memory_mb=128, tmp_mb=16),
        code=sandbox.store.add("outgoing"),
        settings={
            "handler": "app.handler",
            "version": "$LATEST",
            "import_in_zygote": True,
            "environment": {},
        },
        network=network,
        allow=allow,
    )
    lost = asyncio.Event()
    guest = Guest(Zygote(sandbox.launcher, recipe, on_lost=lambda _: lost.set()))
    try:
        assert await guest.zygote.wait_ready()
        yield guest
    finally:
        guest.zygote.kill()
        await asyncio.wait_for(lost.wait(), WAIT_S)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def on_machine(world: World, store: Store) -> AsyncIterator[Sandbox]:
    """A launcher of whole jails, with the network and the files of the machine."""
    start = asyncio.create_subprocess_exec

    async def start_there(*argv: str, **options: Any) -> asyncio.subprocess.Process:
        place = f"--target={world.process.pid}"
        return await start("nsenter", place, "--net", "--mount", *argv, **options)

    async with contextlib.AsyncExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asyncio, "create_subprocess_exec", start_there)
            sandbox = await stack.enter_async_context(started(world.mode, store))
        yield sandbox


@pytest.mark.asyncio(loop_scope="session")
async def test_a_function_with_egress_reaches_public_addresses_only(
    on_machine: Sandbox,
) -> None:
    async with _function(on_machine, network=EGRESS) as guest:
        for what in ("tcp", "udp"):
            assert await guest.ask(what, address=PUBLIC, port=PORT) == "ok"
            for address in NOT_FOR_CELLS:
                found = await guest.ask(what, address=address, port=PORT)
                assert found == REFUSED, address
                tied = await guest.ask(
                    what, address=address, port=PORT, device=True, wait_s=UNHEARD_S
                )
                assert tied == UNHEARD, address


@pytest.mark.asyncio(loop_scope="session")
async def test_a_function_with_egress_cannot_change_its_network(
    on_machine: Sandbox,
) -> None:
    async with _function(on_machine, network=EGRESS) as guest:
        found = await guest.ask("change_network")

    assert "ok" not in found.values(), found
    assert found["netlink"] == found["packets"] == found["raw"] == "ENOSYS"


@pytest.mark.asyncio(loop_scope="session")
async def test_a_function_with_egress_finds_names(on_machine: Sandbox) -> None:
    async with _function(on_machine, network=EGRESS) as guest:
        assert await guest.ask("look_up", name="public.test") == [PUBLIC]
        assert await guest.ask("look_up", name="rebind.test") == "EAI -5"
        assert await guest.ask("getent", name="public.test") == 0


@pytest.mark.asyncio(loop_scope="session")
async def test_a_functions_allowed_network_is_open(on_machine: Sandbox) -> None:
    async with _function(on_machine, network=EGRESS, allow=("10.9.0.0/24",)) as guest:
        assert await guest.ask("tcp", address=PRIVATE, port=PORT) == "ok"
        assert await guest.ask("tcp", address=METADATA, port=PORT) == REFUSED


@pytest.mark.asyncio(loop_scope="session")
async def test_a_function_without_egress_reaches_nothing(on_machine: Sandbox) -> None:
    async with _function(on_machine, network=NONE) as guest:
        assert await guest.ask("tcp", address=PUBLIC, port=PORT) == "ENETUNREACH"
        assert await guest.ask("udp", address=PUBLIC, port=PORT) == "ENETUNREACH"


@pytest.mark.asyncio(loop_scope="session")
async def test_an_image_with_egress_is_held_as_others_are(
    on_machine: Sandbox,
) -> None:
    """The guest that wants out, on the image's own interpreter and C library."""
    wants_out = (GUESTS / "outgoing.py").read_bytes()
    files = ("outgoing.py", wants_out), ("app.py", RUNTIME_LOOP.encode())
    command = [f"{sys.base_prefix}/bin/python3", "-I", "-S", "/app.py"]
    archive = image_of(layer(*python(), *files), config={"Cmd": command})
    image = await built(on_machine, archive), AS_IT_SAYS

    async with on_machine.running_program(
        IMAGE, {}, image=image, network=EGRESS
    ) as guest:
        instance = await guest.fork()
        assert await ask(instance, "look_up", name="public.test") == [PUBLIC]
        assert await ask(instance, "look_up", name="rebind.test") == "EAI -5"
        for what in ("tcp", "udp"):
            assert await ask(instance, what, address=PUBLIC, port=PORT) == "ok"
            for address in NOT_FOR_CELLS:
                found = await ask(instance, what, address=address, port=PORT)
                assert found == REFUSED, address
        assert "ok" not in (await ask(instance, "change_network")).values()
        await instance.destroy()
    async with on_machine.running_program(IMAGE, {}, image=image) as guest:
        instance = await guest.fork()
        found = await ask(instance, "tcp", address=PUBLIC, port=PORT)
        assert found == "ENETUNREACH"
        await instance.destroy()


RUNTIME_LOOP = """
import http.client, json, os, sys
sys.path.append("/")
import outgoing
api, base = os.environ["AWS_LAMBDA_RUNTIME_API"], "/2018-06-01/runtime/invocation"
while True:
    link = http.client.HTTPConnection(api)
    link.request("GET", f"{base}/next")
    reply = link.getresponse()
    event = json.loads(reply.read())
    name = reply.headers["Lambda-Runtime-Aws-Request-Id"]
    answer = json.dumps(outgoing.handler(event, None))
    link = http.client.HTTPConnection(api)
    link.request("POST", f"{base}/{name}/response", answer)
    link.getresponse().read()
"""


@pytest.mark.asyncio(loop_scope="session")
async def test_the_processes_beside_instances_end_with_the_zygote(
    on_machine: Sandbox,
) -> None:
    machine = namespace(on_machine.process.pid, "net")
    before = set(processes_in(machine))
    async with _function(on_machine, network=EGRESS) as guest:
        instance = await guest.fork()
        assert await ask(instance, "tcp", address=PUBLIC, port=PORT) == "ok"
        beside = set(processes_in(machine)) - before
        assert len(beside) >= len(("relay", "slirp4netns"))

    await wait_gone(list(beside))
