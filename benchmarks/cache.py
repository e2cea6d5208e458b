"""Where peers are installed: a folder of their own, outside of the tree.

`$SANDLOT_BENCHMARK_CACHE`, or `~/.cache/sandlot-benchmarks`. Each has a folder there:
an environment out of PyPI, or Debian's packages, unpacked and not installed.
`python -m benchmarks peers --remove` deletes all of it. Nothing else is left anywhere.
"""

import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

INSTALL_S = 600.0

_LIBRARIES = "usr/lib/x86_64-linux-gnu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Something that can be installed."""

    name: str
    what: str
    program: str
    """What it is started by."""

    debian: tuple[str, ...] = ()
    """Packages to unpack."""

    pypi: tuple[str, ...] = ()
    """Requirements to install."""

    @property
    def folder(self) -> Path:
        return root() / self.name

    @property
    def path(self) -> Path | None:
        """The program that is on PATH, or ours; None where there is neither."""
        if found := shutil.which(self.program):
            return Path(found)
        for place in ("bin", "usr/bin", "usr/sbin"):
            if (ours := self.folder / place / self.program).exists():
                return ours
        return None

    @property
    def environment(self) -> dict[str, str]:
        """What it needs to be started with."""
        return {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LD_LIBRARY_PATH": str(self.folder / _LIBRARIES),
        }

    def install(self) -> str:
        """Empty, or why it could not be."""
        if self.path is not None:
            return ""
        try:
            # Elsewhere first: what was interrupted is not mistaken for what is there.
            half = self.folder.with_suffix(".half")
            shutil.rmtree(half, ignore_errors=True)
            half.mkdir(parents=True)
            if self.pypi:
                _install_from_pypi(half, self.pypi)
            else:
                _unpack_from_debian(half, self.debian)
            half.rename(self.folder)
        except (OSError, subprocess.SubprocessError) as error:
            return _reason(error)
        return "" if self.path else f"there is no {self.program} in it"


PEERS = (
    Peer(
        name="bubblewrap",
        what="namespaces around a command",
        program="bwrap",
        debian=("bubblewrap",),
    ),
    Peer(
        name="crun",
        what="OCI runtime in C",
        program="crun",
        debian=("crun", "libyajl2"),
    ),
    Peer(name="runc", what="OCI runtime of Docker", program="runc", debian=("runc",)),
    Peer(
        name="runsc",
        what="gVisor: a kernel of its own, in user space",
        program="runsc",
        debian=("runsc",),
    ),
    Peer(
        name="functions-framework",
        what="Google's server for one function, in one process",
        program="functions-framework",
        pypi=("functions-framework==3.10.2",),
    ),
    Peer(
        name="ministack",
        what="AWS on one machine: its Lambda runs functions in subprocesses",
        program="ministack",
        pypi=("ministack==1.5.33",),
    ),
)

PACKAGES = {
    "numpy": ("numpy>=2.0",),
    "pandas": ("pandas>=2.2",),
    "awslambdaric": ("awslambdaric==4.2.2",),
}
"""What functions bring along that our own environment does not have, or not for their
interpreter."""

NOT_RUN = (
    "OpenFaaS, OpenWhisk, Knative, Fission, Nuclio, LocalStack: need Docker, or more",
    "Docker: its daemon is not ours to start; runc is what it starts containers by",
    "AWS Lambda, Firecracker, OpenLambda, Dirigent: other machines than this one",
)


def root() -> Path:
    """Made when it is needed."""
    if given := os.environ.get("SANDLOT_BENCHMARK_CACHE"):
        return Path(given)
    return Path.home() / ".cache" / "sandlot-benchmarks"


def peer(name: str) -> Peer:
    return next(each for each in PEERS if each.name == name)


def packages(name: str, runtime: str) -> Path | None:
    """A folder with a package for functions of a runtime, if it is installed."""
    folder = root() / "packages" / runtime / name
    return folder if name and folder.is_dir() else None


def install_packages(name: str, runtime: str) -> str:
    """Empty, or why it could not be. For the functions' interpreter, not for ours."""
    folder = root() / "packages" / runtime / name
    if folder.is_dir():
        return ""
    half = folder.with_suffix(".half")
    try:
        shutil.rmtree(half, ignore_errors=True)
        half.parent.mkdir(parents=True, exist_ok=True)
        version = runtime.removeprefix("python")
        _run(
            *(sys.executable, "-m", "pip", "install", "--quiet", "--target", str(half)),
            *("--only-binary=:all:", "--python-version", version),
            *("--implementation", "cp", *PACKAGES[name]),
        )
        half.rename(folder)
    except (OSError, subprocess.SubprocessError) as error:
        return _reason(error)
    return ""


def remove() -> None:
    """All that was installed."""
    shutil.rmtree(root(), ignore_errors=True)


def _install_from_pypi(folder: Path, requirements: tuple[str, ...]) -> None:
    # Scripts begin with their interpreter's path: these are made where they will stay.
    final = folder.with_suffix("")
    folder.rmdir()
    try:
        venv.create(final, with_pip=True, symlinks=True)
        _run(str(final / "bin" / "pip"), "install", "--quiet", *requirements)
    except BaseException:
        shutil.rmtree(final, ignore_errors=True)
        raise
    final.rename(folder)


def _unpack_from_debian(folder: Path, names: tuple[str, ...]) -> None:
    # apt reads as a user of its own where it can.
    folder.chmod(0o755)
    _run("apt-get", "download", "--quiet", *names, cwd=folder)
    for package in sorted(folder.glob("*.deb")):
        _run("dpkg-deb", "--extract", str(package), str(folder))
        package.unlink()


def _run(*command: str, cwd: Path | None = None) -> None:
    subprocess.run(command, check=True, capture_output=True, cwd=cwd, timeout=INSTALL_S)


def _reason(error: OSError | subprocess.SubprocessError) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        said = error.stderr.decode("utf-8", "replace").strip().splitlines()
        return said[-1] if said else str(error)
    return str(error)
