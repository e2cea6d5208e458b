"""Watches its own invocations as Sentry's integration does on AWS Lambda."""

import functools
import sys

bootstrap = sys.modules["__main__"].awslambdaricmain.bootstrap
assert not hasattr(bootstrap, "handle_http_request")
seen = []


def watched(handler):
    @functools.wraps(handler)
    def watching(event, context):
        seen.append("began")
        try:
            return handler(event, context)
        except ValueError as error:
            seen.append(str(error))
            raise

    return watching


def noted(function):
    def noting(*args):
        seen.append(function.__name__)
        return function(*args)

    return noting


original = bootstrap.handle_event_request


def handle_event_request(client, handler, *args, **kwargs):
    return original(client, watched(handler), *args, **kwargs)


bootstrap.handle_event_request = handle_event_request
client = bootstrap.LambdaRuntimeClient
client.post_init_error = noted(client.post_init_error)
client.post_invocation_result = noted(client.post_invocation_result)
client.post_invocation_error = noted(client.post_invocation_error)


def handler(event, context):
    if event.get("fail"):
        raise ValueError("on purpose")
    return list(seen)
