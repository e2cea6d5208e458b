"""Another tenant's function: it should notice nothing of all this."""

import os

invocations = 0


def handler(event: object, context: object) -> dict[str, object]:
    global invocations
    invocations += 1
    return {"secret": os.environ["SECRET"], "invocations": invocations}
