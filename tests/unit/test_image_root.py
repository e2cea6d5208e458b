"""The files of a container image, as a builder makes them."""

import bz2
import gzip
import json
import lzma
import os
import re
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sandlot_sandbox.guest import image, image_tree
from sandlot_sandbox.guest.image_layout import MAX_LAYERS, BadImage
from tests.fakes.images import (
    LAYER,
    Layout,
    entry,
    folder,
    hard_link,
    image_of,
    layer,
    symlink,
)
from tests.unit.conftest import Make


def test_layers_become_a_root_that_everybody_may_read(make: Make, place: Path) -> None:
    layout = Layout()
    digest = layout.add(
        [
            layer(
                folder("usr/bin/"), ("usr/bin/run", b"one"), symlink("bin", "usr/bin")
            ),
            layer(("./usr/bin/run", b"two"), hard_link("again", "bin/run")),
            layer(("/bin/other", b"3"), mode=0o4600),
        ],
        is_packed=True,
        config={
            "Entrypoint": ["/bin/run"],
            "Cmd": ["a"],
            "Env": ["A=b=c", "=d=e", "E"],
        },
    )

    made = make(layout.archive())

    root = place / "root"
    assert made.sha256 == digest
    assert made.entries == sum(1 for _ in root.rglob("*"))
    assert (root / "usr/bin/run").read_bytes() == b"two"
    assert (root / "again").samefile(root / "usr/bin/run")
    assert (root / "bin").readlink() == Path("usr/bin")
    assert (root / "usr/bin/other").read_bytes() == b"3"
    modes = {stat.S_IMODE(path.lstat().st_mode) for path in root.rglob("[a-z]*")}
    assert modes == {0o755, 0o644, 0o777}
    assert json.loads((place / "image.json").read_text()) == {
        "entrypoint": ["/bin/run"],
        "command": ["a"],
        "environment": {"A": "b=c"},
        "working_directory": "",
    }


def test_whiteouts_remove_what_is_below_and_nothing_of_their_own(
    make: Make, place: Path
) -> None:
    below = layer(("a/one", b""), ("a/two", b""), ("b/one", b""), ("c/deep/one", b""))
    above = layer(
        ("a/three", b""),
        ("a/.wh..wh..opq", b""),
        ("b/one", b"again"),
        ("b/.wh.one", b""),
        ("c/.wh.deep", b""),
        ("nowhere/.wh.one", b""),
        (".wh..wh.plnk", b""),
    )

    make(image_of(below, above))

    root = place / "root"
    names = {str(path.relative_to(root)) for path in root.rglob("*")}
    ours = {"dev", "proc", "tmp", "etc", "etc/hosts", "etc/resolv.conf"}
    assert names - ours == {"a", "a/three", "b", "b/one", "c"}
    assert (root / "b/one").read_bytes() == b"again"


