"""The errand of a deployment: create or update a function, and choose what is not said.

Of an existing function only what differs is changed, and its handler gives way only
where it is not in the package. Written once, in the steps of `steps.py`.
"""

import base64
import contextlib
import hashlib
import re
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from sandlot import calls
from sandlot.calls import FIELDS, FunctionOptions
from sandlot.errors import NotFound, Refused, UsageError
from sandlot.packing import OF_PROGRAMS, Package, name_of
from sandlot.results import Function, FunctionState, InitMode
from sandlot.steps import Steps, ask, configure, ready, settled


@dataclass(frozen=True, slots=True)
class Deployed:
    """What a deployment came to."""

    function: Function

    replaced_handler: str = ""
    """The one that was kept at first, and is not in the package; else empty."""

    is_made_anew: bool = False
    """Whether a function of another kind was deleted for it."""

    lacks_handler: bool = False
    """Whether the package has no file for it, as far as can be told."""

    only_folder: str = ""
    """See `Package`."""

    compiled_for: frozenset[str] = frozenset()
    """Likewise."""


def deploy(
    package: Package, *, name: str | None, options: FunctionOptions, force: bool = False
) -> Steps[Deployed]:
    """Create or update, and wait until the new code and settings serve.

    The handler of an existing function is kept if none is given, but where it is not
    there. That is known when the import was tried, and no sooner: it may be in a layer.
    `force` is for a function that the package does not fit, and for code that is there.
    """
    _check_language(package, options)
    if package.handler and "handler" not in options:
        options = {**options, "handler": package.handler}
    function, is_made_anew = yield from _deploy(
        package, name=name, options=options, force=force
    )
    before, likely = function.handler, package.likely_handler
    lacks = lacks_handler(function.import_error, before) or (
        not is_imported(function) and _lacks_file(package, function)
    )
    gives_way = lacks or _is_renamed(function, likely)
    if "handler" in options or not likely or likely == before or not gives_way:
        return Deployed(
            function,
            is_made_anew=is_made_anew,
            lacks_handler=lacks,
            only_folder=package.only_folder,
            compiled_for=package.compiled_for,
        )
    function = yield from configure(function.name, {"handler": likely})
    return Deployed(
        function, replaced_handler=before, compiled_for=package.compiled_for
    )


def _is_renamed(function: Function, likely: str | None) -> bool:
    """Whether the handler's module is there without it, and has what may be another."""
    if not function.import_error.startswith("Runtime.HandlerNotFound"):
        return False
    module, _, _ = function.handler.rpartition(".")
    return (likely or "").rpartition(".")[0] == module


def is_imported(function: Function) -> bool:
    """Whether a handler that is not there would have been noticed by now."""
    is_python = function.runtime.startswith("python")
    return is_python and function.init_mode is not InitMode.PER_INSTANCE


def _lacks_file(package: Package, function: Function) -> bool:
    """Whether a package has no file that the handler could be found in.

    Where nothing is imported before the first invocation, the names of the files are
    all there is to go by. What has layers may have it there.
    """
    if function.layers or package.image:
        return False
    if function.runtime.startswith("python"):
        module = function.handler.rpartition(".")[0].replace(".", "/")
        parts = (f"{module}.", f"{module}/")
        return not any(name.startswith(parts) for name in package.names)
    if not function.runtime.startswith("nodejs"):
        return False
    folder, slash, name = function.handler.rpartition("/")
    file = name.partition(".")[0]
    base = f"{folder}{slash}{file}".removeprefix("./")
    modules = f"node_modules/{file}"
    return not base.startswith("/") and not any(
        name in (base, f"{base}.js", f"{base}.mjs", f"{base}.cjs")
        or name.startswith((f"{modules}/", f"{modules}."))
        for name in package.names
    )


def missing_module(error: str) -> str:
    """What an import did not find, as Python names it; empty for another error."""
    found = _MISSING_MODULE.search(error)
    return found[1] if found else ""


def lacks_handler(error: str, handler: str) -> bool:
    """Whether what an import did not find is the handler's own module, or a package
    around it."""
    missing = missing_module(error)
    module = handler.rpartition(".")[0].replace("/", ".")
    return bool(missing) and f"{module}.".startswith(f"{missing}.")


_MISSING_MODULE = re.compile(
    r"^Runtime\.ImportModuleError: .*No module named '([\w.-]+)'"
)


def _deploy(
    package: Package, *, name: str | None, options: FunctionOptions, force: bool
) -> Steps[tuple[Function, bool]]:
    """The function, and whether it was made anew.

    Of an existing function only what differs is changed, settings first, as
    Terraform does: new code may need its new environment to be there.
    """
    name = name_of(package, name)
    try:
        existing = yield from settled(name)
    except NotFound:
        return (yield from _create(name, package, options)), False
    if bool(existing.image) != bool(package.image):
        if not force:
            raise UsageError(_of_another_kind(existing))
        return (yield from _made_anew(existing, package, options)), True
    if misfit := _misfit(existing, package, options):
        if not force:
            raise UsageError(
                f"{existing.name} is a function of {existing.runtime}, which does not"
                " run such a file: give another name (--name), a runtime for it"
                " (--runtime), or have it changed (--force)"
            )
        runtime = yield from _default_runtime(misfit)
        handler = package.likely_handler or existing.handler
        options = {"runtime": runtime, "handler": handler, **options}
    if existing.state is FunctionState.FAILED:
        # It never served, so there is nothing to lose by making it anew, and only so
        # can code and handler change together.
        yield from ask(calls.delete_function(name))
        options = _options_of(existing) | options
        return (yield from _create(name, package, options)), False
    if changes := _changes(existing, options):
        existing = yield from configure(name, changes)
    # What is in an image on the engine's machine only the engine knows.
    is_same = not package.image and existing.code_sha256 == _aws_sha256(package.zip)
    if force or not is_same:
        yield from ask(calls.update_code(name, package.zip, image=package.image))
        existing = yield from ready(name)
    return existing, False


