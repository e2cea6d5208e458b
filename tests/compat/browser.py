"""A real browser without windows, and a site for it to look at."""

import json
import os
import queue
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, _NAMES)), "")
PAGE_S = 40.0

needs_browser = pytest.mark.skipif(
    not BROWSER,
    reason="no chromium is installed; `make test` does it as root where apt has it",
)


class Site:
    """A page of an origin of its own, and what its script has to say.

    The script is an async function's body; it returns what `said` gives.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.script = ""
        self._said: queue.Queue[Any] = queue.Queue()

    def origin(self, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}"

    def hear(self, what: bytes) -> None:
        self._said.put(json.loads(what))

    def said(self) -> Any:
        try:
            return self._said.get(timeout=PAGE_S)
        except queue.Empty:
            pytest.fail(f"the page's script said nothing within {PAGE_S:g} s")

    @property
    def page(self) -> bytes:
        return f"""<!doctype html><link rel="icon" href="data:,"><script>
            (async () => {{ {self.script} }})()
              .catch(error => ({{threw: String(error)}}))
              .then(said => fetch("/said", {{
                method: "POST", body: JSON.stringify(said),
              }}));
        </script>""".encode()


@contextmanager
def site() -> Iterator[Site]:
    """Served on a free port until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(made.page)

        def do_POST(self) -> None:
            made.hear(self.rfile.read(int(self.headers["content-length"])))
            self._answer(b"")

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made = Site(server.server_port)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield made
        server.shutdown()
        thread.join()


def said_by(page: Site, script: str, home: Path, *, host: str = "127.0.0.1") -> Any:
    """What a script says when it runs on the page, in a browser of its own."""
    page.script = script
    with _browser(home, page.origin(host) + "/", "--remote-debugging-port=0"):
        return page.said()


def document_of(url: str, home: Path) -> str:
    """What the browser made of what is there, as HTML."""
    with _browser(home, "--dump-dom", url) as process:
        try:
            return process.communicate(timeout=PAGE_S)[0]
        except subprocess.TimeoutExpired:
            pytest.fail(f"the browser was not done within {PAGE_S:g} s")


@contextmanager
def _browser(home: Path, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Runs until the end of the block, and nothing of it any longer."""
    process = subprocess.Popen(
        [
            BROWSER,
            "--headless",
            # Ours are the only pages it sees; as root there is no sandbox to have.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-breakpad",
            "--disable-background-networking",
            "--no-first-run",
            f"--user-data-dir={home / 'profile'}",
            *arguments,
        ],
        cwd=home,
        env={"HOME": str(home), "PATH": os.defpath, "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    family: list[psutil.Process] = []
    try:
        yield process
    finally:
        if process.poll() is None:
            family = psutil.Process(process.pid).children(recursive=True)
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        for child in family:
            child.kill()
        _, left = psutil.wait_procs(family, timeout=10)
        assert left == []
