"""FaxHistory: what was sent and what arrived. Sections 6.5, 7.4 and 9 of reference/pamfax.md.

What the public material leaves open, and what was chosen:

- Lists have the attributes `current_page` and `items_per_page`. DeleteFaxes and the like answer the list `Faxes` of the uuids
  they changed, SetSpamStateForFaxes also `Errors`. What is not there is left out, not a fault, where several are named.
- Marks, notes and the trash are this door's: a fax in the trash is kept, sent and mailed all the same. So is one that is there
  from its arrival, because fifteen of its sender's number are marked as spam; without a number it is `empty_sender`.
- A published fax can be read by anybody who has its link, for 30 days: GetPublishedFax tells its pages, GetFile and
  GetPagePreview give them to whoever has signed in. What has gone from the trash is published no more.
- The transmission report is made when it is asked for, of a fax that has ended; its first page is on it while it is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.responses import Response

from gateway.carriers.pamfax_wire import Listing
from gateway.fax import InboundFax, Transmission
from gateway.fax import TransmissionState as T
from gateway.lifecycle import FINAL
from gateway.number import FaxNumber
from gateway.spool import pamfax as records
from gateway.spool import queries
from gateway.spool.commit import Transaction
from gateway.web.pamfax import faxes, money, report, shapes
from gateway.web.pamfax.call import Call, Fault, Members, Processor, listed, own
from gateway.web.pamfax.house import House
from gateway.web.pamfax.sending import OPEN

fax_history = Processor("FaxHistory")
_KINDS = ("history", "inbox", "inbox_unread", "outbox", "unpaid")
_RECENT = frozenset({"sent", "outbox", "inbox"})
_LONGEST_NOTE = 2000
_THUMB = 600  # pixels, of the page on a report


async def _inbox(house: House, call: Call, some: Sequence[InboundFax]) -> list[dict[str, Any]]:
    marks = await house.store.read(records.marks, call.account.id, about=[fax.id for fax in some])
    return [shapes.inbox_fax(call, fax, {mark.kind for mark in marks if mark.about == fax.id}) for fax in some]


@fax_history.method("ListInboxFaxes")
@fax_history.method("ListInboxFax")
async def list_inbox_faxes(house: House, call: Call) -> Members:
    size, offset = call.page()
    found = await house.store.read(records.received, call.account.id, limit=size, offset=offset)
    return {"InboxFaxes": listed(call, await _inbox(house, call, found), "InboxFax")}


@fax_history.method("ListSentFaxes")
async def list_sent_faxes(house: House, call: Call) -> Members:
    return {"SentFaxes": await _sent(house, call, tuple(FINAL), "SentFax")}


@fax_history.method("ListOutboxFaxes")
async def list_outbox_faxes(house: House, call: Call) -> Members:
    return {"OutboxFaxes": await _sent(house, call, OPEN, "OutboxFax")}


async def _sent(house: House, call: Call, states: Sequence[T], entry: str) -> Listing:
    size, offset = call.page()
    found = await house.store.read(records.sent, call.account.id, states, limit=size, offset=offset)
    return listed(call, await _told(house, call, found), entry)


async def _told(house: House, call: Call, some: Sequence[Transmission]) -> list[dict[str, Any]]:
    """Sent faxes as they stand in a list."""
    purse, ids = await money.of(house, call.account), [fax.id for fax in some]
    said = await house.store.read(records.said_of, ids)
    marks = await house.store.read(records.marks, call.account.id, kinds=("trash", "published"), about=ids) if ids else []
    marked = {(mark.about, mark.kind): mark.at for mark in marks}
    known = [
        shapes.Known(
            name=said[fax.id].name if fax.id in said else "",
            zone=house.prices.page(FaxNumber(fax.number)).zone,
            cover=said[fax.id].cover if fax.id in said else None,
            trashed_at=marked.get((fax.id, "trash")),
            published_at=marked.get((fax.id, "published")),
        )
        for fax in some
    ]
    return [shapes.sent_fax(call, fax, purse, one) for fax, one in zip(some, known, strict=True)]


@fax_history.method("ListRecentFaxes")
async def list_recent_faxes(house: House, call: Call) -> Members:
    count, kinds = max(1, call.count("count", 15, 100)), call.kinds("data_to_list") or _RECENT
    states = [*(FINAL if "sent" in kinds else ()), *(OPEN if "outbox" in kinds else ())]
    sent = await house.store.read(records.sent, call.account.id, states, limit=count)
    sent = [fax for fax in sent if shapes.state(fax, call.now) != "delayed"]
    arrived = await house.store.read(records.received, call.account.id, limit=count) if "inbox" in kinds else []
    told = zip((fax.accepted_at for fax in sent), await _told(house, call, sent), strict=True)
    came = zip((fax.received_at for fax in arrived), await _inbox(house, call, arrived), strict=True)
    every = sorted(
        [*((at, {**one, "direction": "out"}) for at, one in told), *((at, {**one, "direction": "in"}) for at, one in came)],
        key=lambda one: one[0],
        reverse=True,
    )
    return {"RecentFaxes": [one for _, one in every[:count]]}


@fax_history.method("ListUnpaidFaxes")
async def list_unpaid_faxes(house: House, call: Call) -> Members:
    size, offset = call.page()
    some = (await house.ledger.unpaid(call.account.id))[offset : offset + size]
    found = await house.store.read(queries.transmissions, some)
    told = await _told(house, call, [found[one] for one in some if one in found])
    return {"UnpaidFaxes": listed(call, told, "UnpaidFax")}


@fax_history.method("GetFaxDetails")
async def get_fax_details(house: House, call: Call) -> Members:
    fax = await faxes.any_fax(house, call, call.needed("uuid", 64))
    if isinstance(fax, InboundFax):
        return {"InboxFax": (await _inbox(house, call, [fax]))[0]}
    name = "FaxHistoryModel" if fax.state in FINAL else "FaxRecipient"
    return {name: (await _told(house, call, [fax]))[0]}


@fax_history.method("ListFaxGroup")
@fax_history.method("GetFaxGroup")
async def list_fax_group(house: House, call: Call) -> Members:
    fax = await faxes.sent(house, call, call.needed("uuid", 64))
    size, offset = call.page()
    some = (await house.store.read(records.group, fax.id))[offset : offset + size]
    return {"Faxes": listed(call, await _told(house, call, some), "Fax")}


@fax_history.method("GetInboxFax")
async def get_inbox_fax(house: House, call: Call) -> Members:
    fax = await faxes.received(house, call, call.needed("uuid", 64))
    if call.flag("mark_read"):
        await house.store.write(records.mark, call.account.id, fax.id, "read")
    return {"InboxFax": (await _inbox(house, call, [fax]))[0]}


@fax_history.method("CountFaxes")
async def count_faxes(house: House, call: Call) -> Members:
    wanted = call.needed("type", 20).lower()
    if wanted not in (*_KINDS, "all"):
        raise Fault("bad_property", f"type is one of {', '.join(_KINDS)}, all.")
    of, counts = call.account.id, dict[str, int]()
    counts["history"] = await house.store.read(records.sent_count, of, tuple(FINAL))
    counts["inbox"] = await house.store.read(records.received_count, of)
    counts["inbox_unread"] = await house.store.read(records.received_count, of, unread=True)
    counts["outbox"] = await house.store.read(records.sent_count, of, OPEN)
    counts["unpaid"] = len(await house.ledger.unpaid(of))
    return {"Faxes": counts if wanted == "all" else {"type": wanted, "count": counts[wanted]}}


@fax_history.method("GetTransmissionReport")
async def get_transmission_report(house: House, call: Call) -> Response:
    fax = await faxes.sent(house, call, call.needed("uuid", 64))
    if fax.state not in FINAL:
        raise Fault("fax_not_ready", "This fax has not ended yet.")
    case = await house.store.read(queries.case, fax.id)
    if case is None:
        raise Fault("fax_not_found", "There is no such fax.")
    page = await house.previews.picture(fax.document, 1, _THUMB) if fax.document else None
    return file(report.drawn(case, call.zone, house.config.paper, page), "application/pdf", f"report-{fax.id[3:]}.pdf")


def file(content: bytes, kind: str, name: str) -> Response:
    """A binary answer."""
    return Response(content, media_type=kind, headers={"content-disposition": f'attachment; filename="{name}"'})


# Marks


async def _marked(house: House, call: Call, uuids: Sequence[str], kind: str, *, on: bool = True) -> list[str]:
    """Those of some faxes whose mark changed."""
    verb, changed = records.mark if on else records.unmark, []
    for uuid in uuids:
        fax = await faxes.find(house, call, uuid)
        if fax is not None and await house.store.write(verb, call.account.id, fax.id, kind):
            changed.append(uuid)
    return changed


def _uuids(some: Sequence[str]) -> list[dict[str, Any]]:
    return [{"uuid": uuid} for uuid in some]


@fax_history.method("SetFaxRead")
async def set_fax_read(house: House, call: Call) -> Members:
    fax = await faxes.received(house, call, call.needed("uuid", 64))
    await _marked(house, call, [fax.id[3:]], "read")
    return {}


@fax_history.method("SetFaxesAsRead")
async def set_faxes_as_read(house: House, call: Call) -> Members:
    return {"Faxes": _uuids(await _marked(house, call, own(call.texts("uuids"), "uuids"), "read"))}


@fax_history.method("SetSpamStateForFaxes")
async def set_spam_state(house: House, call: Call) -> Members:
    on, wrong, right = call.flag("is_spam"), dict[str, str](), list[str]()
    for uuid in own(call.texts("uuids"), "uuids"):
        fax = await faxes.find(house, call, uuid)
        if not isinstance(fax, InboundFax):
            wrong[uuid] = "fax_not_found"
        elif on and not fax.caller:
            wrong[uuid] = "empty_sender"
        else:
            right.append(uuid)
    changed = await _marked(house, call, right, "spam", on=on)
    return {"Faxes": _uuids(changed), "Errors": [{"uuid": uuid, "code": code} for uuid, code in wrong.items()]}


@fax_history.method("DeleteFax")
async def delete_fax(house: House, call: Call) -> Members:
    fax = await faxes.any_fax(house, call, call.needed("uuid", 64))
    await _marked(house, call, await _with_siblings(house, call, [fax.id[3:]]), "trash")
    return {}


@fax_history.method("DeleteFaxes")
async def delete_faxes(house: House, call: Call) -> Members:
    uuids = await _with_siblings(house, call, own(call.texts("uuids"), "uuids"))
    return {"Faxes": _uuids(await _marked(house, call, uuids, "trash"))}


async def _with_siblings(house: House, call: Call, uuids: Sequence[str]) -> Sequence[str]:
    if not call.flag("siblings_too"):
        return uuids
    every = dict.fromkeys(uuids)
    for uuid in uuids:
        fax = await faxes.find(house, call, uuid)
        if isinstance(fax, Transmission):
            every |= dict.fromkeys(one.id[3:] for one in await house.store.read(records.group, fax.id))
    return list(every)


@fax_history.method("DeleteFaxesForPeriod")
async def delete_faxes_for_period(house: House, call: Call) -> Members:
    kind, first, last = call.needed("type", 20).lower(), _day(call, "date1"), _day(call, "date2", 1)
    if kind not in ("history", "inbox", "all"):
        raise Fault("bad_property", "type is history, inbox or all.")
    some = await house.store.read(
        records.between, call.account.id, first, last, sent=kind != "inbox", received=kind != "history"
    )
    mark = "removed" if call.flag("no_trash") else "trash"
    changed = await house.store.write(records.mark_all, call.account.id, some, mark)
    return {"Faxes": _uuids([fax[3:] for fax in changed])}


def _day(call: Call, name: str, later: int = 0) -> datetime:
    """The beginning of a day, or of one so many days later, in the caller's zone; UTC. Raises Fault."""
    try:
        day = datetime.strptime(call.needed(name, 30)[:10], "%Y-%m-%d").replace(tzinfo=call.zone)
        return (day + timedelta(days=later)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Fault("bad_date_value", f"{name} is written like 2011-05-04.") from error


@fax_history.method("RestoreFax")
async def restore_fax(house: House, call: Call) -> Members:
    if not await _marked(house, call, [call.needed("uuid", 64)], "trash", on=False):
        raise Fault("fax_not_found", "There is no such fax in the trash.")
    return {}


@fax_history.method("ListTrash")
async def list_trash(house: House, call: Call) -> Members:
    size, offset = call.page()
    told = []
    for uuid in (await _trash(house, call))[offset : offset + size]:
        fax = await faxes.find(house, call, uuid)
        if isinstance(fax, InboundFax):
            told += [{**one, "direction": "in"} for one in await _inbox(house, call, [fax])]
        elif fax is not None:
            told += [{**one, "direction": "out"} for one in await _told(house, call, [fax])]
    return {"TrashFaxes": listed(call, told, "TrashFax")}


async def _trash(house: House, call: Call) -> list[str]:
    of = call.account.id
    removed = {mark.about for mark in await house.store.read(records.marks, of, kinds=("removed",))}
    marks = await house.store.read(records.marks, of, kinds=("trash",))
    return [mark.about[3:] for mark in reversed(marks) if mark.about not in removed]


@fax_history.method("DeleteFaxFromTrash")
async def delete_fax_from_trash(house: House, call: Call) -> Members:
    uuid = call.needed("uuid", 64)
    if uuid not in await _trash(house, call):
        raise Fault("fax_not_found", "There is no such fax in the trash.")
    await _marked(house, call, [uuid], "removed")
    return {}


@fax_history.method("DeleteFaxesFromTrash")
async def delete_faxes_from_trash(house: House, call: Call) -> Members:
    there = set(await _trash(house, call))
    uuids = [uuid for uuid in own(call.texts("uuids"), "uuids") if uuid in there]
    return {"Faxes": _uuids(await _marked(house, call, uuids, "removed"))}


@fax_history.method("EmptyTrash")
async def empty_trash(house: House, call: Call) -> Members:
    some = [mark.about for mark in await house.store.read(records.marks, call.account.id, kinds=("trash",))]
    await house.store.write(records.mark_all, call.account.id, some, "removed")
    return {}


@fax_history.method("AddFaxNote")
async def add_fax_note(house: House, call: Call) -> Members:
    fax = await faxes.any_fax(house, call, call.needed("fax_uuid", 64))
    if not await house.store.write(records.note, call.account.id, fax.id, call.needed("note", _LONGEST_NOTE)):
        raise Fault("bad_property", "This fax has as many notes as it can have.")
    return {}


@fax_history.method("ListFaxNotes")
async def list_fax_notes(house: House, call: Call) -> Members:
    fax = await faxes.any_fax(house, call, call.needed("fax_uuid", 64))
    notes = await house.store.read(records.marks, call.account.id, kinds=("note",), about=(fax.id,))
    return {"Notes": [{"id": note.n, "note": note.text, "created": call.told(note.at)} for note in reversed(notes)]}


@fax_history.method("PublishFax")
async def publish_fax(house: House, call: Call) -> Members:
    """Again: for 30 days from now."""
    fax = await faxes.any_fax(house, call, call.needed("uuid", 64))

    def published(t: Transaction) -> None:
        records.unmark(t, call.account.id, fax.id, "published")
        records.mark(t, call.account.id, fax.id, "published")

    await house.store.write(published)
    return {"PublishedFax": {"uuid": fax.id[3:], "visible_until": call.told(house.store.now() + shapes.PUBLISHED)}}


@fax_history.method("UnPublishFax")
async def unpublish_fax(house: House, call: Call) -> Members:
    fax = await faxes.any_fax(house, call, call.needed("uuid", 64))
    await _marked(house, call, [fax.id[3:]], "published", on=False)
    return {}


@fax_history.method("GetPublishedFax", user=False)
async def get_published_fax(house: House, call: Call) -> Members:
    """Whoever knows the uuid, 74 random bits, has the link."""
    uuid = call.needed("uuid", 64)
    if (found := await faxes.published(house, uuid)) is None:
        raise Fault("fax_not_found", "There is no such published fax.")
    fax, until = found
    return {"PublishedFax": {"uuid": uuid, "pages": fax.pages, "file_uuid": uuid, "visible_until": call.told(until)}}


@fax_history.method("ListRecentRecipients")
async def list_recent_recipients(house: House, call: Call) -> Members:
    hidden = {mark.about for mark in await house.store.read(records.marks, call.account.id, kinds=("unlisted",))}
    numbers = dict[str, str | None]()
    for fax in await house.store.read(records.sent, call.account.id, tuple(T), limit=100):
        if fax.number not in hidden:
            numbers.setdefault(fax.number, call.told(fax.accepted_at))
    return {"Recipients": [{**shapes.number_facts(one), "last": at} for one, at in numbers.items()]}


@fax_history.method("DeleteFromListRecentRecipients")
async def delete_from_list_recent_recipients(house: House, call: Call) -> Members:
    number = call.needed("number", 40)
    await house.store.write(records.mark, call.account.id, f"+{number.lstrip('+')}", "unlisted")
    return {}
