"""Signed callbacks of the loopback network: signing, checking, and posting them when a call ends.

The signature is a header `Faxgate-Signature: t=UNIX_SECONDS,v=HEX`: HMAC-SHA256 with the shared secret over the digits
of t, a dot and the raw body. A receiver takes it for 300 seconds, both ways, and compares in constant time. Nothing
outside the gateway speaks this; it has the shape that Telnyx and Stripe document for theirs.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
from collections.abc import Coroutine, Mapping, Sequence
from datetime import datetime

from gateway.carriers import http
from gateway.carriers.base import Tools
from gateway.errors import CallbackRejected, CarrierRefused, CarrierUnavailable

HEADER = "faxgate-signature"
_WINDOW = 300
_SIGNATURE = re.compile(r"t=([0-9]{1,12}),v=([0-9a-f]{64})\Z")
#: Seconds before each further try of one callback.
_RETRIES = (0.2, 1.0, 5.0, 20.0)
_AT_ONCE = 8

_log = logging.getLogger(__name__)


def sign(secret: bytes, body: bytes, at: datetime) -> str:
    """The value of the header."""
    stamp = str(int(at.timestamp()))
    return f"t={stamp},v={_digest(secret, stamp, body)}"


def verify(secrets: Sequence[bytes], headers: Mapping[str, str], body: bytes, now: datetime) -> None:
    """Check a callback against every secret that is valid now. Raises CallbackRejected."""
    match = _SIGNATURE.match(headers.get(HEADER, ""))
    if not match:
        raise CallbackRejected("The callback has no signature.")
    if abs(now.timestamp() - int(match[1])) > _WINDOW:
        raise CallbackRejected("The callback is too old.")
    stamp, given = match.groups()
    if not any(hmac.compare_digest(_digest(secret, stamp, body), given) for secret in secrets):
        raise CallbackRejected("The signature of the callback is wrong.")


def _digest(secret: bytes, stamp: str, body: bytes) -> str:
    return hmac.new(secret, stamp.encode("ascii") + b"." + body, hashlib.sha256).hexdigest()


class Announcer:
    """Posts callbacks to `Tools.callback_url`, each in a task of its own, a few at once, with a few retries."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._tasks: set[asyncio.Task[None]] = set()
        self._few = asyncio.Semaphore(_AT_ONCE)

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        """Run `work` until it ends or the announcer stops."""
        task = asyncio.create_task(work, name="loopback callback")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """End every task."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def until(self, moment: datetime) -> None:
        """Sleep until the gateway's clock says `moment`."""
        while True:
            left = (moment - self._tools.now()).total_seconds()
            if left <= 0:
                return
            await asyncio.sleep(max(left, 0.01))

    async def post(self, secret: bytes, body: bytes) -> bool:
        """Send one callback, signed anew for each try. False when every try failed."""
        for wait in (*_RETRIES, None):
            async with self._few:
                if await self._posted(secret, body):
                    return True
            if wait is not None:
                await asyncio.sleep(wait)
        return False

    async def _posted(self, secret: bytes, body: bytes) -> bool:
        headers = {"Content-Type": "application/json", HEADER: sign(secret, body, self._tools.now())}
        url = self._tools.callback_url
        try:
            await http.ask(self._tools, "POST", url, decode=http.nothing, limit=20.0, content=body, headers=headers)
        except (CarrierRefused, CarrierUnavailable) as error:
            _log.info("a callback of the loopback network failed: %s", error.text)
            return False
        return True
