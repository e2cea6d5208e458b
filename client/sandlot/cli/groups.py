"""A group of commands, each found by another tool's word for it as well."""

import click

SYNONYMS = (
    frozenset({"delete", "rm", "remove"}),
    frozenset({"list", "ls"}),
    frozenset({"create", "add"}),
)
"""Whichever of these a group has answers to the others."""


SENTENCE = 200
"""Characters of a command's first sentence that lists of commands have, in lines: click
by itself leaves half of many out."""


def told(command: click.Command) -> tuple[str, str]:
    """A command's line in a list of them."""
    return command.name or "", command.get_short_help_str(limit=SENTENCE)


class Group(click.Group):
    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """All of each command's first sentence."""
        with formatter.section("Commands"):
            formatter.write_dl([told(one) for _, one in sorted(self.commands.items())])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """`fn rm` is `fn delete`, and `url delete` is `url rm`."""
        found = super().get_command(ctx, cmd_name)
        for words in SYNONYMS if found is None else ():
            if cmd_name in words:
                return next(
                    (self.commands[x] for x in words & self.commands.keys()), None
                )
        return found
