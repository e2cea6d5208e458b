"""AWS's command lines as their users start them, in a place of their own."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.compat.clients import REGION, Account
from tests.markdown import REPOSITORY

CLIENTS = REPOSITORY / ".venv-compat"
PAYLOAD = CLIENTS / "payload"
"""The libraries that functions bring along."""

COMMAND_S = 50.0

needs_clients = pytest.mark.skipif(
    not list(CLIENTS.glob(".ready-*")),
    reason="the AWS CLI and SAM are not installed; `make test` does it",
)


class Ended(NamedTuple):
    """A command that has ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        assert self.status == 0, self.stderr
        return json.loads(self.stdout)


class Terminal:
    """Runs programs of `.venv-compat` for an account.

    They find the engine by `AWS_ENDPOINT_URL_LAMBDA` alone. All that is not on this
    machine would go through a proxy, which answers nobody.
    """

    def __init__(self, account: Account, home: Path, proxy: socket.socket) -> None:
        self.home = home
        self._proxy = proxy
        self._environment = {
            "HOME": str(home),
            "PATH": f"{CLIENTS / 'bin'}:{os.defpath}",
            "LC_ALL": "C.UTF-8",
            "AWS_ENDPOINT_URL_LAMBDA": account.cloud.url,
            "AWS_ACCESS_KEY_ID": account.key.access_key_id,
            "AWS_SECRET_ACCESS_KEY": account.key.secret_access_key,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_PAGER": "",
            "AWS_MAX_ATTEMPTS": "1",
            "SAM_CLI_TELEMETRY": "0",
            "HTTP_PROXY": f"http://127.0.0.1:{proxy.getsockname()[1]}",
            "HTTPS_PROXY": f"http://127.0.0.1:{proxy.getsockname()[1]}",
            "NO_PROXY": "127.0.0.1",
        }

    def run(self, program: str, *arguments: str) -> Ended:
        ended = subprocess.run(
            [CLIENTS / "bin" / program, *arguments],
            cwd=self.home,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    def aws(self, *arguments: str) -> Ended:
        """`aws lambda …`"""
        return self.run("aws", "lambda", *arguments)

    @property
    def has_called_elsewhere(self) -> bool:
        """Whether a program wanted to reach anything beyond this machine."""
        try:
            self._proxy.accept()[0].close()
        except BlockingIOError:
            return False
        return True


@contextmanager
def terminal_of(account: Account, home: Path) -> Iterator[Terminal]:
    """A terminal in an empty home."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.setblocking(False)
        # SAM asks for a newer version of itself once a week.
        sam = home / ".aws-sam"
        sam.mkdir()
        (sam / "metadata.json").write_text(
            json.dumps({"lastVersionCheck": time.time()})
        )
        yield Terminal(account, home, proxy)
