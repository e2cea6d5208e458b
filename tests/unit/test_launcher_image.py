"""What the launcher has in memory, every warden and every cell gets a copy of."""

import subprocess
import sys

HEAVY = (
    *("logging", "threading", "subprocess", "tempfile", "random", "hashlib", "shutil"),
    *("asyncio", "grpc", "pyseccomp"),
)
"""Some of these also have every fork call them."""


def test_the_launcher_imports_nothing_that_makes_forks_slow() -> None:
    ask = (
        f"import sys; sys.path[:] = {sys.path!r}; import sandlot_sandbox.launcher"
        f".__main__; print(*set(sys.modules) & {set(HEAVY)!r})"
    )

    done = subprocess.run(
        [sys.executable, "-I", "-c", ask],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    assert done.stdout.split() == []
