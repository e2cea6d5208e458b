"""A file or a folder becomes a package: the same bytes in, the same zip out.

The same zip every time means that deploying twice changes nothing, since the
engine knows a package by its hash. So names are sorted, and times, owners and the
umask are left out; of the mode only the executable bit is kept.
"""

import fnmatch
import io
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from sandlot.errors import PayloadTooLarge, UsageError

MAX_ZIP = 52_428_800
"""Bytes of a package (AWS: 50 MB)."""

MAX_UNPACKED = 262_144_000
"""Bytes of all its files (AWS: 250 MB)."""

NEVER = ("__pycache__", ".git", ".venv", ".sandlotignore")
"""Names that are left out wherever they are."""

PROGRAM = "bootstrap"
"""The only file of another kind that can be a function by itself."""

LIKELY_HANDLERS = {
    "lambda_function.py": "lambda_function.lambda_handler",
    "app.py": "app.handler",
    "handler.py": "handler.handler",
    "main.py": "main.handler",
    "index.mjs": "index.handler",
    "index.js": "index.handler",
    PROGRAM: PROGRAM,
}
"""The handler of this file, and of a folder or zip that has it and names no other: the
first match wins. Without any, it is in the only Python file beside the folders."""

LANGUAGES = {".py": "python", ".js": "nodejs", ".mjs": "nodejs", ".cjs": "nodejs"}
"""How the names of the runtimes begin that run a file, by the end of its own."""

OF_PROGRAMS = "provided"
"""The same of a program."""

IMAGES = ("oci:", "oci-archive:")
"""How the address of an image begins that an engine takes."""

_OTHER_IMAGES = ("docker:", "docker-archive:", "docker-daemon:", "containers-storage:")

HANDLERS = ("handler", "lambda_handler")
"""What others, and AWS's console, call it."""

MAX_READ = 1024 * 1024
"""Bytes of a file that are searched for its handler."""

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A zip, and what its source says about the function."""

    zip: bytes = field(repr=False)
    image: str = ""
    """In place of a zip: a container image on the engine's machine."""

    names: frozenset[str] = field(repr=False)
    """Of its files; those of an image only the engine knows."""

    name: str | None = None
    """After the file or folder; None for a zip's bytes, and an image."""

    handler: str | None = None
    """From `FILE.py:handler`; None if the source does not say."""

    likely_handler: str | None = None
    """By the names of its files: a guess, good for a new function, and for one whose
    handler is not there."""

    language: str | None = None
    """How the names of its runtimes begin; None if the source does not say."""

    likely_language: str | None = None
    """That of `likely_handler`."""

    def language_of(self, handler: str) -> str | None:
        """That of the file which a handler names; None where none is there, or two of
        different languages are."""
        folder, slash, name = handler.rpartition("/")
        modules = {
            "python": handler.rpartition(".")[0].replace(".", "/"),
            "nodejs": f"{folder}{slash}{name.partition('.')[0]}".removeprefix("./"),
        }
        found = {
            language
            for suffix, language in LANGUAGES.items()
            if f"{modules[language]}{suffix}" in self.names
        }
        return found.pop() if len(found) == 1 else None

    @property
    def only_folder(self) -> str:
        """The one that all its files are in, which is mostly one too many; empty where
        there is none. What a Mac adds does not count."""
        first = {name.partition("/")[0] if "/" in name else "" for name in self.names}
        first.discard("__MACOSX")
        return first.pop() if len(first) == 1 else ""

    @property
    def compiled_for(self) -> frozenset[str]:
        """The runtimes that its extension modules were compiled for, and where, if that
        is no Linux: `python3.12`, `python3.12 on macOS`. Of those that are good for
        many, nothing is told by their names."""
        found = (_COMPILED.search(name) for name in self.names)
        return frozenset(
            f"python3.{one[1]}{_SYSTEMS.get(one[2][:3], '')}" for one in found if one
        )


_COMPILED = re.compile(r"\.(?:cpython-|cp)3(\d+)-([\w-]+)\.(?:so|pyd)$")
_SYSTEMS = {"dar": " on macOS", "win": " on Windows"}


