"""Images as real tools write them, not only we: they differ in much that is allowed.

What the tools themselves write is tried in tests/compat/test_image_tools.py.
"""

import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from sandlot_sandbox.guest.image_layout import BadImage, machine
from tests.fakes.images import (
    DOCKERS_TYPES,
    INDEX,
    MANIFEST,
    Layout,
    entry,
    folder,
    hard_link,
    image_of,
    layer,
    symlink,
)
from tests.unit.conftest import Make


def seen(place: Path) -> set[str]:
    """What an image has brought, without what every root has."""
    root = place / "root"
    names = {str(path.relative_to(root)) for path in root.rglob("*")}
    return names - {"dev", "proc", "tmp", "etc", "etc/hosts", "etc/resolv.conf"}


def test_umoci_s_manifests_do_not_say_what_they_are(make: Make, place: Path) -> None:
    layout = Layout()
    layout.add([layer(("a", b""))], is_packed=True, types={MANIFEST: ""})

    make(layout.archive())

    assert seen(place) == {"a"}


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 70_000])
def test_umoci_s_layers_end_with_the_last_byte_of_a_file(
    make: Make, place: Path, size: int
) -> None:
    """`umoci insert` neither fills the block up nor says that this was all."""
    tar = layer(("a", b"x" * size))[: 512 + size]

    make(image_of(tar, is_packed=True))

    assert (place / "root/a").read_bytes() == b"x" * size


@pytest.mark.parametrize("cut", [1, 512, 513])
def test_a_layer_that_ends_within_a_file_is_refused(make: Make, cut: int) -> None:
    tar = layer(("a", b"x" * 1_000))[: 512 + 1_000 - cut]

    with pytest.raises(BadImage, match="in the middle of a file"):
        make(image_of(tar))


@pytest.mark.parametrize("is_packed", [True, False])
def test_docker_s_types_in_a_layout(make: Make, place: Path, is_packed: bool) -> None:
    """As `skopeo copy --format v2s2 … oci:…` leaves them."""
    layout = Layout()
    layout.add([layer(("a", b""))], is_packed=is_packed, types=DOCKERS_TYPES)

    make(layout.archive())

    assert seen(place) == {"a"}


@pytest.mark.parametrize("kind", [INDEX, DOCKERS_TYPES[INDEX]])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_of_several_machines_images_ours_is_taken(
    make: Make, place: Path, kind: str, depth: int
) -> None:
    """As buildah, buildx and skopeo write them for several platforms; with what is said
    of them, which is for a machine that nobody has."""
    layout = Layout()
    mine = machine()
    other = "s390x" if mine != "s390x" else "amd64"
    for name, system, architecture in (
        ("other", "linux", other),
        ("mine", "linux", mine),
        ("windows", "windows", mine),
    ):
        platform = {"os": system, "architecture": architecture}
        layout.add(
            [layer((name, b""))],
            tag="",
            architecture=architecture,
            entry={"platform": platform},
        )
    unknown = {"os": "unknown", "architecture": "unknown"}
    said = {"vnd.docker.reference.type": "attestation-manifest"}
    layout.add([layer()], tag="", entry={"platform": unknown, "annotations": said})
    for _ in range(depth):
        layout.nest("it", kind=kind)

    make(layout.archive(), "it" if depth else "")

    assert seen(place) == {"mine"}


def test_indexes_in_one_another_have_an_end(make: Make) -> None:
    layout = Layout()
    layout.add([layer()])
    for _ in range(4):
        layout.nest("it")

    with pytest.raises(BadImage, match="more than 3 indexes in one another"):
        make(layout.archive())


def test_a_name_that_is_no_text_is_none(make: Make) -> None:
    layout = Layout()
    names = {"org.opencontainers.image.ref.name": ["1.0"]}
    layout.add([layer()], tag="", entry={"annotations": names})

    with pytest.raises(BadImage, match=r"no image in it has tag '1\.0'"):
        make(layout.archive(), "1.0")


def test_docker_s_names_in_the_index(make: Make, place: Path) -> None:
    """As `docker save` and buildx write them: the tag alone, and the whole name."""
    names = {
        "io.containerd.image.name": "docker.io/library/hello:1.0",
        "org.opencontainers.image.ref.name": "1.0",
        "org.opencontainers.image.created": "2026-01-01T00:00:00Z",
    }
    layout = Layout()
    layout.add([layer(("other", b""))], tag="other")
    layout.add([layer(("a", b""))], entry={"annotations": names})

    for tag in ("1.0", "docker.io/library/hello:1.0"):
        shutil.rmtree(place)
        place.mkdir()
        make(layout.archive(), tag)
        assert seen(place) == {"a"}


