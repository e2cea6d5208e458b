"""Whose a line is that a function printed: its import's, or its handler's.

What the import of a zygote printed belongs to no invocation. What an instance of its
own printed before it was initialised is what its first one has first.
"""

from collections.abc import Iterator

from sandlot_engine.model.invocation import LogLine, Run


def of_import(run: Run) -> Iterator[LogLine]:
    for number, line in enumerate(run.log):
        if number < run.init_lines or not line.request_id:
            yield line


def of_handler(run: Run) -> Iterator[LogLine]:
    for number, line in enumerate(run.log):
        if number >= run.init_lines and line.request_id:
            yield line
