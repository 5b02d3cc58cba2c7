"""What the PamFax API says about a user, a fax and a received fax. Sections 7.2 and 8 of reference/pamfax.md.

What the public material leaves open, and what was chosen:

- A uuid is our id without its prefix: 26 letters and digits. A fax's document has the fax's uuid.
- In progress: `queued`, `sending`, `retrying`, `delayed`, `held`. `status_code` is 0, or 1 for what has failed.
- A received fax: `sender`, `number` (our line), `pages`, `state`, `read`, `is_spam`, `received`, `complete`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import phonenumbers
from phonenumbers import PhoneNumberType

from gateway.errors import Outcome
from gateway.fax import CoverPage, InboundFax, Transmission
from gateway.fax import TransmissionState as T
from gateway.lifecycle import FINAL
from gateway.number import FaxNumber
from gateway.report.facts import short
from gateway.spool import accounts
from gateway.web.pamfax.call import Call
from gateway.web.pamfax.countries import town
from gateway.web.pamfax.house import House
from gateway.web.pamfax.money import Purse

PUBLISHED = timedelta(days=30)  #: how long what an account publishes can be seen
_STATES = {
    T.ACCEPTED: "queued",
    T.READY: "queued",
    T.SENDING: "sending",
    T.DEFERRED: "retrying",
    T.HELD: "held",
    T.DELIVERED: "success",
    T.FAILED: "failure",
    T.CANCELLED: "cancelled",
}
_KINDS = {
    PhoneNumberType.MOBILE: "MOBILE",
    PhoneNumberType.TOLL_FREE: "FREE",
    PhoneNumberType.VOIP: "VOIP",
    PhoneNumberType.PERSONAL_NUMBER: "PERSONAL",
}


def state(fax: Transmission, now: datetime) -> str:
    waits = fax.state is T.ACCEPTED and fax.due_at is not None and fax.due_at > now
    return "delayed" if waits else _STATES[fax.state]


async def user(house: House, call: Call, purse: Purse) -> dict[str, Any]:
    account = call.account
    address = call.address
    return {
        "uuid": account.guid[:32],
        "username": account.login,
        "created": call.told(await house.store.read(accounts.created, account.id)),
        "credit": purse.credit,
        "free_credit": 0,
        "inactive_credit": 0,
        "reactivated_credit": 0,
        "email": address,
        "confirmed": int(bool(address)),
        "region": purse.region,
        "is_member": 0,
        "cm_availible": 0,
        "name": account.name,
    }


def number_facts(number: str) -> dict[str, Any]:
    """What is known of a fax number in E.164: all of it texts, "" where it is not."""
    fax, parsed = FaxNumber(number), phonenumbers.parse(number)
    national = phonenumbers.national_significant_number(parsed)
    place = town(parsed)
    return {
        "number": number,
        "formatted_number": fax.readable,
        "number_type": _KINDS.get(phonenumbers.number_type(parsed), "FIXED"),
        "country_code": fax.country,
        "country_prefix": str(parsed.country_code),
        "area_code": national[: phonenumbers.length_of_geographical_area_code(parsed)],
        "city": place,
        "description": place,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is told of a sent fax beside what it knows itself."""

    name: str = ""
    """Its recipient's."""
    zone: str = ""
    cover: CoverPage | None = None
    trashed_at: datetime | None = None
    published_at: datetime | None = None

    def told(self, call: Call) -> dict[str, Any]:
        cover = self.cover or CoverPage()
        return {
            "sender_name": cover.sender.strip() or None,
            "cover_text": cover.message or None,
            "cover_data": None,
            "fax_provider_id": None,
            "deleted": call.told(self.trashed_at),
            "removed_from_trash": None,
            "published": call.told(self.published_at),
            "visible_until": call.told(self.published_at + PUBLISHED if self.published_at else None),
        }


