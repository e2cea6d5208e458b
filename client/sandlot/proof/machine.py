"""What is on the machine for somebody to find: a server, a process, a file."""

import contextlib
import socket
import subprocess
import sys
import threading
from pathlib import Path
from uuid import uuid4


class Machine:
    """All of it in our own name, and gone with `close`."""

    def __init__(self, folder: Path) -> None:
        self.secret_file = folder / "secret"
        self.secret_file.write_text("of the machine\n")
        self.abstract = f"sandlot-proof-{uuid4().hex}"
        self.mark = self.abstract[-12:]
        """For processes to be known by; short enough for /proc/PID/comm."""

        self.visitors = 0
        """How many have come to the servers."""

        self._tcp = socket.create_server(("127.0.0.1", 0))
        self._unix = socket.socket(socket.AF_UNIX)
        self._unix.bind("\0" + self.abstract)
        self._unix.listen()
        self._threads = [
            threading.Thread(target=self._serve, args=(server,), daemon=True)
            for server in (self._tcp, self._unix)
        ]
        for thread in self._threads:
            thread.start()
        # Waits for its input to end, which it does when we do.
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", "import sys; sys.stdin.read()"],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    @property
    def port(self) -> int:
        return int(self._tcp.getsockname()[1])

    @property
    def pid(self) -> int:
        """Of a process that is nobody's business."""
        return self._process.pid

    @property
    def process_lives(self) -> bool:
        return self._process.poll() is None

    def marked(self) -> int:
        """How many processes anywhere are called by `mark`."""
        found = 0
        for entry in Path("/proc").glob("[0-9]*/comm"):
            with contextlib.suppress(OSError):
                found += entry.read_text("utf-8", "replace").strip() == self.mark
        return found

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        for server in (self._tcp, self._unix):
            # Closing alone would not wake who waits in accept.
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()
        for thread in self._threads:
            thread.join()

    def _serve(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                visitor, _ = server.accept()
                self.visitors += 1
                visitor.close()
