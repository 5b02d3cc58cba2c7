"""The program of an account: an HTTP server that takes callbacks, and says what a test wants."""

from __future__ import annotations

import email
import email.policy
import json
import threading
import time
from dataclasses import dataclass
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(slots=True)
class Called:
    """One callback."""

    path: str
    headers: EmailMessage
    body: bytes
    at: float

    @property
    def parts(self) -> dict[str, EmailMessage]:
        """By the name of their field."""
        whole = b"Content-Type: " + str(self.headers["Content-Type"]).encode() + b"\r\n\r\n" + self.body
        parsed = email.message_from_bytes(whole, policy=email.policy.HTTP)
        found = {}
        for part in parsed.iter_parts():
            assert isinstance(part, EmailMessage)
            found[str(part.get_param("name", header="content-disposition"))] = part
        return found

    @property
    def fax(self) -> dict[str, Any]:
        """The transmission it speaks of."""
        fax: dict[str, Any] = json.loads(str(self.parts["json"].get_payload()))["Transaction"]
        return fax


class Program:
    """Answers `status`, once `open` is set."""

    def __init__(self) -> None:
        self.calls: list[Called] = []
        self.status = 200
        self.open = threading.Event()
        """Answers wait until it is set."""
        self.open.set()
        program = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = email.message_from_string(str(self.headers), policy=email.policy.HTTP)
                assert isinstance(headers, EmailMessage)
                program.calls.append(Called(self.path, headers, body, time.monotonic()))
                program.open.wait(30)
                try:
                    self.send_response(program.status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                except OSError:
                    self.close_connection = True  # the caller was killed meanwhile

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.open.set()
        self._server.shutdown()
        self._server.server_close()
