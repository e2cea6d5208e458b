"""Remembers how often it was called, and tells where its memory is."""

import json

calls = []
words = [str(number) for number in range(20_000)]


def count(event):
    """Its invocations. Each counts references to all of its words, up and down again."""
    calls.append(json.dumps([word for word in words if word]))
    return [len(calls), len(words)]


def maps(event):
    with open("/proc/self/maps") as file:
        return file.read().splitlines()


def handler(event, context):
    return globals()[event["do"]](event)
