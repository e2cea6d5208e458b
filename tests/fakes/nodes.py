"""A node whose zygotes a test makes ready, loses and counts."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sandlot_engine.errors import PermissionDenied
from sandlot_engine.model.function import Function, Revision
from sandlot_engine.model.network import Network
from sandlot_engine.node import hosted as hosted_module
from sandlot_engine.node.hosted import Hosted
from sandlot_engine.node.launchers import Launchers
from sandlot_engine.node.node import Node
from tests.fakes import things
from tests.fakes.zygotes import FakeZygote, FakeZygotes

WAIT_S = 5.0


class World:
    """A node that has a launcher, with room for four zygotes: two of one tenant."""

    def __init__(self, zygotes: FakeZygotes, *, room_s: float = 0.05) -> None:
        self.zygotes = zygotes
        self.launchers = Launchers()
        self.node = Node(
            self.launchers,
            grant_network=self._grant,
            unpack=self._unpack,
            printed=lambda *_: None,
            region="us-east-1",
            max_zygotes=4,
            room_s=room_s,
        )
        self.learnt: list[str] = []
        """Reasons, or that there are none."""

        self.node.learnt = lambda _, __, reason: self.learnt.append(reason)
        self.has_extensions = False
        self.may_unpack = asyncio.Event()
        self.may_unpack.set()

    def _grant(self, _: str, network: Network) -> tuple[str, ...]:
        if network is Network.HOST:
            raise PermissionDenied("not any more")
        return ("10.0.0.0/8",) if network is Network.EGRESS else ()

    async def _unpack(self, _: Revision) -> bool:
        await self.may_unpack.wait()
        return self.has_extensions

    def host(self, name: str = "resize", tenant: str = "", **settings: Any) -> Hosted:
        revision = things.revision(f"rev-of-{name}")
        config = replace(revision.config, **settings)
        revision = replace(revision, config=config)
        function: Function = things.function(name, serving=revision)
        if tenant:
            function = replace(function, tenant_id=tenant)
        return self.node.host(function, revision)

    async def made(self) -> FakeZygote:
        """The next zygote that somebody starts."""
        async with asyncio.timeout(WAIT_S):
            return await self.zygotes.made.get()

    async def live(self, name: str, tenant: str = "") -> tuple[Hosted, FakeZygote]:
        hosted = self.host(name, tenant)
        preparing = begun(hosted.prepare())
        zygote = await self.made()
        zygote.be_ready()
        await preparing
        return hosted, zygote


def world_of(monkeypatch: pytest.MonkeyPatch, *, room_s: float = 0.05) -> World:
    """A world whose node makes fake zygotes, and waits `room_s` for room."""
    zygotes = FakeZygotes()
    monkeypatch.setattr(hosted_module, "Zygote", zygotes)
    made = World(zygotes, room_s=room_s)

    async def current() -> None:
        """There is always one, and nobody asks it for anything."""

    monkeypatch.setattr(made.launchers, "current", current)
    return made


def begun(work: Any) -> "asyncio.Task[Any]":
    return asyncio.get_running_loop().create_task(work)


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not is_so():  # noqa: ASYNC110 - nobody sets an event
            await asyncio.sleep(0)
