"""What comes back: the address that the mail of a received fax is sent from, and what is said to it.

    bounce+OUTBOX-TOKEN@DOMAIN

Only the spool's key makes the token, so that nobody who knows an id can say that a mail came back. A report of a mail server is
read as RFC 3464 has it; anything else is a note, which changes nothing. Sources: RFC 3464 §2.1, §2.3, RFC 3834 §2, RFC 5321
§4.5.5; row ONR-06.
"""

from __future__ import annotations

import email
import hashlib
import hmac
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from enum import StrEnum

from gateway import log
from gateway.fax import OutboxId

_ADDRESS = re.compile(r"bounce\+(out_[0-9a-z]{26})-([0-9a-f]{20})\Z", re.IGNORECASE)
_FORMER = re.compile(r"bounce\+in_[0-9a-z]{26}\Z", re.IGNORECASE)
_LOOKED_AT = 512 * 1024  # octets: the machine's part stands before the mail that is given back
_CLASS = re.compile(r"([245])\.[0-9]{1,3}\.[0-9]{1,3}")


class Verdict(StrEnum):
    """What a mail to such an address says."""

    FAILED = "failed"  #: given back for good
    DELAYED = "delayed"  #: still being tried
    DELIVERED = "delivered"  #: arrived, or handed on
    AUTOMATIC = "automatic"  #: written by a program and no report: somebody is on holiday
    NOTE = "note"  #: anything else: a person reads it


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One mail to such an address, read."""

    verdict: Verdict
    words: str
    """What the server says: status, diagnostic, recipient; of a note its subject. One line."""


class Bounces:
    """The addresses of one spool, whose key `key` gives when it is first needed."""

    def __init__(self, key: Callable[[], bytes], domain: str) -> None:
        self._key, self._domain = key, domain

    def address(self, outbox: OutboxId) -> str:
        """The envelope sender of a mail."""
        return f"bounce+{outbox}-{self._token(outbox)}@{self._domain}"

    def outbox(self, address: str) -> OutboxId | None:
        """The mail that an address is of; None where we have not made it."""
        found = _ADDRESS.match(address.rpartition("@")[0])
        if found is None:
            return None
        outbox = OutboxId(found[1].lower())
        return outbox if hmac.compare_digest(self._token(outbox), found[2].lower()) else None

    def is_known(self, address: str) -> bool:
        """Whether mail to it is taken. What comes to an address without a token, as earlier versions made them, goes to the
        operator and changes nothing."""
        return self.outbox(address) is not None or _FORMER.match(address.rpartition("@")[0]) is not None

    def _token(self, outbox: str) -> str:
        return hmac.digest(self._key(), f"bounce {outbox}".encode(), hashlib.sha256).hex()[:20]


def read(content: bytes) -> Notice:
    """What a mail says. Lines may end as they like; nothing it holds raises."""
    mail = email.message_from_bytes(content[:_LOOKED_AT])
    verdicts = [_said(block) for block in _recipients(mail)]
    for verdict in (Verdict.FAILED, Verdict.DELAYED, Verdict.DELIVERED):
        if words := [words for one, words in verdicts if one is verdict]:
            return Notice(verdict=verdict, words="; ".join(dict.fromkeys(words))[:1000])
    subject = _line(mail.get("Subject", "")) or "(no subject)"
    automatic = _word(mail.get("Auto-Submitted", "no")) not in ("no", "") and mail.get_content_type() != "multipart/report"
    return Notice(verdict=Verdict.AUTOMATIC if automatic else Verdict.NOTE, words=subject)


def _recipients(mail: Message) -> Iterator[Message]:
    """The blocks of a report that are about recipients: all but the first of each machine-readable part."""
    for part in mail.walk():
        blocks = part.get_payload()
        if part.get_content_type() == "message/delivery-status" and isinstance(blocks, list):
            yield from (block for block in blocks if isinstance(block, Message) and ("Action" in block or "Status" in block))


def _said(block: Message) -> tuple[Verdict, str]:
    """What a block says of its recipient."""
    action, status = _word(block.get("Action", "")), _CLASS.search(str(block.get("Status", "")))
    kind = status[1] if status else ""
    words = [str(block.get(name, "")) for name in ("Final-Recipient", "Status", "Diagnostic-Code")]
    said = ", ".join(filter(None, (_line(re.sub(r"^[A-Za-z0-9-]+;\s*", "", one)) for one in words)))
    if action == "failed" or (not action and kind == "5"):
        return Verdict.FAILED, said
    if action == "delayed" or (not action and kind == "4"):
        return Verdict.DELAYED, said
    return (Verdict.DELIVERED if action in ("delivered", "relayed", "expanded") else Verdict.NOTE), said


def _word(value: object) -> str:
    return re.split(r"[;(\s]", str(value).strip() + " ")[0].lower()


def _line(value: object) -> str:
    return log.printable(" ".join(str(value).split()), 300)
