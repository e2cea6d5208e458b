"""Hello world, for a Python that is cloned, and for AWS's own client in one."""


def handler(event: dict[str, str], context: object) -> dict[str, str]:
    return {"hello": event["name"]}