def _made_anew(
    existing: Function, package: Package, options: FunctionOptions
) -> Steps[Function]:
    """In the place of one of another kind, with those of its settings that any has."""
    now = _options_of(existing)
    kept = {key: value for key, value in now.items() if key in KEPT_BY_ANY}
    options = cast(FunctionOptions, kept | dict(options))
    # What is refused is refused before what is there is gone.
    trial = f"{existing.name[:_MAX_TRIAL]}-{secrets.token_hex(4)}"
    yield from _create(trial, package, options)
    for name in (trial, existing.name):
        yield from ask(calls.delete_function(name))
    return (yield from _create(existing.name, package, options))


_MAX_TRIAL = 50
"""Characters of a name, so that it stays one with what is added."""

KEPT_BY_ANY = (
    "memory",
    "timeout",
    "env",
    "ephemeral_storage",
    "description",
    "network",
)
"""Settings that a function of another kind has as well."""


def _create(name: str, package: Package, options: FunctionOptions) -> Steps[Function]:
    if package.image:
        options = cast(
            FunctionOptions,
            {key: value for key, value in options.items() if value != ""},
        )
        yield from ask(calls.create_function(name, b"", options, image=package.image))
        return (yield from ready(name))
    handler = options.get("handler") or package.likely_handler
    language = package.language or package.language_of(handler or "")
    if handler == package.likely_handler:
        language = language or package.likely_language
    if not handler:
        raise UsageError(
            f"{name!r} has no handler: none is named, and no file is called as those "
            "mostly are, such as app.py. Deploy FILE.py:HANDLER, or give handler="
            f"'module.function' (--handler){_and_folder(package)}"
        )
    runtime = options.get("runtime") or (
        yield from _default_runtime(language or "python")
    )
    options = {**options, "handler": handler, "runtime": runtime}
    yield from ask(calls.create_function(name, package.zip, options))
    return (yield from ready(name))


def _and_folder(package: Package) -> str:
    if not (folder := package.only_folder):
        return ""
    return (
        f". All its files are in the folder {folder!r}: pack what is in that, or name "
        f"it in the handler, as {folder}/module.function"
    )


def _check_language(package: Package, options: FunctionOptions) -> None:
    runtime, language = options.get("runtime", ""), package.language
    if runtime and language and not runtime.startswith(language):
        (file,) = package.names
        raise UsageError(
            f"{file} is not run by {runtime}: name a runtime that begins with "
            f"{language} (--runtime), or none"
        )


def _of_another_kind(existing: Function) -> str:
    """Mostly the name is wrong."""
    kinds = "an image, and this is none" if existing.image else "no image"
    return (
        f"{existing.name} is {kinds}: give another name (--name), or have it made anew,"
        " without its versions and aliases (--force)"
    )


def _misfit(existing: Function, package: Package, options: FunctionOptions) -> str:
    """The language of a package that the function's runtime does not run; empty where
    it does, or another one is named."""
    language = package.language or ""
    if not language and "handler" not in options and _lacks_file(package, existing):
        language = package.likely_language or ""
    runtime = existing.runtime
    if not language or not runtime or runtime.startswith(language):
        return ""
    return "" if "runtime" in options else language


def _default_runtime(language: str) -> Steps[str]:
    """This interpreter's version if the engine has it, else the language's newest."""
    if language == OF_PROGRAMS:
        return NEWEST_OF_PROGRAMS
    mine = f"python{sys.version_info.major}.{sys.version_info.minor}"
    versions: dict[str, int] = {}
    with contextlib.suppress(Refused):
        status = yield from ask(calls.get_status())
        versions = {
            one.name: int(plain[2])
            for one in status.runtimes
            if (plain := _PLAIN.fullmatch(one.name)) and plain[1].startswith(language)
        }
    if mine in versions:
        return mine
    if newest := max(versions, key=lambda name: versions[name], default=""):
        return newest
    if language == "python":
        return mine
    raise UsageError("no Node is known here: name the runtime (--runtime nodejs22.x)")


NEWEST_OF_PROGRAMS = "provided.al2023"
"""Every engine has it: it needs no interpreter."""

_PLAIN = re.compile(r"(python3\.|nodejs)(\d+)(?:\.x)?")
"""A runtime as AWS names it: one with an operator's label is asked for by name."""


def _changes(existing: Function, options: FunctionOptions) -> FunctionOptions:
    """The options that differ from what the function has."""
    now = _options_of(existing)
    if "layers" in options:
        arns = [_layer_arn(existing, layer) for layer in options["layers"]]
        options = {**options, "layers": arns}
    different = {
        option: value
        for option, value in options.items()
        if now.get(option) != _comparable(value)
    }
    return cast(FunctionOptions, different)


def _layer_arn(function: Function, layer: str) -> str:
    """As functions have it; `NAME:VERSION` is one of their tenant."""
    if layer.startswith("arn:") or ":" not in layer:
        return layer
    return f"{function.arn.partition(':function:')[0]}:layer:{layer}"


def _comparable(value: object) -> object:
    """As functions have it, in whatever kind of list or table it was given."""
    if isinstance(value, Mapping):
        return dict(value)
    return tuple(value) if isinstance(value, list) else value


def _options_of(function: Function) -> FunctionOptions:
    return cast(
        FunctionOptions,
        {option: getattr(function, field) for option, field in FIELDS.items()},
    )


def _aws_sha256(package: bytes) -> str:
    return base64.b64encode(hashlib.sha256(package).digest()).decode()
