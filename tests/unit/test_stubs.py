"""The generated stubs in `client/sandlot/v1` are those of `proto/sandlot/v1`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
GENERATE_WITHIN_S = 50
"""Less than pytest's own limit, so that make's output gets into the failure."""


@pytest.mark.skipif(
    sys.version_info >= (3, 14),
    reason="the pinned grpcio-tools has no build for this Python; see the Makefile",
)
def test_the_stubs_are_what_the_proto_files_generate(tmp_path: Path) -> None:
    make_stubs(tmp_path)

    generated = read_stubs(tmp_path / "sandlot/v1")
    committed = read_stubs(REPOSITORY / "client/sandlot/v1")

    stale = {name for name in generated if generated[name] != committed.get(name)}
    assert stale == set(), "run `make stubs`"
    assert set(committed) == set(generated), "stubs without a .proto file"


def make_stubs(folder: Path) -> None:
    """Run the very recipe that a developer runs, into `folder`."""
    # Without the flags of an outer make: its job server and its `-n` are not ours.
    environment = {k: v for k, v in os.environ.items() if k != "MAKEFLAGS"}
    made = subprocess.run(
        ["make", "--silent", "stubs", f"STUBS_OUT={folder}"],  # noqa: S607 - the user's
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=GENERATE_WITHIN_S,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr


def read_stubs(folder: Path) -> dict[str, bytes]:
    """The generated files of a folder by name; `__init__.py` is written by hand."""
    return {path.name: path.read_bytes() for path in folder.glob("*_pb2*.py*")}
