"""Instances whose root file system is a container image."""

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sandlot_sandbox.host.builder import Refused
from sandlot_sandbox.outcome import Ended
from sandlot_sandbox.spec import IMAGE
from tests.fakes.images import compiled, image_of, layer, symlink
from tests.isolation.images import AS_IT_SAYS, built, python
from tests.isolation.machine import (
    Guest,
    Sandbox,
    ask,
    send,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="session")
def echo(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Answers with its event."""
    return compiled("bootstrap", tmp_path_factory.mktemp("c"))


@pytest.fixture(scope="session")
def looker(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Looks at what is in the path of its event."""
    return compiled("image_looker", tmp_path_factory.mktemp("c"))


@asynccontextmanager
async def running(
    sandbox: Sandbox, archive: bytes, **wanted: Any
) -> AsyncIterator[Guest]:
    digest = await built(sandbox, archive)
    image = digest, {**AS_IT_SAYS, **wanted}
    environment: Mapping[str, str] = {"OF_FUNCTION": "f", "OF_BOTH": "f"}
    async with sandbox.running_program(
        IMAGE, {}, image=image, environment=environment
    ) as guest:
        yield guest


async def test_an_image_s_program_is_run(sandbox: Sandbox, echo: bytes) -> None:
    archive = image_of(
        layer(("srv/echo", echo)), is_packed=True, config={"Entrypoint": ["/srv/echo"]}
    )
    async with running(sandbox, archive) as guest:
        instance = await guest.fork()
        assert await ask(instance, "one") == {"do": "one"}
        assert await ask(instance, "two") == {"do": "two"}
        await instance.destroy()


async def test_its_root_is_all_there_is(sandbox: Sandbox, looker: bytes) -> None:
    archive = image_of(
        layer(("look", looker), ("srv/a", b"1")), config={"Entrypoint": ["/look"]}
    )
    async with running(sandbox, archive) as guest:
        instance = await guest.fork()

        async def seen(path: str) -> str:
            return str((await ask(instance, path))["seen"])

        names = set((await seen("/")).split())
        assert names == {"look", "srv", "dev", "etc", "proc", "tmp"}
        assert await seen("/srv") == "a"
        devices = set((await seen("/dev")).split())
        assert devices == {
            *("null", "zero", "full", "random", "urandom"),
            *("fd", "stdin", "stdout", "stderr"),
        }
        assert await seen("/tmp") == ""
        assert set((await seen("/proc")).split()) >= {"self", "2"}
        assert await seen("/proc/1/root") == "No such file or directory"
        assert "localhost" in await seen("/etc/hosts")
        for place in ("/", "/srv", "/etc", "/dev", "/etc/hosts", "/dev/null/.."):
            assert await seen(f"+{place}/new") in {
                "Read-only file system",
                "Permission denied",
                "Not a directory",
            }
        assert await seen("+/tmp/new") == "made"
        await instance.destroy()


async def test_its_settings_and_the_function_s(sandbox: Sandbox, looker: bytes) -> None:
    archive = image_of(
        layer(("usr/local/bin/look", looker), ("srv/here", b"")),
        config={
            "Entrypoint": ["no-such-program"],
            "Cmd": ["one", "two"],
            "Env": ["OF_IMAGE=i", "OF_BOTH=i"],
            "WorkingDir": "/srv",
        },
    )
    wanted = {"entry_point": ["look"], "command": ["three"]}
    async with running(sandbox, archive, **wanted) as guest:
        instance = await guest.fork()
        assert (await ask(instance, "."))["seen"] == "here"
        assert (await ask(instance, "argv"))["seen"] == "/usr/local/bin/look three"
        for name, value in (("OF_IMAGE", "i"), ("OF_BOTH", "f"), ("OF_FUNCTION", "f")):
            assert (await ask(instance, f"${name}"))["seen"] == value
        await instance.destroy()


@pytest.mark.parametrize(
    ("wanted", "error_type", "message"),
    [
        ({}, "Runtime.InvalidEntrypoint", "says nothing that could be run"),
        ({"command": ["none"]}, "Runtime.InvalidEntrypoint", "not found in $PATH"),
        ({"command": ["/none"]}, "Runtime.InvalidEntrypoint", "fork/exec /none: no"),
        ({"command": ["/a"]}, "Runtime.InvalidEntrypoint", "fork/exec /a: permission"),
        (
            {"command": ["/a"], "working_directory": "/none"},
            "Runtime.InvalidWorkingDir",
            "chdir /none: no such",
        ),
    ],
)
async def test_what_cannot_be_run_is_said(
    sandbox: Sandbox, wanted: dict[str, Any], error_type: str, message: str
) -> None:
    async with running(sandbox, image_of(layer(("a", b""), mode=0o644)), **wanted) as g:
        instance = await g.fork()
        ending = await send(instance, "a")
        assert (ending.ended, ending.error_type) == (Ended.INIT_FAILED, error_type)
        assert message in json.loads(ending.payload)["errorMessage"]
        await g.wait_death(instance)


async def test_it_is_held_as_any_other_program(sandbox: Sandbox, looker: bytes) -> None:
    archive = image_of(layer(("look", looker)), config={"Entrypoint": ["/look"]})

    async def facts(running: Any) -> dict[str, str]:
        async with running as guest:
            instance = await guest.fork()
            words = (await ask(instance, "/proc/self/status"))["seen"].split()
            await instance.destroy()
            return {key: words[words.index(f"{key}:") + 1] for key in HELD}

    of_image = await facts(running(sandbox, archive))
    of_other = await facts(
        sandbox.running_program("provided.al2023", {"bootstrap": looker})
    )

    assert of_image == of_other
    assert of_image["CapEff"] == of_image["CapBnd"] == "0" * 16
    assert of_image["Seccomp"] == "2"


HELD = (
    *("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"),
    *("Seccomp_filters", "Uid", "Gid", "FDSize"),
)


async def test_a_folder_that_a_builder_gone_bad_has_made_is_not_mounted_over(
    sandbox: Sandbox,
) -> None:
    """With links in it where ours is put."""
    for name in ("tmp", "proc", "dev", "etc", "etc/hosts"):
        digest = await built(sandbox, image_of(layer(("a", b""))))
        root = sandbox.store.code / f"{digest}-{IMAGE}" / "root"
        place = root / name
        shutil.rmtree(place) if place.is_dir() else place.unlink()
        place.symlink_to("/etc")

        with pytest.raises(Exception, match=r"jail|zygote|Not a directory|else|levels"):
            async with sandbox.running_program(
                IMAGE, {}, image=(digest, AS_IT_SAYS)
            ) as guest:
                await guest.fork()


async def test_a_root_that_is_a_link_is_no_root(sandbox: Sandbox) -> None:
    digest = await built(sandbox, image_of(layer(("a", b""))))
    folder = sandbox.store.code / f"{digest}-{IMAGE}"
    shutil.rmtree(folder / "root")
    (folder / "root").symlink_to("/")

    with pytest.raises(Exception, match="jail could not be made"):
        async with sandbox.running_program(IMAGE, {}, image=(digest, AS_IT_SAYS)):
            pass


async def test_what_is_no_image_is_refused_in_its_jail(sandbox: Sandbox) -> None:
    with pytest.raises(Refused, match="its /proc is no folder"):
        await built(sandbox, image_of(layer(symlink("proc", "/"))))


async def test_many_instances_have_a_tmp_each(sandbox: Sandbox, looker: bytes) -> None:
    archive = image_of(layer(("look", looker)), config={"Cmd": ["/look"]})
    async with running(sandbox, archive) as guest:
        instances = [await guest.fork() for _ in range(3)]
        await ask(instances[0], "+/tmp/mine")
        seen = await asyncio.gather(*(ask(each, "/tmp") for each in instances))
        assert [each["seen"] for each in seen] == ["mine", "", ""]
        for instance in instances:
            await instance.destroy()


async def test_an_interpreter_and_its_libraries_are_the_image_s_own(
    sandbox: Sandbox,
) -> None:
    """A Python that was put into an image, linked with what is there alone, runs a
    program that asks for modules, makes a process and looks at what it is."""
    archive = image_of(
        layer(*python(), ("app.py", PYTHON.encode())),
        config={"Cmd": [f"{sys.base_prefix}/bin/python3", "-I", "-S", "/app.py"]},
    )
    async with running(sandbox, archive) as guest:
        instance = await guest.fork()
        seen = await ask(instance, "any")
        assert seen["uid"] == 1000
        assert seen["root"] >= ["app.py", "dev"]
        assert seen["child"] == "child"
        assert "/var/runtime" not in seen["mounts"]
        assert not [line for line in seen["mapped"] if line.startswith("/var/")]
        await instance.destroy()


PYTHON = """
import http.client, json, os, subprocess, sys
api = os.environ["AWS_LAMBDA_RUNTIME_API"]
base = "/2018-06-01/runtime/invocation"
while True:
    link = http.client.HTTPConnection(api)
    link.request("GET", f"{base}/next")
    reply = link.getresponse()
    reply.read()
    name = reply.headers["Lambda-Runtime-Aws-Request-Id"]
    child = [sys.executable, "-I", "-S", "-c", "print('child')"]
    with open("/proc/self/mountinfo") as mounts, open("/proc/self/maps") as maps:
        seen = {
            "uid": os.getuid(),
            "root": sorted(os.listdir("/")),
            "child": subprocess.check_output(child, text=True).strip(),
            "mounts": [line.split()[4] for line in mounts],
            "mapped": [line.split()[5] for line in maps if len(line.split()) > 5],
        }
    link = http.client.HTTPConnection(api)
    link.request("POST", f"{base}/{name}/response", json.dumps(seen))
    link.getresponse().read()
"""
