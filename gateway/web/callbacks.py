"""Carrier callbacks: verify, parse, store, and only then the carrier's answer.

`/callback/CARRIER/SECRET/…`: several secrets may be valid at once, so that one can be replaced while the carrier still
uses the other. An unknown carrier or a wrong secret looks like any path that does not exist, and its body is not read.

    200 or the carrier's own    stored: the sink has returned, and it returns when the events are on disk
    401                         the adapter does not believe it; nothing stored
    404                         unknown carrier, wrong secret, or a carrier that sends no callbacks
    408, 413                    the body did not come within its time, or is too large; nothing stored
    503                         the spool is not available: the carrier repeats it
    500                         a fault of ours (`web.app`); the carrier repeats it

HEAD is answered 200 without looking at anything: some carriers probe an address before they take it. Paths and query
strings are never logged.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from gateway.carriers.base import Announcement, CallbackAnswer, CallbackRequest, Carrier, Event
from gateway.errors import CallbackRejected, Unavailable, Unsupported
from gateway.log import printable
from gateway.metrics import CALLBACKS

Sink = Callable[[str, Sequence[Event | Announcement]], Awaitable[None]]
"""Stores what one carrier (named first) said. Durable when it returns. Raises SpoolUnavailable."""

_METHODS = ["GET", "HEAD", "POST"]
_RETRY_AFTER = "30"  #: seconds, said with a 503
_log = logging.getLogger(__name__)


class _Unreadable(Exception):
    """The body cannot be had; carries the answer."""

    def __init__(self, status: int, result: str) -> None:
        super().__init__(result)
        self.status, self.result = status, result


class Callbacks:
    """The callback addresses of all carriers.

    carriers    by their name in the configuration
    secrets     by the same name: every secret that is valid now
    public_url  what stands before `/callback/` where the carrier sees it; part of what some carriers sign
    max_body    bytes; a pushed fax travels in the body
    body_time   seconds for the whole body
    """

    def __init__(
        self,
        carriers: Mapping[str, Carrier],
        secrets: Mapping[str, Sequence[str]],
        sink: Sink,
        *,
        public_url: str,
        max_body: int = 50_000_000,
        body_time: float = 120.0,
    ) -> None:
        if not all(secret for valid in secrets.values() for secret in valid):
            raise ValueError("a callback secret must not be empty")
        self._carriers = carriers
        self._secrets = {name: [_octets(secret) for secret in valid] for name, valid in secrets.items()}
        self._sink = sink
        self._public_url = public_url.rstrip("/")
        self._max_body = max_body
        self._body_time = body_time

    def routes(self) -> list[BaseRoute]:
        """For `WebDoor`."""
        return [
            Route("/callback/{carrier}/{secret}", self._receive, methods=_METHODS),
            Route("/callback/{carrier}/{secret}/{rest:path}", self._receive, methods=_METHODS),
        ]

    async def _receive(self, request: Request) -> Response:
        name = str(request.path_params["carrier"])
        carrier = self._carriers.get(name)
        if carrier is None or not self._opens(name, str(request.path_params["secret"])):
            # Names from outside must not become labels: anybody could make as many as they like.
            CALLBACKS.labels(name if carrier else "", "not_found").inc()
            return _not_found()
        if request.method == "HEAD":
            return Response()
        result = "error"
        try:
            response, result = await self._take(name, carrier, request)
        finally:
            CALLBACKS.labels(name, result).inc()
        return response

    def _opens(self, name: str, secret: str) -> bool:
        given = _octets(secret)
        # A sum looks at all of them, where `any` would stop at the first that fits.
        return sum(hmac.compare_digest(valid, given) for valid in self._secrets.get(name, ())) > 0

    async def _take(self, name: str, carrier: Carrier, request: Request) -> tuple[Response, str]:
        """The answer to an authentic address, and its word in the metric."""
        try:
            callback = self._callback(request, await self._body(request))
            carrier.verify_callback(callback)
            said, answer = carrier.parse_callback(callback)
            if said:
                await self._sink(name, said)
        except _Unreadable as fault:
            _log.warning("a callback of carrier %s was not read: %s", name, fault)
            return Response(status_code=fault.status), fault.result
        except CallbackRejected as error:
            _log.warning(
                "a callback of carrier %s was rejected: %s", name, printable(error.text), extra={"action": "callback_rejected"}
            )
            return Response(status_code=401), "rejected"
        except Unsupported:
            return _not_found(), "unsupported"
        except Unavailable as error:
            _log.warning("a callback of carrier %s could not be stored, it has to repeat it: %s", name, error.text)
            return Response(status_code=503, headers={"retry-after": _RETRY_AFTER}), "unavailable"
        return _as_response(answer), "stored" if said else "ignored"

    async def _body(self, request: Request) -> bytes:
        declared = int(request.headers.get("content-length", "0"))  # h11 has checked that it is a number
        if declared > self._max_body and "expect" in request.headers:
            raise _Unreadable(413, "too_large")  # in time: the client waits to be told
        body, size = bytearray(), 0
        try:
            async with asyncio.timeout(self._body_time):
                async for chunk in request.stream():
                    size += len(chunk)
                    if size <= self._max_body:
                        body += chunk
        except TimeoutError as error:
            raise _Unreadable(408, "too_slow") from error
        except ClientDisconnect as error:
            raise _Unreadable(400, "broken_off") from error
        if size > self._max_body:
            # Read to its end without being kept: a client that is still writing would not see the answer.
            raise _Unreadable(413, "too_large")
        return bytes(body)

    def _callback(self, request: Request, body: bytes) -> CallbackRequest:
        path = request.scope["raw_path"].decode("ascii")
        query = request.scope["query_string"].decode("ascii")
        return CallbackRequest(
            method=request.method,
            url=f"{self._public_url}{path}" + (f"?{query}" if query else ""),
            path=str(request.path_params.get("rest", "")),
            headers=_joined(request.headers),
            body=body,
        )


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _joined(headers: Headers) -> dict[str, str]:
    """Repeated headers become one (RFC 9110 section 5.3), so that a second signature spoils the first."""
    return {name: ", ".join(headers.getlist(name)) for name in headers}


def _as_response(answer: CallbackAnswer) -> Response:
    return Response(answer.body, status_code=answer.status, headers={"content-type": answer.content_type})


def _not_found() -> Response:
    """Word for word what Starlette answers for a path that does not exist."""
    return PlainTextResponse("Not Found", status_code=404)
