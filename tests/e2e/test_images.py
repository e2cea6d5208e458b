"""A container image on this machine becomes a function."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandlot.errors import PermissionDenied, SandlotError
from tests.compat.clients import Cloud
from tests.e2e.conftest import client_of
from tests.e2e.engines import Engine, Mode, new_engine
from tests.e2e.workers.callers import metric, new_tenant, runs_of
from tests.fakes.images import Layout, compiled, layer

ROLE = "arn:aws:iam::123456789012:role/any"


@pytest.fixture(scope="session")
def looker(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return compiled("image_looker", tmp_path_factory.mktemp("c"))


@pytest.fixture
def own_engine(mode: Mode) -> Iterator[Engine]:
    with new_engine(mode) as engine:
        yield engine


@pytest.fixture
def folder(looker: bytes) -> Iterator[Path]:
    with folder_with(looker) as made:
        yield made


@contextmanager
def folder_with(looker: bytes) -> Iterator[Path]:
    """A layout and an archive, each with two images."""
    with tempfile.TemporaryDirectory(prefix="sandlot-images-") as name:
        path = Path(name)
        path.chmod(0o755)
        layout = Layout()
        for tag in ("one", "two"):
            layers = [layer(("look", looker)), layer((f"srv/{tag}", b""))]
            layout.add(
                layers, tag=tag, is_packed=True, config={"Entrypoint": ["/look"]}
            )
        layout.write(path / "layout")
        (path / "deep").mkdir()
        (path / "deep/archive.tar").write_bytes(layout.archive())
        yield path


@pytest.fixture(scope="module")
def of_images(mode: Mode, looker: bytes) -> Iterator[Engine]:
    """An engine for tests that leave nothing in it."""
    with new_engine(mode) as engine, folder_with(looker) as folder:
        engine.start("--image-dir", str(folder))
        yield engine


def test_an_image_is_deployed_invoked_and_replaced(
    own_engine: Engine, folder: Path
) -> None:
    own_engine.start("--image-dir", str(folder))
    client = own_engine.client()

    function = client.deploy("oci:layout:one", name="image")
    assert function.invoke({"do": "/srv"}).value == {"seen": "one"}
    client.deploy("oci-archive:deep/archive.tar:two", name="image")
    assert function.invoke({"do": "/srv"}).value == {"seen": "two"}
    client.deploy(f"oci:{folder}/layout:one", name="image")
    assert function.invoke({"do": "/srv"}).value == {"seen": "one"}

    # Nothing of the folder is needed any more.
    shutil.rmtree(folder / "layout")
    assert own_engine.stop() == 0
    own_engine.start("--image-dir", str(folder))
    again = own_engine.client().function("image")
    assert again.invoke({"do": "/srv"}).value == {"seen": "one"}
    assert own_engine.client().get_function("image").image.endswith("layout:one")


def test_the_command_line_deploys_an_image_and_says_what_is_run_of_it(
    own_engine: Engine, folder: Path
) -> None:
    own_engine.start("--image-dir", str(folder))
    deploy = ("deploy", "--image", "oci:layout:one", "--name", "image")
    argv = ("invoke", "image", '{"do": "argv"}')

    status, said = own_engine.run(*deploy, "--command", "a 'b c'", "--workdir", "/srv")
    assert status == 0, said
    assert "image · 128 MB · Active" in said
    assert '"/look a b c"' in own_engine.run(*argv)[1]
    assert '"one"' in own_engine.run("invoke", "image", '{"do": "."}')[1]

    # What is not named stays: the command here, the working directory there.
    assert own_engine.run(*deploy, "--entrypoint", "/look 1")[0] == 0
    assert '"/look 1 a b c"' in own_engine.run(*argv)[1]
    status, said = own_engine.run("fn", "config", "image", "--entrypoint", "", "--json")
    shown = json.loads(said)
    assert (shown["entry_point"], shown["command"]) == ([], ["a", "b c"])
    assert (shown["image"], shown["working_directory"]) == ("oci:layout:one", "/srv")
    assert '"/look a b c"' in own_engine.run(*argv)[1]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--image", "oci:nowhere"), "There is no image 'oci:nowhere' in the folders"),
        (("--image", "oci:layout"), "it has 2 images; say which with :TAG at the end"),
        (("--image", "oci:layout:three"), "no image in it has tag 'three'"),
        (("--image", "oci:layout:one", "--workdir", "/" * 1_001), "1000 characters"),
        (("--image", "oci:layout:one", "--handler", "a.b"), "has no handler"),
        (("--image", "oci:layout:one", "--snap-start"), "has no snap_start"),
        (("--image", "docker.io/library/a"), "Nothing is pulled from registries"),
    ],
)
def test_the_command_line_says_why_an_image_is_none(
    of_images: Engine, arguments: tuple[str, ...], why: str
) -> None:
    status, said = of_images.run("deploy", "--name", "image", *arguments)

    assert status != 0
    assert why in " ".join(said.split())
    assert "Traceback" not in said


def test_what_is_elsewhere_looks_like_what_is_not_there(
    own_engine: Engine, folder: Path
) -> None:
    (folder / "link").symlink_to("layout")
    (folder / "out").symlink_to("/etc")
    own_engine.start("--image-dir", str(folder))
    client = own_engine.client()

    said = set()
    for path in (
        *("/etc", "/etc/passwd", "/root", "/nowhere", "nowhere", "../etc", "."),
        *("layout/../layout", "link", "out", "out/passwd", f"{folder}/../etc", "deep/"),
        *("layout/index.json", "/", "//etc", str(folder)),
    ):
        for kind in ("oci", "oci-archive"):
            uri = f"{kind}:{path}"
            if uri == "oci-archive:layout/index.json":
                continue  # a file below the folder, which is looked into
            with pytest.raises(SandlotError) as caught:
                client.deploy(uri, name="image")
            said.add(str(caught.value).replace(repr(uri), "IT"))

    (text,) = said
    assert "There is no image IT in the folders that the operator has opened" in text


def test_without_a_folder_there_are_no_images(own_engine: Engine, folder: Path) -> None:
    own_engine.start()

    with pytest.raises(SandlotError, match="sandlot up --image-dir"):
        own_engine.client().deploy(f"oci:{folder}/layout:one", name="image")


def test_awss_tools_deploy_an_image(own_engine: Engine, folder: Path) -> None:
    own_engine.start("--image-dir", str(folder))
    cloud = Cloud(own_engine)
    aws = cloud.account("images").aws()
    aws.create_function(
        FunctionName="image",
        PackageType="Image",
        Role=ROLE,
        Code={"ImageUri": "oci:layout:two"},
        ImageConfig={"Command": ["a", "b"], "WorkingDirectory": "/srv"},
    )
    aws.get_waiter("function_active_v2").wait(FunctionName="image")

    shown = aws.get_function(FunctionName="image")
    answer = aws.invoke(FunctionName="image", Payload=b'{"do": "argv"}')
    assert answer["Payload"].read() == b'{"seen": "/look a b"}'
    code, settings = shown["Code"], shown["Configuration"]
    assert (code["RepositoryType"], code["ImageUri"]) == ("ECR", "oci:layout:two")
    assert code["ResolvedImageUri"] == f"oci:layout@sha256:{settings['CodeSha256']}"
    assert settings["PackageType"] == "Image"
    assert not {"Runtime", "Handler"} & settings.keys()
    assert settings["SnapStart"] == {"ApplyOn": "None", "OptimizationStatus": "Off"}
    assert settings["ImageConfigResponse"]["ImageConfig"] == {
        "Command": ["a", "b"],
        "WorkingDirectory": "/srv",
    }
    cloud.close()


def test_an_image_is_reached_through_workers_and_so_is_what_replaces_it(
    own_engine: Engine, folder: Path
) -> None:
    """They have none of its instances, as of no program: what reaches them, the core
    answers."""
    own_engine.start("--image-dir", str(folder), "--workers", "2")
    tenant = new_tenant(own_engine)

    function = tenant.client.function("image")

    with tenant.connections() as callers:
        for tag in ("one", "two"):
            tenant.client.deploy(f"oci:layout:{tag}", name="image")
            answers = [caller.invoke("image", {"do": "/srv"}) for caller in callers]
            assert {answer.status for answer in answers} == {200}
            assert {answer.value["seen"] for answer in answers} == {tag}
            assert function.invoke({"do": "argv"}).value == {"seen": "/look"}

    assert metric(own_engine, "instances_lent") == 0
    assert len(runs_of(tenant, function)) == 2 * len(callers) + 2


def test_extensions_in_an_image_hear_of_its_life(
    own_engine: Engine, looker: bytes, tmp_path: Path
) -> None:
    hears = compiled("image_extension", tmp_path)
    layout = Layout()
    layers = [layer(("look", looker)), layer(("opt/extensions/hears", hears))]
    layout.add(layers, config={"Entrypoint": ["/look"]})
    with tempfile.TemporaryDirectory(prefix="sandlot-images-") as name:
        Path(name).chmod(0o755)
        layout.write(Path(name) / "it")
        own_engine.start("--image-dir", name)
        function = own_engine.client().deploy("oci:it", name="image")
        for _ in range(2):
            assert function.invoke({"do": "/opt"}).value == {"seen": "extensions"}
        assert own_engine.stop() == 0
        own_engine.start("--image-dir", name)

        log = [line.text for line in own_engine.client().function("image").logs()]

    heard = [text for text in log if text.startswith("hears: ")]
    assert heard[:2] == ["hears: INVOKE"] * 2
    # One for the instance, and for each that stood by.
    assert set(heard[2:]) == {"hears: SHUTDOWN"}


def test_an_image_gets_no_more_network_than_its_tenant_may_have(
    own_engine: Engine, folder: Path
) -> None:
    own_engine.start("--image-dir", str(folder))
    client = client_of(own_engine, own_engine.client().create_tenant("plain"))

    with pytest.raises(PermissionDenied, match="may have 'none' at most"):
        client.deploy("oci:layout:one", name="image", network="egress")
    function = client.deploy("oci:layout:one", name="image")
    with pytest.raises(PermissionDenied, match="may have 'none' at most"):
        client.update_function("image", network="host")

    assert function.invoke({"do": "/srv"}).value == {"seen": "one"}
