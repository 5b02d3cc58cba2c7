"""FaxJob, first part: a fax is put together. Sections 6.4, 7.1 and 8 of reference/pamfax.md. Its files: `files`; its cover:
`covers`; who is told: `notices`; sending it: `sending`.

The job belongs to the session; its record is durable after every call. What the public material leaves open, and what was
chosen:

- Create gives the session's job again, as it is, until it is sent; what nobody sends ends with the session.
- At most 100 recipients, their names cut at 80 characters. A number twice is `duplicate_recipient`.
- A recipient's uuid is that of its fax later. AddRecipients answers the list `Recipients`.
- A file has the state `converting`, `converted` or `failed`; a job whose pages cannot be made has `conversion_failed`, and
  says why in `status_message`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from gateway.desk import posted
from gateway.errors import NoCredit, Refused
from gateway.fax import CoverPage, Recipient, Sha256, new_id
from gateway.message import Headers
from gateway.number import FaxNumber
from gateway.pages import job as pages
from gateway.pages.assemble import Job
from gateway.spool import applications
from gateway.spool import pamfax as records
from gateway.web.pamfax import money, previews, shapes
from gateway.web.pamfax.call import NOT_GIVEN, Call, Fault, Members, Processor, called_number, own
from gateway.web.pamfax.house import House
from gateway.web.pamfax.money import Purse

fax_job = Processor("FaxJob")
Body = records.Body
T = TypeVar("T")
EDITING, SENT = "editing", "sent"
_MOST_RECIPIENTS = 100
_LONGEST_NAME, _LONGEST_SENDER = 80, 50  # characters
_PATIENCE = 0.5  # seconds that a question for the state waits for the pages


async def current(house: House, call: Call) -> Body:
    """The session's job. Raises Fault."""
    body = await house.store.read(records.job, str(call.session.state.get("job", "")), call.account.id)
    if body is None:
        raise Fault("no_fax", "Begin with FaxJob/Create.")
    return body


async def change(house: House, call: Call, edit: Callable[[Body], T], documents: dict[str, Sha256] | None = None) -> T:
    """Change the session's job, unless it has been sent. Raises Fault."""

    def edited(body: Body) -> tuple[T, Body]:
        if body["state"] != EDITING:
            raise Fault("no_fax", "This fax has been sent; begin another one with FaxJob/Create.")
        answer = edit(body)
        made = [body["made"]["id"]] if body.get("made", {}).get("id") else []
        body["documents"] = [*(file["id"] for file in body["files"]), *made]
        return answer, body

    identity = (await current(house, call))["id"]
    answer = await house.store.write(records.change_job, identity, edited, documents)
    if answer is None:
        raise Fault("no_fax", "This fax has gone; begin another one with FaxJob/Create.")
    return answer[0]


@fax_job.method("Create")
async def create(house: House, call: Call) -> Members:
    body = await house.store.read(records.job, str(call.session.state.get("job", "")), call.account.id)
    if body is None or body["state"] != EDITING:
        body = new_body(house, await wishes_of(house, call))
        body["agent"] = call.text("user_agent")[:_LONGEST_NAME]
        await house.store.write(records.open_job, call.session.token, call.account.id, body["id"], body)
    return {"FaxContainer": container(house, call, body, await money.of(house, call.account))}


async def wishes_of(house: House, call: Call) -> dict[str, bool]:
    """Of which ends the account wants a mail, where nothing else is said of a fax."""
    profile = await house.store.read(applications.profile_of, call.account.id)
    return {"success": True, "failure": True, **profile.body.get(applications.NOTIFY, {})}


def new_body(house: House, notify: dict[str, bool] | None = None) -> Body:
    """A job with nothing in it."""
    return {
        "id": new_id("fj")[3:],
        "state": EDITING,
        "created": house.store.now().isoformat(),
        "recipients": [],
        "files": [],
        "cover": {"id": 0, "text": ""},
        "sender": {"number": None, "name": None},
        "notify": notify or {},
        "agent": "",
        "documents": [],
    }


@fax_job.method("AddRecipient")
async def add_recipient(house: House, call: Call) -> Members:
    added = await add(house, call, [(call.raw("number", 100), call.text("name"))], replace=False)
    return {"FaxRecipient": (await told(house, call, added))[0]}


@fax_job.method("AddRecipients")
async def addtold(house: House, call: Call) -> Members:
    return {"Recipients": await told(house, call, await add(house, call, several(call), replace=False))}


@fax_job.method("SetRecipients")
async def settold(house: House, call: Call) -> Members:
    return {"Recipients": await told(house, call, await add(house, call, several(call), replace=True))}


