"""What a function sees of the world, and where it can write."""

import pytest

from tests.isolation.machine import Guest, Sandbox, ask

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_root_has_nothing_of_the_host(curious: Guest) -> None:
    found = await curious.ask("see", paths=["/", "/var", "/dev", "/tmp", "/opt"])

    links = {"bin", "lib", "lib32", "lib64", "libx32"}
    assert set(found["/"]) - links == {
        *("dev", "etc", "opt", "proc", "tmp", "usr", "var")
    }
    assert found["/var"] == ["lang", "runtime", "task"]
    assert found["/tmp"] == found["/opt"] == []
    assert set(found["/dev"]) == {
        *("fd", "full", "null", "random", "stderr", "stdin", "stdout"),
        *("urandom", "zero"),
    }


@pytest.mark.parametrize(
    "path",
    [
        *("/root", "/home", "/etc/shadow", "/etc/sudoers", "/var/lib", "/var/log"),
        *("/var/run", "/run", "/sys", "/boot", "/mnt", "/srv", "/old", "/usr/sbin"),
        *("/proc/sys", "/proc/cpuinfo", "/proc/kcore", "/proc/1", "/proc/mounts.old"),
        *("/dev/shm", "/dev/pts", "/dev/tty", "/dev/mem", "/dev/kmsg", "/dev/vda"),
    ],
)
async def test_a_path_of_the_host_is_not_there(curious: Guest, path: str) -> None:
    assert await curious.ask("see", paths=[path]) == {path: "ENOENT"}


async def test_etc_is_made_for_the_jail(curious: Guest) -> None:
    names = (await curious.ask("see", paths=["/etc"]))["/etc"]
    users = await curious.ask("read", path="/etc/passwd")

    assert set(names) <= {
        *("group", "hostname", "hosts", "ld.so.cache", "localtime", "nsswitch.conf"),
        *("os-release", "passwd", "protocols", "resolv.conf", "services", "ssl"),
    }
    assert users.splitlines() == ["sandlot:x:1000:1000::/tmp:/bin/sh"]


async def test_services_and_protocols_are_known_by_name(curious: Guest) -> None:
    found = await curious.ask("look_up", services=["https", "ntp"], protocols=["tcp"])

    assert found == {"https": 443, "ntp": 123, "tcp": 6}


async def test_it_sees_the_code_of_its_own_function_alone(
    sandbox: Sandbox, curious: Guest
) -> None:
    async with sandbox.running("neighbour"):
        found = await curious.ask("see", paths=["/var/task"])

    assert found == {"/var/task": ["app.py"]}


async def test_proc_shows_the_instance_alone(curious: Guest) -> None:
    other = await curious.fork()
    await ask(other, "tmp")

    seen = await curious.ask("see", paths=["/proc"])

    assert seen == {"/proc": ["2", "self", "thread-self"]}
    await other.destroy()


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/etc", "/etc/passwd", "/usr/bin", "/usr/bin/env", "/usr/lib"),
        *("/var", "/var/task", "/var/task/app.py", "/var/lang", "/var/runtime"),
        *("/dev", "/opt", "/proc", "/proc/self", "/var/runtime/sandlot_sandbox"),
    ],
)
async def test_nothing_but_tmp_can_be_written(curious: Guest, path: str) -> None:
    (answer,) = (await curious.ask("write", paths=[path])).values()

    assert answer in ("EROFS", "EACCES", "EPERM", "ENOENT")


async def test_tmp_can_be_written(curious: Guest) -> None:
    assert await curious.ask("leave") == ["left"]


async def test_tmp_is_private_to_an_instance(curious: Guest) -> None:
    one, other = await curious.fork(), await curious.fork()
    await ask(one, "leave")

    assert await ask(other, "tmp") == []
    assert await curious.ask("tmp") == []
    assert await ask(one, "tmp") == ["left"]
    await one.destroy()
    await other.destroy()


async def test_the_environment_is_what_the_function_was_given(curious: Guest) -> None:
    names = set(await curious.ask("environment"))
    at_exec = await curious.ask("read", path="/proc/self/environ")

    assert names == {"TZ", "MINE", "_HANDLER", "AWS_LAMBDA_LOG_STREAM_NAME"}
    assert {item.partition("=")[0] for item in at_exec.split("\0") if item} == {
        *("PATH", "LD_LIBRARY_PATH", "LD_BIND_NOW", "LANG", "LC_CTYPE", "TZ")
    }


async def test_the_machine_s_name_is_hidden(curious: Guest) -> None:
    assert await curious.ask("read", path="/etc/hostname") == "sandlot\n"
    assert await curious.ask("host_name") == "sandlot"


async def test_it_is_in_no_group_of_its_starter_s(curious: Guest) -> None:
    assert await curious.ask("groups") == []


async def test_a_set_user_id_program_gives_it_nothing(curious: Guest) -> None:
    assert await curious.ask("set_user_id") == {"uid": 1000, "no_new_privileges": True}


async def test_a_function_sees_whom_it_works_for(sandbox: Sandbox) -> None:
    async with sandbox.running("about") as guest:
        instance = await guest.fork()
        seen = [
            (await ask(instance, "", isolation_key=key))["context"]["tenant_id"]
            for key in ("ann", "", "ann")
        ]
        await instance.destroy()

    assert seen == ["ann", None, "ann"]
