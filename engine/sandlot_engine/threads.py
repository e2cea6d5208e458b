"""Threads that are there from the beginning.

A pool of Python's starts one when it is first wanted. On a machine that has no more
processes it cannot just then, and says so, but keeps the work, and does it later, when
nobody expects it any more.
"""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from sandlot_engine.errors import Troubled


def started(count: int, name: str) -> ThreadPoolExecutor:
    """A pool of so many, all of them started. Raises `Troubled`."""
    pool = ThreadPoolExecutor(count, thread_name_prefix=name)
    all_here = Barrier(count + 1)
    try:
        for _ in range(count):
            # None is idle as long as one is missing, so that each takes another.
            pool.submit(all_here.wait)
    except RuntimeError as error:
        all_here.abort()
        pool.shutdown(cancel_futures=True)
        raise Troubled(no_room(error)) from error
    all_here.wait()
    return pool


def no_room(error: RuntimeError) -> str:
    """What Python means by it, for the operator; empty where it is about no thread."""
    if "start new thread" not in str(error):
        return ""
    return (
        f"no threads can be started ({error}): the engine's user, its control group or "
        "the machine has as many processes and threads as it may have"
    )