def several(call: Call, numbered: str = "numbers", named: str = "names") -> list[tuple[str, str]]:
    """Numbers and names out of two lists."""
    numbers, names = list(own(call.texts(numbered, bare=False), numbered)), call.texts(named)
    return list(zip(numbers, [*names, *[""] * len(numbers)], strict=False))


async def add(house: House, call: Call, wanted: list[tuple[str, str]], *, replace: bool) -> list[Body]:
    """Add recipients (number and name) to the job, or put them in the place of those it has. Raises Fault."""
    fresh = []
    for written, name in wanted:
        fax = called_number(written, house.config.region).e164
        try:
            with contextlib.suppress(NoCredit):  # asked when it is sent
                await house.desk.admit(call.account, Recipient(written=written, number=fax))
        except Refused as error:
            raise Fault("unsupported_fax_number", error.text) from error
        name = " ".join("".join(c if c.isprintable() else " " for c in name).split())[:_LONGEST_NAME]
        fresh.append({"id": new_id("tx")[3:], "number": fax, "name": "" if name.lower() in NOT_GIVEN else name})

    def edit(body: Body) -> list[Body]:
        known = [] if replace else body["recipients"]
        every = [*known, *fresh]
        if len(every) > _MOST_RECIPIENTS:
            raise Fault("too_many_numbers", f"A fax has at most {_MOST_RECIPIENTS} recipients.")
        if len({one["number"] for one in every}) < len(every):
            raise Fault("duplicate_recipient", "A recipient is given twice.")
        body["recipients"] = every
        return fresh

    return await change(house, call, edit)


async def told(house: House, call: Call, some: list[Body]) -> list[dict[str, Any]]:
    """`Recipients`."""
    purse = await money.of(house, call.account)
    body = await current(house, call)
    return [_recipient(house, call, body, one, purse) for one in some]


def _recipient(house: House, call: Call, body: Body, one: Body, purse: Purse) -> dict[str, Any]:
    facts, price = shapes.number_facts(one["number"]), house.prices.page(FaxNumber(one["number"]))
    count = pages_of(body)
    return {
        "uuid": one["id"],
        "number": one["number"],
        "formatted_number": facts["formatted_number"],
        "name": one["name"],
        "country": facts["country_code"],
        "area_code": facts["area_code"],
        "zone": price.zone,
        "number_type": facts["number_type"],
        "description": facts["description"],
        "price_per_page": purse.shown(price.amount),
        "price_source": "PNR",
        "price": purse.shown(price.amount * (count or 0)),
        "pages": count,
        "currency": purse.currency,
        "currency_rate": purse.rate,
        "state": "unknown",
        "status_code": 0,
        "status_message": None,
        "duration": 0,
        "sent": None,
        "completed": None,
        "delivery_started": None,
        "transmission_report": "",
        "created": call.told(house.store.now()),
        "updated": call.told(house.store.now()),
    }


@fax_job.method("ListRecipients")
async def listtold(house: House, call: Call) -> Members:
    size, offset = call.page(100)
    some = (await current(house, call))["recipients"][offset : offset + size]
    return {"Recipients": await told(house, call, some)}


@fax_job.method("RemoveRecipient")
async def remove_recipient(house: House, call: Call) -> Members:
    fax = called_number(call.raw("number", 100), house.config.region).e164

    def edit(body: Body) -> None:
        left = [one for one in body["recipients"] if one["number"] != fax]
        if len(left) == len(body["recipients"]):
            raise Fault("invalid_recipient", "This fax has no such recipient.")
        body["recipients"] = left

    await change(house, call, edit)
    return {}


@fax_job.method("RemoveAllRecipients")
async def remove_alltold(house: House, call: Call) -> Members:
    await change(house, call, lambda body: body.update(recipients=[]))
    return {}


@fax_job.method("SetSenderDetails")
async def set_sender_details(house: House, call: Call) -> Members:
    sender = {}
    for name in ("number", "name"):
        written = call.raw(name, _LONGEST_SENDER).strip()
        given = name in call.arguments and written.lower() not in ("0", "false")
        sender[name] = written if given and written.isprintable() else None
    await change(house, call, lambda body: body.update(sender=sender))
    return {}


@fax_job.method("GetFaxState")
async def get_fax_state(house: House, call: Call) -> Members:
    body = await prepared(house, call, _PATIENCE)
    state, made = job_state(body), body.get("made", {})
    fresh = made.get("of") == previews.fingerprint(body)
    of_file = "failed" if fresh and "error" in made else "converted" if fresh and made.get("pages") else "converting"
    return {
        "FaxContainer": container(house, call, body, await money.of(house, call.account), state),
        "Files": [{"file_order": n, "state": of_file} for n, _ in enumerate(body["files"])],
    }


