"""Run what the tenant registered with `snapshot_restore_py`.

The module is ours (`lib/`) unless the tenant's code brings AWS's own, which has the
same functions. Nobody imported it: nobody registered anything, and it is not loaded.
"""

from __future__ import annotations

import sys

from .failures import Failure, name_of, text_of, trace_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Hook = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

MODULE = "snapshot_restore_py"


def run_before_snapshot() -> Failure | None:
    """In the zygote, after the import: the hooks in reverse order of registration."""
    return _run("get_before_snapshot", True, "BeforeSnapshotError")


def run_after_restore() -> Failure | None:
    """In each clone, after reseeding: the hooks in order of registration."""
    return _run("get_after_restore", False, "AfterRestoreError")


def _run(registry: str, is_reversed: bool, on_error: str) -> Failure | None:
    try:
        for function, args, kwargs in _registered(registry, is_reversed):
            function(*args, **kwargs)
    # sys.exit() in a hook is a failed hook on AWS as well.
    except (Exception, SystemExit) as error:  # noqa: BLE001  (hooks are tenant code)
        text = f"{name_of(error)}: {text_of(error)}"
        return Failure(f"Runtime.{on_error}", text, trace_of(error))
    return None


def _registered(registry: str, is_reversed: bool) -> Iterable[Hook]:
    module = sys.modules.get(MODULE)
    if module is None:
        return ()
    hooks = list(getattr(module, registry)())
    return reversed(hooks) if is_reversed else hooks
