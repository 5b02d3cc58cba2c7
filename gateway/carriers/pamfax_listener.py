"""The listener of a PamFax account: `RegisterListener` and `ListChanges` (wire reference, 6.1).

Each change is told once, to one session, in a list whose names nobody knows, so what is heard is a reason to ask and nothing
more: an answer that is lost costs time only. The listener has a session of its own. Where that has ended, or was never there,
changes may have been missed: `Changes.whole` is False, and every fax is asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

from gateway.carriers.base import Changes
from gateway.carriers.pamfax_session import Calls, Session, nothing
from gateway.carriers.pamfax_wire import Answer
from gateway.errors import CarrierRefused, CarrierUnavailable, SessionEnded

_ALL = ["faxall"]
#: What a change may call the fax: the first is our own door's, the others are seen of faxes elsewhere (6.4, 8).
_NAMES = ("uuid", "recipient_uuid", "fax_uuid")
_MOST = 20  # answers read in one go
_SILENT = 3  # looks that may fail before it counts as gone


class Listener:
    """One account's listener. `every` is the time between two looks, seconds."""

    def __init__(self, calls: Calls, every: float) -> None:
        self._calls, self.every = calls, every
        self._session: Session | None = None
        self._proven = False
        self._heard_at = 0.0

    @property
    def works(self) -> bool:
        """It has told us something before, and answered lately."""
        return self._proven and _loop_time() - self._heard_at < _SILENT * self.every

    async def changes(self) -> Changes:
        """What is new. Raises CarrierUnavailable; then the next call begins with a new session."""
        session, self._session = self._session, None
        try:
            if session is not None:
                with contextlib.suppress(SessionEnded):  # nobody called for minutes: there was no fax to hear of
                    return await self._heard(session, whole=True)
            session = await self._calls.sign_in()
            await self._calls.on(session, "Session/RegisterListener", nothing, listener_types=_ALL, append=False)
            return await self._heard(session, whole=False)
        except CarrierRefused as error:
            raise CarrierUnavailable(error.text) from error

    async def _heard(self, session: Session, *, whole: bool) -> Changes:
        refs = set[str]()
        for _ in range(_MOST):
            told = await self._calls.on(session, "Session/ListChanges", _told)
            if told <= refs:
                break
            refs |= told
        self._session, self._heard_at = session, _loop_time()
        self._proven = self._proven or bool(refs - {""})
        return Changes(carrier_refs=refs - {""}, whole=whole and "" not in refs)


def _told(answer: Answer) -> set[str]:
    """Which faxes an answer names; "" among them: one that we do not understand."""
    entries = [entry for member in answer.members.values() if isinstance(member, list) for entry in member]
    return {_name(entry) for entry in entries}


def _name(entry: object) -> str:
    if not isinstance(entry, Mapping):
        return ""
    return next((value for name in _NAMES if isinstance(value := entry.get(name), str) and value), "")


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
