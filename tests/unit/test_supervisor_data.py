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

    with pytest.raises(supervisor.Refused, match="is not ours"):
        supervisor._make_data(data, os.getuid(), os.getgid())  # noqa: SLF001


def test_a_link_in_the_place_of_the_lock_is_not_opened(
    data: Path, victim: Path
) -> None:
    (data / "lock").symlink_to(victim / "made")

    with pytest.raises(OSError, match="lock"), supervisor.locked(data):
        pass

    assert list(victim.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_the_engine_makes_files_there_and_cannot_move_what_is_root_s(
    tmp_path: Path,
) -> None:
    tmp_path.chmod(0o711)
    for above in tmp_path.parents:
        if above.stat().st_mode & 0o007 != 0o007 and str(above).startswith(
            "/tmp/pytest"
        ):
            above.chmod(0o711)
    data = tmp_path / "data"
    supervisor._make_data(data, ENGINE, ENGINE)  # noqa: SLF001

    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(ENGINE, ENGINE, ENGINE)
            os.setresuid(ENGINE, ENGINE, ENGINE)
            (data / "sandlot.db").write_text("its own")
            (data / "sandlot.db").rename(data / "moved")
            (data / "code" / "x").mkdir()
            try:
                (data / "runtimes").rename(data / "away")
            except PermissionError:
                status = 0
        finally:
            os._exit(status)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


ENGINE = 990_070
