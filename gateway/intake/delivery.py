"""For which fax number a mail in a mailbox is, and who handed it in: what the mailbox's own servers wrote on it.

Anybody can write any field. Only what stands above the last Received field of the mailbox's servers is theirs. To and Cc say
what the author wants to be seen, not for whom a mail came, and are read only where the mailbox is set so.
Sources: RFC 2532 §2.2.2, 9228, 8098 §2.1; rows IMP-10, IMP-11, MDN-02, MDN-03, MDN-11.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from gateway import message
from gateway.errors import BadAddress, NotAdmitted
from gateway.intake.fields import fields
from gateway.mailboxes import ImapSection
from gateway.message import Headers, Octets

_COMMENT = re.compile(r"\([^()]*\)")
_BY = re.compile(r"(?:^|\s)by\s+([A-Za-z0-9.:-]{1,255})", re.IGNORECASE)
_LONGEST = 20_000  # characters of address fields that are read
SENT = "$mdnsent"
"""The keyword of a mail whose sender was told what became of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What the mailbox's servers wrote on a mail."""

    delivered_to: str = ""
    """The topmost `delivery_header`, without angle brackets; "" where there is none of theirs."""
    return_path: str | None = None
    """Of the envelope; "" = empty, None = they do not say."""
    theirs: bool = False
    """It came through them at all."""


def label(mail: Octets, section: ImapSection) -> Label:
    """What stands above the last Received field of the mailbox's servers; nothing, where the Received fields are not theirs."""
    servers = {name.lower() for name in section.servers}
    wanted = section.delivery_header.lower()
    found: dict[str, str] = {}
    received = 0
    for field in fields(mail):
        if field.name == "received":
            received += 1
            by = _BY.search(_COMMENT.sub(" ", field.value[:_LONGEST]))
            if by is None or not _is_theirs(by[1].lower(), servers):
                return Label()
            if received == section.received:
                return Label(
                    delivered_to=found.get(wanted, "").strip("<> "),
                    return_path=found["return-path"].strip("<> ") if "return-path" in found else None,
                    theirs=True,
                )
        elif field.name in (wanted, "return-path"):
            found.setdefault(field.name, field.value)
    return Label()


def _is_theirs(host: str, servers: Collection[str]) -> bool:
    """Whether a host is one of those named: whole, by the domain it is in (".example.com"), or by how its address begins."""
    return host in servers or any(
        (name.startswith(".") and host.endswith(name)) or (name.endswith(":") and host.startswith(name)) for name in servers
    )


def addressed(section: ImapSection, written: Label, mail: Octets, domains: Collection[str]) -> list[tuple[str, str]]:
    """For whom a mail is, where an address says so: the address as written, and as the door for mail servers would get it.

    Raises NotAdmitted, BadAddress.
    """
    if section.number == "delivery":
        if not written.theirs:
            raise NotAdmitted("This mail did not come through the servers of this mailbox.")
        if not written.delivered_to:
            raise BadAddress("The server of this mailbox did not write for which address this mail came.")
        return [(written.delivered_to, _path(section, written.delivered_to, domains))]
    said = [one.value for one in fields(mail) if one.name in ("to", "cc")]
    if sum(map(len, said)) > _LONGEST:
        raise BadAddress("This mail names too many addresses.")
    named = dict.fromkeys(message.addresses(said))
    ours = [one for one in named if one.rpartition("@")[2].lower() in domains or _detail(section, one)]
    if not ours:
        raise BadAddress("No address in To or Cc of this mail names a fax number here.")
    return [(one, _path(section, one, domains)) for one in ours]


def answered(mail: Octets, domains: Collection[str]) -> list[str]:
    """The addresses for answers to our own mails (`desk.replies`) that a mail names in To or Cc."""
    said = [one.value for one in fields(mail) if one.name in ("to", "cc")]
    if sum(map(len, said)) > _LONGEST:
        return []
    named = dict.fromkeys(message.addresses(said))
    return [one for one in named if one[:6].lower() == "reply+" and one.rpartition("@")[2].lower() in domains]


def _path(section: ImapSection, address: str, domains: Collection[str]) -> str:
    """An address at one of our domains, or the mailbox's own with the number behind a plus: fax+14155550123@example.com."""
    if address.rpartition("@")[2].lower() in domains:
        return address
    if detail := _detail(section, address):
        return f"{detail}@{next(iter(domains))}"
    raise BadAddress("The address of this mail names no fax number. Write to one like 14155550123@ the domain of this gateway.")


def _detail(section: ImapSection, address: str) -> str:
    """What stands behind the plus, where the address is the mailbox's own; "" elsewhere."""
    local, _, domain = address.rpartition("@")
    own, _, own_domain = section.own_address.rpartition("@")
    name, plus, detail = local.partition("+")
    return detail if plus and (name.lower(), domain.lower()) == (own.lower(), own_domain.lower()) else ""


def disposition_to(
    section: ImapSection, headers: Headers, mail: Octets, written: Label, flags: Collection[str], *, kept: bool
) -> str:
    """Where a disposition notification about a mail may go; "" = nowhere.

    flags  of the mail, lower case
    kept   the folder can keep the keyword that says it was sent
    """
    asked = [one.value for one in fields(mail) if one.name == "disposition-notification-to"]
    if not section.mdn or not kept or SENT in flags or len(asked) != 1 or len(asked[0]) > _LONGEST:
        return ""
    if headers.content_type == "multipart/report" or not written.return_path:
        return ""
    found = message.addresses(asked)
    return found[0] if len(found) == 1 and _same(found[0], written.return_path) else ""


def _same(one: str, other: str) -> bool:
    """Whether two addresses are one: the case of the local part matters, that of the domain does not."""
    (local, _, domain), (name, _, host) = one.rpartition("@"), other.rpartition("@")
    return local == name and domain.lower() == host.lower()
