"""`deploy`: a folder, a file or a zip becomes a function that serves."""

import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sandlot.cli.options import Flags, files, shared
from sandlot.cli.output import document, plain
from sandlot.cli.root import FUNCTION_FAILED
from sandlot.cli.settings import OF_IMAGES, chosen, function_settings
from sandlot.cli.text import message, one_line, size

if TYPE_CHECKING:
    from sandlot.client import FunctionHandle
    from sandlot.results import Function

REQUIREMENTS = "requirements.txt"
"""What other tools install for a function, and this one does not."""

_FIRST_LINE = 256
"""Bytes that the kernel reads of a script, to see who is to run it."""


@click.command()
@click.argument(
    "source", metavar="[PATH|FILE.py:HANDLER]", default=".", shell_complete=files
)
@click.option(
    "--name",
    help="The function's name; by default the file's or folder's.",
)
@click.option(
    "--image",
    metavar="oci:PATH[:TAG]",
    help="In place of a PATH: a container image on the engine's machine, below a folder"
    " that its operator has opened with --image-dir.",
)
@click.option(
    "--publish",
    "publishes",
    is_flag=True,
    help="Publish it as a version, once it serves.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Send the code also if it is there already, and have a function that it does"
    " not fit give way: another language's changes its runtime; an image's, or for an"
    " image, is deleted with its versions and aliases, and made anew.",
)
@function_settings
@shared
def deploy(
    flags: Flags,
    *,
    source: str,
    name: str | None,
    image: str | None,
    publishes: bool,
    force: bool,
    **options: Any,
) -> None:
    """Create or update a function, and wait until it serves.

    PATH is a folder, a .py or .js file, or a .zip. What .sandlotignore lists is left
    out, and settings that are not given stay as they are. Exits with 1 where it is
    deployed, but cannot be imported or started.
    """
    began = time.monotonic()
    if image is not None:
        if source != ".":
            raise click.UsageError("give a PATH or --image, not both")
        from sandlot.packing import IMAGES

        if not image.startswith(IMAGES):
            raise click.UsageError(
                "--image names an image on the engine's machine: oci:PATH:TAG or"
                " oci-archive:FILE:TAG. Nothing is pulled from registries: have the"
                " operator copy it below the image folder, with skopeo copy"
            )
        source = image
    elif any(options[name] is not None for name in OF_IMAGES):
        raise click.UsageError(
            "--entrypoint, --command and --workdir say what is run of an --image"
        )
    with flags.client() as client:
        handle = client.deploy(source, name=name, force=force, **chosen(options))
        if (function := handle.deployed) is None:
            return
        if publishes and not function.import_error:
            # Not what somebody else has deployed since.
            function = handle.publish(revision_id=function.revision_id)
    if handle.is_made_anew:
        flags.say("  it was of another kind, and is made anew: without its versions")
    if handle.replaced_handler:
        flags.say(
            f"  its handler was {one_line(handle.replaced_handler)}, which is not"
            f" there: now it is {one_line(function.handler)}"
        )
    not_run = _not_run(function, source)
    if flags.as_json:
        if not_run:
            flags.say(f"  {not_run}, and deploy it again")
        document(plain(function))
    else:
        took_s = time.monotonic() - began
        _say(flags, function, handle, source=source, elapsed_s=took_s)
        if publishes and not function.version.isdecimal():
            flags.say("  no version of it was published")
        click.echo(one_line(function.arn))
    if function.import_error or not_run:
        sys.exit(FUNCTION_FAILED)


def _say(
    flags: Flags,
    function: "Function",
    handle: "FunctionHandle",
    *,
    source: str,
    elapsed_s: float,
) -> None:
    name = one_line(function.name)
    if function.version.isdecimal():
        name += f":{function.version}"
    network = "" if function.network == "none" else f"network {function.network} · "
    flags.say(
        f"{name}  {size(function.code_size)} · {function.runtime or 'image'} · "
        f"{function.memory_mb} MB · {network}{function.state} · {elapsed_s:.2f} s"
    )
    if function.network == "host":
        flags.say("  shares the machine's network, and reaches its local services")
    if function.import_error:
        say_not_imported(
            flags,
            function,
            only_folder=handle.only_folder,
            compiled_for=handle.compiled_for,
            source=source,
        )
        return
    if why := _not_run(function, source):
        flags.say(f"  {why}, and deploy it again")
        return
    if handle.lacks_handler:
        # Of Node nothing is imported before somebody invokes it.
        flags.say("  no file of the package is that of its handler")
        hint = _another_handler(function.handler, handle.only_folder)
        flags.say(f"  next: {one_line(hint)}")
        return
    if _is_untried(function):
        flags.say(
            f"  its handler is {one_line(function.handler)}, which the first invocation"
            " looks for"
        )
    if not function.fork_safe and function.runtime.startswith("python"):
        flags.say(
            "  every instance imports by itself: "
            f"{one_line(function.fork_safety_reason)}"
        )
    flags.say(f"  invoke it: sandlot invoke {name} '{{}}'{one_line(flags.again())}")


