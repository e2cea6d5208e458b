"""Clones of one zygote do not draw the same numbers."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.guest_interpreters import (
    DEADLINE_S,
    Guest,
    every_interpreter,
    python_with_numpy,
)

CLONE = """
uniqueness.collect()
def draw():
    failure = uniqueness.reseed()
    assert failure is None, failure
    return repr({drawn})
result = [in_a_clone(draw), in_a_clone(draw), repr({drawn})]
"""

SOURCES = {
    "the random module": ("import random", "random.getrandbits(64)"),
    "a Random": ("import random; it = random.Random()", "it.getrandbits(64)"),
    "a Random's second gauss": (
        "import random; it = random.Random(); it.gauss(0, 1)",
        "it.gauss(0, 1)",
    ),
    "a hostile subclass of Random": (
        """
import random
class Hostile(random.Random): pass
it = Hostile()
def refuse(self, *args):
    raise OSError
Hostile.seed = Hostile.__setattr__ = Hostile.__getattribute__ = refuse
""",
        "random.Random.getrandbits(it, 64)",
    ),
    "tempfile": (
        "import tempfile; next(tempfile._get_candidate_names())",
        "next(tempfile._get_candidate_names())",
    ),
    "uuid1's node and sequence": (
        "import uuid; uuid.uuid1()",
        "uuid.uuid1().fields[3:]",
    ),
    "OpenSSL": ("import ssl; ssl.RAND_bytes(8)", "ssl.RAND_bytes(8)"),
    "SQLite": (
        """
import sqlite3
it = sqlite3.connect(":memory:")
it.execute("SELECT random()").fetchone()
""",
        "it.execute('SELECT random(), randomblob(8)').fetchone()",
    ),
    "uuid4": ("import uuid; uuid.uuid4()", "uuid.uuid4()"),
}

NUMPY = "import numpy; "
NUMPY_SOURCES = {
    "numpy's global generator": (NUMPY, "numpy.random.random()"),
    "numpy's second gauss": (NUMPY + "numpy.random.randn()", "numpy.random.randn()"),
    "a RandomState": (NUMPY + "it = numpy.random.RandomState(5)", "it.random_sample()"),
    "a Generator": (NUMPY + "it = numpy.random.default_rng()", "it.random()"),
    "what a Generator spawns": (
        NUMPY + "it = numpy.random.default_rng()",
        "it.bit_generator.seed_seq.spawn(1)[0].generate_state(4)",
    ),
    "a SeedSequence": (
        NUMPY + "it = numpy.random.SeedSequence()",
        "it.generate_state(4)",
    ),
    "what a SeedSequence spawns": (
        NUMPY + "it = numpy.random.SeedSequence(5, pool_size=8); it.spawn(2)",
        "it.spawn(1)[0].generate_state(4)",
    ),
    "a SeedSequence that a Generator has as well": (
        NUMPY + "it = numpy.random.SeedSequence(); of = numpy.random.default_rng(it)",
        "it.generate_state(4)",
    ),
    "a hostile subclass of SeedSequence": (
        """
import numpy
class Hostile(numpy.random.SeedSequence): pass
it = Hostile(5)
def refuse(self, *args, **kwargs):
    raise OSError
