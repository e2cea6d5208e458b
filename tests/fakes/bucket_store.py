"""An S3-compatible store: a small one of our own, over real HTTP."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from urllib.parse import parse_qs, urlsplit

LARGE, PIECES, PIECE = "/packages/large.zip", 1_600, bytes(100_000)
WAIT_S = 10.0


class Store(BaseHTTPRequestHandler):
    """GetObject and its refusals, for whoever signs."""

    timeout = WAIT_S
    objects: Mapping[tuple[str, str], bytes] = MappingProxyType({})
    begun = underway = cut = left = threading.Semaphore(0)
    go = threading.Event()

    def do_GET(self) -> None:
        self.begun.release()
        self.go.wait()
        asked = urlsplit(self.path)
        version = parse_qs(asked.query).get("versionId", [""])[0]
        if "Credential=KEY/" not in self.headers.get("Authorization", ""):
            self._answer(403, _refusal("AccessDenied", "Access Denied"))
        elif asked.path == LARGE:
            self._answer_at_length()
        elif (found := self.objects.get((asked.path, version))) is not None:
            self._answer(200, found)
        else:
            self._answer(
                404, _refusal("NoSuchKey", "The specified key does not exist.")
            )

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        try:
            has_left = not self.rfile.read(1)
        except ConnectionError:
            has_left = True  # and did not read all of it
        if has_left:
            self.left.release()

    def _answer_at_length(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(PIECES * len(PIECE)))
        self.end_headers()
        try:
            for number in range(PIECES):
                self.wfile.write(PIECE)
                if number == PIECES // 4:
                    self.underway.release()
        except ConnectionError:
            self.close_connection = True
            self.cut.release()

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


def _refusal(code: str, message: str) -> bytes:
    return (
        f"<?xml version='1.0'?><Error><Code>{code}</Code>"
        f"<Message>{message}</Message></Error>"
    ).encode()


@contextmanager
def bucket_store(objects: Mapping[tuple[str, str], bytes]) -> Iterator[str]:
    """Where it is. The objects are by path and version; one has no end."""
    Store.objects = objects
    Store.begun, Store.go = threading.Semaphore(0), threading.Event()
    Store.underway, Store.cut, Store.left = (threading.Semaphore(0) for _ in range(3))
    Store.go.set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        Store.go.set()
        server.shutdown()
        thread.join()
        server.server_close()
