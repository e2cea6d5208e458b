"""`up`, `doctor`, `version`: the engine itself, where it is installed."""

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import click

from sandlot import __version__
from sandlot.cli import findings
from sandlot.cli.options import Flags, delays, json_flag, pair, region, seconds
from sandlot.cli.output import document
from sandlot.errors import SandlotError, UsageError

LAYERS = ("seccomp", "network")
"""Layers of the jail with a flag of their own; the engine says which others may be
given up."""

DESTINATIONS = ("sqs", "sns", "events")
"""Services that can be told of events."""


class NotInstalled(SandlotError):
    """This installation has the client only."""


def load_engine() -> Any:
    """The engine's entry points. By name, since the client does not depend on it."""
    try:
        return importlib.import_module("sandlot_engine.app")
    except ModuleNotFoundError as error:
        raise NotInstalled(
            f"the engine is not installed here (no module {error.name!r}). "
            "Fix: pip install 'sandlot[engine]'"
        ) from error


def data_of(flags: Flags, engine: Any) -> Path:
    """The folder that a command beside the engine is about."""
    given = flags.data or os.environ.get("SANDLOT_DATA")
    return Path(given).absolute() if given else Path(engine.default_data())


def insecure_flags(command: Any) -> Any:
    # Without environment variables: a weaker jail should be seen in the command.
    for layer in reversed(LAYERS):
        command = click.option(
            f"--insecure-{layer}",
            is_flag=True,
            help=f"Run without the jail's {layer} layer. Never for strangers' code.",
        )(command)
    return click.option(
        "--insecure",
        metavar="LAYER,…",
        multiple=True,
        help="Run without these layers of the jail. Never for strangers' code.",
    )(command)


_SCALE = {
    "max_instances": (3_200, 1, "Instances that live at once."),
    "standbys": (256, 0, "Instances that are started before anybody needs them."),
    "memory_mb": (0, 0, "Memory for all of them, in MB; 0: what the machine has."),
    "scaling": (1_000, 0, "New instances of a function within 10 s; 0: no limit."),
    "requests": (
        10,
        0,
        "Invocations a second for each that may run at once; 0: no limit.",
    ),
}
"""How much an engine does at once, by option: its default, the least, and what it is.
"""


def _scale_options(command: Any) -> Any:
    for name, (default, least, text) in reversed(_SCALE.items()):
        option = name.removesuffix("_mb").replace("_", "-")
        command = click.option(
            f"--{option}",
            name,
            type=click.IntRange(min=least),
            default=default,
            envvar=f"SANDLOT_{option.upper().replace('-', '_')}",
            show_envvar=True,
            help=text,
        )(command)
    return command


def given_up_of(options: dict[str, Any]) -> frozenset[str]:
    """Take the flags of `insecure_flags` out of a command's options."""
    given_up = {layer for layer in LAYERS if options.pop(f"insecure_{layer}")}
    for layers in options.pop("insecure"):
        given_up.update(filter(None, layers.split(",")))
    return frozenset(given_up)


