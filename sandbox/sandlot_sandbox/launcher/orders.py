"""What an order asks to have started, its folders opened.

An order names what is among the code, by its hash and never by a path; what bears that
name is opened here, and a link is not followed.
"""

import contextlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager

from sandlot_sandbox.guest.image_run import ROOT
from sandlot_sandbox.launcher.jails import BUILDER_LIMITS, Program, Setting
from sandlot_sandbox.launcher.runtime import Runtime, as_program
from sandlot_sandbox.spec import MAX_LAYERS, NONE, StartBuilder, StartZygote


def program_of(
    setting: Setting, order: StartZygote | StartBuilder, descriptors: list[int]
) -> AbstractContextManager[Program]:
    """Closes in the end what it opened; `descriptors`, which came with the order, it
    does not. Raises `KeyError` where there is no such runtime; entering it raises
    `OSError`, and `ValueError` for what is no order of the engine's."""
    runtime = setting.runtimes.usable[order.runtime]
    if isinstance(order, StartBuilder):
        return _builder(setting, order, runtime, descriptors)
    return _zygote(setting, order, runtime, descriptors)


@contextlib.contextmanager
def _builder(
    setting: Setting, order: StartBuilder, runtime: Runtime, descriptors: list[int]
) -> Iterator[Program]:
    channel, log_pipe, folder, *packages = descriptors
    if not 1 <= len(packages) <= MAX_LAYERS:
        raise ValueError(f"{len(packages)} packages are to be unpacked")
    with _same_folder(setting, folder) as found:
        yield Program(
            runtime=runtime,
            file="builder.py",
            limits=BUILDER_LIMITS,
            network=NONE,
            code=found,
            channel=channel,
            log=log_pipe,
            packages=tuple(packages),
            place=order.place,
        )


@contextlib.contextmanager
def _zygote(
    setting: Setting, order: StartZygote, runtime: Runtime, descriptors: list[int]
) -> Iterator[Program]:
    channel, log_pipe = descriptors
    if order.as_program:
        runtime = as_program(runtime)
    with contextlib.ExitStack() as opened:
        code = opened.enter_context(_folder(setting, f"{order.code}-{order.runtime}"))
        opt = None
        if order.opt:
            opt = opened.enter_context(_folder(setting, f"{order.opt}-{order.runtime}"))
        image = None
        if runtime.is_image:
            image = opened.enter_context(_root_of_image(code))
        yield Program(
            runtime=runtime,
            image=image,
            file="bootstrap.py",
            limits=setting.limits_of(order),
            owner=order.owner,
            network=order.network,
            allow=tuple(filter(None, order.allow.split(","))),
            code=code,
            opt=opt,
            channel=channel,
            log=log_pipe,
        )


@contextlib.contextmanager
def _folder(setting: Setting, name: str) -> Iterator[int]:
    """One of those with code. By its name alone, and no link: they are the engine's
    to make."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    code = os.open(name, flags, dir_fd=setting.code)
    try:
        yield code
    finally:
        os.close(code)


@contextlib.contextmanager
def _same_folder(setting: Setting, folder: int) -> Iterator[int]:
    """What the engine has opened, as our mount namespace knows it: it has one of its
    own, and the kernel clones no mounts of others'."""
    path = os.readlink(f"/proc/self/fd/{folder}")
    with _folder(setting, os.path.basename(path)) as found:
        if not os.path.samestat(os.fstat(folder), os.fstat(found)):
            raise OSError("the folder to unpack into is not among those with code")
        yield found


@contextlib.contextmanager
def _root_of_image(folder: int) -> Iterator[int]:
    """A builder made it, which may have gone bad: it is no link, or nothing."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    root = os.open(ROOT, flags, dir_fd=folder)
    try:
        yield root
    finally:
        os.close(root)
