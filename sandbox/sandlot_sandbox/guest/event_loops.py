"""Event loops of asyncio that the import made, as asynchronous functions do:

    loop = asyncio.new_event_loop()              # at the import
    return loop.run_until_complete(answer(event))  # in the handler

What a loop holds of the kernel's, an epoll handle and a pair of sockets by which
threads wake it, clones must not share. So it is closed before there are any, and each
clone opens its own. All else of a loop, its tasks and what it will call, is memory.

Left alone, so that `fork_safety` tells of them, are loops that watch more than that
pair or handle signals, and those of other libraries.
"""

from __future__ import annotations

import gc
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_asleep: list[tuple[Any, type]] = []
"""Loops, and what each waits with."""


def close() -> None:
    """In the zygote, after the import: of all loops that can be opened again."""
    cls = getattr(
        sys.modules.get("asyncio.unix_events"), "_UnixSelectorEventLoop", None
    )
    epoll = getattr(sys.modules.get("selectors"), "EpollSelector", None)
    if cls is None or epoll is None:
        return
    for found in gc.get_objects():
        # By identity of the class: a subclass is the tenant's own.
        if type(found) is cls and _watches_its_pair_alone(found, epoll):
            _close(found)


def reopen() -> None:
    """In a clone, before anything of the tenant's runs in it. Raises `OSError`."""
    for loop, selector in _asleep:
        loop._selector = selector()  # noqa: SLF001  (no public names, here and below)
        loop._closed = False  # noqa: SLF001
        loop._make_self_pipe()  # noqa: SLF001


def _watches_its_pair_alone(loop: Any, epoll: type) -> bool:
    try:
        watched = list(loop._selector.get_map())  # noqa: SLF001
        return (
            type(loop._selector) is epoll  # noqa: SLF001
            and watched == [loop._ssock.fileno()]  # noqa: SLF001
            and not loop.is_running()
            and not loop._signal_handlers  # noqa: SLF001
        )
    except Exception:  # noqa: BLE001  (one that is closed, or that the tenant changed)
        return False


def _close(loop: Any) -> None:
    _asleep.append((loop, type(loop._selector)))  # noqa: SLF001
    loop._close_self_pipe()  # noqa: SLF001
    loop._selector.close()  # noqa: SLF001
    # Else it would close what it has not any more, should this process end.
    loop._closed = True  # noqa: SLF001
