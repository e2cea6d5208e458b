"""Commands that show logs, past runs and bills."""

import json
import re

from tests.fakes.engine import Engine
from tests.unit.conftest import Cli


def test_logs_show_time_request_and_text(cli: Cli, engine: Engine) -> None:
    engine.add_function("hello")
    engine.log("hello", b"saying hello", request_id="4f1c8a02-aaaa")

    assert cli("logs", "hello", "--since", "1h").stdout.endswith(
        " 4f1c8a02…  saying hello\n"
    )


def test_lines_of_today_have_no_date_and_others_have_theirs(
    cli: Cli, engine: Engine
) -> None:
    engine.add_function("hello")
    for text in (b"then", b"now"):
        engine.log("hello", text)
    engine.logs["hello"][1].time.GetCurrentTime()

    then, now = cli("logs", "hello", "--since", "2020-01-01").stdout.splitlines()

    assert re.match(r"2026-10-2\d \d\d:\d\d:\d\d\.\d{3} +-  then$", then)
    assert re.match(r"\d\d:\d\d:\d\d\.\d{3} +-  now$", now)


def test_logs_as_json_are_an_object_on_each_line(cli: Cli, engine: Engine) -> None:
    engine.add_function("hello")
    engine.log("hello", b"one")
    engine.log("hello", b"two")

    lines = cli("logs", "hello", "--json").stdout.splitlines()

    assert [json.loads(line)["text"] for line in lines] == ["one", "two"]


def test_a_log_without_lines_says_how_far_it_was_looked_back(
    cli: Cli, engine: Engine
) -> None:
    engine.add_function("hello")

    done = cli("logs", "hello")

    assert done.stdout == ""
    assert re.fullmatch(
        r"nothing since [\d-]{10} [\d:]{5}: see --since WHEN\n", done.stderr
    )


def test_a_time_that_is_none_is_a_usage_error(cli: Cli) -> None:
    done = cli("logs", "hello", "--since", "yesterday")

    assert done.exit_code == 2
    assert "10m" in done.stderr


def test_runs_are_listed_newest_first_and_no_more_than_asked_for(
    cli: Cli, engine: Engine
) -> None:
    engine.add_function("a")
    for _ in range(4):
        cli("invoke", "a")

    told = json.loads(cli("runs", "list", "a", "--limit", "3", "--json").stdout)

    newest = [record.report.request_id for record in reversed(engine.records)]
    assert [one["report"]["request_id"] for one in told] == newest[:3]


def test_the_bill_of_a_tenant_that_is_gone_is_shown(cli: Cli, engine: Engine) -> None:
    done = cli("bill", "--tenant", "222222222222", "--json")

    assert done.exit_code == 0
    assert json.loads(done.stdout)["tenant_id"] == "222222222222"


def test_the_bill_shows_exact_sums_and_prices_them(cli: Cli, engine: Engine) -> None:
    engine.add_function("hello")
    cli("invoke", "hello", "-n", "1000", "--summary")

    told = json.loads(cli("bill", "--json").stdout)
    shown = cli("bill").stdout

    assert told["total"]["billed_mb_ms"] == 512_000
    assert told["total"]["cost"] == "0.00020833335"
    assert shown.splitlines()[-1].split()[-1] == "$0.000208333"
