"""SnapStart's part of a report: what is logged of a restore, and what a caller is told
of one that failed.

Pure. Nobody ran for whoever invoked a version that could not be restored: that is an
error of the call, and no answer of the function's. It is kept and billed as far as it
got all the same: a hook must not be a way to compute for nothing.
"""

from typing import Final

from sandlot_engine.errors import Refusal
from sandlot_engine.model.function import FunctionConfig
from sandlot_engine.model.invocation import Ended, Outcome, Run

LIMIT_US: Final = 10_000_000
"""AWS's limit on a restore, in microseconds. It is `INIT_S` of the sandbox."""


def has_failed(run: Run) -> bool:
    """Whether it was over before there was an instance."""
    return run.is_restore and run.ended in (Ended.INIT_FAILED, Ended.INIT_TIMED_OUT)


def refusal_of(function: str, outcome: Outcome, run: Run) -> Refusal | None:
    """What the caller gets instead of the outcome, if anything."""
    if not has_failed(run):
        return None
    if run.ended is Ended.INIT_TIMED_OUT:
        return Refusal(
            f"Function {function!r} was not restored within"
            f" {LIMIT_US / 1_000_000:.0f} s: its after-restore hooks took longer."
            " Nothing was invoked",
            reason="SnapStartTimeoutException",
        )
    return Refusal(
        f"Function {function!r} could not be restored: {outcome.error_type} in its"
        " after-restore hooks; its log says more. Nothing was invoked",
        reason="SnapStartException",
    )


def start_line(config: FunctionConfig) -> str:
    """`RESTORE_START`, as AWS has it where `INIT_START` would be."""
    name = config.runtime.rstrip("0123456789.")
    version = config.runtime.removeprefix(name)
    return f"RESTORE_START Runtime Version: {name}:{version}"


def report_line(run: Run, restore_us: int, error_type: str) -> str:
    """`RESTORE_REPORT`."""
    status = ""
    if has_failed(run):
        is_late = run.ended is Ended.INIT_TIMED_OUT
        status = "timeout" if is_late else f"error\tError Type: {error_type}"
        status = f"\tStatus: {status}"
    return f"RESTORE_REPORT Restore Duration: {restore_us / 1_000:.2f} ms{status}"


def report_fields(restore_us: int) -> str:
    """What REPORT has of it."""
    billed_ms = -(-restore_us // 1_000)
    return (
        f"Restore Duration: {restore_us / 1_000:.2f} ms\t"
        f"Billed Restore Duration: {billed_ms} ms\t"
    )