Hostile.__init__ = Hostile.__getattribute__ = Hostile.__setattr__ = refuse
""",
        "numpy.random.SeedSequence.generate_state(it, 4)",
    ),
    **{
        f"{name} alone": (NUMPY + f"it = numpy.random.{name}()", "it.random_raw()")
        for name in ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")
    },
    "a RandomState around PCG64": (
        NUMPY + "it = numpy.random.RandomState(numpy.random.PCG64()); it.randn()",
        "it.randn()",
    ),
}


@pytest.fixture
def guest(python: str, tmp_path: Path) -> Guest:
    return Guest(python, tmp_path)


def three_draws(guest: Guest, source: tuple[str, str]) -> Any:
    before, drawn = source
    return guest.result_of(before + CLONE.format(drawn=drawn))


@every_interpreter
@pytest.mark.parametrize("name", SOURCES)
def test_two_clones_and_their_zygote_draw_different(guest: Guest, name: str) -> None:
    draws = three_draws(guest, SOURCES[name])

    assert len(set(draws)) == 3, draws


@pytest.mark.parametrize("name", NUMPY_SOURCES)
def test_two_clones_draw_different_with_numpy(name: str, tmp_path: Path) -> None:
    guest = Guest(python_with_numpy(), tmp_path)

    draws = three_draws(guest, NUMPY_SOURCES[name])

    assert len(set(draws)) == 3, draws


def test_what_clones_draw_with_numpy_is_sound(tmp_path: Path) -> None:
    mean = Guest(python_with_numpy(), tmp_path).result_of(
        """
        import numpy
        it = numpy.random.default_rng()
        uniqueness.collect()
        def draw():
            assert uniqueness.reseed() is None
            drawn = it.random(10_000), numpy.random.rand(10_000)
            return [float(numbers.mean()) for numbers in drawn]
        result = in_a_clone(draw)
        """
    )

    assert all(0.45 < value < 0.55 for value in mean)


def test_a_sequence_spawns_on_where_it_was(tmp_path: Path) -> None:
    key, size, spawned = Guest(python_with_numpy(), tmp_path).result_of(
        """
        import numpy
        it = numpy.random.SeedSequence(5, spawn_key=(3,), pool_size=8)
        it.spawn(2)
        uniqueness.collect()
        assert uniqueness.reseed() is None
        result = [it.spawn_key, it.pool_size, it.spawn(1)[0].spawn_key]
        """
    )

    assert (key, size, spawned) == ([3], 8, [3, 2])


@pytest.mark.parametrize("made", ["", "it = numpy.random.RandomState()"])
def test_the_sequences_that_numpy_makes_for_itself_are_left_alone(
    made: str, tmp_path: Path
) -> None:
    found = Guest(python_with_numpy(), tmp_path).result_of(
        f"""
        import numpy
        {made}
        result = repr(uniqueness.collect())
        """
    )

    assert found.endswith("0 BitGenerator, 0 SeedSequence>")


@every_interpreter
@pytest.mark.parametrize("file", ["5", "'/gone.so'", "'/dev/null'", "os.__file__"])
def test_a_sqlite_that_is_none_is_left_alone(guest: Guest, file: str) -> None:
    failure = guest.result_of(
        f"""
        import types
        sys.modules["_sqlite3"] = types.ModuleType("_sqlite3")
        sys.modules["_sqlite3"].__file__ = {file}
        uniqueness.collect()
        result = uniqueness.reseed()
        """
    )

    assert failure is None


@every_interpreter
def test_reseeding_imports_nothing(guest: Guest) -> None:
    assert (
        guest.result_of(
            """
            before = set(sys.modules)
            uniqueness.collect()
            def loaded():
                assert uniqueness.reseed() is None
                return sorted(set(sys.modules) - before)
            result = in_a_clone(loaded)
            """
        )
        == []
    )


@every_interpreter
def test_a_replaced_module_that_cannot_be_reseeded_is_a_failure(guest: Guest) -> None:
    message = guest.result_of(
        """
        class Grudging:
            _name_sequence = property(lambda self: 1)
        uniqueness.collect()
        sys.modules["tempfile"] = Grudging()
        result = in_a_clone(lambda: uniqueness.reseed().message)
        """
    )

    assert message.startswith(
        "this instance could not get random numbers of its own: AttributeError: "
    )


@every_interpreter
def test_a_zygote_with_its_clones_process_id_is_refused(guest: Guest) -> None:
    error_type, message = guest.result_of(
        """
        uniqueness.CLONE_PID = os.getpid()
        uniqueness.collect()
        failure = uniqueness.reseed()
        result = [failure.error_type, failure.message]
        """
    )

    assert error_type == "Runtime.AfterRestoreError"
    assert "which its instances have too" in message


@every_interpreter
def test_reseeding_before_the_fork_gives_each_clone_its_own(guest: Guest) -> None:
    draws = guest.result_of(
        """
        import random
        own = random.Random(1)
        uniqueness.collect()
        result = []
        for _ in range(3):
            assert uniqueness.reseed() is None
            result.append(in_a_clone(own.random))
        """
    )

    assert len(set(draws)) == 3


@every_interpreter
def test_openssl_differs_in_clones_that_share_a_process_id_of_their_own(
    guest: Guest,
) -> None:
    wrapper = ("unshare", "--user", "--map-root-user", "--pid", "--fork")
    _require(wrapper)

    draws = guest.result_of(
        """
        import ctypes, ssl
        CLONE_NEWPID = 0x20000000
        libc = ctypes.CDLL(None, use_errno=True)
        def draw():
            assert uniqueness.reseed() is None
            return [os.getpid(), ssl.RAND_bytes(8).hex()]
        def in_its_own_namespace():
            assert libc.unshare(CLONE_NEWPID) == 0
            return in_a_clone(draw)
        def zygote():
            # Not pid 1, which every clone is in its namespace.
            ssl.RAND_bytes(8)
            uniqueness.collect()
            return [in_a_clone(in_its_own_namespace) for _ in range(3)]
        result = in_a_clone(zygote)
        """,
        wrapper=wrapper,
    )

    assert [pid for pid, _ in draws] == [1, 1, 1]
    assert len({drawn for _, drawn in draws}) == 3


def _require(wrapper: tuple[str, ...]) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("util-linux's unshare is not installed")
    done = subprocess.run(
        [*wrapper, "true"], capture_output=True, timeout=DEADLINE_S, check=False
    )
    if done.returncode:
        pytest.skip(f"no user namespaces here: {done.stderr.decode()}")