def pack(source: str | os.PathLike[str] | bytes) -> Package:
    """Pack a folder, a file or `FILE.py:handler`, or take a zip (path or bytes), or an
    image's address as it is.

    Raises `UsageError` for what cannot be packed, `PayloadTooLarge` over 50 MB.
    """
    if isinstance(source, bytes):
        return _checked(_pack_zip(source))
    if (image := os.fspath(source)).startswith(IMAGES):
        return Package(zip=b"", names=frozenset(), image=image)
    if image.startswith(_OTHER_IMAGES):
        raise UsageError(
            f"{image!r}: of images, layouts and their archives on the engine's machine "
            "are taken, as oci:PATH:TAG or oci-archive:FILE:TAG. Have it made one: "
            f"skopeo copy {image} oci:DIR/NAME:TAG, below the operator's image folder"
        )
    path, handler = _split(os.fspath(source))
    if path.is_dir():
        return _checked(_pack_folder(path))
    if path.suffix == ".zip" and path.is_file():
        _refuse_over_limit(path.stat().st_size, path)
        return _checked(replace(_pack_zip(path.read_bytes()), name=path.stem))
    if not path.is_file():
        there = next((x for x in LANGUAGES if Path(f"{path}{x}").is_file()), "")
        hint = f": do you mean {path}{there}?" if there else ""
        raise UsageError(
            f"there is no file or folder {os.fspath(source)!r} to deploy{hint}"
        )
    language = _language(path.name)
    if not language:
        known = ", ".join(LANGUAGES)
        raise UsageError(
            f"{str(path)!r} is no function by itself: deploy a folder, a .zip, a file "
            f"that ends in one of {known}, or a program that is called {PROGRAM}"
        )
    return _checked(
        Package(
            zip=_zip([(path.name, path)]),
            names=frozenset([path.name]),
            name=path.stem,
            handler=handler and f"{path.stem}.{handler}",
            likely_handler=_likely_in_file(path),
            language=language,
            likely_language=language,
        )
    )


def pack_layer(source: str | os.PathLike[str] | bytes) -> Package:
    """Pack a folder, or take a zip. Raises as `pack` does."""
    path = None if isinstance(source, bytes) else Path(source)
    if path is not None and not path.is_dir() and path.suffix != ".zip":
        raise UsageError(
            f"{str(path)!r} is no folder and no .zip: a layer is what functions have "
            "at /opt, and what Python is to import from there is in its folder python"
        )
    return pack(source)


def name_of(package: Package, name: str | None) -> str:
    """The given one, or that of the source. Raises `UsageError` where it has none, or a
    qualifier, which is nobody's to deploy to."""
    if given := name or package.name:
        if ":" in given:
            raise UsageError(
                f"{given!r} has a colon in it, as if it named a version or an alias: "
                "what is deployed is the function, by its name alone (--name)"
            )
        return given
    what = "an image" if package.image else "a zip"
    raise UsageError(f"{what} has no name of its own: give one (--name)")


def _split(source: str) -> tuple[Path, str | None]:
    """`app.py:main` → `app.py`, `main`; a path that exists is left alone."""
    file, colon, handler = source.rpartition(":")
    if colon and Path(file).suffix in LANGUAGES and not Path(source).exists():
        if not handler.isidentifier():
            raise UsageError(
                f"{source!r}: after the colon belongs the name of a function"
            )
        return Path(file), handler
    return Path(source), None


def _pack_folder(root: Path) -> Package:
    files = sorted(_files(root))
    if not files:
        raise UsageError(f"the folder {str(root)!r} has no files to deploy")
    likely = _likely(name for name, _ in files)
    return Package(
        zip=_zip(files),
        names=frozenset(name for name, _ in files),
        name=root.resolve().name,
        likely_handler=_likely_in_file(root / likely) if likely else None,
        likely_language=_language(likely),
    )


def _pack_zip(content: bytes) -> Package:
    names = _names(content)
    likely = _likely(names)
    return Package(
        zip=content,
        names=frozenset(names),
        likely_handler=_likely_in_zip(content, likely) if likely else None,
        likely_language=_language(likely),
    )


def _likely_in_zip(content: bytes, name: str) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive, archive.open(name) as one:
            return _likely_handler(name, one)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error):
        # The engine says what is wrong with it.
        return _likely_handler(name, io.BytesIO())


def _likely_in_file(file: Path) -> str:
    with file.open("rb") as opened:
        return _likely_handler(file.name, opened)


def _likely_handler(name: str, file: IO[bytes]) -> str:
    """What a file's handler is called mostly; or what AWS or others call it, where the
    file has that one alone."""
    module, _, suffix = name.rpartition(".")
    usual = LIKELY_HANDLERS.get(name, f"{module}.handler")
    if suffix != "py":
        return usual
    source = file.read(MAX_READ)
    found = [name for name in HANDLERS if _defines(source, name)]
    module, _, function = usual.rpartition(".")
    return usual if function in found or not found else f"{module}.{found[0]}"


