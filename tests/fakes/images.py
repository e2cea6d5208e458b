"""OCI images, made by hand: right ones, and such as nobody would make by accident."""

import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from sandlot_sandbox.guest.image_layout import machine

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER = "application/vnd.docker."
DOCKERS_TYPES = {
    MANIFEST: f"{DOCKER}distribution.manifest.v2+json",
    CONFIG: f"{DOCKER}container.image.v1+json",
    LAYER: f"{DOCKER}image.rootfs.diff.tar",
    f"{LAYER}+gzip": f"{DOCKER}image.rootfs.diff.tar.gzip",
    INDEX: f"{DOCKER}distribution.manifest.list.v2+json",
}
"""What Docker calls them, and some tools put into a layout."""

TAG = "org.opencontainers.image.ref.name"

PROGRAMS = Path(__file__).parent.parent / "guests/programs"
COMPILE_S = 60

Entry = tarfile.TarInfo | tuple[str, bytes]


def compiled(name: str, folder: Path) -> bytes:
    """A static program of tests/guests/programs, which needs nothing of an image.
    Skips the test where there is no compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler here")
    made = folder / name
    source = str(PROGRAMS / f"{name}.c")
    subprocess.run(
        [compiler, "-D_GNU_SOURCE", "-O1", "-static", "-o", str(made), source],
        check=True,
        timeout=COMPILE_S,
    )
    return made.read_bytes()


def entry(
    name: str, kind: bytes = tarfile.REGTYPE, *, target: str = "", mode: int = 0o644
) -> tarfile.TarInfo:
    """Something that has no content."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, mode
    return info


def folder(name: str) -> tarfile.TarInfo:
    return entry(name, tarfile.DIRTYPE, mode=0o700)


def symlink(name: str, target: str) -> tarfile.TarInfo:
    return entry(name, tarfile.SYMTYPE, target=target)


def hard_link(name: str, target: str) -> tarfile.TarInfo:
    return entry(name, tarfile.LNKTYPE, target=target)


def layer(*entries: Entry, mode: int = 0o755) -> bytes:
    """A tar; what is a name with its content is a file of that mode."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for each in entries:
            if isinstance(each, tarfile.TarInfo):
                tar.addfile(each)
            else:
                info = tarfile.TarInfo(each[0])
                info.size, info.mode = len(each[1]), mode
                tar.addfile(info, io.BytesIO(each[1]))
    return made.getvalue()


class Layout:
    """Blobs and an index, to be written as a folder or as an archive."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.index: dict[str, Any] = {"schemaVersion": 2, "manifests": []}

    def blob(self, content: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        self.blobs[digest] = content
        return {
            "mediaType": media_type,
            "digest": f"sha256:{digest}",
            "size": len(content),
        }

    def document(self, content: object, media_type: str) -> dict[str, Any]:
        return self.blob(json.dumps(content).encode(), media_type)

    def add(
        self,
        layers: Sequence[bytes],
        *,
        tag: str = "latest",
        config: Mapping[str, object] | None = None,
        architecture: str = "",
        is_packed: bool = False,
        pack: Callable[[bytes], bytes] = gzip.compress,
        types: Mapping[str, str] | None = None,
        entry: Mapping[str, object] | None = None,
        more: Mapping[str, object] | None = None,
    ) -> str:
        """An image with these layers, packed or not; its digest. `types` has other
        names for what it is made of, `entry` what its entry in the index has besides,
        and `more` what its configuration has."""
        named = dict(types or {})
        described = []
        for tar in layers:
            packed = pack(tar) if is_packed else tar
            suffix = "+gzip" if is_packed else ""
            kind = LAYER + suffix
            described.append(self.blob(packed, named.get(kind, kind)))
        settings = {
            "architecture": architecture or machine(),
            "os": "linux",
            **(more or {}),
            "config": dict(config or {}),
            "rootfs": {
                "type": "layers",
                "diff_ids": [
                    f"sha256:{hashlib.sha256(tar).hexdigest()}" for tar in layers
                ],
            },
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": named.get(MANIFEST, MANIFEST),
            "config": self.document(settings, named.get(CONFIG, CONFIG)),
            "layers": described,
        }
        if not manifest["mediaType"]:
            del manifest["mediaType"]
        found = self.document(manifest, str(manifest.get("mediaType", MANIFEST)))
        tagged = {"annotations": {TAG: tag}} if tag else {}
        self.index["manifests"].append({**found, **tagged, **(entry or {})})
        return str(found["digest"].removeprefix("sha256:"))

    def nest(self, tag: str, *, kind: str = INDEX) -> None:
        """All that is in the index is in one of its own from now on."""
        inner = {**self.index, "mediaType": kind}
        found = self.document(inner, kind)
        self.index = {
            "schemaVersion": 2,
            "manifests": [{**found, "annotations": {TAG: tag}}],
        }

    def files(self) -> Iterable[tuple[str, bytes]]:
        yield "oci-layout", b'{"imageLayoutVersion":"1.0.0"}'
        yield "index.json", json.dumps(self.index).encode()
        for digest, content in self.blobs.items():
            yield f"blobs/sha256/{digest}", content

    def archive(self) -> bytes:
        return layer(*self.files(), mode=0o644)

    def write(self, path: Path) -> Path:
        """As a folder."""
        for name, content in self.files():
            file = path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        return path


def image_of(*layers: bytes, **settings: Any) -> bytes:
    """An archive with one image."""
    layout = Layout()
    layout.add(layers, **settings)
    return layout.archive()