def test_links_end_at_the_image_s_root(make: Make, place: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    image = image_of(
        layer(
            symlink("up", "../../../../outside"),
            symlink("absolute", "/srv/outside"),
        ),
        layer(("up/a", b"1"), ("absolute/b", b"2")),
    )

    make(image)

    assert not list((tmp_path / "outside").iterdir())
    assert (place / "root/outside/a").read_bytes() == b"1"
    assert (place / "root/srv/outside/b").read_bytes() == b"2"


HOSTILE = {
    "upwards": ([layer(("../out", b""))], "leads upwards"),
    "upwards in the middle": ([layer(("a/../../out", b""))], "leads upwards"),
    "a whiteout of what is above": ([layer((".wh...", b""))], "which is no name"),
    "a whiteout of itself": ([layer((".wh..", b""))], "which is no name"),
    "a whiteout of nothing": ([layer((".wh.", b""))], "which is no name"),
    "a hard link out": (
        [layer(symlink("e", "/etc")), layer(hard_link("a", "e/passwd"))],
        "link to a file that it has not",
    ),
    "a hard link upwards": ([layer(hard_link("a", "../etc"))], "leads upwards"),
    "a hard link to a folder": (
        [layer(folder("a"), hard_link("b", "a"))],
        "link to a file that it has not",
    ),
    "a device": ([layer(entry("a", tarfile.CHRTYPE))], "is a device or a pipe"),
    "a pipe": ([layer(entry("a", tarfile.FIFOTYPE))], "is a device or a pipe"),
    "proc elsewhere": ([layer(symlink("proc", "/etc"))], "its /proc is no folder"),
    "tmp elsewhere": ([layer(symlink("tmp", "var"))], "its /tmp is no folder"),
    "a file for dev": ([layer(("dev", b""))], "its /dev is no folder"),
    "etc elsewhere": ([layer(symlink("etc", "/proc"))], "its /etc is no folder"),
    "a folder for a file": ([layer(folder("etc/hosts"))], "/etc/hosts is a folder"),
    "through a file": ([layer(("a", b""), ("a/b", b""))], "leads through a file"),
    "a ring": (
        [layer(symlink("a", "b"), symlink("b", "a"), ("a/c", b""))],
        "leads through a ring",
    ),
    "too deep": ([layer(("a/" * 70 + "b", b""))], "is too deep"),
    "too long": ([layer(("a" * 256, b""))], "no name that a file can have"),
    "no tar": ([b"x" * 1024], "other than digits"),
    "half a tar": ([layer(("a", b"12345"))[:514]], "in the middle of a file"),
    "128 layers": ([layer()] * (MAX_LAYERS + 1), "128 layers of 127 allowed"),
}


@pytest.mark.parametrize(("layers", "why"), HOSTILE.values(), ids=HOSTILE)
def test_what_is_hostile_is_refused_before_anything_is_written(
    make: Make, place: Path, layers: list[bytes], why: str
) -> None:
    with pytest.raises(BadImage, match=why):
        make(image_of(*layers))

    assert not list(place.iterdir())


def test_an_image_s_devices_are_left_out(make: Make, place: Path) -> None:
    make(image_of(layer(entry("dev/null", tarfile.CHRTYPE), ("dev/a", b""))))

    assert not list((place / "root/dev").iterdir())


def test_links_in_place_of_what_ours_is_put_over_give_way(
    make: Make, place: Path
) -> None:
    make(image_of(layer(symlink("etc/resolv.conf", "/proc/1/environ"))))

    assert stat.S_ISREG((place / "root/etc/resolv.conf").lstat().st_mode)


@pytest.mark.parametrize("where", ["layer", "config", "manifest"])
def test_what_is_not_what_its_digest_says_is_refused(make: Make, where: str) -> None:
    layout = Layout()
    layout.add([layer(("a", b"12345"))])
    digest = list(layout.blobs)[["layer", "config", "manifest"].index(where)]
    content = layout.blobs[digest]
    layout.blobs[digest] = content[:-1] + bytes([content[-1] ^ 1])

    with pytest.raises(BadImage, match="not what its digest says"):
        make(layout.archive())


def test_a_layer_has_to_be_what_its_diff_id_says(make: Make) -> None:
    other = gzip.compress(layer(("b", b"")))

    with pytest.raises(BadImage, match="not what its diff_id says"):
        make(image_of(layer(("a", b"")), is_packed=True, pack=lambda _: other))


def test_more_bytes_than_it_may_have_are_not_unpacked(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image, "MAX_UNPACKED", 1 << 20)
    bomb = layer(("a", bytes(600_000)))

    with pytest.raises(BadImage, match="more than 1048576 bytes, unpacked"):
        make(image_of(bomb, bomb, is_packed=True))


def test_what_follows_the_end_of_a_tar_counts(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image, "MAX_UNPACKED", 1 << 20)

    with pytest.raises(BadImage, match="more than 1048576 bytes, unpacked"):
        make(image_of(layer() + bytes(2 << 20), is_packed=True))


def test_a_file_has_a_largest_size(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_tree, "MAX_FILE", 4)

    with pytest.raises(BadImage, match="'a' has 5 bytes of 4 allowed"):
        make(image_of(layer(("a", b"12345"))))


def test_a_file_has_so_many_names_at_most(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image, "MAX_NAMES", 2)

    with pytest.raises(BadImage, match="'a' has 3 names of 2 allowed"):
        make(image_of(layer(("a", b""), hard_link("b", "a"), hard_link("c", "a"))))


def test_files_are_counted_with_those_that_are_hidden(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_tree, "MAX_ENTRIES", 3)

    with pytest.raises(BadImage, match="more than 3 files"):
        make(image_of(*[layer(("a", b""), (".wh.a", b""))] * 2))


def test_gzip_in_several_parts_is_one_layer(make: Make, place: Path) -> None:
    def pack(tar: bytes) -> bytes:
        return gzip.compress(tar[:700]) + gzip.compress(tar[700:])

    content = os.urandom(200_000)
    make(image_of(layer(("a", content)), is_packed=True, pack=pack))

    assert (place / "root/a").read_bytes() == content


def test_gzip_that_breaks_off_is_refused(make: Make) -> None:
    tar = layer(("a", os.urandom(100_000)))

    with pytest.raises(BadImage, match=r"breaks off|in the middle"):
        make(image_of(tar, is_packed=True, pack=lambda _: gzip.compress(tar)[:-40]))


def test_an_image_for_another_machine_is_refused(make: Make) -> None:
    with pytest.raises(BadImage, match="it is for linux/s390x; this machine is linux/"):
        make(image_of(layer(), architecture="s390x"))


def test_of_several_images_one_is_named(make: Make, place: Path) -> None:
    layout = Layout()
    layout.add([layer(("one", b""))], tag="one")
    layout.add([layer(("two", b""))], tag="registry.example/library/it:two")

    with pytest.raises(BadImage, match="it has 2 images; say which"):
        make(layout.archive())
    with pytest.raises(BadImage, match="no image in it has tag 'three'"):
        make(layout.archive(), "three")
    make(layout.archive(), "two")
    assert (place / "root/two").exists()


def test_what_is_no_oci_archive_says_how_to_make_one(make: Make) -> None:
    with pytest.raises(BadImage, match="skopeo copy docker-archive"):
        make(layer(("manifest.json", b"[]")))


@pytest.mark.parametrize(
    ("media_type", "why"),
    [
        (f"{LAYER}+zstd", "plain tar and gzip are read. .*--dest-compress-format gzip"),
        ("application/vnd.docker.image.rootfs.diff.tar.zstd", "-format gzip oci:DIR"),
        (f"{LAYER}+gzip+encrypted", "which is no file system's"),
        ("application/vnd.in-toto+json", "which is no file system's"),
    ],
)
def test_layers_that_are_not_read_are_refused_by_name(
    make: Make, media_type: str, why: str
) -> None:
    layout = Layout()
    layout.add([layer()], types={LAYER: media_type})

    with pytest.raises(BadImage, match=re.escape(media_type) + ".*" + why):
        make(layout.archive())


@pytest.mark.parametrize(
    ("pack", "why"),
    [
        (gzip.compress, "packed with gzip: gunzip it"),
        (bz2.compress, "packed with bzip2: bunzip2 it"),
        (lzma.compress, "packed with xz: unxz it"),
        (lambda archive: b"\x28\xb5\x2f\xfd" + archive, "packed with zstd: unzstd it"),
    ],
)
def test_an_archive_that_is_packed_as_a_whole_is_refused(
    make: Make, pack: Callable[[bytes], bytes], why: str
) -> None:
    with pytest.raises(BadImage, match=why):
        make(pack(image_of(layer())))