def _defines(source: bytes, name: str) -> bool:
    is_it = rf"^(?:(?:async +)?def +{name}\b|{name} *[:=]|(?:from|import) .*\b{name}\b)"
    return bool(re.search(is_it.encode(), source, re.MULTILINE))


def _language(file: str) -> str | None:
    return OF_PROGRAMS if file == PROGRAM else LANGUAGES.get(Path(file).suffix)


def _likely(names: Iterable[str]) -> str:
    """The file that a handler is likely in; empty if there is none."""
    present = set(names)
    usual = (file for file in LIKELY_HANDLERS if file in present)
    beside = [file for file in present if file.endswith(".py") and "/" not in file]
    return next(usual, beside[0] if len(beside) == 1 else "")


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    """What belongs in the package: its name there, and the file."""
    ignored = _patterns(root)
    real_root = root.resolve()
    for folder, folders, names in os.walk(root):
        here = Path(folder)
        folders[:] = [
            one for one in folders if not _left_out(here / one, root, ignored)
        ]
        for linked in (one for one in folders if (here / one).is_symlink()):
            raise UsageError(
                f"{here / linked} is a link to a folder, which a package cannot hold. "
                "Copy the folder, or list it in .sandlotignore."
            )
        for name in names:
            file = here / name
            if not _left_out(file, root, ignored):
                _refuse_unpackable(file, real_root)
                yield file.relative_to(root).as_posix(), file


def _patterns(root: Path) -> list[str]:
    """Of .sandlotignore: shell patterns; `#` comments; `/` ends a folder's."""
    file = root / ".sandlotignore"
    if not file.is_file():
        return []
    lines = (line.strip() for line in file.read_text("utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _left_out(path: Path, root: Path, patterns: list[str]) -> bool:
    if path.name in NEVER:
        return True
    inside = path.relative_to(root).as_posix()
    is_folder = path.is_dir()
    for pattern in patterns:
        if pattern.endswith("/") and not is_folder:
            continue
        wanted = pattern.strip("/")
        # As in .gitignore: a pattern with a slash in it is about one place.
        subject = inside if "/" in pattern.rstrip("/") else path.name
        if fnmatch.fnmatchcase(subject, wanted):
            return True
    return False


def _refuse_unpackable(file: Path, real_root: Path) -> None:
    target = file.resolve()
    if file.is_symlink() and not target.is_relative_to(real_root):
        # Following it would publish a file that the folder does not contain.
        raise UsageError(
            f"{file} is a link out of the folder, to {target}. "
            "Copy the file, or list it in .sandlotignore."
        )
    if not target.is_file():
        raise UsageError(
            f"{file} is neither a file nor a folder, so it cannot be packed. "
            "Remove it, or list it in .sandlotignore."
        )


def _zip(files: list[tuple[str, Path]]) -> bytes:
    _refuse_over_limit(sum(path.stat().st_size for _, path in files), None)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in files:
            archive.writestr(_entry(name, path), path.read_bytes())
    return buffer.getvalue()


def _entry(name: str, path: Path) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = 3  # Unix, wherever it was packed: the mode below is Unix's
    mode = 0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644
    entry.external_attr = (stat.S_IFREG | mode) << 16
    return entry


def _refuse_over_limit(size: int, zip_file: Path | None) -> None:
    """Before anything is read, so that a wrong path costs no memory."""
    limit, what = (MAX_ZIP, "zip") if zip_file else (MAX_UNPACKED, "files unpacked")
    if size > limit:
        raise PayloadTooLarge(
            f"the package has {size:,} bytes of {limit:,} allowed ({what}). "
            "Leave out what the function does not need with .sandlotignore.",
            facts={"limit": str(limit)},
        )


def _names(content: bytes) -> list[str]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return [one.filename for one in archive.infolist() if not one.is_dir()]
    except zipfile.BadZipFile as error:
        raise UsageError(f"the package is not a zip file: {error}") from error


def _checked(package: Package) -> Package:
    if len(package.zip) > MAX_ZIP:
        raise PayloadTooLarge(
            f"the zip has {len(package.zip):,} bytes of {MAX_ZIP:,} allowed. "
            "Leave out what the function does not need with .sandlotignore, or publish "
            "its libraries as layers, of which each may have as many.",
            facts={"limit": str(MAX_ZIP)},
        )
    return package
