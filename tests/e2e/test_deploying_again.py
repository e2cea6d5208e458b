"""`sandlot deploy` where another function, or a damaged package, stands in the way."""

import json
from pathlib import Path

import pytest

from sandlot import errors
from tests.e2e.engines import Engine

HANDLER = "def handler(event, context): return 1\n"


@pytest.fixture
def folder(engine: Engine) -> Path:
    """Whoever starts the engine may read it, and write to it."""
    made = engine.data.parent / "site"
    made.mkdir(exist_ok=True)
    made.chmod(0o755)
    for old in made.iterdir():
        old.unlink()
    return made


def deployed(engine: Engine, *arguments: object) -> tuple[int, str]:
    return engine.run("deploy", *map(str, arguments), "--name", "again")


def handler_of(engine: Engine) -> str:
    status, said = engine.run("fn", "show", "again", "--json")
    assert status == 0, said
    handler: str = json.loads(said)["handler"]
    return handler


@pytest.mark.parametrize("mode_of_init", ["auto", "per-instance"])
def test_a_handler_of_an_earlier_deploy_that_is_not_there_gives_way(
    engine: Engine, folder: Path, mode_of_init: str
) -> None:
    (folder / "first.py").write_text(HANDLER)
    assert deployed(engine, folder, "--init", mode_of_init)[0] == 0
    (folder / "first.py").rename(folder / "second.py")

    status, said = deployed(engine, folder)

    assert status == 0, said
    assert "its handler was first.handler, which is not there: now it is second" in said
    assert engine.run("invoke", "again", "-q") == (0, "1\n")
    assert engine.run("fn", "delete", "again", "--yes")[0] == 0


def test_a_handler_that_has_another_name_now_gives_way(
    engine: Engine, folder: Path
) -> None:
    (folder / "app.py").write_text(HANDLER)
    assert deployed(engine, folder)[0] == 0
    (folder / "app.py").write_text(HANDLER.replace("handler", "lambda_handler", 1))

    status, said = deployed(engine, folder)

    assert status == 0, said
    assert handler_of(engine) == "app.lambda_handler"
    assert engine.run("invoke", "again", "-q") == (0, "1\n")
    assert engine.run("fn", "delete", "again", "--yes")[0] == 0


def test_a_function_of_another_language_gives_way_where_that_is_asked_for(
    engine: Engine, folder: Path
) -> None:
    (folder / "app.py").write_text(HANDLER)
    assert deployed(engine, folder)[0] == 0
    program = (folder / "app.py").rename(folder / "bootstrap")
    program.chmod(0o755)

    status, said = deployed(engine, folder)
    assert (status, "--force" in said) == (2, True)
    status, said = deployed(engine, folder, "--force")

    assert status == 0, said
    assert handler_of(engine) == "bootstrap"
    assert engine.run("fn", "delete", "again", "--yes")[0] == 0


def test_a_damaged_package_is_mended_by_the_one_that_is_sent_again(
    fresh_engine: Engine,
) -> None:
    engine = fresh_engine
    folder = engine.data.parent / "site"
    folder.mkdir(mode=0o755)
    (folder / "app.py").write_text(HANDLER)
    assert deployed(engine, folder)[0] == 0
    engine.stop()
    (zip_,) = (engine.data / "code").glob("*.zip")
    whole = zip_.read_bytes()
    with zip_.open("r+b") as damaged:
        damaged.write(b"x")
    (unpacked,) = (engine.data / "code").glob("*-python*")
    unpacked.rename(engine.data / "away")
    engine.start()
    with pytest.raises(errors.Internal, match="damaged"):
        engine.client().invoke("again")

    status, said = deployed(engine, folder, "--force")

    assert status == 0, said
    assert zip_.read_bytes() == whole
    assert engine.run("invoke", "again", "-q") == (0, "1\n")
