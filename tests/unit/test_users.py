"""Who jails run as."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandlot_sandbox.launcher import users
from sandlot_sandbox.launcher.users import UserIds
from sandlot_sandbox.spec import MAX_ZYGOTES


@given(st.lists(st.booleans(), max_size=300))
def test_no_two_live_jails_have_the_same_id(takes: list[bool]) -> None:
    ids = UserIds(is_root=True)
    live: list[int] = []

    for take in takes:
        if take:
            live.append(ids.take())
        elif live:
            ids.give_back(live.pop(0))
        assert len(set(live)) == len(live)


def test_an_id_is_nobody_s_and_fits() -> None:
    ids = UserIds(is_root=True)
    taken = [ids.take() for _ in range(MAX_ZYGOTES)]

    assert min(taken) >= 1_000_000_000
    assert max(taken) < 2**31, "a signed number somewhere must not make it -1"


def test_an_id_does_not_tell_how_many_jails_live() -> None:
    first = {UserIds(is_root=True).take() for _ in range(20)}
    ids = UserIds(is_root=True)
    for _ in range(MAX_ZYGOTES // 2):
        ids.take()
    freed = ids.take()
    ids.give_back(freed)

    assert len(first) > 10, "not the lowest one"
    assert any(ids.take() != freed for _ in range(3)), "nor the one that was freed last"


@pytest.mark.parametrize("is_root", [True, False])
def test_there_are_as_many_as_there_may_be_zygotes(is_root: bool) -> None:
    ids = UserIds(is_root=is_root)
    taken = [ids.take() for _ in range(MAX_ZYGOTES)]

    with pytest.raises(IndexError):
        ids.take()
    ids.give_back(taken[0])
    assert ids.take() == taken[0]


def test_launchers_that_live_at_the_same_time_give_different_ids(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ranges = []
    for pid in (4_194_304, 1, 2, 1_048_575):
        monkeypatch.setattr(os, "getpid", lambda pid=pid: pid)
        taken = UserIds(is_root=True).take()
        ranges.append((taken - 1_000_000_000) // MAX_ZYGOTES)

    assert len(set(ranges)) == len(ranges)


@pytest.mark.parametrize(
    ("lines", "can"),
    [
        ("         0          0 4294967295\n", True),
        ("         0       1000          1\n", False),
        ("         0     100000      65536\n", False),
        ("0 1000 1\n1 100000 65536\n", False),
        ("", False),
    ],
)
def test_ids_are_given_only_where_they_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str, can: bool
) -> None:
    for kind in ("uid_map", "gid_map"):
        (tmp_path / kind).write_text(lines)
    monkeypatch.setattr(users, "_OUR_MAPS", tmp_path)

    assert users.can_give_ids() is can
