"""The two logs: the operator's log, and the fax log with one line (JSON) for each attempt and each fax, sent and received.

Fax numbers are masked to the last four digits unless `log_numbers = "full"`. Never logged: document content, mail
bodies, credentials, callback secrets, query strings. Every line about a fax has an `action` from `ACTIONS`, for
programs; the text is for people.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

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
        "certificate_renewed",
        "certificate_unusable",
        "chore_failed",
        "committer_died",
        "claim_failed",
        "clock_set",
        "clock_was_set",
        "commanded",
        "concluded_elsewhere",
        "conversion_failed",
        "deaf",
        "duplicate",
        "event_late",
        "fax_ended",
        "fenced",
        "forgotten",
        "inbound_announced",
        "inbound_fetched",
        "inbound_released",
        "lease_expired",
        "line_bought",
        "line_released",
        "listener_lost",
        "mail_back",
        "mail_deferred",
        "mail_given_up",
        "mail_again",
        "mail_not_taken",
        "mail_stumbled",
        "mail_waits",
        "mailbox_failed",
        "mailbox_opened",
        "mailbox_reader_died",
        "mailbox_renumbered",
        "mailed",
        "not_archived",
        "no_picture",
        "no_report",
        "no_tiff",
        "not_called",
        "not_converted",
        "orphans",
        "page_not_read",
        "page_sign_in_failed",
        "pages_not_made",
        "pamfax_call_refused",
        "pamfax_sign_in_failed",
        "put_off",
        "sealed",
        "rates_unusable",
        "receipt_late",
        "received_archived",
        "received_dropped",
        "received_mailed",
        "refused",
        "sent_again",
        "signature_key_renewed",
        "signature_key_unusable",
        "shredded",
        "sign_in_failed",
        "smarthost_failed",
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

_DIALLED_LATER = re.compile(r"(/POSTD=)[^/@>]*", re.IGNORECASE)
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
    """A number, or what a client said with one in it, as it may stand in a log: what is dialled after the answer may be a
    secret (ADR-21)."""
    fax_number = _DIALLED_LATER.sub(r"\1...", fax_number)
    return fax_number if _Masking.full else number.mask(fax_number)


def printable(text: str, limit: int = 200) -> str:
    """Text from outside on one line of printable ASCII (rows SMT-26, DSN-30)."""
    if text.isascii() and text.isprintable():
        return text[:limit]
    return "".join(c if " " <= c <= "~" else "?" for c in text)[:limit]


def _record(event: str, fields: Mapping[str, object]) -> str:
    """One JSON object on one line, for programs; texts from outside cannot end it."""
    return json.dumps({"event": event} | {key: _plain(value) for key, value in fields.items()})


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds")
    if isinstance(value, str):
        return printable(value)
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def attempt(
    *,
    transmission: str,
    attempt_id: str,
    sender: str,
    called: str,
    tags: Sequence[str],
    carrier: str,
    carrier_ref: str,
    pages: int,
    pages_sent: int,
    accepted_at: datetime,
    opened_at: datetime,
    ended_at: datetime,
    seconds: float | None,
    outcome: str,
    code: str,
    text: str,
) -> None:
    """The one line per attempt: first identity, then times, then outcome."""
    fields = {
        "id": transmission,
        "attempt": attempt_id,
        "from": sender,
        "to": shown(called),
        "tags": list(tags),
        "carrier": carrier,
        "ref": carrier_ref,
        "pages": pages,
        "pages_sent": pages_sent,
        "accepted": accepted_at,
        "started": opened_at,
        "ended": ended_at,
        "wait": round((opened_at - accepted_at).total_seconds(), 3),
        "carrier_s": round((ended_at - opened_at).total_seconds(), 3),
        "call_s": seconds,
        "outcome": outcome,
        "code": code,
        "text": text,
    }
    _fax_log.info("%s", _record("attempt", fields), extra={"action": "attempt", "transmission": transmission})


def ended(*, called: str, written: Sequence[str], transmission: str, **fields: object) -> None:
    """The one line per fax that was sent, once its sender has been told (LOG-01).

    written  the addresses of its recipients: without their local parts where numbers are masked
    """
    recipients = [one if _Masking.full else f"*@{one.rpartition('@')[2]}" for one in written]
    line = _record("fax", {"id": transmission, "to": shown(called), "recipients": recipients, **fields})
    _fax_log.info("%s", line, extra={"action": "fax_ended", "transmission": transmission})


def received(*, inbound: str, caller: str, line: str, **fields: object) -> None:
    """The one line per received fax, once a mailbox's server has taken it (LOG-02)."""
    record = _record("received", {"id": inbound, "caller": shown(caller) if caller else "", "line": shown(line), **fields})
    _fax_log.info("%s", record, extra={"action": "received_mailed"})


def dropped(*, inbound: str, caller: str, line: str, **fields: object) -> None:
    """The one line per received fax that nobody gets."""
    record = _record("dropped", {"id": inbound, "caller": shown(caller) if caller else "", "line": shown(line), **fields})
    _fax_log.info("%s", record, extra={"action": "received_dropped"})
