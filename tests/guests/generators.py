"""Makes its random generators at its import, and uses each of them in the handler."""

import random
import secrets
import sqlite3
import ssl
import tempfile
import time
import uuid

random.seed(1)
own = random.Random(2)
own.gauss(0, 1)  # leaves the second of a pair for the next call
ssl.RAND_bytes(8)
uuid.uuid1()
rows = sqlite3.connect(":memory:", check_same_thread=False)
rows.execute("SELECT random()").fetchone()
next(tempfile._get_candidate_names())


def handler(event, context):
    began = time.time()
    drawn = {
        "random": random.random(),
        "random.Random": own.random(),
        "random.Random.gauss": own.gauss(0, 1),
        "secrets": secrets.token_hex(),
        "sqlite3": rows.execute("SELECT random()").fetchone()[0],
        "ssl": ssl.RAND_bytes(16).hex(),
        "tempfile": next(tempfile._get_candidate_names()),
        "uuid1": str(uuid.uuid1()),
        "uuid4": str(uuid.uuid4()),
    }
    time.sleep(max(0.0, event.get("until", 0.0) - began))
    return {"began": began, "drawn": drawn}
