"""Starts a thread at its import, as metrics libraries do."""

import secrets
import threading
import time

asked = threading.Event()
answered = threading.Event()
instance = ""


def work():
    while True:
        asked.wait()
        asked.clear()
        answered.set()


threading.Thread(target=work, name="metrics", daemon=True).start()


def handler(event, context):
    global instance
    began = time.time()
    instance = instance or secrets.token_hex(8)
    asked.set()
    thread_answers = answered.wait(20)
    answered.clear()
    time.sleep(max(0.0, event.get("until", 0.0) - began))
    return {"began": began, "instance": instance, "thread_answers": thread_answers}
