"""Carriers that asked us to wait: no fax is handed over to them meanwhile, looks go on.

One pause for all faxes of a carrier, because the limit is the carrier's and not one fax's. It lasts as long as the carrier
says, else a minute, and doubles while the carrier goes on saying so. Each node finds out for itself.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from gateway import metrics

_log = logging.getLogger(__name__)
_FIRST, _LONGEST = timedelta(minutes=1), timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class _Pause:
    until: datetime
    next: timedelta
    """How long the one after it lasts."""


@dataclass(slots=True)
class Pauses:
    """By the carrier's name in the configuration."""

    _of: dict[str, _Pause] = field(default_factory=dict)

    def begin(self, carrier: str, now: datetime, retry_after: float | None) -> datetime:
        """The carrier has asked us to wait; until when. Calls under way when it began are told the same, and change nothing."""
        last = self._of.get(carrier)
        if last is not None and now < last.until:
            return last.until
        wait = timedelta(seconds=retry_after) if retry_after else _FIRST
        wait = max(wait, last.next) if last else wait
        pause = _Pause(now + wait, min(2 * wait, max(_LONGEST, wait)))
        self._of[carrier] = pause
        metrics.PAUSES.labels(carrier).inc()
        text = "%s is busy: no fax is handed over to it for %.0f s"
        _log.warning(text, carrier, wait.total_seconds(), extra={"action": "carrier_paused"})
        return pause.until

    def until(self, carrier: str, now: datetime) -> datetime | None:
        """When faxes may be handed over again; None = now."""
        pause = self._of.get(carrier)
        return pause.until if pause is not None and now < pause.until else None

    def over(self, carrier: str) -> None:
        """The carrier has taken a fax."""
        self._of.pop(carrier, None)
