"""What a handler finds around itself: context, environment, its own package."""

import re
import stat
from collections.abc import Callable

import pytest

from sandlot import Client, FunctionHandle, errors
from tests.e2e.conftest import GUESTS, Deploy
from tests.fakes.zips import zip_of

MAX_UNPACKED = 262_144_000

_RESERVED = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "192",
    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    "AWS_REGION": "us-east-1",
    "LAMBDA_RUNTIME_DIR": "/var/runtime",
    "LAMBDA_TASK_ROOT": "/var/task",
    "LANG": "en_US.UTF-8",
    "PWD": "/var/task",
    "TZ": ":UTC",
    "_HANDLER": "about.handler",
}


@pytest.fixture(scope="module")
def about(deploy_for_module: Deploy) -> FunctionHandle:
    """Tells what it sees."""
    return deploy_for_module(
        "about", memory=192, timeout=20, env={"COLOUR": "blue", "EMPTY": ""}
    )


def test_the_context_is_awss(about: FunctionHandle) -> None:
    reply = about.invoke()

    seen, config = reply.value, about.config()
    context = seen["context"]
    stream = context.pop("log_stream_name")
    assert context == {
        "aws_request_id": reply.request_id,
        "function_name": about.name,
        "function_version": "$LATEST",
        "invoked_function_arn": config.arn,
        "log_group_name": f"/aws/lambda/{about.name}",
        "memory_limit_in_mb": "192",
        "tenant_id": None,
    }
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", stream)
    assert 0 < seen["remaining_ms"] <= 20_000
    assert seen["identity"] == [None, None]
    assert seen["client_context"] is None
    assert seen["repr"].startswith(f"LambdaContext([aws_request_id={reply.request_id},")


def test_the_client_context_arrives(about: FunctionHandle) -> None:
    sent = {
        "custom": {"a": 1},
        "env": {"locale": "de"},
        "client": {"app_title": "demo"},
    }

    seen = about.invoke(client_context=sent).value

    assert seen["client_context"] == {
        "custom": {"a": 1},
        "env": {"locale": "de"},
        "app_title": "demo",
    }


def test_the_environment_is_awss_and_the_tenants(about: FunctionHandle) -> None:
    seen = about.invoke().value

    environment = seen["environment"]
    assert environment.items() >= _RESERVED.items()
    assert environment["COLOUR"] == "blue"
    assert environment["EMPTY"] == ""
    assert environment["AWS_LAMBDA_FUNCTION_NAME"] == about.name
    assert environment["AWS_LAMBDA_LOG_GROUP_NAME"] == f"/aws/lambda/{about.name}"
    assert (
        environment["AWS_LAMBDA_LOG_STREAM_NAME"] == seen["context"]["log_stream_name"]
    )
    assert environment["AWS_EXECUTION_ENV"] == f"AWS_Lambda_{about.config().runtime}"
    assert seen["cwd"] == "/var/task"
    # Nothing of the engine's own.
    assert not [name for name in environment if "SANDLOT" in name]


def test_a_log_record_has_awss_form(about: FunctionHandle) -> None:
    reply = about.invoke(tail_log=True)

    pattern = rf"^\[WARNING\]\t[0-9T:.-]+Z\t{reply.request_id}\ta warning$"
    assert re.search(pattern, reply.log_tail.decode(), re.MULTILINE)


def test_a_reserved_variable_cannot_be_set(about: FunctionHandle) -> None:
    with pytest.raises(errors.InvalidParameter, match="reserved keys"):
        about.update(env={"AWS_REGION": "mars"})


def _pythons(operator: Client) -> list[str]:
    listed = [runtime.name for runtime in operator.status().runtimes]
    return [name for name in listed if name.startswith("python")]


def test_every_python_that_is_listed_runs(operator: Client, deploy: Deploy) -> None:
    source = (
        "import sys, numbers, ssl, sqlite3, zoneinfo\n"
        "def handler(event, context):\n"
        "    return 'python%d.%d' % sys.version_info[:2]\n"
    )
    listed = _pythons(operator)

    seen = [deploy({"app.py": source}, runtime=name).invoke().value for name in listed]

    assert seen == listed != []


def test_a_package_s_bytecode_is_made_once_for_each_runtime(
    operator: Client, deploy: Deploy
) -> None:
    package = {
        "app.py": (
            "import importlib.machinery, os\n"
            "compiled = []\n"
            "loader = importlib.machinery.SourceFileLoader\n"
            "compile_it = loader.source_to_code\n"
            "def note(self, data, path, **options):\n"
            "    compiled.append(path)\n"
            "    return compile_it(self, data, path, **options)\n"
            "loader.source_to_code = note\n"
            "import lib.tool\n"
            "def handler(event, context):\n"
            "    return [compiled, os.path.relpath(lib.tool.__spec__.cached)]\n"
        ),
        "lib/__init__.py": "",
        "lib/tool.py": "ANSWER = 42\n",
    }
    listed = _pythons(operator)

    seen = [deploy(package, runtime=name).invoke().value for name in listed]

    tags = [name.replace("python", "cpython-").replace(".", "") for name in listed]
    assert seen == [[[], f"lib/__pycache__/tool.{tag}.pyc"] for tag in tags] != []


def test_a_package_is_read_only_and_keeps_its_programs_executable(
    client: Client,
) -> None:
    package = zip_of(
        {
            "own_files.py": (GUESTS / "own_files.py").read_text(),
            "tool.sh": "#!/bin/sh\necho it runs\n",
        },
        modes={"tool.sh": stat.S_IFREG | 0o755},
    )
    function = client.deploy(package, name="own-files", handler="own_files.handler")

    seen = function.invoke().value

    function.delete()
    assert seen["said"] == "it runs\n"
    assert seen["modes"] == {
        "__pycache__": "0o755",
        "own_files.py": "0o644",
        "tool.sh": "0o755",
    }
    assert seen["refused"].keys() == {"write", "overwrite", "remove", "chmod"}
    assert seen["refused"]["write"] == "Read-only file system"


def _with_link() -> bytes:
    return zip_of({"app.py": "", "link": "/etc/passwd"}, modes={"link": 0o120777})


def _with_parent() -> bytes:
    return zip_of({"app.py": "", "../../outside.py": ""})


def _with_absolute_path() -> bytes:
    return zip_of({"app.py": "", "/etc/cron.d/job": ""})


def _bomb() -> bytes:
    return zip_of({"app.py": "", "zeros": bytes(MAX_UNPACKED + 1)})


@pytest.mark.parametrize(
    "package", [_with_link, _with_parent, _with_absolute_path, _bomb]
)
def test_a_hostile_package_is_refused(
    client: Client, package: Callable[[], bytes]
) -> None:
    with pytest.raises((errors.InvalidParameter, errors.PayloadTooLarge)):
        client.deploy(package(), name="hostile", handler="app.handler")

    with pytest.raises(errors.NotFound):
        client.get_function("hostile")
