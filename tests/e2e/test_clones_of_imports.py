"""What an import makes and clones go on with, each with its own."""

import pytest

from tests.e2e.conftest import Deploy
from tests.e2e.overlaps import invoke_at_once

_CLONES = 3


def test_clones_run_the_event_loop_of_their_import_each_its_own(deploy: Deploy) -> None:
    function = deploy("event_loop")

    answers = invoke_at_once(function, _CLONES)

    config = function.config()
    assert config.fork_safe, config.fork_safety_reason
    assert all(answer["is_own"] for answer in answers)
    assert len({answer["instance"] for answer in answers}) == _CLONES
    assert function.invoke().value["is_own"]


def test_clones_have_sockets_and_files_of_their_import_each_its_own(
    deploy: Deploy,
) -> None:
    function = deploy("keepsakes")

    answers = invoke_at_once(function, _CLONES)

    config = function.config()
    assert config.fork_safe, config.fork_safety_reason
    assert len({answer["instance"] for answer in answers}) == _CLONES
    for answer in answers:
        assert answer["cache"] == "of the import"
        assert answer["heard"] == answer["instance"]
        assert answer["log"] == ["of the import", answer["instance"]]
        assert answer["thread"] == answer["process"]
    assert function.invoke().value["cache"] in {each["instance"] for each in answers}


@pytest.mark.parametrize("by_python", ["", "1"], ids=["by machine code", "by Python"])
def test_nothing_of_ours_asks_for_what_an_import_has_put_into_modules(
    deploy: Deploy, by_python: str
) -> None:
    function = deploy("patched", env={"BY_PYTHON": by_python})

    answers = invoke_at_once(function, _CLONES)

    config = function.config()
    assert config.fork_safe, config.fork_safety_reason
    assert [answer["called"] for answer in answers] == [[]] * _CLONES


@pytest.mark.parametrize("by_python", ["", "1"], ids=["by machine code", "by Python"])
def test_clones_are_told_of_their_children_as_the_import_has_asked(
    deploy: Deploy, by_python: str
) -> None:
    function = deploy("signalled", env={"BY_PYTHON": by_python})

    answers = invoke_at_once(function, _CLONES)

    assert function.config().fork_safe
    assert [answer["told"] for answer in answers] == [1] * _CLONES
    assert len({answer["instance"] for answer in answers}) == _CLONES


def test_clones_begin_in_the_folder_that_their_import_went_to(deploy: Deploy) -> None:
    gone_to = {
        name: deploy(
            {
                "app.py": f"import os\nos.chdir({name!r})\n"
                "def handler(event, context): return os.getcwd()\n"
            }
        )
        for name in ("/tmp", "/usr/lib", "/proc/self")
    }

    folders = {name: function.invoke().value for name, function in gone_to.items()}

    assert folders == {
        "/tmp": "/tmp",
        "/usr/lib": "/usr/lib",
        "/proc/self": "/var/task",
    }
