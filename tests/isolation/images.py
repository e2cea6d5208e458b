"""Container images for real jails: built as the catalog has it done, and what is in
them."""

import functools
import hashlib
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sandlot_sandbox.host import builder
from sandlot_sandbox.spec import IMAGE
from tests.isolation.machine import ORDINARY_UID, Sandbox

ENGINE_UID = 990_072
AS_IT_SAYS = {"entry_point": [], "command": [], "working_directory": ""}


async def built(sandbox: Sandbox, archive: bytes) -> str:
    """As the catalog does it; the name of what was made."""
    store = sandbox.store.code
    digest = hashlib.sha256(archive + secrets.token_bytes(8)).hexdigest()
    folder = store / f"{digest}-{IMAGE}"
    folder.mkdir(mode=0o700)
    if os.geteuid() == 0:
        uid = ENGINE_UID if sandbox.mode == "root" else ORDINARY_UID
        os.chown(folder, uid, uid)
    file = store / f"{digest}.tar"
    file.write_bytes(archive)
    into, packed = os.open(folder, os.O_RDONLY), os.open(file, os.O_RDONLY)
    try:
        await builder.build_image(sandbox.launcher, packed, "", into)
        os.fchmod(into, 0o755)
    except BaseException:
        shutil.rmtree(folder)
        raise
    finally:
        file.unlink()
        os.close(into)
        os.close(packed)
    return digest


@functools.cache
def python() -> list[tuple[str, bytes]]:
    """This interpreter, its standard library, and the libraries that they need."""
    ldd = shutil.which("ldd")
    if ldd is None:
        pytest.skip("there is no ldd here")
    program = Path(sys.executable).resolve()
    library = Path(os.__file__).parent
    modules = [
        path
        for path in library.rglob("*")
        if path.suffix in (".py", ".so")
        and not {"test", "site-packages", "dist-packages"} & set(path.parts)
    ]
    needed = {
        Path(word)
        for path in (program, *(path for path in modules if path.suffix == ".so"))
        for word in subprocess.run(
            [ldd, str(path)], capture_output=True, text=True, timeout=20, check=False
        ).stdout.split()
        if word.startswith("/")
    }
    files = [(str(path), path.read_bytes()) for path in (*modules, *needed)]
    home = f"{sys.base_prefix}/bin/python3"
    return [*files, (home, program.read_bytes())]
