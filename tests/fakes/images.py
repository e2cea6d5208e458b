"""OCI images, made by hand: right ones, and such as nobody would make by accident."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sandlot_sandbox.guest.image_layout import machine

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
TAG = "org.opencontainers.image.ref.name"

Entry = tarfile.TarInfo | tuple[str, bytes]


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
    ) -> str:
        """An image with these layers, packed or not; its digest."""
        described = []
        for tar in layers:
            packed = pack(tar) if is_packed else tar
            suffix = "+gzip" if is_packed else ""
            described.append(self.blob(packed, LAYER + suffix))
        settings = {
            "architecture": architecture or machine(),
            "os": "linux",
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
            "mediaType": MANIFEST,
            "config": self.document(settings, CONFIG),
            "layers": described,
        }
        found = self.document(manifest, MANIFEST)
        self.index["manifests"].append({**found, "annotations": {TAG: tag}})
        return str(found["digest"].removeprefix("sha256:"))

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
