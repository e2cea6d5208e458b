"""Counts its invocations, and tells its instances apart."""

import secrets
import time

count = 0
instance = ""


def handler(event, context):
    global count, instance
    began = time.time()
    count += 1
    instance = instance or secrets.token_hex(8)
    time.sleep(max(0.0, event.get("until", 0.0) - began))
    return {"began": began, "count": count, "instance": instance}
