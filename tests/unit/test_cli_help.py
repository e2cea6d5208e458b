"""The help of the commands, as a newcomer reads it."""

import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from sandlot.cli import main
from sandlot.cli.examples import EXAMPLES
from tests.unit.conftest import Cli


def commands(group: click.Group, *path: str) -> Iterator[tuple[str, click.Command]]:
    """All that do something, by what is typed after `sandlot`."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(commands(main))


def test_every_command_has_an_example_of_its_own() -> None:
    assert EXAMPLES.keys() == COMMANDS.keys()
    assert all(line.startswith(path) for path in EXAMPLES for line in EXAMPLES[path])


@pytest.mark.parametrize("path", EXAMPLES)
def test_an_example_is_shown_and_can_be_typed(
    cli: Cli, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("event.json").touch()

    told = cli(*path.split(), "--help").stdout

    for line in EXAMPLES[path]:
        assert f"\n    sandlot {line}\n" in f"{told}\n"
        words = shlex.split(line.partition(" < ")[0])[len(path.split()) :]
        COMMANDS[path].make_context(path, words)


def test_every_option_says_what_it_is_for() -> None:
    silent = [
        f"{path} {option.opts[0]}"
        for path, command in COMMANDS.items()
        for option in command.params
        if isinstance(option, click.Option) and not option.help
    ]

    assert silent == []
