"""An endpoint of AWS's own services, which events are told to."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TAKEN = 200, b'{"MessageId":"1"}'


class Service:
    """An endpoint that keeps what it is sent."""

    def __init__(self) -> None:
        self.answer: tuple[int, bytes] = TAKEN
        self.headers: dict[str, str] = {}
        self.path = ""
        self.body = b""
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                service.headers = {k.lower(): v for k, v in self.headers.items()}
                service.path = self.path
                service.body = self.rfile.read(int(self.headers["content-length"]))
                status, body = service.answer
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Not to the terminal."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()
