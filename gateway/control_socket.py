"""The control socket: the command line speaks to the running service over `spool/control.sock`.

One JSON object a line each way. A request is `{"verb": "queue", …}`, an answer `{"ok": …}` or `{"error": "…"}`. Who may
open the socket is decided by the file system: it belongs to the service's user, mode 0600.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from gateway.control import Control, Json
from gateway.errors import GatewayError, NotAdmitted

_log = logging.getLogger(__name__)
_LINE_LIMIT = 200_000_000  # bytes of one request: a mail with its attachments in base64


class ControlSocket:
    """Serves a `Control` on a Unix socket."""

    def __init__(self, path: Path, control: Control) -> None:
        self._path, self._control = path, control
        self._server: asyncio.Server | None = None
        self._busy: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen; a socket left by a process that died is replaced."""
        self._path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        os.fchmod(listening.fileno(), 0o600)  # before it has a name: nobody else ever gets in
        with _short(self._path) as path:
            listening.bind(path)
        self._server = await asyncio.start_unix_server(self._serve, sock=listening, limit=_LINE_LIMIT)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for task in list(self._busy):
                task.cancel()
            await asyncio.gather(*self._busy, return_exceptions=True)
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._busy.add(task)
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await self._answer(line), default=str).encode() + b"\n")
                await writer.drain()
        except (OSError, ValueError):  # the other side is gone, or its line is longer than any request
            _log.info("a command line hung up")
        finally:
            self._busy.discard(task)
            writer.close()

    async def _answer(self, line: bytes) -> Json:
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                return {"error": "a request is a JSON object"}
            return {"ok": await self._control.call(request)}
        except GatewayError as error:
            return {"error": error.text}
        except (ValueError, RecursionError):  # not JSON, not UTF-8, or nested without end
            return {"error": "a request is a JSON object"}


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """Another name of the same place: a socket's has 107 octets at most, a spool's folder may have more (unix(7))."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


async def ask(path: Path, request: Json) -> object:
    """Ask the running service. Raises NotAdmitted with its reason; OSError when nothing is listening."""
    with _short(path) as short:
        reader, writer = await asyncio.open_unix_connection(short, limit=_LINE_LIMIT)
    try:
        writer.write(json.dumps(request).encode() + b"\n")
        await writer.drain()
        line = await reader.readline()
    finally:
        writer.close()
    if not line:
        raise ConnectionResetError("the service hung up")
    answer = json.loads(line)
    if "error" in answer:
        raise NotAdmitted(str(answer["error"]))
    return answer["ok"]
