"""Secrets at rest open only where they were sealed for."""

import errno
import os
import stat
from pathlib import Path

import pytest

from sandlot_engine.catalog import seal
from sandlot_engine.catalog.seal import MASTER_KEY_BYTES, Sealer
from sandlot_engine.errors import Internal, Refusal


@pytest.fixture
def sealer(tmp_path: Path) -> Sealer:
    return Sealer.open(tmp_path / "master.key")


def test_a_secret_opens_for_its_own_key_only(sealer: Sealer) -> None:
    sealed = sealer.seal("wJalrXUtnFEMI", key_id="AKIA1")

    assert sealer.unseal(sealed, key_id="AKIA1") == "wJalrXUtnFEMI"
    with pytest.raises(Internal):
        sealer.unseal(sealed, key_id="AKIA2")


def test_a_sealed_secret_does_not_show_it_and_is_never_the_same(sealer: Sealer) -> None:
    first = sealer.seal("wJalrXUtnFEMI", key_id="AKIA1")

    assert b"wJalrXUtnFEMI" not in first
    assert sealer.seal("wJalrXUtnFEMI", key_id="AKIA1") != first


@pytest.mark.parametrize("size", [0, 5, 42])
def test_what_was_not_sealed_does_not_open(sealer: Sealer, size: int) -> None:
    with pytest.raises(Internal, match="master key"):
        sealer.unseal(bytes(size), key_id="AKIA1")


def test_a_changed_secret_does_not_open(sealer: Sealer) -> None:
    sealed = sealer.seal("wJalrXUtnFEMI", key_id="AKIA1")
    changed = sealed[:-1] + bytes([sealed[-1] ^ 1])

    with pytest.raises(Internal, match="master key"):
        sealer.unseal(changed, key_id="AKIA1")


def test_the_master_key_is_made_once_and_for_us_only(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    sealed = Sealer.open(path).seal("wJalrXUtnFEMI", key_id="AKIA1")

    assert Sealer.open(path).unseal(sealed, key_id="AKIA1") == "wJalrXUtnFEMI"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_bytes()) == MASTER_KEY_BYTES
    assert list(tmp_path.iterdir()) == [path]


def test_a_master_key_that_we_may_not_read_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "master.key"
    Sealer.open(path)

    def refuse(_: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)  # root may read everything

    with pytest.raises(Refusal, match=rf"Run: chmod 600 {path}"):
        Sealer.open(path)
    monkeypatch.setattr(os, "geteuid", lambda: 12_345)
    with pytest.raises(Refusal, match=rf"chown 12345 {path}"):
        Sealer.open(path)


def test_what_a_start_left_that_ended_too_soon_is_no_master_key(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    (tmp_path / "master.key.new").write_bytes(b"half")

    Sealer.open(path)

    assert len(path.read_bytes()) == MASTER_KEY_BYTES
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("right", [1 << bit for bit in range(6)], ids=oct)
def test_a_master_key_that_others_may_read_is_refused(
    tmp_path: Path, right: int
) -> None:
    path = tmp_path / "master.key"
    Sealer.open(path)
    path.chmod(0o600 | right)

    with pytest.raises(Refusal, match="chmod 600"):
        Sealer.open(path)


def test_half_a_master_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    path.touch(mode=0o600)
    path.write_bytes(b"half")

    with pytest.raises(Refusal, match="4 bytes instead of 32"):
        Sealer.open(path)


def test_a_master_key_that_is_gone_is_not_replaced_where_keys_are_sealed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "master.key"

    with pytest.raises(Refusal, match=r"master\.key is gone.*backup.*DELETE FROM keys"):
        Sealer.open(path, sealed=[("AKIA1", b"sealed")])

    assert not path.exists()


def test_a_master_key_of_another_database_is_refused(tmp_path: Path) -> None:
    of_another = Sealer.open(tmp_path / "other.key").seal("s", key_id="AKIA1")
    path = tmp_path / "master.key"
    ours = Sealer.open(path).seal("s", key_id="AKIA2")

    with pytest.raises(Refusal, match="opens none of the secrets"):
        Sealer.open(path, sealed=[("AKIA1", of_another)])

    both = [("AKIA1", of_another), ("AKIA2", ours)]
    assert Sealer.open(path, sealed=both).opens_any(both)


def test_a_rotation_that_stopped_before_anything_was_sealed_is_undone(
    tmp_path: Path,
) -> None:
    path = tmp_path / "master.key"
    sealed = [("AKIA1", Sealer.open(path).seal("s", key_id="AKIA1"))]
    seal.make_next(path)

    opened = Sealer.open(path, sealed=sealed)

    assert opened.opens_any(sealed)
    assert list(tmp_path.iterdir()) == [path]


def test_a_rotation_that_stopped_after_all_was_sealed_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    before = Sealer.open(path)
    sealed = [("AKIA1", seal.make_next(path).seal("s", key_id="AKIA1"))]

    opened = Sealer.open(path, sealed=sealed)

    assert opened.opens_any(sealed)
    assert not before.opens_any(sealed)
    assert list(tmp_path.iterdir()) == [path]
