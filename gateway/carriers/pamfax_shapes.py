"""What the PamFax API says about a fax, as values: its states, its numbers, its times, its money.

Read from `pamfax_wire.Answer`, where every scalar is text. Lenient where the wire reference does not know (12): members
may be missing; strict where a wrong value would do harm. Source of each shape: the section named with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from gateway.carriers.base import Statuses
from gateway.carriers.pamfax_wire import Answer
from gateway.errors import Outcome
from gateway.fax import AttemptState

M = TypeVar("M", bound=BaseModel)

#: The states of a fax. Source: wire reference, 7.2. The texts of a fax in progress are not known there: the second half is
#: our own door's. `failure`: the carrier has redialled until its time was over.
STATUSES: Statuses = {
    "unknown": (AttemptState.SUBMITTED, None),  # before sending
    "editing": (AttemptState.SUBMITTED, None),
    "ready_to_send": (AttemptState.SUBMITTED, None),
    "not_enough_credit": (AttemptState.SUBMITTED, None),
    "success": (AttemptState.DELIVERED, Outcome.DELIVERED),
    "failure": (AttemptState.FAILED, Outcome.GAVE_UP),
    "cancelled": (AttemptState.CANCELLED, Outcome.CANCELLED),
    "queued": (AttemptState.SUBMITTED, None),
    "sending": (AttemptState.SUBMITTED, None),
    "retrying": (AttemptState.SUBMITTED, None),
    "delayed": (AttemptState.SUBMITTED, None),
    "held": (AttemptState.SUBMITTED, None),
}
UNPAID = "not_enough_credit"
FAILED_PAGES = "conversion_failed"  # of a job; our own door's
#: What a failure's `status_message` may say (8: it gives the reason). The set is not known: these are our own door's. Any
#: other text leaves the state's own meaning, so a wrong guess is impossible.
REASONS: Mapping[str, Outcome] = {
    "line busy": Outcome.BUSY,
    "no answer": Outcome.NO_ANSWER,
    "a person or a voice system answered": Outcome.NOT_A_FAX,
    "no such number": Outcome.BAD_NUMBER,
    "number out of service": Outcome.DISCONNECTED,
    "the call broke off": Outcome.LINE_TROUBLE,
    "only some pages were confirmed": Outcome.PARTLY_SENT,
    "the document cannot be faxed": Outcome.DOCUMENT_REFUSED,
    "faxes to this number are blocked": Outcome.RECIPIENT_BLOCKED,
    "the call could not be placed": Outcome.NO_CREDIT,
    "not allowed": Outcome.NOT_AUTHORISED,
    "fault at the telephone carrier": Outcome.CARRIER_TROUBLE,
    "result unknown": Outcome.UNKNOWN,
}


def _counted(value: object) -> object:
    """Pages: a text, "2" or "2.0"; what is no number is none."""
    match = re.fullmatch(r"([0-9]{1,6})(\.0*)?", value) if isinstance(value, str) else None
    return int(match[1]) if match else 0


def _amount(value: object) -> Decimal | None:
    """Money: "0.1", "12,5"; None where it is no number."""
    text = value.strip().replace(",", ".") if isinstance(value, str) else ""
    return Decimal(text) if re.fullmatch(r"-?[0-9]{1,12}(\.[0-9]{1,12})?", text) else None


Count = Annotated[int, BeforeValidator(_counted)]
Amount = Annotated[Decimal | None, BeforeValidator(_amount)]
Text = Annotated[str, Field(max_length=2000)]
Ref = Annotated[str, Field(pattern=r"^[!-~]{1,80}$")]


class _Said(BaseModel):
    """Base: members we do not know are passed over."""

    model_config = ConfigDict(frozen=True)


class Token(_Said):
    """`UserToken` (6.1)."""

    token: Annotated[str, Field(min_length=1, max_length=500)]


class User(_Said):
    """`User`, with `Currency` beside it (8)."""

    credit: Amount = None


class Currency(_Said):
    """The currency of the account's money (8)."""

    code: Text = ""


class Container(_Said):
    """`FaxContainer`: the job (8)."""

    state: Text = ""
    pages: Count = 0
    price: Amount = None
    currency: Text = ""


class Recipient(_Said):
    """`FaxRecipient`, and an entry of `Recipients` (8)."""

    uuid: Text = ""
    number: Text = ""


class File(_Said):
    """An entry of `Files` in `ListFaxFiles` (8)."""

    size: Text = ""
    contentmd5: Text = ""


class Price(_Said):
    """`Price` (10)."""

    priceperpage: Amount = None
    currency: Text = ""


class Fax(_Said):
    """A fax on its way or at its end, alone or in a list (8); lists by analogy (12)."""

    uuid: Ref
    state: Text = ""
    status_message: Text = ""
    number: Text = ""
    pages: Count = 0
    pages_sent: Count = 0
    created: Text = ""
    sent: Text = ""


class Received(_Said):
    """An entry of `InboxFaxes` (9): only uuid, file_uuid and received are known; the others are as our own door says them."""

    uuid: Ref
    file_uuid: Text = ""
    received: Text = ""
    number: Text = ""
    sender: Text = ""
    sender_number: Text = ""
    sender_name: Text = ""
    pages: Count = 0
    complete: Text = "1"


class Inbox(_Said):
    """An entry of `FaxInNumberList` (9)."""

    number: Text = ""


def one(answer: Answer, name: str, model: type[M]) -> M:
    """A member of an answer; ValueError where it is missing or makes no sense."""
    return model.model_validate(answer.members.get(name) or {})


def several(answer: Answer, name: str, model: type[M]) -> Sequence[M]:
    """The entries of a list. Where the list has another name, the only list there is (12.4). ValueError: there is none."""
    found: Any = answer.members.get(name)
    if not isinstance(found, list):
        lists = [member for member in answer.members.values() if isinstance(member, list)]
        if len(lists) != 1:
            raise ValueError("not one list")
        found = lists[0]
    return [model.model_validate(entry) for entry in found]


def e164(written: str) -> str:
    """A number of theirs in E.164, "" where it is none. A "+" may have become a space on the way (11)."""
    bare = re.sub(r"[ ()./-]", "", written.strip()).removeprefix("+")
    return f"+{bare}" if re.fullmatch(r"[1-9][0-9]{6,14}", bare) else ""


def moment(written: str, zone: ZoneInfo) -> datetime | None:
    """A time of theirs (11); None where it is none."""
    try:
        return datetime.strptime(written, "%Y-%m-%d %H:%M:%S").replace(tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def reason(message: str) -> Outcome | None:
    """Why a fax failed, where its message says so in words that we know."""
    return REASONS.get(message.partition(":")[0].strip().lower())
