"""`Client`: the SDK for code that waits. Its twin is `aio.AsyncClient`.

What can be asked of an engine is in files by subject, as the engine has services for.
What each asks with `calls`, `steps`, `deploying` and `triggers` describe; the
connection carries it out.
"""

import os
from types import TracebackType
from typing import Self, Unpack

from sandlot import config, deploying, packing
from sandlot.calls import FunctionOptions
from sandlot.client.concurrency import Shares
from sandlot.client.connection import Connection
from sandlot.client.events import Events
from sandlot.client.functions import Functions
from sandlot.client.handles import FunctionHandle
from sandlot.client.invocations import Invocations
from sandlot.client.layers import Layers
from sandlot.client.permissions import Permissions
from sandlot.client.tenants import Tenants
from sandlot.client.triggers import Triggers
from sandlot.client.urls import Urls
from sandlot.client.versions import Versions
from sandlot.config import Where
from sandlot.transport import DEPLOY_DEADLINE_S


class Client(
    Functions,
    Versions,
    Layers,
    Shares,
    Urls,
    Permissions,
    Invocations,
    Events,
    Triggers,
    Tenants,
):
    """A connection to an engine, as one tenant or as its operator.

    What is not given is looked up: see `sandlot.config`. `deadline` is in seconds and
    for every call that does not bring its own. Raises only `sandlot.errors`.

    It is safe to share between threads, and opens one connection, at the first call;
    a process that is forked after that needs a client of its own.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        deadline: float | None = None,
        **where: Unpack[Where],
    ) -> None:
        settings = config.resolve(endpoint, **where)
        super().__init__(Connection(settings, deadline_s=deadline))

    def deploy(
        self,
        source: str | os.PathLike[str] | bytes,
        *,
        name: str | None = None,
        force: bool = False,
        deadline: float | None = None,
        **options: Unpack[FunctionOptions],
    ) -> FunctionHandle:
        """Create or update a function from a folder, a file, `FILE.py:handler`, a zip,
        or a container image on the engine's machine, `oci:PATH:TAG`; wait until it
        serves. Raises `DeployFailed`, which says why not.

        With `force` also code is sent that is there already, and a function that it
        does not fit gives way: one of another language changes its runtime, one of
        another kind, image or not, is deleted, with its versions, and made anew.
        """
        package = packing.pack(source)
        errand = deploying.deploy(package, name=name, options=options, force=force)
        done = self._connection.drive(errand, deadline, DEPLOY_DEADLINE_S)
        handle = FunctionHandle(self, done.function.name, deployed=done.function)
        handle.replaced_handler = done.replaced_handler
        handle.is_made_anew = done.is_made_anew
        handle.lacks_handler = done.lacks_handler
        handle.only_folder = done.only_folder
        handle.compiled_for = done.compiled_for
        return handle

    def function(self, name: str) -> FunctionHandle:
        """A handle; nothing is asked of the engine yet."""
        return FunctionHandle(self, name)

    def close(self) -> None:
        """Close the connection. Calls under way fail."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._connection.endpoint}>"
