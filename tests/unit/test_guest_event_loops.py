"""Event loops that an import made are each clone's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.guest_interpreters import Guest, every_interpreter

KEPT = """
import asyncio
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
queue = asyncio.Queue()
async def serve():
    served = 0
    while True:
        sent = await queue.get()
        served += 1
        sent.set_result(served)
async def ask():
    await asyncio.sleep(0)
    answer = loop.create_future()
    await queue.put(answer)
    await loop.run_in_executor(None, int)
    return await answer
service = loop.create_task(serve())
"""


@pytest.fixture
def guest(python: str, tmp_path: Path) -> Guest:
    return Guest(python, tmp_path)


@every_interpreter
def test_an_import_that_made_a_loop_is_safe_and_clones_run_its_tasks(
    guest: Guest,
) -> None:
    guest.write("mod.py", KEPT + "loop.run_until_complete(asyncio.sleep(0.001))\n")

    result = guest.result_of(
        """
        before = fork_safety.take_snapshot()
        import mod
        event_loops.close()
        reasons = fork_safety.inspect_process(before)
        def invoke():
            event_loops.reopen()
            run = mod.loop.run_until_complete
            own = [os.fstat(each.fileno()).st_ino for each in (mod.loop._ssock,)]
            return [run(mod.ask()), run(mod.ask()), own]
        result = [reasons, in_a_clone(invoke), in_a_clone(invoke)]
        """
    )

    reasons, (*of_one, one_has), (*of_other, other_has) = result
    assert reasons == []
    assert of_one == of_other == [1, 2]
    assert one_has != other_has


@every_interpreter
@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("loop.add_reader(os.pipe()[0], int)", "an epoll handle"),
        ("loop.add_signal_handler(10, int)", "an epoll handle"),
        ("loop.__class__ = type('Own', (type(loop),), {})", "an epoll handle"),
        ("loop._selector = object()", "a Unix socket pair"),
    ],
    ids=["a watched pipe", "a signal", "a class of its own", "nonsense"],
)
def test_a_loop_that_has_more_is_left_and_told_of(
    guest: Guest, source: str, what: str
) -> None:
    guest.write("mod.py", f"import asyncio, os\n{KEPT}{source}\n")

    reasons = guest.result_of(
        """
        before = fork_safety.take_snapshot()
        import mod
        event_loops.close()
        result = fork_safety.inspect_process(before)
        os.write(_report, json.dumps(result).encode())
        os._exit(0)
        """
    )

    assert any(what in reason for reason in reasons)


@every_interpreter
def test_a_process_that_ends_with_closed_loops_says_nothing(guest: Guest) -> None:
    guest.write("mod.py", "import asyncio\nloop = asyncio.new_event_loop()\n")

    done = guest.run("import mod; event_loops.close()")

    assert (done.status, done.stderr) == (0, "")
