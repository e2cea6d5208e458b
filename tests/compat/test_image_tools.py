"""Images that umoci, skopeo and buildah have made, deployed as they are.

On a machine that lacks a tool its tests are skipped: they are in every distribution
(apt-get install umoci skopeo buildah). How what they write differs from what we write
by hand is tested everywhere, in tests/unit/test_image_variety.py.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from sandlot import Client
from sandlot.errors import InvalidParameter
from sandlot_sandbox.guest.image_layout import machine
from tests.e2e.engines import MODES, new_engine
from tests.fakes.images import Layout, compiled, layer

TOOL_S = 60
"""For one call of a tool."""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """The operator's, where the tools put images."""
    with tempfile.TemporaryDirectory(prefix="sandlot-images-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[Client]:
    with new_engine(MODES[0]) as engine:
        engine.start("--image-dir", str(folder))
        yield engine.client()


@pytest.fixture(scope="module")
def looker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that says what is in the path of its event."""
    made = tmp_path_factory.mktemp("c")
    compiled("image_looker", made)
    return made / "image_looker"


@pytest.fixture(scope="module")
def ours(folder: Path, looker: Path) -> str:
    """A layout that was made by hand, for the tools to copy."""
    layout = Layout()
    layers = [layer(("look", looker.read_bytes())), layer(("srv/ours", b""))]
    layout.add(layers, tag="1", is_packed=True, config={"Entrypoint": ["/look"]})
    layout.write(folder / "ours")
    return f"oci:{folder}/ours:1"


Run = Callable[..., str]
Seen = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """`run(tool, *arguments)`: what it said on stdout, in an empty home. Skips the
    test where there is no such tool."""

    def run(tool: str, *arguments: object) -> str:
        program = shutil.which(tool)
        if program is None:
            pytest.skip(f"there is no {tool} here: apt-get install {tool}")
        done = subprocess.run(
            [program, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=TOOL_S,
            check=False,
            env={"HOME": str(tmp_path), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@pytest.fixture
def copy(run: Run) -> Callable[[str, str], str]:
    """`copy(what, to, *options)` with skopeo."""
    return lambda what, to, *options: run(
        "skopeo", "--insecure-policy", "copy", "--quiet", *options, what, to
    )


@pytest.fixture
def image(client: Client) -> Callable[..., Any]:
    """`with image(uri) as seen`: deployed; `seen(what)` is what its program says."""

    @contextmanager
    def image(uri: str, **options: Any) -> Iterator[Seen]:
        function = client.deploy(uri, name=f"image-{uuid4().hex[:8]}", **options)
        try:
            yield lambda what: str(function.invoke({"do": what}).value["seen"])
        finally:
            client.delete_function(function.name)

    return image


def test_umoci_s_layers_remove_what_umoci_has_removed(
    run: Run, image: Any, folder: Path, looker: Path, tmp_path: Path, client: Client
) -> None:
    layout = folder / "umoci"
    it = ("--image", f"{layout}:1")
    for name in ("gone", "kept", "hidden"):
        (tmp_path / name).write_text(name)
    (tmp_path / "new").mkdir()
    (tmp_path / "new/shown").write_text("")

    run("umoci", "init", "--layout", layout)
    run("umoci", "new", *it)
    run("umoci", "insert", "--rootless", *it, looker, "/usr/bin/look")
    for name in ("gone", "kept"):
        run("umoci", "insert", "--rootless", *it, tmp_path / name, f"/srv/{name}")
    run("umoci", "insert", "--rootless", *it, tmp_path / "hidden", "/opaque/hidden")
    run("umoci", "insert", "--rootless", "--opaque", *it, tmp_path / "new", "/opaque")
    run("umoci", "insert", "--rootless", *it, "--whiteout", "/srv/gone")
    bundle = tmp_path / "bundle"
    run("umoci", "unpack", "--rootless", *it, bundle)
    (bundle / "rootfs/srv/added").write_text("")
    (bundle / "rootfs/usr/bin/again").hardlink_to(bundle / "rootfs/usr/bin/look")
    (bundle / "rootfs/bin").symlink_to("usr/bin")
    run("umoci", "repack", *it, bundle)
    run(
        *("umoci", "config", *it, "--config.entrypoint", "again"),
        *("--config.cmd", "a b", "--config.workingdir", "/srv"),
        *("--config.env", "OF_IMAGE=i", "--config.user", "nobody"),
    )

    # Its files are for their owner alone.
    with pytest.raises(InvalidParameter, match=r"no index.json .*: chmod -R a\+rX"):
        client.deploy("oci:umoci:1", name="none")
    run("chmod", "-R", "a+rX", layout)
    with image("oci:umoci:1") as seen:
        assert seen("argv") == "/usr/bin/again a b"
        assert set(seen(".").split()) == {"kept", "added"}
        assert seen("/opaque") == "shown"
        assert set(seen("/bin").split()) == {"look", "again"}
        assert seen("$OF_IMAGE") == "i"


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--format", "v2s2"),
        ("--dest-compress-format", "gzip", "--dest-compress-level", "1"),
    ],
)
def test_what_skopeo_copies_runs_as_it_did(
    copy: Any, image: Any, folder: Path, ours: str, options: tuple[str, ...]
) -> None:
    name = f"skopeo-{uuid4().hex[:8]}"

    copy(ours, f"oci:{folder}/{name}:2", *options)
    copy(ours, f"oci-archive:{folder}/{name}.tar:2", *options)

    for uri in (f"oci:{name}:2", f"oci:{name}", f"oci-archive:{name}.tar:2"):
        with image(uri) as seen:
            assert seen("/srv") == "ours"


def test_an_archive_of_docker_s_is_copied_as_the_refusal_says(
    copy: Any, image: Any, folder: Path, ours: str, client: Client
) -> None:
    copy(ours, f"docker-archive:{folder}/docker.tar:it:1")

    with pytest.raises(
        InvalidParameter, match=r"copy docker-archive:docker\.tar oci:DIR/NAME:TAG"
    ):
        client.deploy("docker-archive:docker.tar", name="none")
    with pytest.raises(
        InvalidParameter, match="skopeo copy docker-archive:FILE oci-archive:FILE"
    ):
        client.deploy("oci-archive:docker.tar", name="none")

    copy(f"docker-archive:{folder}/docker.tar", f"oci:{folder}/of-docker:1")
    copy(f"docker-archive:{folder}/docker.tar", f"oci-archive:{folder}/of-docker.tar")
    for uri in ("oci:of-docker:1", "oci-archive:of-docker.tar"):
        with image(uri) as seen:
            assert seen("/srv") == "ours"


def test_layers_in_zstd_are_packed_anew_as_the_refusal_says(
    copy: Any, image: Any, folder: Path, ours: str, client: Client
) -> None:
    copy(ours, f"oci:{folder}/zstd:1", "--dest-compress-format", "zstd")

    with pytest.raises(
        InvalidParameter,
        match=r"tar\+zstd'; .* skopeo copy --dest-compress-format gzip oci:DIR:TAG oci",
    ):
        client.deploy("oci:zstd:1", name="none")

    copy(
        f"oci:{folder}/zstd:1", f"oci:{folder}/anew:1", "--dest-compress-format", "gzip"
    )
    with image("oci:anew:1") as seen:
        assert seen("/srv") == "ours"


def test_buildah_s_images_for_one_machine_and_for_several(
    run: Run, image: Any, folder: Path, looker: Path, tmp_path: Path
) -> None:
    places = ("--root", tmp_path / "store", "--runroot", tmp_path / "run")

    def buildah(*arguments: object) -> str:
        return run("buildah", *places, "--storage-driver", "vfs", *arguments)

    mine, other = machine(), "s390x"
    containers = []
    buildah("manifest", "create", "both")
    for architecture in (other, mine):
        (tmp_path / architecture).write_text("")
        container = buildah("from", "--arch", architecture, "scratch")
        buildah("copy", container, looker, "/usr/bin/look")
        buildah("copy", container, tmp_path / architecture, f"/srv/{architecture}")
        buildah(
            *("config", "--arch", architecture, "--entrypoint", '["look"]'),
            *("--cmd", "a b", "--workingdir", "/srv", "--env", "OF_IMAGE=i"),
            container,
        )
        made = buildah("commit", "--quiet", container)
        buildah("manifest", "add", "both", made)
        containers.append(container)
    container = containers[-1]
    buildah("commit", "--quiet", container, f"oci:{folder}/buildah:1")
    buildah("commit", "--quiet", container, f"oci-archive:{folder}/buildah.tar:1")
    buildah("manifest", "push", "--quiet", "--all", "both", f"oci:{folder}/both:1")

    for uri in ("oci:buildah:1", "oci-archive:buildah.tar:1", "oci:both:1"):
        with image(uri, command=["c"]) as seen:
            assert seen("argv") == "/usr/bin/look c"
            assert seen(".") == mine
            assert seen("$OF_IMAGE") == "i"
