"""Which images on the machine a tenant may have, and what the engine copies of them."""

import io
import os
import tarfile
from pathlib import Path
from typing import cast

import pytest

from sandlot_engine.errors import InvalidParameter
from sandlot_engine.node import images as module
from sandlot_engine.node.images import Images, parse
from sandlot_engine.node.launchers import Launchers
from tests.fakes.images import Layout, layer


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "images"
    made.mkdir()
    return made


@pytest.fixture
def images(root: Path) -> Images:
    return Images(cast(Launchers, None), [str(root)])


def packed(images: Images, uri: str) -> tuple[str, bytes]:
    into = os.memfd_create("packed")
    try:
        tag = images.pack(uri, into)
        return tag, os.pread(into, 1 << 24, 0)
    finally:
        os.close(into)


def names(archive: bytes) -> set[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return set(tar.getnames())


@pytest.mark.parametrize(
    "uri",
    [
        "docker://alpine",
        "alpine:latest",
        "123456789012.dkr.ecr.us-east-1.amazonaws.com/a:b",
        "registry.example/a@sha256:00",
        *("oci:", "oci", "oci-archive::tag", "docker-archive:a", ""),
    ],
)
def test_what_is_in_a_registry_is_refused_by_name(uri: str) -> None:
    with pytest.raises(InvalidParameter, match="Nothing is pulled from registries"):
        parse(uri)


@pytest.mark.parametrize(
    ("uri", "how"),
    [
        ("docker-archive:a.tar", "skopeo copy docker-archive:FILE oci:DIR/NAME:TAG"),
        ("docker-daemon:a:1", "skopeo copy docker-daemon:IMAGE oci:DIR/NAME:TAG"),
        ("containers-storage:a", "copy containers-storage:IMAGE oci:DIR/NAME:TAG"),
        ("dir:/a", "skopeo copy dir:DIR oci:DIR/NAME:TAG"),
        ("a/b:1", "skopeo copy docker://IMAGE oci:DIR/NAME:TAG"),
    ],
)
def test_what_is_refused_is_told_how_to_become_a_layout(uri: str, how: str) -> None:
    with pytest.raises(InvalidParameter, match=how):
        parse(uri)


def test_an_address_has_a_path_and_a_tag() -> None:
    assert parse("oci:a/b") == ("oci", "a/b", "")
    assert parse("oci-archive:/a/b.tar:1.0") == ("oci-archive", "/a/b.tar", "1.0")


def test_of_a_layout_one_image_is_copied_and_always_alike(
    images: Images, root: Path
) -> None:
    layout = Layout()
    layout.add([layer(("a", b"1"))], tag="one")
    only = {f"blobs/sha256/{digest}" for digest in layout.blobs}
    layout.write(root / "it")
    _, before = packed(images, "oci:it:one")

    layout.add([layer(("b", b"2"))], tag="two")
    layout.write(root / "it")
    tag, after = packed(images, f"oci:{root}/it:one")

    assert (tag, names(after)) == ("", {"index.json", *only})
    assert before == after


def test_an_archive_is_copied_as_it_is(images: Images, root: Path) -> None:
    (root / "it.tar").write_bytes(b"any bytes")

    assert packed(images, "oci-archive:it.tar:one") == ("one", b"any bytes")


def test_what_is_too_large_is_not_copied(
    images: Images, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_PACKED", 1_000)
    (root / "it.tar").write_bytes(bytes(1_001))
    layout = Layout()
    layout.add([layer(("a", bytes(1_001)))])
    layout.write(root / "it")

    for uri in ("oci-archive:it.tar", "oci:it"):
        with pytest.raises(InvalidParameter, match="more than 1000 bytes"):
            packed(images, uri)


def test_a_pipe_is_not_waited_for(images: Images, root: Path) -> None:
    os.mkfifo(root / "it.tar")

    with pytest.raises(InvalidParameter, match="There is no image"):
        packed(images, "oci-archive:it.tar")


def test_a_part_that_is_a_link_is_not_followed(
    images: Images, root: Path, tmp_path: Path
) -> None:
    layout = Layout()
    layout.add([layer(("a", b"1"))])
    layout.write(root / "it")
    outside = tmp_path / "outside"
    part = root / "it/blobs/sha256" / next(iter(layout.blobs))
    part.rename(outside)
    part.symlink_to(outside)

    with pytest.raises(InvalidParameter, match="that the engine could read"):
        packed(images, "oci:it")


def test_a_part_that_cannot_be_read_is_as_if_it_were_not_there(
    images: Images, root: Path
) -> None:
    (root / "nothing").mkdir()
    (root / "link").mkdir()
    (root / "link/index.json").symlink_to("/etc/passwd")

    said = set()
    for name in ("nothing", "link"):
        with pytest.raises(InvalidParameter, match=r"chmod -R a\+rX") as caught:
            packed(images, f"oci:{name}")
        said.add(str(caught.value).replace(name, "IT"))

    assert len(said) == 1
