"""Wake-up across nodes: what one node makes due, the others hear of at once.

    NOTIFY faxgate, '["3f9c01d2", "convert", "carrier:main"]'      sender, and the lanes in which something is due

One notice for each committed batch, sent in its transaction, so that nobody hears of what was undone. Every node has one
connection that listens. It is a convenience, not a promise: a notice can be missed while the connection is made anew, and
each lane is looked at every second anyway. PostgreSQL only; needs a session of its own, not a pooler's transaction mode.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from collections.abc import Callable, Collection

from sqlalchemy import URL, Connection, text

_log = logging.getLogger(__name__)
_CHANNEL = "faxgate"
_LONGEST = 7999  # bytes of a payload that PostgreSQL takes
_AGAIN = 1.0  # seconds before a lost connection is made anew
_NOTIFY = text("SELECT pg_notify(:channel, :payload)")


def announce(connection: Connection, sender: str, lanes: Collection[str]) -> None:
    """Tell the other nodes, once this transaction is committed, that something is due in these lanes."""
    payload = json.dumps([sender, *sorted(lanes)])
    if len(payload) > _LONGEST:
        payload = json.dumps([sender])
    connection.execute(_NOTIFY, {"channel": _CHANNEL, "payload": payload})


class Wakeups:
    """Listens. `heard` is called with the lanes of a notice, `missed` when notices may have been missed."""

    def __init__(self, url: URL, heard: Callable[[set[str]], None], missed: Callable[[], None]) -> None:
        _, self._where = url.get_dialect()().create_connect_args(url)
        self._heard, self._missed = heard, missed
        self._task: asyncio.Task[None] | None = None
        self.name = secrets.token_hex(4)
        """Whom this process is announced as: it does not listen to itself."""

    def start(self) -> None:
        self._task = asyncio.create_task(self._work(), name="wake-ups")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _work(self) -> None:
        from psycopg import Error  # an extra: only there where PostgreSQL is used

        while True:
            try:
                await self._listen()
            except (Error, OSError) as error:
                _log.warning("not woken by other nodes for now: %s", type(error).__name__, extra={"action": "deaf"})
            await asyncio.sleep(_AGAIN)

    async def _listen(self) -> None:
        from psycopg import AsyncConnection

        async with await AsyncConnection.connect(**self._where, autocommit=True) as connection:
            await connection.execute(f"LISTEN {_CHANNEL}".encode())
            self._missed()
            async for notice in connection.notifies():
                self._take(notice.payload)

    def _take(self, payload: str) -> None:
        """Whoever may connect to the database may send anything; the worst of it is a look too many."""
        try:
            sender, *lanes = json.loads(payload)
        except (ValueError, TypeError):
            return
        if sender == self.name:
            return
        if lanes:
            self._heard({str(lane) for lane in lanes})
        else:
            self._missed()
