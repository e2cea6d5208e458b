"""An example for the help of each command, as it can be typed.

All in one place, so that they are of one story: a function hello, its alias live, a
tenant 123456789012. A test parses each.
"""

import click

EXAMPLES: dict[str, tuple[str, ...]] = {
    "up": ("up", "up --data ./data --http 127.0.0.1:8080"),
    "deploy": (
        "deploy hello.py",
        "deploy ./site --name hello --memory 256 --env STAGE=test",
    ),
    "invoke": (
        """invoke hello '{"name": "Ada"}'""",
        "invoke hello:live -e event.json --log",
        "invoke hello -n 1000 -c 16 --summary",
    ),
    "logs": ("logs hello --since 10m", "logs hello --follow"),
    "fn list": ("fn list",),
    "fn show": ("fn show hello", "fn show hello:live --json"),
    "fn config": ("fn config hello --memory 512 --timeout 30",),
    "fn publish": ("fn publish hello",),
    "fn versions": ("fn versions hello",),
    "fn tag": ("fn tag hello team=web stage=test",),
    "fn untag": ("fn untag hello stage",),
    "fn delete": ("fn delete hello",),
    "alias list": ("alias list hello",),
    "alias set": ("alias set hello live 3", "alias set hello live 3 --weight 4=0.1"),
    "alias delete": ("alias delete hello live",),
    "layer publish": ("layer publish ./deps --runtime python3.11",),
    "layer list": ("layer list",),
    "layer versions": ("layer versions deps",),
    "layer delete": ("layer delete deps:1",),
    "concurrency show": ("concurrency show", "concurrency show hello"),
    "concurrency reserve": ("concurrency reserve hello 20",),
    "concurrency unreserve": ("concurrency unreserve hello",),
    "concurrency provision": ("concurrency provision hello:live 5",),
    "concurrency unprovision": ("concurrency unprovision hello:live",),
    "url add": ("url add hello", "url add hello:live --auth iam"),
    "url list": ("url list",),
    "url show": ("url show hello",),
    "url rm": ("url rm hello:live",),
    "permission add": (
        "permission add hello 123456789012",
        "permission add hello 123456789012 --url",
    ),
    "permission list": ("permission list hello",),
    "permission remove": ("permission remove hello 123456789012",),
    "schedule add": (
        "schedule add often hello 'rate(5 minutes)'",
        "schedule add mornings hello:live 'cron(0 8 ? * MON-FRI *)' --paused",
    ),
    "schedule list": ("schedule list",),
    "schedule show": ("schedule show often",),
    "schedule config": ("schedule config often --expression 'rate(1 hour)'",),
    "schedule pause": ("schedule pause often",),
    "schedule resume": ("schedule resume often",),
    "schedule test": ("schedule test often",),
    "schedule rm": ("schedule rm often",),
    "trigger add schedule": ("trigger add schedule often hello 'rate(5 minutes)'",),
    "trigger add webhook": ("trigger add webhook pushes hello --scheme github",),
    "trigger add bucket": (
        "trigger add bucket uploads hello --event 'ObjectCreated:*' --suffix .csv",
    ),
    "trigger add directory": ("trigger add directory inbox hello /srv/inbox",),
    "trigger list": ("trigger list --function hello",),
    "trigger show": ("trigger show pushes",),
    "trigger pause": ("trigger pause pushes",),
    "trigger resume": ("trigger resume pushes",),
    "trigger test": ("trigger test pushes",),
    "trigger rotate-secret": ("trigger rotate-secret pushes",),
    "trigger rm": ("trigger rm pushes",),
    "runs list": ("runs list hello --limit 10",),
    "bill": ("bill", "bill --since 2026-11-01 --until 2026-12-01"),
    "event list": ("event list hello --state dead",),
    "event show": ("event show c1f29fd2-6f1e-4a43-9d0c-55a8a9d7a1b2",),
    "event config": ("event config hello --retries 1 --on-failure alarm",),
    "dead-letter list": ("dead-letter list hello",),
    "dead-letter show": ("dead-letter show c1f29fd2-6f1e-4a43-9d0c-55a8a9d7a1b2",),
    "dead-letter redrive": ("dead-letter redrive --function hello",),
    "dead-letter purge": ("dead-letter purge --function hello",),
    "tenant create": (
        "tenant create acme --concurrency 20",
        "tenant create acme --id 123456789012 --network egress",
    ),
    "tenant list": ("tenant list",),
    "tenant update": ("tenant update 123456789012 --concurrency 50",),
    "tenant suspend": ("tenant suspend 123456789012",),
    "tenant resume": ("tenant resume 123456789012",),
    "tenant delete": ("tenant delete 123456789012 --with-functions",),
    "key create": ("key create --tenant 123456789012", "key create --operator"),
    "key import": ("key import AKIAIOSFODNN7EXAMPLE < secret.txt",),
    "key list": ("key list --tenant 123456789012",),
    "key revoke": ("key revoke AKIAIOSFODNN7EXAMPLE",),
    "key rotate-master": ("key rotate-master --data /var/lib/sandlot",),
    "status": ("status", "status --data /var/lib/sandlot --json"),
    "doctor": ("doctor", "doctor --prove"),
    "runtime list": ("runtime list",),
    "runtime add": ("runtime add python3.12-custom /opt/python/bin/python3.12",),
    "runtime remove": ("runtime remove python3.12-custom",),
    "version": ("version",),
}
"""By what comes after `sandlot`."""


def give_examples(root: click.Group) -> None:
    """To the commands of `root`, at the end of their help."""
    for path, lines in EXAMPLES.items():
        command: click.Command = root
        for name in path.split():
            assert isinstance(command, click.Group)  # noqa: S101 - a test has them all
            command = command.commands[name]
        # \b, or they would be one paragraph.
        shown = "\n".join(f"  sandlot {line}" for line in lines)
        command.epilog = f"\b\nExample{'s'[: len(lines) > 1]}:\n{shown}"
