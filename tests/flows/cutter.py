"""A TCP proxy in front of a mail server that sees what is said inside the TLS, and cuts the connection at a command.

with cutter.before(server.tls, server.certificate) as proxy:      listens on proxy.port with the server's own certificate
    proxy.cut(b"UID STORE", late=True, then=server.kill)          the server gets the command, nobody hears its answer
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.ports import free_port


class Cutter:
    """Passes everything on, and counts it; one cut at a time."""

    def __init__(self, goal: int, certificate: Path) -> None:
        self.port, self._goal, self._certificate = free_port(), goal, certificate
        self.commands: list[bytes] = []
        self.octets = 0  # from the server
        self.done = threading.Event()
        self._plan: tuple[bytes, bool, Callable[[], object]] | None = None
        self._deaf = False
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, command: bytes, *, late: bool, then: Callable[[], object] = lambda: None) -> None:
        """At the next command with these octets in it: before it is passed on, or `late`, when its answer comes."""
        self.done.clear()
        self._deaf = False
        self._plan = (command, late, then)

    def cut_now(self) -> None:
        """Everything that is open."""
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listening.close()
        self.cut_now()

    def _accept(self) -> None:
        inside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        inside.load_cert_chain(self._certificate, self._certificate.with_name("key.pem"))
        outside = ssl.create_default_context(cafile=str(self._certificate))
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client, inside, outside), daemon=True).start()

    def _serve(self, client: socket.socket, inside: ssl.SSLContext, outside: ssl.SSLContext) -> None:
        with contextlib.suppress(OSError), inside.wrap_socket(client, server_side=True) as near:
            raw = socket.create_connection(("127.0.0.1", self._goal), 10)
            raw.settimeout(None)
            with outside.wrap_socket(raw, server_hostname="localhost") as far:
                self._open |= {near, far}
                back = threading.Thread(target=self._back, args=(far, near), daemon=True)
                back.start()
                with contextlib.suppress(OSError):
                    self._forth(near, far)
                for one in (near, far):
                    with contextlib.suppress(OSError):
                        one.shutdown(socket.SHUT_RDWR)
                back.join(10)
                self._open -= {near, far}

    def _forth(self, near: ssl.SSLSocket, far: ssl.SSLSocket) -> None:
        while data := near.recv(65536):
            self.commands += data.splitlines()
            plan = self._plan
            if plan is not None and plan[0] in data:
                if not plan[1]:
                    self._trip()
                    return
                self._deaf = True
            far.sendall(data)

    def _back(self, far: ssl.SSLSocket, near: ssl.SSLSocket) -> None:
        with contextlib.suppress(OSError):
            while data := far.recv(65536):
                self.octets += len(data)
                if self._deaf and self._plan is not None:
                    self._trip()
                    break
                near.sendall(data)
        for one in (near, far):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _trip(self) -> None:
        assert self._plan is not None
        _, _, then = self._plan
        self._plan, self._deaf = None, False
        then()
        self.done.set()


@contextlib.contextmanager
def before(goal: int, certificate: Path) -> Iterator[Cutter]:
    """In front of a port of this machine where TLS is spoken with this certificate."""
    made = Cutter(goal, certificate)
    try:
        yield made
    finally:
        made.close()
