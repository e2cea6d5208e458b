"""What an OCI image says of itself: index, manifest, configuration. Pure.

All of it is JSON that a stranger wrote. A document is bounded, its digest is checked
before it is parsed, and every part that is used is looked at.
https://github.com/opencontainers/image-spec
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MAX_DOCUMENT = 1 << 20
"""Bytes of an index, a manifest or a configuration."""

MAX_LAYERS = 127
"""As Docker has it."""

MAX_SETTINGS = 16_384
"""Bytes of what an image says about how it is run, as JSON (AWS: 16 KB)."""

INDEX = "index.json"
_DEPTH = 3
"""Indexes in one another."""

_INDEXES = frozenset(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
)
PLAIN, GZIP = "plain", "gzip"
_LAYERS = {
    "application/vnd.oci.image.layer.v1.tar": PLAIN,
    "application/vnd.oci.image.layer.v1.tar+gzip": GZIP,
    "application/vnd.oci.image.layer.nondistributable.v1.tar": PLAIN,
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip": GZIP,
    "application/vnd.docker.image.rootfs.diff.tar": PLAIN,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": GZIP,
}
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
_TAG = "org.opencontainers.image.ref.name"
_DOCKERS_NAME = "io.containerd.image.name"
_ATTESTS = "vnd.docker.reference.type"
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


class BadImage(Exception):
    """Says what is wrong with it."""


@dataclass(frozen=True)
class Blob:
    """A part of an image, by what it has to be."""

    sha256: str
    size: int
    media_type: str

    @property
    def path(self) -> str:
        """In a layout."""
        return f"blobs/sha256/{self.sha256}"


@dataclass(frozen=True)
class Layer:
    """One change to the files, packed."""

    blob: Blob
    packing: str
    """`PLAIN` or `GZIP`."""

    diff_id: str
    """SHA-256 of the tar."""


@dataclass(frozen=True)
class Image:
    """One image of a layout."""

    manifest: Blob
    config: Blob
    layers: tuple[Layer, ...]
    settings: dict[str, Any]
    """`entrypoint`, `command`, `environment`, `working_directory`."""

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """All that it is made of."""
        return (self.manifest, self.config, *(layer.blob for layer in self.layers))


def machine() -> str:
    """The machine's architecture, as images name it."""
    return _MACHINES.get(os.uname().machine, os.uname().machine)


def find(
    index: bytes, tag: str, read: Callable[[str], bytes], *, architecture: str
) -> Image:
    """The image with a tag, or, where that is empty, the only one.

    `read` gives a part by its path in the layout; a byte more than `MAX_DOCUMENT` are
    asked of it at most. Raises `BadImage`, and what `read` does.
    """
    manifest = _chosen(_object(index, INDEX), tag, architecture)
    document = _verified(manifest, read)
    for _ in range(_DEPTH):
        if manifest.media_type not in _INDEXES:
            break
        manifest = _chosen(document, "", architecture)
        document = _verified(manifest, read)
    if manifest.media_type in _INDEXES:
        raise BadImage(f"it has more than {_DEPTH} indexes in one another")
    config = _blob(document.get("config"))
    layers = _list(document, "layers")
    if len(layers) > MAX_LAYERS:
        raise BadImage(f"it has {len(layers)} layers of {MAX_LAYERS} allowed")
    content = _verified(config, read)
    _check_machine(content, architecture)
    diff_ids = _diff_ids(content)
    if len(diff_ids) != len(layers):
        raise BadImage(f"it has {len(layers)} layers, and {len(diff_ids)} diff_ids")
    found = tuple(map(_layer, layers, diff_ids))
    return Image(manifest, config, found, _settings(content))


def index_of(image: Image) -> bytes:
    """An index with that image alone."""
    manifest = image.manifest
    entry = {
        "mediaType": manifest.media_type,
        "digest": f"sha256:{manifest.sha256}",
        "size": manifest.size,
    }
    document = {"schemaVersion": 2, "manifests": [entry]}
    return json.dumps(document, separators=(",", ":")).encode()


def _chosen(index: dict[str, Any], tag: str, architecture: str) -> Blob:
    entries = [_entry(entry) for entry in _list(index, "manifests")]
    entries = [entry for entry in entries if _ATTESTS not in _annotations(entry)]
    if tag:
        tags = sorted({found for entry in entries for found in _tags(entry)})
        entries = [entry for entry in entries if tag in _tags(entry)]
        if not entries:
            raise BadImage(f"no image in it has tag {tag!r}; there are: {tags[:20]}")
    fitting = [entry for entry in entries if _fits(entry, architecture)]
    if entries and not fitting:
        raise BadImage(
            f"it has no image for linux/{architecture}, which this machine is"
        )
    # Some name an image once for each of its tags.
    blobs = {blob.sha256: blob for blob in map(_blob, fitting)}
    if len(blobs) != 1:
        raise BadImage(f"it has {len(blobs)} images; say which with :TAG at the end")
    return next(iter(blobs.values()))


