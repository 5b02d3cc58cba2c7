"""The two logs: the operator's log, and the fax log with one line per attempt.

Fax numbers are masked to the last four digits unless `log_numbers = "full"`. Never logged: document content, mail
bodies, credentials, callback secrets, query strings. Every line about a fax has an `action` from `ACTIONS`, for
programs; the text is for people.
"""

from __future__ import annotations

import logging
import sys
from datetime import datetime

from gateway import number

#: Every `action` value; each is used in one place.
ACTIONS = frozenset(
    {
        "accepted",
        "attempt",
        "callback_deferred",
        "callback_given_up",
        "callback_rejected",
        "callbacks_not_set",
        "callbacks_set",
        "called_back",
        "carrier_paused",
        "chore_failed",
        "claim_failed",
        "clock_set",
        "clock_was_set",
        "concluded_elsewhere",
        "conversion_failed",
        "deaf",
        "duplicate",
        "event_late",
        "forgotten",
        "inbound_announced",
        "inbound_fetched",
        "inbound_released",
        "lease_expired",
        "line_bought",
        "line_released",
        "listener_lost",
        "mail_deferred",
        "mail_given_up",
        "mailed",
        "no_picture",
        "no_report",
        "not_called",
        "not_converted",
        "orphans",
        "page_sign_in_failed",
        "pages_not_made",
        "pamfax_call_refused",
        "pamfax_sign_in_failed",
        "put_off",
        "rates_unusable",
        "receipt_late",
        "refused",
        "sent_again",
        "shredded",
        "sign_in_failed",
        "started",
        "steered",
        "step_failed",
        "stopped",
        "submit_uncertain",
        "sweep_alarm",
        "sweep_not_listed",
        "text_not_read",
    }
)

_fax_log = logging.getLogger("faxgate.fax")


class _Masking:
    """Whether numbers are shown in full; set once by `setup`."""

    full = False


def setup(level: str, *, full_numbers: bool) -> None:
    """Write both logs to stderr; systemd and Docker take them from there."""
    _Masking.full = full_numbers
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # aiosmtpd writes every line of DATA at debug, httpx whole URLs with secrets at info.
    for noisy in ("mail.log", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    logging.getLogger("python_multipart").setLevel(
        logging.ERROR
    )  # warns of each body that makes no sense: whoever posts decides
    for library in ("uvicorn", "uvicorn.error", "uvicorn.access", "alembic", "asyncio", "fontTools"):
        logging.getLogger(library).setLevel(max(logging.WARNING, root.level))


def shown(fax_number: str) -> str:
    """A number as it may stand in a log."""
    return fax_number if _Masking.full else number.mask(fax_number)


def printable(text: str, limit: int = 200) -> str:
    """Text from outside on one line of printable ASCII (rows SMT-26, DSN-30)."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)[:limit]


def _word(text: str) -> str:
    """Text from outside as one word: a quoted local part may hold spaces, and `key=value` pairs in them."""
    return printable(text).replace(" ", "_")


def attempt(
    *,
    transmission: str,
    attempt_id: str,
    sender: str,
    called: str,
    carrier: str,
    carrier_ref: str,
    pages: int,
    pages_sent: int,
    accepted_at: datetime,
    opened_at: datetime,
    ended_at: datetime,
    outcome: str,
    text: str,
) -> None:
    """The one line per attempt: first identity, then time in each stage, then outcome."""
    fields = {
        "id": transmission,
        "attempt": attempt_id,
        "from": _word(sender),
        "to": shown(called),
        "carrier": carrier,
        "ref": _word(carrier_ref),
        "pages": pages,
        "pages_sent": pages_sent,
        "wait": f"{(opened_at - accepted_at).total_seconds():.3f}",
        "carrier_s": f"{(ended_at - opened_at).total_seconds():.3f}",
        "outcome": outcome,
    }
    line = " ".join(f"{key}={value}" for key, value in fields.items())
    _fax_log.info("%s text=%r", line, printable(text), extra={"action": "attempt", "transmission": transmission})
