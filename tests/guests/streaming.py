"""Answers in pieces, in every way there is."""

import os
import time

import awslambda


def handler(event, context):
    return globals()[event["do"]](event)


def words(event):
    yield "one "
    yield b"two "
    yield "drei\N{EXCLAMATION MARK}"


def nothing(event):
    return
    yield


def with_head(event):
    yield {"statusCode": 201, "headers": {"a": "b"}}
    yield "body"


def much(event):
    for _ in range(event["pieces"]):
        yield b"x" * event["size"]


def breaks(event):
    for _ in range(event["after"]):
        yield "piece "
    raise ValueError("as asked")


def number(event):
    yield "first"
    yield 7


def exits(event):
    yield "piece"
    os._exit(3)


def hangs(event):
    yield "piece"
    time.sleep(60)


def plain(event):
    return [1]


@awslambda.streamify_response
def streamed(event, stream, context):
    if event.get("fail"):
        raise KeyError("before the first piece")
    stream = awslambda.HttpResponseStream.from_stream(stream, {"statusCode": 202})
    stream.write("one ")
    stream.write(memoryview(b"two"))
    stream.close()