def _tags(entry: dict[str, Any]) -> set[str]:
    annotations = _annotations(entry)
    names = [annotations.get(key) for key in (_TAG, _DOCKERS_NAME)]
    found = {name for name in names if isinstance(name, str) and name}
    return found | {name.rpartition(":")[2] for name in found}


def _fits(entry: dict[str, Any], architecture: str) -> bool:
    platform = entry.get("platform")
    if not isinstance(platform, dict):
        return True
    has = platform.get("os", "linux"), platform.get("architecture", architecture)
    return has == ("linux", architecture)


def _check_machine(config: dict[str, Any], architecture: str) -> None:
    if "rootfs" not in config:
        raise BadImage("its configuration has no rootfs, so it is no container image")
    has = f"{config.get('os')}/{config.get('architecture')}"[:100]
    if has != f"linux/{architecture}":
        raise BadImage(f"it is for {has}; this machine is linux/{architecture}")


def _diff_ids(config: dict[str, Any]) -> list[str]:
    rootfs = config.get("rootfs")
    if not isinstance(rootfs, dict):
        raise BadImage("its configuration has no rootfs")
    return [_digest(diff_id) for diff_id in _list(rootfs, "diff_ids")]


def _layer(entry: object, diff_id: str) -> Layer:
    blob = _blob(entry)
    packing = _LAYERS.get(blob.media_type)
    if packing is None:
        why = f"a layer is of type {blob.media_type[:100]!r}"
        if blob.media_type.endswith("zstd"):
            raise BadImage(
                f"{why}; plain tar and gzip are read. Pack it anew: skopeo copy "
                "--dest-compress-format gzip oci:DIR:TAG oci:ANOTHER:TAG"
            )
        raise BadImage(f"{why}, which is no file system's")
    return Layer(blob, packing, diff_id)


def _settings(config: dict[str, Any]) -> dict[str, Any]:
    said = config.get("config")
    if said is None:
        said = {}
    if not isinstance(said, dict):
        raise BadImage("its configuration is no object")
    settings = {
        "entrypoint": _texts(said, "Entrypoint"),
        "command": _texts(said, "Cmd"),
        "environment": dict(
            variable.split("=", 1)
            for variable in _texts(said, "Env")
            if variable.find("=") > 0
        ),
        "working_directory": _text(said.get("WorkingDir") or ""),
    }
    if len(json.dumps(settings).encode()) > MAX_SETTINGS:
        raise BadImage(f"its settings have more than {MAX_SETTINGS} bytes")
    return settings


def _texts(document: dict[str, Any], key: str) -> list[str]:
    return [_text(text) for text in (document.get(key) and _list(document, key)) or ()]


def _text(text: object) -> str:
    if not isinstance(text, str) or "\0" in text:
        raise BadImage("its configuration has something else in place of a text")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadImage("its configuration has half a character") from None
    return text


def _verified(blob: Blob, read: Callable[[str], bytes]) -> dict[str, Any]:
    if blob.size > MAX_DOCUMENT:
        raise BadImage(f"{blob.path} has {blob.size} bytes of {MAX_DOCUMENT} allowed")
    content = read(blob.path)
    if len(content) != blob.size:
        raise BadImage(f"{blob.path} is not of the size that it is said to be of")
    if hashlib.sha256(content).hexdigest() != blob.sha256:
        raise BadImage(f"{blob.path} is not what its digest says")
    return _object(content, blob.path)


def _object(content: bytes, name: str) -> dict[str, Any]:
    if len(content) > MAX_DOCUMENT:
        raise BadImage(f"{name} has more than {MAX_DOCUMENT} bytes")
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        raise BadImage(f"{name} is no JSON") from None
    if not isinstance(value, dict):
        raise BadImage(f"{name} is no JSON object")
    return value


def _list(document: dict[str, Any], key: str) -> list[Any]:
    value = document.get(key)
    if not isinstance(value, list):
        raise BadImage(f"it has no list of {key}")
    return value


def _entry(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadImage("something in it is no object")
    return value


def _annotations(entry: dict[str, Any]) -> dict[str, Any]:
    found = entry.get("annotations")
    return found if isinstance(found, dict) else {}


def _blob(value: object) -> Blob:
    entry = _entry(value)
    size, media_type = entry.get("size"), entry.get("mediaType", "")
    if type(size) is not int or size < 0 or not isinstance(media_type, str):
        raise BadImage("something in it has no size or no type")
    return Blob(_digest(entry.get("digest")), size, media_type)


def _digest(value: object) -> str:
    found = _DIGEST.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise BadImage("something in it has no digest by sha256")
    return found.group(1)
