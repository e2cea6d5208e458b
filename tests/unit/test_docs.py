"""The documents keep their word: short where promised, with links and tests that exist.

That the README's commands work is `tests/e2e/test_readme.py`.
"""

import ast
import re
from collections.abc import Iterator
from inspect import isclass
from pathlib import Path

import pytest

from sandlot_engine import errors
from tests.markdown import DOCUMENTS, README, REPOSITORY, RESULTS, prose

MAX_README_LINES = 150
PROMISES = (REPOSITORY / "docs/specification.md", REPOSITORY / "docs/security.md")
NO_TEST_YET = "none yet"

KINDS = {
    name: kind
    for name, kind in vars(errors).items()
    if isclass(kind) and issubclass(kind, errors.SandlotError)
}
NEVER_SAID = {"SandlotError", "Refusal", "Fault", "Stopping", "Troubled"}
"""Kinds that have no reason of their own."""

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_TEST_NAME = re.compile(r"`(test_\w+)`")
_DEFINED = re.compile(r"^\s*(?:async )?def (test_\w+)\(", re.MULTILINE)


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) < MAX_README_LINES


@pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY))
)
def test_links_within_the_repository_lead_somewhere(document: Path) -> None:
    broken = [link for link in relative_links(document) if not leads(document, link)]

    assert broken == []


@pytest.mark.parametrize(
    "document", PROMISES, ids=lambda path: str(path.relative_to(REPOSITORY))
)
def test_a_promise_names_tests_that_exist(document: Path) -> None:
    named = {name for cell in promises(document) for name in _TEST_NAME.findall(cell)}

    assert named != set()
    assert named - defined_tests() == set()


@pytest.mark.parametrize(
    "document", PROMISES, ids=lambda path: str(path.relative_to(REPOSITORY))
)
def test_a_promise_without_a_test_says_so(document: Path) -> None:
    silent = [
        cell
        for cell in promises(document)
        if not _TEST_NAME.search(cell) and cell != NO_TEST_YET
    ]

    assert silent == []


@pytest.mark.parametrize(
    ("link", "there"),
    [
        ("docs/security.md", True),
        ("docs/security.md#what-is-not-protected", True),
        ("docs/security.md#what-is-protected", False),
        ("docs/securities.md", False),
    ],
)
def test_a_broken_link_is_told_from_a_good_one(link: str, *, there: bool) -> None:
    assert leads(README, link) is there


def test_the_index_of_the_benchmarks_has_every_report() -> None:
    reports = {path.name for path in RESULTS.parent.glob("*.md")} - {RESULTS.name}

    assert reports - set(relative_links(RESULTS)) == set()


def test_the_specification_has_every_kind_of_error_with_its_code() -> None:
    told = {
        name: row[1].strip("`") for row in rows("| Reason |") for name in names(row[0])
    }
    known = {name: KINDS[name].grpc for name in KINDS if name not in NEVER_SAID}

    assert {name: told.get(name) for name in known} == known
    assert told.keys() - known.keys() == {"NetworkNotAllowed"}


def test_the_specification_has_every_finer_reason_of_the_engine_s() -> None:
    told = {
        (name, (names(row[0]) or ["Refusal"])[0])
        for row in rows("| Kind |")
        for name in names(row[1])
    }

    assert set(finer_reasons()) - told == set()


def rows(head: str) -> list[list[str]]:
    """The cells of the specification's table that begins so."""
    _, _, after = (REPOSITORY / "docs/specification.md").read_text().partition(head)
    lines = after.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def names(cell: str) -> list[str]:
    return re.findall(r"`([A-Z][a-z][\w.]+)`", cell)


def finer_reasons() -> Iterator[tuple[str, str]]:
    """With the kind of error that has it, as far as the engine's sources show."""
    sources = [
        ast.parse(file.read_text())
        for file in (REPOSITORY / "engine/sandlot_engine").rglob("*.py")
    ]
    constants = {
        node.targets[0].id: node.value.value
        for source in sources
        for node in source.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }
    calls = (
        (node.func.id, word.value)
        for source in sources
        for node in ast.walk(source)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        for word in node.keywords
        if word.arg == "reason" and node.func.id in KINDS
    )
    for kind, said in calls:
        for part in ast.walk(said):
            match part:
                case ast.Constant(value=str(reason)):
                    yield reason, kind
                case ast.Name(id=name) if name in constants:
                    yield str(constants[name]), kind


def relative_links(document: Path) -> list[str]:
    links: list[str] = _LINK.findall(prose(document))
    return [link for link in links if "://" not in link]


def leads(document: Path, link: str) -> bool:
    """Whether there is such a file, with such a heading if one is named."""
    path, _, anchor = link.partition("#")
    target = document.parent / path if path else document
    return target.exists() and (not anchor or anchor in anchors(target))


def anchors(document: Path) -> set[str]:
    """What the headings are called in links, as GitHub forms it."""
    return {
        re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
        for heading in _HEADING.findall(prose(document))
    }


def promises(document: Path) -> list[str]:
    """The last cell of each row, in the tables whose last column is `Test`."""
    found = []
    is_promising = False
    for line in prose(document).splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            is_promising = False
        elif cells[-1] == "Test":
            is_promising = True
        elif is_promising and set(cells[-1]) != {"-"}:
            found.append(cells[-1])
    return found


def defined_tests() -> set[str]:
    files = (REPOSITORY / "tests").rglob("test_*.py")
    return {name for file in files for name in _DEFINED.findall(file.read_text())}
