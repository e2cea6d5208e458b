"""Ways out of cells, and when they come and go: between a cell that its warden has made
and the engine, which is told of it when it has one."""

import selectors
from collections.abc import Callable, Sequence

from sandlot_sandbox.launcher.networks import EgressUnavailable, Network, WayOut


class Ways:
    """Starts them, and buries them when they have ended."""

    def __init__(
        self, network: Network | None, selector: selectors.BaseSelector
    ) -> None:
        self._network = network
        self._selector = selector

    def open(
        self,
        namespace: int,
        *,
        allow: Sequence[str],
        cell: int,
        joins: Sequence[int],
        owner: int,
        on_ready: Callable[[str], None],
        on_end: Callable[[], None],
    ) -> WayOut:
        """A way out of a network namespace, for as long as the process `cell` lives.

        `on_ready` is called once, with what went wrong or nothing; `on_end` once, after
        it, if it had gone well. Raises `OSError`.
        """
        if self._network is None:
            raise OSError("there is no network egress here")
        try:
            way_out = self._network.start(
                namespace, allow=allow, cell=cell, joins=joins, owner=owner
            )
        except EgressUnavailable as error:
            raise OSError(str(error)) from error
        told: list[str] = []

        def be_ready() -> None:
            if not told:
                self._selector.unregister(way_out.ready_fd)
                told.append(way_out.outcome())
                on_ready(told[0])

        def end() -> None:
            # Both may have happened since we last looked.
            be_ready()
            self._selector.unregister(way_out.pidfd)
            way_out.bury()
            if not told[0]:
                on_end()

        self._selector.register(way_out.ready_fd, selectors.EVENT_READ, be_ready)
        self._selector.register(way_out.pidfd, selectors.EVENT_READ, end)
        return way_out
