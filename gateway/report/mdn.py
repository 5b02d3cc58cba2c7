"""Disposition notifications: the machine-readable part of a report about a mail that was picked up from a mailbox.

What comes by a mail transport is answered by delivery status notifications (`dsn`), what is fetched by IMAP by these, and
only where the mail asked for them and the door found that they may go there: nobody promised a transport anything about it (RFC 2532 section 2.2.2). Says only what
RFC 8098 has: *dispatched* when the fax is through, *processed/error* with the reason when it will not be.

Sources: RFC 8098, 3249 section 4.4.1.2, 2532; reference/internet-fax-standards.md rows MDN-04 to MDN-10, section 18.4.
"""

from __future__ import annotations

from gateway.fax import Recipient
from gateway.log import printable
from gateway.report import dsn, mime

_SENT = "automatic-action/MDN-sent-automatically"


def report(boundary: str, people: mime.Part, disposition: mime.Part, original: bytes) -> mime.Part:
    """The frame of RFC 6522: words for people, the machine part, the header of the original where there is one."""
    parts = [people, disposition]
    if block := dsn.header_block(original):
        parts.append(mime.verbatim("text/rfc822-headers", block))
    return mime.multipart("report; report-type=disposition-notification", boundary, parts)


def disposition_part(*, host: str, recipient: Recipient, group: dsn.Group, message_id: str, words: str) -> mime.Part:
    """`message/disposition-notification`; `words` say in a few what went wrong."""
    done = group.action in (dsn.Action.DELIVERED, dsn.Action.RELAYED)
    error = f"{printable(words, 200)} ({dsn.status_of(group)})"
    fields = [
        ("Reporting-UA", f"{host}; Faxgate"),
        *dsn.names(recipient),
        ("Original-Message-ID", mime.message_ids([message_id])),
        ("Disposition", f"{_SENT}; {'dispatched' if done else 'processed/error'}"),
        ("Error", "" if done else error),
    ]
    return mime.verbatim("message/disposition-notification", mime.block(fields))