@click.command(context_settings={"show_default": True})
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="SANDLOT_DATA",
    show_envvar=True,
    help="Where functions, records and keys are kept.",
)
@click.option(
    "--http",
    default="127.0.0.1:9070",
    metavar="HOST:PORT",
    envvar="SANDLOT_HTTP",
    show_envvar=True,
    help="Where to serve AWS Lambda's API; port 0 picks a free one.",
)
@click.option(
    "--grpc",
    default="127.0.0.1:9071",
    metavar="HOST:PORT",
    envvar="SANDLOT_GRPC",
    show_envvar=True,
    help="Where to serve gRPC; port 0 picks a free one.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON object when it serves, instead of the line `Ready …`.",
)
@click.option(
    "--tls-cert",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="SANDLOT_TLS_CERT",
    show_envvar=True,
    help="Certificate chain, PEM.",
)
@click.option(
    "--tls-key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="SANDLOT_TLS_KEY",
    show_envvar=True,
    help="The certificate's private key, PEM.",
)
@click.option(
    "--allow-plaintext",
    is_flag=True,
    envvar="SANDLOT_ALLOW_PLAINTEXT",
    show_envvar=True,
    help="Serve without TLS even where other machines can connect.",
)
@click.option(
    "--user",
    envvar="SANDLOT_USER",
    show_envvar=True,
    help="Started as root, run the engine as this user.",
)
@click.option(
    "--region",
    type=region,
    default="us-east-1",
    metavar="NAME",
    envvar="SANDLOT_REGION",
    show_envvar=True,
    help="The region in ARNs.",
)
@click.option(
    "--idle",
    "idle_s",
    type=seconds,
    default=300.0,
    metavar="SECONDS",
    envvar="SANDLOT_IDLE",
    show_envvar=True,
    help="How long an instance stays without an invocation.",
)
@_scale_options
@click.option(
    "--workers",
    type=click.IntRange(0, 64),
    default=0,
    metavar="N",
    envvar="SANDLOT_WORKERS",
    show_envvar=True,
    help="Processes that serve and run what is warm, one for each core or fewer. With 0"
    " or 1, one process does everything.",
)
@click.option(
    "--s3-endpoint",
    default="",
    metavar="URL",
    envvar="SANDLOT_S3_ENDPOINT",
    show_envvar=True,
    help="An S3-compatible store to fetch packages from, by S3Bucket and S3Key. Its key"
    " is S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY in the environment.",
)
@click.option(
    "--public-url",
    default="",
    metavar="URL",
    envvar="SANDLOT_PUBLIC_URL",
    show_envvar=True,
    help="Where others reach the HTTP port, for the addresses of function URLs:"
    " https://api.example.org, or https://*.example.org for one host name each.",
)
@click.option(
    "--idempotency-window",
    "idempotency_s",
    type=seconds,
    default=86_400.0,
    metavar="SECONDS",
    envvar="SANDLOT_IDEMPOTENCY_WINDOW",
    show_envvar=True,
    help="How long repeats with an idempotency key get the first answer.",
)
@click.option(
    "--keep-records",
    "keep_records_days",
    type=click.IntRange(min=0),
    default=0,
    metavar="DAYS",
    envvar="SANDLOT_KEEP_RECORDS",
    show_envvar=True,
    help="How long records of single invocations are kept; 0: for ever. What is billed"
    " stays.",
)
@click.option(
    "--watch-dir",
    "watch_dirs",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    help="A folder of which an operator may make triggers, and of those in it."
    " Repeatable.",
)
@click.option(
    "--image-dir",
    "image_dirs",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    help="A folder with container images that all tenants may run. Repeatable.",
)
@click.option(
    "--event-retry-delays",
    "event_retry_delays_s",
    type=delays,
    default="60,120",
    metavar="SECONDS,…",
    envvar="SANDLOT_EVENT_RETRY_DELAYS",
    show_envvar=True,
    help="How long an event waits after its function's first error, and the second.",
)
@click.option(
    "--destination",
    "destinations",
    type=pair,
    multiple=True,
    metavar="SERVICE=URL",
    help="An endpoint for sqs, sns or events that destinations and dead letters of"
    " events go to, and where event source mappings read queues. Its key is"
    " DESTINATION_ACCESS_KEY_ID and DESTINATION_SECRET_ACCESS_KEY in the environment."
    " Repeatable.",
)
@click.option(
    "--runtime",
    "runtimes",
    type=pair,
    multiple=True,
    metavar="NAME=PATH",
    help="An interpreter for functions: python3.12=/usr/bin/python3.12. Repeatable.",
)
@insecure_flags
def up(**options: Any) -> None:
    """Start an engine here, in the foreground.

    It drains and stops on SIGTERM or Ctrl-C; functions and records stay.
    """
    if bool(options["tls_cert"]) != bool(options["tls_key"]):
        raise click.UsageError("--tls-cert and --tls-key go together")
    if (store := options["s3_endpoint"]) and not _is_url(store):
        raise click.UsageError(f"--s3-endpoint: {store!r} is no URL")
    given_up = given_up_of(options)
    engine = load_engine()
    chosen = engine.UpOptions(
        **{
            **options,
            "runtimes": dict(options["runtimes"]),
            "destinations": _destinations(dict(options["destinations"])),
        },
        given_up=given_up,
    )
    sys.exit(engine.up(chosen))


def _destinations(urls: dict[str, str]) -> dict[str, str]:
    for service, url in urls.items():
        if service not in DESTINATIONS:
            raise click.UsageError(
                f"--destination {service}: there are {', '.join(DESTINATIONS)}"
            )
        if not _is_url(url):
            raise click.UsageError(f"--destination {service}: {url!r} is no URL")
    return urls


def _is_url(text: str) -> bool:
    scheme, _, rest = text.partition("://")
    return scheme in {"http", "https"} and rest.strip("/") != ""


@click.command()
@click.option(
    "--prove",
    is_flag=True,
    help="Also start an engine, run hostile functions, and show what stops each.",
)
@json_flag
@insecure_flags
def doctor(*, prove: bool, as_json: bool, **insecure: Any) -> None:
    """Say what this machine can enforce, and how to mend what it cannot.

    Exit codes: 0 `up` would start and, with --prove, every attempt was stopped; 1
    one was not; 78 a layer is missing that `up` insists on.
    """
    given_up = given_up_of(insecure)
    # Of the usual place, where the environment names none.
    data = os.environ.get("SANDLOT_DATA")
    try:
        found = load_engine().doctor(given_up=given_up, data=data)
    except FileNotFoundError as error:  # tempfile's
        raise UsageError(
            f"{error.strerror or error}: name one by TMPDIR, for what it tries",
        ) from error
    if not as_json:
        findings.show_layers(found)
    if prove and found["ok"]:
        sys.exit(findings.show_proof(found, given_up=given_up, as_json=as_json))
    if as_json:
        document(found)
    sys.exit(findings.ENOUGH if found["ok"] else findings.NOT_ENOUGH)


@click.command()
@json_flag
def version(*, as_json: bool) -> None:
    """Print the version of this client."""
    click.echo(
        f'{{"version": "{__version__}"}}' if as_json else f"sandlot {__version__}"
    )
