"""What the HelloFax API says about a fax, an account and a line, as it stands on the wire. Source: reference/hellofax.md.

Used by the door (`hellofax_api`) and by the callbacks we owe. Pure values: nothing is read here.

What the public material leaves open, and what was chosen:

- `H` and `B` are said, not the 2025 edition's `O` and `R`.
- A fax that waits for another try is `P`; one that was cancelled is `E` with `U`. Outcomes without a letter are `U`.
- `NumPagesBilled` is what the far end confirmed, once the fax is sent; 0 before and on error. Of a received fax, its pages.
- A received fax is `S` once we have it, `T` while it is being fetched, `H` while a person must help, else `E`.
- A fax without a line of its own has `From` "", a caller who hid the number too.
- `Uri` begins with `/v1` under both prefixes. Flags are booleans. Numbers have the country code and no `+` everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

from gateway.errors import Outcome
from gateway.fax import Account, InboundFax, InboundState, Line, Transmission
from gateway.fax import TransmissionState as T
from gateway.web.guid import guid_of

PREFIX = "/v1"
_STATUS: Mapping[T, str] = {
    T.ACCEPTED: "P",
    T.READY: "P",
    T.DEFERRED: "P",
    T.SENDING: "T",
    T.HELD: "H",
    T.DELIVERED: "S",
    T.FAILED: "E",
    T.CANCELLED: "E",
}
_ERRORS: Mapping[Outcome, str] = {
    Outcome.BUSY: "B",
    Outcome.NO_ANSWER: "N",
    Outcome.BAD_NUMBER: "A",
    Outcome.DISCONNECTED: "D",
    Outcome.RECIPIENT_BLOCKED: "L",
}
_OTHER_ERROR = "U"


def encoded(value: object) -> bytes:
    """JSON as the service writes it: slashes in strings are escaped (a slash stands nowhere else in JSON)."""
    return json.dumps(value, separators=(",", ":")).replace("/", "\\/").encode("ascii")


def transmission_object(account: Account, transmission: Transmission) -> dict[str, object]:
    """A sent fax (section 6 of the reference), without the key that wraps it."""
    status = _STATUS[transmission.state]
    error = _ERRORS.get(transmission.outcome, _OTHER_ERROR) if transmission.outcome else _OTHER_ERROR
    return _fax(
        account,
        transmission.id,
        to=transmission.number,
        sender=transmission.caller,
        inbound=False,
        status=status,
        error=error,
        created_at=transmission.accepted_at,
        updated_at=transmission.updated_at,
        pages=(transmission.pages_sent or transmission.pages) if status == "S" else 0,
    )


def inbound_object(account: Account, fax: InboundFax) -> dict[str, object]:
    """A received fax, in the same shape."""
    return _fax(
        account,
        fax.id,
        to=fax.line,
        sender=fax.caller,
        inbound=True,
        status=_received(fax),
        error=_OTHER_ERROR,
        created_at=fax.received_at,
        updated_at=fax.received_at,
        pages=fax.pages,
    )


def accepted_object(account: Account, identity: str, *, number: str, caller: str, at: datetime) -> dict[str, object]:
    """A fax that was accepted a moment ago, where the spool cannot be read again."""
    return _fax(
        account,
        identity,
        to=number,
        sender=caller,
        inbound=False,
        status="P",
        error="",
        created_at=at,
        updated_at=at,
        pages=0,
    )


def account_object(account: Account) -> dict[str, object]:
    """An account's settings (section 3)."""
    settings = account.settings
    return {
        "Guid": account.guid,
        "DefaultInboundFaxCallbackUrl": settings.inbound_callback,
        "DefaultOutboundFaxCallbackUrl": settings.outbound_callback,
        "ShouldSendOutboundConfEmails": settings.confirmations,
        "ShouldIncludePdfsInReceivedFaxEmails": settings.received_pdf,
    }


def line_object(account: Account, line: Line) -> dict[str, object]:
    """A fax line (section 4)."""
    number = _digits(line.number)
    return {"Number": number, "Uri": f"{account_uri(account)}/FaxLines/{number}"}


def account_uri(account: Account) -> str:
    """The path of an account, without host."""
    return f"{PREFIX}/Accounts/{account.guid}"


def _fax(
    account: Account,
    identity: str,
    *,
    to: str,
    sender: str,
    inbound: bool,
    status: str,
    error: str,
    created_at: datetime,
    updated_at: datetime,
    pages: int,
) -> dict[str, object]:
    guid = guid_of(identity)
    return {
        "Guid": guid,
        "To": _digits(to),
        "From": _digits(sender),
        "IsInbound": inbound,
        "IsDraft": False,
        "TypeCode": "F",
        "StatusCode": status,
        "ErrorCode": error if status == "E" else None,
        "CreatedAt": _seconds(created_at),
        "UpdatedAt": _seconds(updated_at),
        "Uri": f"{account_uri(account)}/Transmissions/{guid}",
        "NumPagesBilled": pages,
    }


def _received(fax: InboundFax) -> str:
    if fax.state is InboundState.ANNOUNCED:
        return "T"
    if fax.state in (InboundState.REFUSED, InboundState.FAILED):
        return "E"
    # What is held because a mailbox would not take it has arrived all the same.
    return "H" if fax.state is InboundState.HELD and fax.document is None else "S"


def _digits(number: str) -> str:
    return number.removeprefix("+")


def _seconds(at: datetime) -> str:
    return str(int(at.timestamp()))
