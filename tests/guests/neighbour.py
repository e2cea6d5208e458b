"""Another tenant's function, with a file that nobody else may see."""

SECRET = "of another tenant"


def handler(event, context):
    return SECRET
