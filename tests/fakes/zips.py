"""Zips to test with: honest ones, and ones changed byte by byte."""

import io
import struct
import warnings
import zipfile
from collections.abc import Mapping


def zip_of(
    files: Mapping[str, bytes | str],
    *,
    modes: Mapping[str, int] | None = None,
    method: int = zipfile.ZIP_DEFLATED,
) -> bytes:
    """A zip as an honest packer writes it; `modes` are whole Unix modes."""
    return zip_of_pairs(list(files.items()), modes=modes, method=method)


def zip_of_pairs(
    files: list[tuple[str, bytes | str]],
    *,
    modes: Mapping[str, int] | None = None,
    method: int = zipfile.ZIP_DEFLATED,
) -> bytes:
    """The same, where a name may come twice."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as archive:
        warnings.simplefilter("ignore")  # of duplicate names
        for name, content in files:
            info = zipfile.ZipInfo(name)
            info.filename = name  # ZipInfo cleans names up, and we want them dirty
            info.compress_type = method
            info.external_attr = (modes or {}).get(name, 0o100644) << 16
            archive.writestr(info, content)
    return buffer.getvalue()


def streamed_zip(files: Mapping[str, bytes]) -> bytes:
    """A zip with data descriptors, as written to a pipe."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return pipe.getvalue()


class _Pipe(io.BytesIO):
    def seekable(self) -> bool:
        return False

    def seek(self, *_: object) -> int:
        raise io.UnsupportedOperation

    def tell(self) -> int:
        raise io.UnsupportedOperation


CENTRAL, LOCAL, END = b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"


def patched(data: bytes, signature: bytes, offset: int, form: str, value: int) -> bytes:
    """Change a field of the first header with that signature."""
    changed = bytearray(data)
    struct.pack_into(form, changed, data.index(signature) + offset, value)
    return bytes(changed)
