"""What the engine's user may have put into the data folder, root does not follow."""

import os
from pathlib import Path

import pytest

from sandlot_engine import supervisor


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    supervisor._make_data(folder, os.getuid(), os.getgid())  # noqa: SLF001 - root's part
    return folder


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    folder = tmp_path / "victim"
    folder.mkdir()
    return folder


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_a_link_in_the_place_of_the_code_gives_nothing_away(
    data: Path, victim: Path
) -> None:
    (data / "code").rmdir()
    (data / "code").symlink_to(victim)

    with pytest.raises(OSError, match="code"):
        supervisor._make_data(data, 990_070, 990_070)  # noqa: SLF001

    assert victim.stat().st_uid == 0


def test_a_link_in_the_place_of_the_guest_s_code_is_refused(
    data: Path, victim: Path
) -> None:
    (data / "runtimes").rmdir()
    (data / "runtimes").symlink_to(victim)

    with pytest.raises(supervisor._Refused, match="is not ours"):  # noqa: SLF001
        supervisor._make_data(data, os.getuid(), os.getgid())  # noqa: SLF001


def test_a_link_in_the_place_of_the_lock_is_not_opened(
    data: Path, victim: Path
) -> None:
    (data / "lock").symlink_to(victim / "made")

    with pytest.raises(OSError, match="lock"), supervisor._locked(data):  # noqa: SLF001
        pass

    assert list(victim.iterdir()) == []
