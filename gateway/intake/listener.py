"""One address that is listened on: clients are counted, a PROXY header is read, TLS begins where it begins at once.

asyncio's own servers know neither: they make a transport first, which then has read what belongs to TLS.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import os
import socket
import ssl
import stat
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from gateway.errors import TooMany
from gateway.intake import proxy
from gateway.intake.crowd import Crowd, Visit
from gateway.listeners import Purpose

_log = logging.getLogger(__name__)
_BACKLOG = 256  # connections the system keeps for us while the loop is busy
_HEADER_TIME = 5.0  # seconds for a PROXY header
_HANDSHAKE_TIME = 30.0
_PAUSE = 1.0  # seconds without accepting, when the system has nothing left to do it with
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
#: Makes the connection of a counted client at an address ("" for none).
Make = Callable[[Visit, str], asyncio.Protocol]


class Listener:
    """Open it, and every client becomes a connection."""

    def __init__(
        self,
        purpose: Purpose,
        endpoint: str,
        *,
        crowd: Crowd,
        make: Make,
        tls: Callable[[], ssl.SSLContext | None],
        proxies: tuple[Network, ...] = (),
    ) -> None:
        """`proxies`: every connection begins with a PROXY header of one of these; empty: none does."""
        self.purpose, self.endpoint = purpose, endpoint
        self._crowd, self._make, self._tls, self._proxies = crowd, make, tls, proxies
        self._sockets: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens; Unix sockets are not listed."""
        names = [one.getsockname() for one in self._sockets]
        return [(name[0], name[1]) for name in names if isinstance(name, tuple)]

    def open(self) -> None:
        """Raises OSError."""
        try:
            if self.endpoint.startswith("/"):
                self._sockets.append(_unix(self.endpoint))
            else:
                host, _, port = self.endpoint.rpartition(":")
                for found in socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE):
                    self._sockets.append(_tcp(found[0], found[4]))
        except OSError:
            self.close()
            raise
        for one in self._sockets:
            self._spawn(self._accept(one))

    def close(self) -> None:
        """Take nobody in any more; who has come in is not this listener's business."""
        for task in list(self._tasks):
            task.cancel()
        for one in self._sockets:
            name = one.getsockname()
            one.close()
            if isinstance(name, str):
                with contextlib.suppress(OSError):
                    os.unlink(name)
        self._sockets.clear()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, peer = await loop.sock_accept(listening)
            except OSError as error:
                if error.errno in _EXHAUSTED:  # of others the client has thought better
                    _log.error("nobody can be let in at %s: %s", self.endpoint, error.strerror)
                    await asyncio.sleep(_PAUSE)
                continue
            try:
                visit = self._crowd.arrive(self.purpose)
            except TooMany as error:
                self._turn_away(client, error)
                continue
            address = peer[0].split("%")[0] if isinstance(peer, tuple) else ""
            task = self._spawn(self._welcome(client, address, visit))
            task.add_done_callback(partial(self._given_up, client, visit))

    def _given_up(self, client: socket.socket, visit: Visit, task: asyncio.Task[None]) -> None:
        """We close, perhaps before the client was looked at."""
        if task.cancelled():
            self._crowd.leave(visit)
            client.close()

    async def _welcome(self, client: socket.socket, address: str, visit: Visit) -> None:
        """Make the connection, or close it without one."""
        tls = self._tls() if self.purpose is Purpose.SUBMISSIONS else None
        limit = _HANDSHAKE_TIME if tls else None
        try:
            if self._proxies:
                address = await self._behind(client, address)
            self._crowd.recognise(visit, address)
            connection = self._make(visit, address)
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection, client, ssl=tls, ssl_handshake_timeout=limit
            )
        except TooMany as error:
            self._crowd.leave(visit)
            self._turn_away(client, error)
        except (OSError, ValueError, EOFError, TimeoutError) as error:  # ssl.SSLError is an OSError
            _log.info("%s came to %s in vain: %s", address or "a client", self.endpoint, error or type(error).__name__)
            self._crowd.leave(visit)
            client.close()

    async def _behind(self, client: socket.socket, address: str) -> str:
        """The client behind the proxy at `address`. Raises ValueError for who is none."""
        peer = ipaddress.ip_address(address) if address else None
        if peer is None or not any(peer in network for network in self._proxies):
            raise ValueError("not one of the proxies")
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_HEADER_TIME):
            return await proxy.client(lambda octets: loop.sock_recv(client, octets))

    def _turn_away(self, client: socket.socket, error: TooMany) -> None:
        """Say why, where that can be said in clear, and close."""
        if self.purpose is not Purpose.SUBMISSIONS:
            with contextlib.suppress(OSError):  # it may have left already
                client.send(f"421 4.7.0 {error.text}\r\n".encode())
        client.close()


def _tcp(family: int, address: object) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setblocking(False)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)  # type: ignore[arg-type]  # as getaddrinfo gives it
        one.listen(_BACKLOG)
    except OSError:
        one.close()
        raise
    return one


def _unix(path: str) -> socket.socket:
    """A socket that every user of the machine may speak to: it proves nothing. One that a dead process left is replaced."""
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        one.setblocking(False)
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(os.stat(path).st_mode):
                os.unlink(path)
        one.bind(path)
        Path(path).chmod(0o666)
        one.listen(_BACKLOG)
    except OSError:
        one.close()
        raise
    return one
