#!/usr/bin/python3
"""An external extension that listens to the Telemetry API, and prints what it hears."""

import json
import os
import socketserver
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

API = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}"
NAME = os.path.basename(__file__)
PATH = "/2020-08-15/logs" if NAME == "logs" else "/2022-07-01/telemetry"
done = threading.Event()


def call(method, path, body=None, **headers):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(API + path, data=data, method=method)
    for header, value in headers.items():
        request.add_header(header.replace("_", "-"), value)
    with urllib.request.urlopen(request) as response:
        return response.headers, response.read()


def take(event):
    print("heard", json.dumps(event), flush=True)
    if event["type"] == "platform.runtimeDone":
        done.set()


class Http(BaseHTTPRequestHandler):
    def do_POST(self):
        for event in json.loads(self.rfile.read(int(self.headers["Content-Length"]))):
            take(event)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


class Tcp(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            take(json.loads(line))


address = ("sandbox.localdomain", 8080)
if NAME == "tcp":
    server = socketserver.TCPServer(address, Tcp)
    destination = {"protocol": "TCP", "port": 8080}
else:
    server = HTTPServer(address, Http)
    destination = {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080/x"}
threading.Thread(target=server.serve_forever, daemon=True).start()

headers, _ = call(
    "POST",
    "/2020-01-01/extension/register",
    {"events": ["INVOKE", "SHUTDOWN"]},
    Lambda_Extension_Name=NAME,
)
me = {"Lambda_Extension_Identifier": headers["Lambda-Extension-Identifier"]}
wants = {
    "types": ["platform", "function", "extension"],
    "buffering": {"timeoutMs": 25, "maxBytes": 262144, "maxItems": 1000},
    "destination": destination,
}
if NAME != "logs":
    wants["schemaVersion"] = "2022-07-01"
call("PUT", PATH, wants, **me)
while True:
    _, event = call("GET", "/2020-01-01/extension/event/next", **me)
    if json.loads(event)["eventType"] == "SHUTDOWN":
        sys.exit(0)
    # As real ones do: until the runtime is done, then the next.
    done.wait(5)
    done.clear()
