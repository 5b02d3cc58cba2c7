"""The Received field we put on top of a mail (RFC 5321 §4.4, row SMT-19)."""

from __future__ import annotations

import email.utils
import ipaddress
import re
from datetime import datetime

from gateway.fax import Door
from gateway.intake.authentication import Client


def received(client: Client, *, host: str, recipients: list[str], at: datetime) -> bytes:
    """One folded field with its CRLF. Names the recipient only where there is exactly one, so that nobody learns of others."""
    for_one = f"\r\n\tfor <{recipients[0]}>" if len(recipients) == 1 and len(recipients[0]) < 200 else ""
    tls = f" ({client.tls})" if client.tls else ""
    return (
        f"Received: from {_name(client.helo)} ({_literal(client.address)})\r\n"
        f"\tby {host} (Faxgate) with {protocol(client)}{tls}{for_one};\r\n"
        f"\t{email.utils.format_datetime(at)}\r\n"
    ).encode("ascii", "replace")


def protocol(client: Client) -> str:
    """SMTP, ESMTP, ESMTPS, ESMTPA, ESMTPSA or LMTP (RFC 3848); IMAP for what was picked up."""
    if client.door is Door.IMAP:
        return "IMAP"
    if not client.extended:
        return "SMTP"
    return ("LMTP" if client.door is Door.LMTP else "ESMTP") + ("S" if client.tls else "") + ("A" if client.account else "")


def _name(helo: str) -> str:
    """The client's claim, if it can stand in a field."""
    return helo if re.fullmatch(r"[A-Za-z0-9.:\[\]_-]{1,255}", helo) else "unknown"


def _literal(address: str) -> str:
    if not address:
        return "local"
    return f"[IPv6:{address}]" if isinstance(ipaddress.ip_address(address), ipaddress.IPv6Address) else f"[{address}]"
