"""A group of commands, each found by another tool's word for it as well."""

import click

SYNONYMS = (
    frozenset({"delete", "rm", "remove"}),
    frozenset({"list", "ls"}),
    frozenset({"create", "add"}),
)
"""Whichever of these a group has answers to the others."""


class Group(click.Group):
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """`fn rm` is `fn delete`, and `url delete` is `url rm`."""
        found = super().get_command(ctx, cmd_name)
        for words in SYNONYMS if found is None else ():
            if cmd_name in words:
                return next(
                    (self.commands[x] for x in words & self.commands.keys()), None
                )
        return found
