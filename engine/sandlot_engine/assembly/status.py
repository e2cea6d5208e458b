"""What whoever asks is told of the engine."""

import functools
import importlib.metadata

from sandlot_engine.gateway.ports import EngineStatus, IsolationLayer, Runtime
from sandlot_engine.node.launchers import Launchers
from sandlot_engine.node.node import Node
from sandlot_sandbox.launcher.registry import Registry


async def status_of(launchers: Launchers, node: Node, known: Registry) -> EngineStatus:
    """For whoever may ask; once there was a launcher."""
    hello = launchers.hello
    assert hello is not None, "nothing is served before the first launcher"  # noqa: S101
    return EngineStatus(
        version=version(),
        mode=hello.mode,
        layers=tuple(
            IsolationLayer(
                name=layer.name,
                stops=layer.stops,
                holds=layer.holds,
                detail=layer.detail,
                given_up=layer.given_up,
            )
            for layer in hello.layers
        ),
        runtimes=_runtimes(known),
        zygotes=node.zygotes,
        instances=node.instances,
    )


def _runtimes(known: Registry) -> tuple[Runtime, ...]:
    """What can be used, and of what is registered, what cannot."""
    registered = {entry.name: entry for entry in known.registered}
    usable = [
        Runtime(
            name=one.name,
            version=one.version,
            is_program=bool(one.runs),
            path=registered[one.name].path if one.name in registered else one.outside,
            is_registered=one.name in registered,
        )
        for one in known.usable.values()
        if not one.is_image
    ]
    broken = [
        Runtime(
            name=entry.name,
            version="",
            is_program=not entry.name.startswith("python"),
            path=entry.path,
            is_registered=True,
            problem=entry.problem,
        )
        for entry in registered.values()
        if entry.runtime is None
    ]
    return (*usable, *broken)


@functools.cache
def version() -> str:
    """What runs, whatever has been installed since; and read from disk once."""
    try:
        return importlib.metadata.version("sandlot")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
