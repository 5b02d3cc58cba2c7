"""The HTTP listener: health, readiness, metrics, and whatever routes are handed in.

Runs uvicorn inside the event loop that is already there: no thread, no signal handlers, no access log (paths and query
strings hold secrets). What is public at `[http] listen` is public to all who reach it: a proxy in front should pass on
`/callback/` only and leave `/healthz`, `/readyz` and `/metrics` to the house.

Limits: request line and headers together may have 64 KiB, up to 320 KiB when they arrive at once, else 400; an idle
kept-alive connection is closed after 5 s; more than 500 connections are answered 503. uvicorn has no time limit for a
client that sends its headers slowly: on the open Internet put a proxy in front, as TLS needs one anyway.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from pathlib import Path

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from gateway.errors import GatewayError, Unavailable
from gateway.metrics import REGISTRY
from gateway.sections import Http

Check = Callable[[], Awaitable[None]]
"""Returns when all is well; raises a GatewayError whose text may be shown to strangers."""
Refresh = Callable[[], Awaitable[None]]
"""Brings gauges up to date before they are shown."""

_CHECK_LIMIT = 5.0  #: seconds after which a readiness check counts as failed
_DRAIN = 10  #: seconds that requests in hand get when the listener stops
_HEADERS = 65536  #: bytes of request line and headers
_CONNECTIONS = 500
_log = logging.getLogger(__name__)


class WebDoor:
    """One HTTP listener. `start` returns when it accepts connections, `stop` when the requests in hand are answered."""

    def __init__(
        self,
        http: Http,
        routes: Sequence[BaseRoute] = (),
        *,
        checks: Mapping[str, Check] | None = None,
        refresh: Refresh | None = None,
        house: bool = True,
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        """`house`: with health, readiness and metrics. `tls`: PEM files of the certificate chain and its key."""
        own = _House(checks or {}, refresh).routes() if house else []
        starlette = Starlette(routes=[*own, *routes])
        starlette.router.redirect_slashes = False  # a redirect would repeat the secret path in an answer
        self._http = http
        app: ASGIApp = starlette
        if http.proxies:
            app = ProxyHeadersMiddleware(app, trusted_hosts=list(http.proxies))  # type: ignore[arg-type, assignment]  # ASGI twice
        self._server = _Server(_border(app), tls)
        self._address: tuple[str, int] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port it listens on; path and 0 for a Unix socket. Known after `start`."""
        if self._address is None:
            raise RuntimeError("the HTTP listener has not been started")
        return self._address

    async def start(self) -> None:
        """Listen. Raises OSError when the address is taken or not ours."""
        listening = _bind(self._http.listen)
        name = listening.getsockname()
        self._address = (name, 0) if isinstance(name, str) else (str(name[0]), int(name[1]))
        self._task = asyncio.create_task(self._server.serve(sockets=[listening]), name="http")
        ready = asyncio.create_task(self._server.ready.wait())
        await asyncio.wait({ready, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            ready.cancel()
            await self._task

    async def wait(self) -> None:
        """Return when the listener has ended; raises what ended it. For whoever must not go on without it."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def stop(self) -> None:
        """Take no new requests, answer those in hand (10 s at most), close."""
        if self._task is None:
            return
        self._server.should_exit = True
        try:
            await self._task
        finally:
            _remove_socket(self._http.listen)


class _Server(uvicorn.Server):
    """uvicorn without its hold on the process: signals belong to the daemon."""

    def __init__(self, app: ASGIApp, tls: tuple[Path, Path] | None) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                ssl_certfile=tls[0] if tls else None,
                ssl_keyfile=tls[1] if tls else None,
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=_CONNECTIONS,
                timeout_graceful_shutdown=_DRAIN,
                h11_max_incomplete_event_size=_HEADERS,
            )
        )
        # `access_log=False` only takes its handlers away; a request's path and query must not be written by anybody.
        logging.getLogger("uvicorn.access").disabled = True
        self.ready = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


def _bind(listen: str) -> socket.socket:
    """A listening socket for `host:port`, `[v6]:port` (IPv4 too where the system can) or a path."""
    if listen.startswith("/"):
        _remove_socket(listen)  # left by a process that was killed
        unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            unix.bind(listen)
            Path(listen).chmod(0o666)  # who may reach it is decided by its folder
        except OSError:
            unix.close()
            raise
        return unix
    host, _, port = listen.rpartition(":")
    six = host.startswith("[")
    listening = socket.create_server(
        (host.strip("[]"), int(port)),
        family=socket.AF_INET6 if six else socket.AF_INET,
        dualstack_ipv6=six and socket.has_dualstack_ipv6(),
    )
    # Connections inherit it. asyncio sets it only where the protocol was named when the socket was made; without it
    # every answer, written in two parts, waits 40 ms for the client's delayed acknowledgement.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _remove_socket(listen: str) -> None:
    if listen.startswith("/") and Path(listen).is_socket():
        Path(listen).unlink()


def _border(inner: ASGIApp) -> ASGIApp:
    """Around everything: faults end here, and an answer given before the whole request was read closes the connection.

    Starlette has answered a bare 500 when an exception comes out of it. A client must not reuse a connection on which
    its next request would be taken for the rest of this one's body (RFC 9112 section 9.3).
    """

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        unread = any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])

        async def reading() -> Message:
            nonlocal unread
            message = await receive()
            unread = unread and bool(message.get("more_body"))
            return message

        async def answering(message: Message) -> None:
            if unread and message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        try:
            await inner(scope, reading, answering)
        except Exception:  # noqa: BLE001 - the border: nothing a request does may end the listener
            _log.exception("a request to the HTTP listener failed")

    return app


class _House:
    """What the house asks about itself."""

    def __init__(self, checks: Mapping[str, Check], refresh: Refresh | None) -> None:
        self._checks = checks
        self._refresh = refresh

    def routes(self) -> list[BaseRoute]:
        return [Route("/healthz", self._healthz), Route("/readyz", self._readyz), Route("/metrics", self._metrics)]

    async def _healthz(self, request: Request) -> Response:
        return PlainTextResponse("ok")

    async def _readyz(self, request: Request) -> Response:
        results = await asyncio.gather(*(_result(check) for check in self._checks.values()))
        ready = all(result == "ok" for result in results)
        content = {"ready": ready, "checks": dict(zip(self._checks, results, strict=True))}
        return JSONResponse(content, status_code=200 if ready else 503)

    async def _metrics(self, request: Request) -> Response:
        if self._refresh is not None:
            try:
                await self._refresh()
            except Unavailable as error:
                # The counters are wanted most while the spool is down; /readyz says that it is.
                _log.warning("gauges at /metrics are old: %s", error.text)
        return Response(generate_latest(REGISTRY), headers={"content-type": CONTENT_TYPE_LATEST})


async def _result(check: Check) -> str:
    try:
        async with asyncio.timeout(_CHECK_LIMIT):
            await check()
    except TimeoutError:
        return f"no answer within {_CHECK_LIMIT:.0f} s"
    except GatewayError as error:
        return error.text
    return "ok"