@fax_job.method("GetPreview")
@fax_job.method("StartPreviewCreation")
async def get_preview(house: House, call: Call) -> Members:
    body = await prepared(house, call, _PATIENCE)
    count, made = pages_of(body), body.get("made", {})
    if "error" in made:
        raise Fault("generation_failed", made["error"])
    pictures = [{"page_no": n, "uuid": made["id"]} for n in range(1, count + 1)] if count else []
    return {"Status": {"open": 0 if count else 1, "done": count or 0}, "PreviewPages": pictures}


async def prepared(house: House, call: Call, patience: float) -> Body:
    """The session's job, its pages made or being made."""
    body = await current(house, call)
    if (body["files"] or body["cover"]["id"]) and body.get("made", {}).get("of") != previews.fingerprint(body):
        mail = await mail_of(house, call, body)
        await house.previews.ask(body, mail, partial(job_of, house, call, body), patience)
        body = await current(house, call)
    return body


def job_of(house: House, call: Call, body: Body, mail: Headers, source: Path, out: Path) -> Job:
    """What the fence is asked to make of a job."""
    return pages.of_mail(
        house.config,
        mail,
        previews.recipient(body),
        source=source,
        out=out,
        templates=house.templates.folders,
        sender=call.address,
        sent=house.store.now(),
        reference=body["recipients"][0]["id"] if body["recipients"] else body["id"],
        asked=cover_of(body),
        account=call.account.name,
    )


def cover_of(body: Body) -> CoverPage:
    """What is asked of the cover page. A fax without files has its text as mail, which stands there too."""
    cover, sender = body["cover"], body["sender"]["name"]
    return CoverPage(
        wanted=bool(cover["id"]),
        sender=" " if sender == "" else sender or "",  # "" was asked for: nobody's name, not the account's
        message=_printed(body) if body["files"] else "",
        template=cover.get("template", ""),
        placeholders=True,
    )


def _printed(body: Body) -> str:
    return str(body["cover"].get("printed", body["cover"]["text"]))


async def mail_of(house: House, call: Call, body: Body) -> bytes:
    """A job as a mail: the same job is the same mail, so that sending it twice is sending it once."""
    documents = await house.store.read(records.files, body["id"])
    files = [
        posted.File(
            name=file["name"] if "." in file["name"] else f"{file['name']}.{file['ext']}",
            content_type=file["mime"],
            content=await house.documents.get(documents[file["id"]]),
        )
        for file in body["files"]
    ]
    make = partial(
        posted.mail,
        files,
        name=call.account.name,
        address=call.address,
        subject=", ".join(file.name for file in files),
        at=house.moment(body["created"]),
        message_id=f"<{body['id']}@{house.config.host}>",
        text="" if files else _printed(body),
    )
    return await asyncio.to_thread(make)


def pages_of(body: Body) -> int | None:
    """How many pages the fax has, once they are made."""
    made = body.get("made", {})
    return made.get("pages") if made.get("of") == previews.fingerprint(body) else None


def job_state(body: Body) -> str:
    if body["state"] != EDITING:
        return str(body["state"])
    made = body.get("made", {})
    if made.get("of") == previews.fingerprint(body) and "error" in made:
        return "conversion_failed"
    return "ready_to_send" if body["recipients"] and pages_of(body) else EDITING


def price_of(house: House, body: Body) -> int:
    """What the whole job costs, micro-EUR; 0 before its pages are made."""
    return sum(house.prices.page(FaxNumber(one["number"])).amount for one in body["recipients"]) * (pages_of(body) or 0)


def container(house: House, call: Call, body: Body, purse: Purse, state: str = EDITING) -> dict[str, Any]:
    """`FaxContainer`."""
    made, notify = body.get("made", {}), body.get("notify", {})
    price = price_of(house, body)
    if state == "ready_to_send" and purse.limited and price > purse.available:
        state = "not_enough_credit"
    return {
        "uuid": body["id"],
        "state": state,
        "status_message": made.get("error") if state == "conversion_failed" else None,
        "created": call.told(house.moment(body["created"])),
        "updated": None,
        "processing_started": None,
        "pages": pages_of(body),
        "price": purse.shown(price),
        "currency": purse.currency,
        "currency_rate": purse.rate,
        "cover_id": body["cover"]["id"],
        "cover_text": body["cover"]["text"] or None,
        "cover_page_length": None,
        "affiliatepartner": None,
        "send_mail": int(any(notify.values())),
        "send_sms": 0,
        "send_chat": 0,
        "sms_cost": 0,
        "group_notification": 0,
        "error_notification": int(notify.get("failure", False) and not notify.get("success", False)),
    }
