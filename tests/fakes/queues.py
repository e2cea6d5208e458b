"""A real SQS for tests: moto's, as a process of its own."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import IO, Any
from uuid import uuid4

import boto3

from tests.e2e.waiting import wait_until

REGION = "us-east-1"
_RUNNING = re.compile(r"Running on (http://127\.0\.0\.1:\d+)")


@dataclass(frozen=True)
class Sqs:
    """A running one; all its queues are one account's."""

    url: str
    account: str
    client: Any = field(repr=False)

    def create(self, stem: str = "jobs", **attributes: str) -> str:
        """A queue that no other test has; its name."""
        suffix = ".fifo" if attributes.get("FifoQueue") else ""
        name = f"{stem}-{uuid4().hex[:8]}{suffix}"
        self.client.create_queue(QueueName=name, Attributes=attributes)
        return name

    def arn(self, name: str) -> str:
        return f"arn:aws:sqs:{REGION}:{self.account}:{name}"

    def queue_url(self, name: str) -> str:
        return f"{self.url}/{self.account}/{name}"

    def send(self, name: str, body: str, **more: Any) -> str:
        """The message's id."""
        sent = self.client.send_message(
            QueueUrl=self.queue_url(name), MessageBody=body, **more
        )
        message_id: str = sent["MessageId"]
        return message_id

    def send_all(self, name: str, bodies: list[str]) -> None:
        for at in range(0, len(bodies), 10):
            self.client.send_message_batch(
                QueueUrl=self.queue_url(name),
                Entries=[
                    {"Id": str(number), "MessageBody": body}
                    for number, body in enumerate(bodies[at : at + 10])
                ],
            )

    def counts(self, name: str) -> tuple[int, int]:
        """Messages that are visible, and those that somebody has."""
        kinds = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        got = self.client.get_queue_attributes(
            QueueUrl=self.queue_url(name), AttributeNames=list(kinds)
        )
        visible, hidden = (int(got["Attributes"][kind]) for kind in kinds)
        return visible, hidden

    def receive(self, name: str) -> list[str]:
        """Bodies of up to ten."""
        got = self.client.receive_message(
            QueueUrl=self.queue_url(name), MaxNumberOfMessages=10
        )
        return [message["Body"] for message in got.get("Messages", ())]


def dead_letters_of(arn: str, *, tries: int) -> str:
    """A queue's `RedrivePolicy`."""
    return json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": str(tries)})


@contextmanager
def serving_sqs(account: str) -> Iterator[Sqs]:
    """One on a port of its own, with no queues yet."""
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            env={**os.environ, "MOTO_ACCOUNT_ID": account},
        ) as process,
    ):
        try:
            url = wait_until(
                lambda: _address(said), "moto serves", shown=lambda: _read(said)
            )
            with closing(_client(url)) as client:
                yield Sqs(url, account, client)
        finally:
            process.kill()


def _client(url: str) -> Any:
    session: Any = boto3.Session()
    return session.client(
        "sqs",
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id="any",
        aws_secret_access_key="any",
    )


def _address(said: IO[bytes]) -> str:
    found = _RUNNING.search(_read(said))
    return found[1] if found else ""


def _read(said: IO[bytes]) -> str:
    return os.pread(said.fileno(), 65_536, 0).decode()