def recipient(call: Call, fax: Transmission, purse: Purse, known: Known) -> dict[str, Any]:
    """A fax on its way: `FaxRecipient`."""
    facts = number_facts(fax.number)
    return {
        "uuid": fax.id[3:],
        "number": fax.number,
        "formatted_number": facts["formatted_number"],
        "name": known.name,
        "country": facts["country_code"],
        "area_code": facts["area_code"],
        "zone": known.zone,
        "number_type": facts["number_type"],
        "description": facts["description"],
        "price_per_page": purse.shown(fax.price),
        "price_source": "PNR",
        "price": purse.shown(fax.held),
        "pages": fax.pages or None,
        "currency": purse.currency,
        "currency_rate": purse.rate,
        "state": state(fax, call.now),
        "status_code": 0,
        "status_message": _message(fax),
        "duration": 0,
        "sent": None,
        "completed": None,
        "delivery_started": None,
        "transmission_report": "",
        "created": call.told(fax.accepted_at),
        "updated": call.told(fax.updated_at),
    }


def history(call: Call, fax: Transmission, purse: Purse, known: Known) -> dict[str, Any]:
    """A fax that has ended: `FaxHistoryModel`."""
    facts, delivered = number_facts(fax.number), fax.state is T.DELIVERED
    sent = fax.pages_sent or (fax.pages if delivered else 0)
    return {
        "uuid": fax.id[3:],
        "state": state(fax, call.now),
        "status_code": 0 if delivered else 1,
        "status_message": _message(fax),
        "number": fax.number,
        "formatted_number": facts["formatted_number"],
        "name": known.name,
        "country": facts["country_code"],
        "country_prefix": facts["country_prefix"],
        "area_code": facts["area_code"],
        "zone": known.zone,
        "number_type": facts["number_type"],
        "description": facts["description"],
        "pages": fax.pages,
        "pages_sent": sent,
        "price": purse.shown(fax.cost),
        "price_per_page": purse.shown(fax.price),
        "cost": purse.shown(fax.cost),
        "currency": purse.currency,
        "price_source": "PNR",
        "refunded": 0,
        "sender_fax": fax.caller or None,
        "created": call.told(fax.accepted_at),
        "sent": call.told(fax.finished_at) if delivered else None,
        "completed": call.told(fax.finished_at),
        "cancelled": call.told(fax.finished_at) if fax.state is T.CANCELLED else None,
        **known.told(call),
        "files_present": int(fax.document is not None),
        "file_uuid": fax.id[3:] if fax.document else None,
        "outfile_uuid": fax.id[3:] if fax.document else None,
        "transmission_report": "",
    }


def sent_fax(call: Call, fax: Transmission, purse: Purse, known: Known) -> dict[str, Any]:
    """A fax as it stands in a list."""
    return history(call, fax, purse, known) if fax.state in FINAL else recipient(call, fax, purse, known)


def inbox_fax(call: Call, fax: InboundFax, said: Collection[str]) -> dict[str, Any]:
    """A received fax. `said` are the kinds of mark it has."""
    return {
        "uuid": fax.id[3:],
        "file_uuid": fax.id[3:] if fax.document else None,
        "number": fax.line,
        "sender": fax.caller or fax.station_id,
        "sender_number": fax.caller,
        "sender_name": fax.station_id,
        "pages": fax.pages,
        "state": "success" if fax.document else "receiving",
        "complete": int(fax.complete),
        "read": int("read" in said),
        "is_spam": int("spam" in said),
        "published": int("published" in said),
        "received": call.told(fax.received_at),
        "created": call.told(fax.received_at),
    }


def _message(fax: Transmission) -> str:
    """The reason in words; the operator's own troubles stay his."""
    if fax.state is T.DELIVERED:
        return "ok"
    if fax.outcome in (None, Outcome.DELIVERED):
        return ""
    words = short(fax.outcome)
    return f"{words}: {fax.reason}" if fax.outcome is Outcome.DOCUMENT_REFUSED and fax.reason else words
