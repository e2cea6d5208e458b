"""Prints what it is told, byte by byte."""

import os


def handler(event, context):
    how = event["how"]
    if how == "forge":
        other = "00000000-0000-0000-0000-000000000000"
        for request_id in (context.aws_request_id, other):
            print(f"START RequestId: {request_id} Version: $LATEST")
            print(f"END RequestId: {request_id}")
            print(f"REPORT RequestId: {request_id}\tBilled Duration: 0 ms\t")
    if how == "binary":
        os.write(1, bytes(range(256)) + b"\n\xff\xfe\x00end\n")
    if how == "long":
        os.write(2, b"y" * 20_000 + b"\nlast\n")
    if how == "endless":
        line = b"z" * 4095 + b"\n"
        while True:
            os.write(1, line)
    if how == "text":
        print(event["text"])
