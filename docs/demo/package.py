"""A function's folder with what its requirements.txt asks for, for one interpreter."""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from docs.demo.engine import DemoFailed

PIP_S = 50.0
"""Time for fetching; a demo that hangs shows nothing."""


def pack_with_requirements(source: Path, target: Path) -> str:
    """Fill `target` with the function and its dependencies; their names and versions.

    Raises `DemoFailed` if they cannot be fetched.
    """
    fetched = _fetched(source / "requirements.txt")
    shutil.copytree(fetched, target, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(source / "app.py", target)
    found = sorted(path.name for path in target.glob("*.dist-info"))
    return ", ".join(
        name.removesuffix(".dist-info").replace("-", " ") for name in found
    )


def cache_folder() -> Path:
    """Beside the virtual environment's packages, else with the user's other caches."""
    if sys.prefix != sys.base_prefix and os.access(sys.prefix, os.W_OK):
        folder = Path(sys.prefix) / "demo"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(base) / "sandlot-demo"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DemoFailed(f"{folder} cannot be made: {error}") from error
    return folder


def _fetched(requirements: Path) -> Path:
    """A folder with the dependencies: the one of an earlier run if nothing changed."""
    wanted = f"{requirements.read_text('utf-8')} {platform.machine()}"
    digest = hashlib.sha256(wanted.encode()).hexdigest()[:12]
    version = f"python3.{sys.version_info.minor}"
    folder = cache_folder() / f"{version}-{digest}"
    if folder.is_dir():
        return folder
    # Made under another name: a run that is interrupted leaves no half of it.
    with tempfile.TemporaryDirectory(dir=folder.parent) as unfinished:
        made = Path(unfinished) / "packages"
        _pip_install(requirements, made)
        made.rename(folder)
    return folder


def _pip_install(requirements: Path, target: Path) -> None:
    command = [
        *(sys.executable, "-m", "pip", "install", "--disable-pip-version-check"),
        *("--no-input", "--quiet", "--no-compile", "--only-binary=:all:"),
        *("--requirement", str(requirements), "--target", str(target)),
    ]
    try:
        done = subprocess.run(
            command, check=False, timeout=PIP_S, capture_output=True, text=True
        )
    except subprocess.TimeoutExpired:
        raise DemoFailed(
            f"pip did not fetch {requirements.read_text().strip()} within {PIP_S:g} s:"
            " is this machine online? It is needed once; later runs have it"
        ) from None
    if done.returncode:
        raise DemoFailed(
            f"pip could not fetch {requirements.read_text().strip()}, which the example"
            f" function uses. Is this machine online? pip says:\n{done.stderr.strip()}"
        )
