"""`runtime`: what functions can be written for, and more of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sandlot import errors
from sandlot.cli.engine import data_of, given_up_of, insecure_flags, load_engine
from sandlot.cli.groups import Group
from sandlot.cli.options import Flags, files, shared
from sandlot.cli.output import document, show_list
from sandlot.cli.text import one_line

if TYPE_CHECKING:
    from sandlot.results import Runtime


class NotRegistered(errors.Refused):
    """Nothing was changed."""


@click.group(cls=Group)
def runtime() -> None:
    """List what functions can be written for; register and remove interpreters."""


@runtime.command("list")
@shared
def list_runtimes(flags: Flags) -> None:
    """List runtimes by name; an operator also sees paths, and what cannot be used."""
    with flags.client() as client:
        show_list(
            flags,
            client.list_runtimes(),
            [
                ("NAME", lambda one: one.name),
                ("KIND", lambda one: one.kind or "-"),
                ("VERSION", lambda one: one.version or "-"),
                ("STATE", _state_of),
                ("FUNCTIONS", lambda one: one.functions),
                ("PATH", lambda one: one.path or "-"),
            ],
        )


def _state_of(one: "Runtime") -> str:
    if one.problem:
        return f"not usable: {one.problem}"
    return "registered" if one.is_registered else "found"


@runtime.command()
@click.argument("name")
@click.argument("path", shell_complete=files)
@insecure_flags
@shared
def add(flags: Flags, *, name: str, path: str, **insecure: Any) -> None:
    """Register the CPython or Node PATH as NAME: python3.12-custom, nodejs22.x-mine.

    Hello world has to answer on it first, in a jail. To be run on the engine's machine
    by whoever starts the engine, as PATH is run by him; a running engine has it at
    once. What lies beside the interpreter is in the jails of all functions that use it.
    """
    given_up = given_up_of(insecure)
    engine = load_engine()
    try:
        made = engine.register(data_of(flags, engine), name, path, given_up=given_up)
    except engine.NotRegistered as error:
        raise NotRegistered(str(error)) from error
    if flags.as_json:
        document(made)
        return
    click.echo(
        f"{one_line(name)} is registered: version {made['version']}, hello world in"
        f" {made['hello_ms']} ms"
    )
    if made["visible"]:
        flags.say(
            f"all of {one_line(made['visible'])} can be read by its functions, those of"
            " every tenant"
        )


@runtime.command()
@click.argument("name")
@click.option("--force", is_flag=True, help="Even if functions use it: they fail then.")
@shared
def remove(flags: Flags, *, name: str, force: bool) -> None:
    """Take back what was registered. Refused where functions use it.

    To be run as `add` is. Instances that live may serve on.
    """
    engine = load_engine()
    data = data_of(flags, engine)
    if not force:
        _check_unused(data, name)
    try:
        engine.unregister(data, name)
    except engine.NotRegistered as error:
        raise NotRegistered(str(error)) from error
    if flags.as_json:
        document({"name": name})
    else:
        click.echo(f"{one_line(name)} is no runtime any more")


def _check_unused(data: Path, name: str) -> None:
    """Raises `NotRegistered` where a running engine has functions of it."""
    from sandlot.client import Client

    try:
        with Client(data=data) as client:
            counts = {one.name: one.functions for one in client.list_runtimes()}
    except (errors.ConnectionFailed, errors.UsageError) as error:
        raise NotRegistered(
            "no engine runs there that could say which functions use it: start it, or"
            " add --force"
        ) from error
    if count := counts.get(name, 0):
        use = "function uses" if count == 1 else "functions use"
        raise NotRegistered(
            f"{count} {use} {name}: change or delete them first, or add --force"
        )
