"""What an order has opened: what is among the code, by its name, and nothing else."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from sandlot_sandbox.launcher.jails import BUILDER_LIMITS, Setting
from sandlot_sandbox.launcher.orders import program_of
from sandlot_sandbox.launcher.runtime import Runtime
from sandlot_sandbox.spec import (
    EGRESS,
    IMAGE,
    MAX_LAYERS,
    NONE,
    TASK,
    StartBuilder,
    StartZygote,
)

CODE, OPT = "c" * 64, "0" * 64
PYTHON = "python3.11"
CHANNEL, LOG = 100, 101
"""Numbers: nobody here looks at what they are of."""

LIMITS = object()


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    return folder


@pytest.fixture
def setting(code: Path) -> Iterator[Setting]:
    usable = {
        name: Runtime(name=name, version="", prefix=code, guest_code=code, runs=runs)
        for name, runs in ((PYTHON, ()), (IMAGE, (IMAGE,)))
    }
    opened = os.open(code, os.O_PATH | os.O_DIRECTORY)
    made = SimpleNamespace(
        code=opened,
        runtimes=SimpleNamespace(usable=usable),
        limits_of=lambda _: LIMITS,
    )
    yield cast(Setting, made)
    os.close(opened)


def zygote(runtime: str = PYTHON, *, opt: str = "", allow: str = "") -> StartZygote:
    return StartZygote(
        zygote=1,
        runtime=runtime,
        code=CODE,
        opt=opt,
        memory_mb=128,
        tmp_mb=512,
        network=EGRESS,
        allow=allow,
        as_program=0,
        owner=7,
    )


BUILDER = StartBuilder(zygote=1, runtime=PYTHON, place=TASK)


def is_open(descriptor: int) -> bool:
    return Path(f"/proc/self/fd/{descriptor}").exists()


def shows(descriptor: int, folder: Path) -> bool:
    return os.path.samestat(os.fstat(descriptor), folder.stat())


def test_a_zygote_has_its_code_while_it_is_started(
    setting: Setting, code: Path
) -> None:
    folder = code / f"{CODE}-{PYTHON}"
    folder.mkdir()
    order = zygote(allow="10.0.0.0/8,10.1.0.0/16")

    with program_of(setting, order, [CHANNEL, LOG]) as program:
        assert shows(program.code, folder)
        assert (program.opt, program.image) == (None, None)
        assert (program.channel, program.log) == (CHANNEL, LOG)
        assert (program.owner, program.network) == (7, EGRESS)
        assert program.allow == ("10.0.0.0/8", "10.1.0.0/16")
        assert program.limits is LIMITS

    assert not is_open(program.code)


def test_layers_are_a_folder_of_their_own(setting: Setting, code: Path) -> None:
    for name in (CODE, OPT):
        (code / f"{name}-{PYTHON}").mkdir()

    with program_of(setting, zygote(opt=OPT), [CHANNEL, LOG]) as program:
        assert program.opt is not None
        assert shows(program.opt, code / f"{OPT}-{PYTHON}")

    assert not is_open(program.opt)


def test_an_image_s_root_is_within_its_folder(setting: Setting, code: Path) -> None:
    root = code / f"{CODE}-{IMAGE}" / "root"
    root.mkdir(parents=True)

    with program_of(setting, zygote(IMAGE), [CHANNEL, LOG]) as program:
        assert program.image is not None
        assert shows(program.image, root)

    assert not is_open(program.image)


@pytest.mark.parametrize("is_image", [False, True])
def test_a_link_is_not_followed(
    setting: Setting, code: Path, tmp_path: Path, *, is_image: bool
) -> None:
    runtime = IMAGE if is_image else PYTHON
    folder = code / f"{CODE}-{runtime}"
    if is_image:
        folder.mkdir()
    (folder / "root" if is_image else folder).symlink_to(tmp_path)

    with pytest.raises(OSError, match="Not a directory"):
        with program_of(setting, zygote(runtime), [CHANNEL, LOG]):
            pass


def test_what_is_not_there_is_not_started(setting: Setting, code: Path) -> None:
    (code / f"{CODE}-{PYTHON}").mkdir()

    with pytest.raises(FileNotFoundError):
        with program_of(setting, zygote(opt=OPT), [CHANNEL, LOG]):
            pass
    with pytest.raises(KeyError):
        program_of(setting, zygote("ruby3.4"), [CHANNEL, LOG])


@pytest.fixture
def folder(code: Path) -> Iterator[int]:
    """That a builder is to fill."""
    (code / "new").mkdir()
    opened = os.open(code / "new", os.O_RDONLY | os.O_DIRECTORY)
    yield opened
    os.close(opened)


def test_a_builder_has_the_folder_that_it_is_to_fill(
    setting: Setting, code: Path, folder: int
) -> None:
    most = range(200, 200 + MAX_LAYERS)

    with program_of(setting, BUILDER, [CHANNEL, LOG, folder, *most]) as program:
        assert shows(program.code, code / "new")
        assert program.packages == tuple(most)
        assert (program.network, program.limits) == (NONE, BUILDER_LIMITS)
        assert program.place == BUILDER.place

    assert not is_open(program.code)
    assert is_open(folder), "that is the caller's"


@pytest.mark.parametrize("count", [0, MAX_LAYERS + 1])
def test_a_builder_has_some_packages_and_not_too_many(
    setting: Setting, folder: int, count: int
) -> None:
    descriptors = [CHANNEL, LOG, folder, *range(200, 200 + count)]

    with pytest.raises(ValueError, match=f"^{count} packages are to be unpacked"):
        with program_of(setting, BUILDER, descriptors):
            pass


@pytest.mark.parametrize("name", ["new", "another"])
def test_a_builder_fills_no_folder_that_is_not_among_the_code(
    setting: Setting, folder: int, tmp_path: Path, name: str
) -> None:
    """Also where it has the name of one that is."""
    elsewhere = tmp_path / "elsewhere" / name
    elsewhere.mkdir(parents=True)
    opened = os.open(elsewhere, os.O_RDONLY | os.O_DIRECTORY)

    try:
        with pytest.raises(OSError, match=r"not among those with code|No such file"):
            with program_of(setting, BUILDER, [CHANNEL, LOG, opened, 200]):
                pass
    finally:
        os.close(opened)
