#!/usr/bin/python3
"""A function that listens to the Telemetry API by itself, by an internal extension, and
prints what it hears. Beside it there is no other extension."""

import json
import os
import signal
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

API = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}"
EXTENSION = "/2020-01-01/extension"
RUNTIME = "/2018-06-01/runtime/invocation"
done = threading.Event()


def call(method, path, body=None, **headers):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(API + path, data=data, method=method)
    for header, value in headers.items():
        request.add_header(header.replace("_", "-"), value)
    with urllib.request.urlopen(request) as response:
        return response.status, response.headers, response.read()


class Http(BaseHTTPRequestHandler):
    def do_POST(self):
        for event in json.loads(self.rfile.read(int(self.headers["Content-Length"]))):
            print("heard", json.dumps(event), flush=True)
            if event["type"] == "platform.runtimeDone":
                done.set()
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def wait_for_events(me):
    while True:
        call("GET", f"{EXTENSION}/event/next", **me)
        done.wait(5)
        done.clear()


def end(*_):
    os._exit(0)


signal.signal(signal.SIGTERM, end)
server = HTTPServer(("127.0.0.1", 8080), Http)
threading.Thread(target=server.serve_forever, daemon=True).start()
_, headers, _ = call(
    *("POST", f"{EXTENSION}/register", {"events": ["INVOKE"]}),
    Lambda_Extension_Name="inner",
)
me = {"Lambda_Extension_Identifier": headers["Lambda-Extension-Identifier"]}
wants = {
    "schemaVersion": "2022-07-01",
    # Not what functions print, for that is what we print of it.
    "types": ["platform"],
    "buffering": {"timeoutMs": 25, "maxBytes": 262144, "maxItems": 1000},
    "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080"},
}
status, _, body = call("PUT", "/2022-07-01/telemetry", wants, **me)
print("subscribed", status, body.decode(), flush=True)
threading.Thread(target=wait_for_events, args=(me,), daemon=True).start()
while True:
    _, headers, event = call("GET", f"{RUNTIME}/next")
    request = headers["Lambda-Runtime-Aws-Request-Id"]
    call("POST", f"{RUNTIME}/{request}/response", json.loads(event))