def _is_untried(function: "Function") -> bool:
    """Whether nobody knows yet if its handler is there; a program needs none."""
    from sandlot.deploying import is_imported

    has_one = function.runtime.startswith(("python", "nodejs"))
    return has_one and not is_imported(function)


def _not_run(function: "Function", source: str) -> str:
    """Why a program that was packed here cannot be started, and what to do about it."""
    from sandlot.packing import PROGRAM

    program = Path(source)
    if program.is_dir():
        program /= PROGRAM
    is_it = program.name == PROGRAM and program.is_file()
    if not is_it or not function.runtime.startswith("provided"):
        return ""
    if not program.stat().st_mode & 0o111:
        return "its bootstrap is not executable: chmod +x"
    with program.open("rb") as file:
        first = file.readline(_FIRST_LINE)
    if first.startswith(b"#!") and first.endswith(b"\r\n"):
        return "its bootstrap has Windows' line ends: sed -i 's/\\r$//' bootstrap"
    return ""


def say_not_imported(
    flags: Flags,
    function: "Function",
    *,
    only_folder: str = "",
    compiled_for: Collection[str] = (),
    source: str = "",
) -> None:
    """Why, and what to do."""
    error = function.import_error
    flags.say(f"  cannot be imported: {message(error)}")
    flags.say("  next: mend it and deploy again; until then every invocation fails")
    hint = compiled_for_another(error, function.runtime, compiled_for)
    if not hint:
        hint = why_not_imported(
            error, function.handler, only_folder=only_folder, source=source
        )
    if hint:
        flags.say(f"  {one_line(hint)}")


def compiled_for_another(error: str, runtime: str, found: Collection[str]) -> str:
    """What to do about a package that was made for another Python, or machine; empty
    where it was not, or that does not matter."""
    matters = error.startswith(("Runtime.ImportModuleError", "ImportError"))
    plain = runtime.partition("-")[0]
    if not matters or not found or plain in found:
        return ""
    number = plain.removeprefix("python")
    return (
        f"what is compiled in it is for {', '.join(sorted(found))}, and not for"
        f" {plain} on Linux: pip install --target FOLDER --platform"
        f" manylinux2014_x86_64 --python-version {number} --only-binary :all: …"
    )


def why_not_imported(
    error: str, handler: str, *, only_folder: str = "", source: str = ""
) -> str:
    """What newcomers most often have to mend; empty where it is something else."""
    from sandlot.deploying import lacks_handler, missing_module

    is_module_there = error.startswith("Runtime.HandlerNotFound")
    if is_module_there or lacks_handler(error, handler):
        first = handler.replace("/", ".").partition(".")[0]
        if first in sys.stdlib_module_names:
            return (
                f"Python has a module called {first}, which is found first: rename"
                " yours"
            )
        return _another_handler(handler, "" if is_module_there else only_folder)
    if error.startswith("Runtime.MalformedHandlerName"):
        return _another_handler(handler, "")
    if "attempted relative import with no known parent package" in error:
        return (
            "its module is in no package: import what lies beside it by name alone,"
            " without the dot"
        )
    if error.startswith("MemoryError"):
        return "it wants more memory than it has: add --memory MB"
    if missing := missing_module(error).partition(".")[0]:
        if source and (Path(source) / REQUIREMENTS).is_file():
            import shlex  # a millisecond, of which few commands have need

            folder, file = map(shlex.quote, (source, str(Path(source) / REQUIREMENTS)))
            return (
                f"nothing is installed for a function, as its {REQUIREMENTS} asks for:"
                f" pip install --target {folder} -r {file}"
            )
        return (
            "what it imports has to be in its folder, or in a layer:"
            f" pip install --target FOLDER {missing}"
        )
    return ""


def _another_handler(handler: str, only_folder: str) -> str:
    if not only_folder:
        return f"its handler is {handler}: name another with --handler MODULE.FUNCTION"
    return (
        f"its handler is {handler}, and all files are in the folder {only_folder}: pack"
        f" what is in that folder, or add --handler {only_folder}/MODULE.FUNCTION"
    )
