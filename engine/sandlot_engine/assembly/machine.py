"""What this machine has, and can enforce: the part with jails."""

import logging
import resource
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from sandlot_engine.errors import Troubled, Unavailable
from sandlot_engine.options import EngineConfig
from sandlot_sandbox.host.room import Room, room_in
from sandlot_sandbox.probe import CAN_BE_GIVEN_UP, is_too_busy, missing
from sandlot_sandbox.spec import Hello, Layer

# The node is imported by the function that makes it: `engine.py` needs this at once.
if TYPE_CHECKING:
    from sandlot_engine.catalog.code import CodeStore
    from sandlot_engine.catalog.tenants import Tenants
    from sandlot_engine.model.function import Function, Revision
    from sandlot_engine.node.launchers import Launchers
    from sandlot_engine.node.node import Node
    from sandlot_engine.store.sqlite import SqliteStore

_FIRST_LAUNCHER_S = 30.0
log = logging.getLogger("sandlot")


class Refused(Exception):
    """Why nothing is served, for the operator."""


def room() -> Room:
    """What fits into the files that we may have open."""
    return room_in(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


async def first_hello(launchers: "Launchers") -> Hello:
    """What the first launcher finds. Raises `Refused` where this machine cannot hold
    tenants' code, or no launcher comes to find that out; `Troubled` where it was too
    busy for that."""
    try:
        await launchers.current(wait_s=_FIRST_LAUNCHER_S)
    except Unavailable as error:
        lacks = missing(launchers.hello.layers) if launchers.hello else []
        if is_too_busy(lacks):
            rows = "\n".join(f"  {_row(layer)}" for layer in lacks)
            raise Troubled(f"{launchers.trouble}:\n{rows}") from error
        if lacks:
            raise Refused(_told(lacks)) from error
        raise Refused(f"{launchers.trouble}; its messages are above") from error
    hello = launchers.hello
    assert hello is not None  # noqa: S101
    for layer in hello.layers:
        if layer.given_up:
            log.warning(
                "running WITHOUT %s, as asked: stops %s", layer.name, layer.stops
            )
        elif not layer.holds:
            log.warning("running without %s", _row(layer))
    return hello


def _told(lacking: list[Layer]) -> str:
    rows = "\n".join(f"  {_row(layer)}" for layer in lacking)
    return (
        "this machine cannot enforce what tenants must be held to:\n"
        f"{rows}\nSee `sandlot doctor`. What can be done without, by"
        f" --insecure=LAYER,…: {', '.join(sorted(CAN_BE_GIVEN_UP))}."
    )


def _row(layer: Layer) -> str:
    return f"{layer.name}: stops {layer.stops}. {layer.detail}".rstrip()


def node_of(
    config: EngineConfig,
    launchers: "Launchers",
    store: "SqliteStore",
    codes: "CodeStore",
    tenants: "Tenants",
) -> "Node":
    """What hosts versions on this machine."""
    from sandlot_engine.node.instances import log_lines
    from sandlot_engine.node.node import MAX_ZYGOTES, Node

    return Node(
        launchers,
        unpack=partial(_unpack, codes),
        grant_network=tenants.grant_network,
        printed=lambda function, lines: store.append_log(
            function.tenant_id, function.name, log_lines("", lines)
        ),
        region=config.region,
        max_zygotes=min(MAX_ZYGOTES, room().zygotes),
        memory_mb=config.scale.memory_mb,
    )


def may_run(tenants: "Tenants") -> Callable[["Function"], None]:
    """Raises what `Tenants.grant_network` does."""

    def check(function: "Function") -> None:
        if (revision := function.serving) is not None:
            tenants.grant_network(function.tenant_id, revision.config.network)

    return check


async def _unpack(codes: "CodeStore", revision: "Revision") -> bool:
    """Have the folders that a jail of the revision has mounted; whether there are
    extensions in its layers."""
    await codes.unpacked(revision.code, revision.config.runtime)
    await codes.opt(revision.config)
    return await codes.has_extensions(revision.config)