def test_history_and_steps_that_made_no_layer_say_nothing(
    make: Make, place: Path
) -> None:
    history = [
        {"created_by": "COPY a", "created": "2026-01-01T00:00:00Z"},
        {"created_by": "ENTRYPOINT", "empty_layer": True},
    ]
    layout = Layout()
    layout.add([layer(("a", b""))], more={"history": history, "variant": "v2"})

    make(layout.archive())

    assert seen(place) == {"a"}


def test_a_layer_may_be_empty_and_come_twice(make: Make, place: Path) -> None:
    """Old Dockers write the same empty one for each step; others one of no bytes."""
    empty, again = bytes(1024), layer(("a", b"1"))
    layout = Layout()
    layout.add([empty, again, empty, layer((".wh.a", b"")), again, b""])

    make(layout.archive())

    assert (place / "root/a").read_bytes() == b"1"


def test_an_image_may_say_nothing_of_how_it_is_run(make: Make, place: Path) -> None:
    nothing = {"Entrypoint": None, "Cmd": None, "Env": None, "WorkingDir": ""}
    layout = Layout()
    layout.add([layer(("a", b""))], config=nothing)

    make(layout.archive())

    said = json.loads((place / "image.json").read_text())
    assert not any(said.values())


def test_folders_that_a_layer_makes_anew_are_opaque_or_not(
    make: Make, place: Path
) -> None:
    """As `umoci insert --opaque` has it, a folder that is gone and is there again, and
    a folder in the place of a link or a file, and the other way round."""
    below = layer(
        *(("opaque/old", b""), ("plain/old", b""), ("again/old", b"")),
        *(("file", b""), symlink("link", "/plain"), ("folder/old", b"")),
    )
    above = layer(
        *(folder("opaque"), entry("opaque/.wh..wh..opq"), ("opaque/new", b"")),
        *(folder("plain"), ("plain/new", b"")),
        *(entry(".wh.again"), folder("again"), ("again/new", b"")),
        *(folder("file"), ("file/new", b"")),
        *(folder("link"), ("link/new", b"")),
        ("folder", b""),
    )

    make(image_of(below, above, is_packed=True))

    assert seen(place) == {
        *("opaque", "opaque/new", "plain", "plain/old", "plain/new"),
        *("again", "again/new", "file", "file/new", "link", "link/new", "folder"),
    }


@pytest.mark.parametrize("format_", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_owners_and_attributes_do_not_trouble(
    make: Make, place: Path, format_: int
) -> None:
    name = "/".join(["long" * 20] * 3)
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=format_) as tar:
        root = entry("./", tarfile.DIRTYPE)
        tar.addfile(root)
        info = entry(f"./{name}")
        info.uid = info.gid = 1 << 30
        info.uname, info.mtime = "x" * 32, 1.5
        info.pax_headers = {
            "SCHILY.xattr.security.capability": "\x01\n\0\x02",
            "SCHILY.xattr.user.rootlesscontainers": "\b",
            "LIBARCHIVE.creationtime": "1.5",
        }
        tar.addfile(info)
        link = hard_link("./link", f"./{name}")
        tar.addfile(link)

    make(image_of(made.getvalue()))

    assert (place / "root/link").samefile(place / "root" / name)


def test_an_archive_of_a_folder_has_dots_and_folders(make: Make, place: Path) -> None:
    """As `tar -C LAYOUT -cf … .` makes it, with what is not the image's."""
    layout = Layout()
    layout.add([layer(("a", b""))])
    dotted = [(f"./{name}", content) for name, content in layout.files()]
    foreign = ("./manifest.json", b"[]"), ("./repositories", b"{}")

    make(layer(folder("./"), folder("./blobs/sha256"), *dotted, *foreign, mode=0o644))

    assert seen(place) == {"a"}


def test_what_is_no_image_but_an_artifact_is_refused(make: Make) -> None:
    layout = Layout()
    empty = layout.document({}, "application/vnd.oci.empty.v1+json")
    manifest = {"schemaVersion": 2, "config": empty, "layers": [empty]}
    layout.index["manifests"] = [layout.document(manifest, MANIFEST)]

    with pytest.raises(BadImage, match="no rootfs, so it is no container image"):
        make(layout.archive())
