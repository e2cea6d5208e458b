"""`sandlot`, the command. Data goes to stdout, all talk to stderr.

Nothing here imports gRPC or Rich at its top: they are wanted only by commands that
reach an engine or draw a table, and `--help` must not wait for them.
"""

import os

import click

from sandlot import __version__
from sandlot.cli.aliases import alias
from sandlot.cli.bill import bill
from sandlot.cli.concurrency import concurrency
from sandlot.cli.deploy import deploy
from sandlot.cli.engine import doctor, up, version
from sandlot.cli.events import dead_letter, event
from sandlot.cli.examples import give_examples
from sandlot.cli.functions import fn
from sandlot.cli.invoke import invoke
from sandlot.cli.layers import layer
from sandlot.cli.logs import logs
from sandlot.cli.permissions import permission
from sandlot.cli.root import Root
from sandlot.cli.runs import runs
from sandlot.cli.runtimes import runtime
from sandlot.cli.status import status
from sandlot.cli.tenants import key, tenant
from sandlot.cli.triggers import schedule, trigger
from sandlot.cli.urls import url

# Or what gRPC notes of connections stands between our own words. It reads this when it
# is imported, which is later.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

SECTIONS: tuple[tuple[str, tuple[click.Command, ...]], ...] = (
    ("Everyday", (up, deploy, invoke, logs)),
    ("Functions", (fn, alias, layer, concurrency, url, permission)),
    ("Triggers", (schedule, trigger)),
    ("Insight", (runs, bill)),
    ("Events", (event, dead_letter)),
    ("Tenants", (tenant, key)),
    ("Engine", (status, doctor, runtime, version)),
)


@click.group(
    cls=Root,
    sections=SECTIONS,
    epilog="The help of each command ends with an example: sandlot deploy --help",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, message="sandlot %(version)s")
def main() -> None:
    """Runs untrusted functions on your own machines, the way AWS Lambda does.

    `delete`, `remove` and `rm` are the same, as are `list` and `ls`, and `create` and
    `add`.

    Exit codes: 0 ok, 1 the function failed, 2 usage, 3 refused, 4 engine
    unreachable or broken, 5 deadline passed, 130 interrupted,
    141 nobody reads the output.

    \b
    Completion, also with zsh_source and fish_source:
      eval "$(_SANDLOT_COMPLETE=bash_source sandlot)"
    """


give_examples(main)
