"""Reads our own Markdown, for the tests that hold the documents to their word."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
README = REPOSITORY / "README.md"
RESULTS = REPOSITORY / "benchmarks/results/README.md"
DOCUMENTS = (README, *sorted((REPOSITORY / "docs").rglob("*.md")), RESULTS)

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def fenced_blocks(path: Path, language: str) -> list[str]:
    """The contents of a file's fenced blocks of one language, in order."""
    return [
        body for name, body in _FENCED.findall(path.read_text()) if name == language
    ]


def prose(path: Path) -> str:
    """The text without its fenced blocks, in which nothing is a link or a heading."""
    return _FENCED.sub("", path.read_text())
