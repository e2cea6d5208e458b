"""Register what to run before a snapshot is taken and after one is restored.

The interface of AWS's package of this name. Here the "snapshot" is the process that
has imported your code, and each instance is "restored" by cloning it: close what
cannot be shared in a before-snapshot hook, open it again in an after-restore hook.

    @register_after_restore
    def connect():
        global database
        database = open_database()
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    F = TypeVar("F", bound=Callable[..., Any])
    Hook = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

_before_snapshot: list[Hook] = []
_after_restore: list[Hook] = []


def register_before_snapshot(func: F, *args: Any, **kwargs: Any) -> F:
    """Run `func(*args, **kwargs)` once after the import; last registered, first run.

    Returns `func`, so that it can be used as a decorator.
    """
    _before_snapshot.append((func, args, kwargs))
    return func


def register_after_restore(func: F, *args: Any, **kwargs: Any) -> F:
    """Run `func(*args, **kwargs)` in each instance before its first invocation.

    First registered, first run. Returns `func`, so that it can be used as a decorator.
    """
    _after_restore.append((func, args, kwargs))
    return func


def get_before_snapshot() -> list[Hook]:
    """The registered (function, args, kwargs), in order of registration."""
    return list(_before_snapshot)


def get_after_restore() -> list[Hook]:
    """The registered (function, args, kwargs), in order of registration."""
    return list(_after_restore)
