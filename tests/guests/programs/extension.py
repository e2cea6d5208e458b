#!/usr/bin/python3
"""An external extension: says what it hears, and does what its name says."""

import json
import os
import sys
import time
import urllib.error
import urllib.request

API = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2020-01-01/extension"
NAME = os.path.basename(__file__)


def call(path, body=None, **headers):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{API}/{path}", data=data)
    for header, value in headers.items():
        request.add_header(header.replace("_", "-"), value)
    with urllib.request.urlopen(request) as response:
        return response.headers, response.read()


def say(text):
    print(f"{NAME}: {text}", flush=True)


def main():
    if NAME == "dies":
        sys.exit(3)
    if NAME == "silent":
        time.sleep(99)
    events = ["INVOKE"] if NAME == "invoke-only" else ["INVOKE", "SHUTDOWN"]
    headers, told = call(
        "register",
        {"events": events},
        Lambda_Extension_Name=NAME,
        Lambda_Extension_Accept_Feature="accountId",
    )
    identity = {"Lambda_Extension_Identifier": headers["Lambda-Extension-Identifier"]}
    say(f"registered {told.decode()} {'_HANDLER' in os.environ}")
    if NAME == "init-error":
        identity["Lambda_Extension_Function_Error_Type"] = "Mine.Broken"
        call("init/error", {}, **identity)
        time.sleep(99)
    while True:
        _, event = call("event/next", **identity)
        event = json.loads(event)
        say(" ".join([event["eventType"], event.get("shutdownReason", "")]))
        if event["eventType"] == "SHUTDOWN":
            with open("/tmp/shutdown", "a") as file:
                file.write(event["shutdownReason"])
            if NAME == "lingers":
                time.sleep(99)
            return
        if NAME == "slow":
            time.sleep(0.3)
            say("slept")
        if NAME == "stuck":
            time.sleep(99)
        if NAME == "crashes":
            os.kill(os.getpid(), 9)
        if NAME == "exit-error":
            identity["Lambda_Extension_Function_Error_Type"] = "Mine.Broken"
            call("exit/error", {}, **identity)
            time.sleep(99)


main()
