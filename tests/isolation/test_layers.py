"""What a function has of its layers: all of it at /opt, no other's, for reading only.

The folder is made by a real builder, as the engine has it made.
"""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sandlot_sandbox.errors import ZygoteLost
from sandlot_sandbox.spec import OPT
from tests.fakes.zips import zip_of
from tests.isolation.machine import RUNTIME, Guest, Sandbox
from tests.isolation.packages import build, packed

pytestmark = pytest.mark.asyncio(loop_scope="session")

PROGRAM = "#!/bin/sh\necho from the layer\n"
FIRST = zip_of(
    {"python/shared.py": "ANSWER = 'first'\n", "python/first.py": ""},
)
SECOND = zip_of({"python/shared.py": "ANSWER = 'second'\n", "python/second.py": ""})
SITE = f"python/lib/{RUNTIME}/site-packages"
IN_SITE = zip_of({f"{SITE}/shared.py": "ANSWER = 'site'\n"})
WITH_PROGRAMS = zip_of(
    {"bin/tool": PROGRAM, "extensions/watch": PROGRAM, "lib/data": ""},
    modes={"bin/tool": 0o100755, "extensions/watch": 0o104755},
)
ENVIRONMENT = {"PATH": "/usr/bin:/bin:/opt/bin"}
NUMBERS = itertools.count(1)


@asynccontextmanager
async def layered(sandbox: Sandbox, *layers: bytes) -> AsyncIterator[Guest]:
    """A function that has these layers."""
    name = f"{next(NUMBERS):064x}"
    with packed(sandbox, *layers) as package:
        await build(sandbox, package, place=OPT)
        made = package.folder
        package.folder = made.rename(made.with_name(f"{name}-{RUNTIME}"))
        package.folder.chmod(0o755)
        async with sandbox.running(
            "layered", opt=name, environment=ENVIRONMENT
        ) as guest:
            yield guest


async def test_a_module_of_a_layer_is_imported(sandbox: Sandbox) -> None:
    async with layered(sandbox, FIRST) as guest:
        assert await guest.ask("answer") == {
            "answer": "first",
            "file": "/opt/python/shared.py",
        }


async def test_the_later_layer_wins(sandbox: Sandbox) -> None:
    async with layered(sandbox, FIRST, SECOND) as guest:
        one = await guest.ask("answer")
        seen = await guest.ask("see", path="/opt/python")
    async with layered(sandbox, SECOND, FIRST) as guest:
        other = await guest.ask("answer")

    assert (one["answer"], other["answer"]) == ("second", "first")
    assert set(seen) - {"__pycache__"} == {"first.py", "second.py", "shared.py"}


async def test_modules_are_looked_for_in_aws_s_order(sandbox: Sandbox) -> None:
    async with layered(sandbox, FIRST, IN_SITE) as guest:
        found = await guest.ask("answer")
        path = await guest.ask("search_path")

    assert found["file"] == f"/opt/{SITE}/shared.py"
    assert path[:3] == ["/var/task", f"/opt/{SITE}", "/opt/python"]


async def test_a_program_of_a_layer_is_run(sandbox: Sandbox) -> None:
    async with layered(sandbox, FIRST, WITH_PROGRAMS) as guest:
        said = [
            await guest.ask("run", name=name)
            for name in ("tool", "/opt/extensions/watch")
        ]
        mode = await guest.ask("mode", path="/opt/extensions/watch")

    assert said == ["from the layer\n"] * 2
    assert mode == 0o100755


async def test_nothing_of_a_layer_can_be_written(sandbox: Sandbox) -> None:
    paths = ["/opt", "/opt/python", "/opt/python/shared.py"]
    async with layered(sandbox, FIRST) as guest:
        tried = await guest.ask("write", paths=paths)

    assert set(tried) == set(paths)
    assert set(tried.values()) <= {"EROFS", "EACCES"}


async def test_each_function_has_its_own_layers_and_no_other_s(
    sandbox: Sandbox, curious: Guest
) -> None:
    async with layered(sandbox, FIRST) as one, layered(sandbox, FIRST, SECOND) as other:
        modules = [await guest.ask("see", path="/opt/python") for guest in (one, other)]

    assert "first.py" in modules[0]
    assert "second.py" not in modules[0]
    assert "second.py" in modules[1]
    assert await curious.ask("see", paths=["/opt"]) == {"/opt": []}


async def test_a_folder_of_layers_that_is_not_there_starts_nothing(
    sandbox: Sandbox,
) -> None:
    guest = sandbox.make_zygote("curious", opt="f" * 64)

    with pytest.raises(
        ZygoteLost, match="could not be made: FileNotFoundError"
    ) as lost:
        await guest.zygote.wait_ready()

    assert not lost.value.started
