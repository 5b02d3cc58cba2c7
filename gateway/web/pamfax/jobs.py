"""FaxJob, first half: a fax is put together. Sections 6.4, 7.1 and 8 of reference/pamfax.md. Its files: `files`;
sending it: `sending`.

The job belongs to the session; its record is durable after every call. What the public material leaves open, and what was
chosen:

- At most 100 recipients, with names of 200 characters. A number twice is `duplicate_recipient`.
- A recipient's uuid is that of its fax later. AddRecipients answers the list `Recipients`.
- A file has the state `converting`, `converted` or `failed`; a job whose pages cannot be made has `conversion_failed`, and
  says why in `status_message`.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
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
from gateway.spool import pamfax as records
from gateway.web.pamfax import money, previews, shapes
from gateway.web.pamfax.call import Call, Fault, Members, Processor, called_number, own
from gateway.web.pamfax.house import House
from gateway.web.pamfax.money import Purse

fax_job = Processor("FaxJob")
Body = records.Body
T = TypeVar("T")
EDITING, SENT = "editing", "sent"
COVERS = ((1, "Basic"), (2, "Flowers"), (3, "Message"), (4, "Simple"))
_MOST_RECIPIENTS = 100
_LONGEST_NAME, _LONGEST_SENDER = 200, 50  # characters
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
    body = new_body(house)
    await house.store.write(records.open_job, call.session.token, call.account.id, body["id"], body)
    return {"FaxContainer": container(house, call, body, await money.of(house, call.account))}


def new_body(house: House) -> Body:
    """A job with nothing in it."""
    return {
        "id": new_id("fj"),
        "state": EDITING,
        "created": house.store.now().isoformat(),
        "recipients": [],
        "files": [],
        "cover": {"id": 0, "text": ""},
        "sender": {"number": None, "name": None},
        "documents": [],
    }


@fax_job.method("AddRecipient")
async def add_recipient(house: House, call: Call) -> Members:
    added = await _add(house, call, [(call.raw("number", 100), call.text("name"))], replace=False)
    return {"FaxRecipient": (await _recipients(house, call, added))[0]}


@fax_job.method("AddRecipients")
async def add_recipients(house: House, call: Call) -> Members:
    return {"Recipients": await _recipients(house, call, await _add(house, call, _several(call), replace=False))}


@fax_job.method("SetRecipients")
async def set_recipients(house: House, call: Call) -> Members:
    return {"Recipients": await _recipients(house, call, await _add(house, call, _several(call), replace=True))}


def _several(call: Call) -> list[tuple[str, str]]:
    numbers, names = list(own(call.texts("numbers"), "numbers")), call.texts("names")
    return list(zip(numbers, [*names, *[""] * len(numbers)], strict=False))


async def _add(house: House, call: Call, wanted: list[tuple[str, str]], *, replace: bool) -> list[Body]:
    fresh = []
    for written, name in wanted:
        # A raw `+` in a query is a blank, which a list of texts has lost.
        text = written if not re.fullmatch(r"[1-9][0-9]{10,14}", written) else f"+{written}"
        fax = called_number(text, house.config.region).e164
        if len(name) > _LONGEST_NAME:
            raise Fault("bad_property", f"A name has at most {_LONGEST_NAME} characters.")
        try:
            with contextlib.suppress(NoCredit):  # asked when it is sent
                await house.desk.admit(call.account, Recipient(written=written, number=fax))
        except Refused as error:
            raise Fault("unsupported_fax_number", error.text) from error
        name = " ".join("".join(c if c.isprintable() else " " for c in name).split())
        fresh.append({"id": new_id("tx")[3:], "number": fax, "name": "" if name == "0" else name})

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


async def _recipients(house: House, call: Call, some: list[Body]) -> list[dict[str, Any]]:
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
async def list_recipients(house: House, call: Call) -> Members:
    size, offset = call.page(100)
    some = (await current(house, call))["recipients"][offset : offset + size]
    return {"Recipients": await _recipients(house, call, some)}


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
async def remove_all_recipients(house: House, call: Call) -> Members:
    await change(house, call, lambda body: body.update(recipients=[]))
    return {}


@fax_job.method("ListAvailableCovers")
async def list_available_covers(house: House, call: Call) -> Members:
    body = await current(house, call)
    none = [{"id": 0, "title": "No cover", "description": None, "creator": 0, "thumb_id": None, "preview_id": None}]
    covers = [
        {
            "id": n,
            "template_id": str(n),
            "title": title,
            "description": None,
            "creator": 0,
            "thumb_id": f"cover{n}",
            "preview_id": f"cover{n}",
        }
        for n, title in COVERS
    ]
    return {"Covers": [*(none if body["files"] else []), *covers]}


@fax_job.method("SetCover")
async def set_cover(house: House, call: Call) -> Members:
    wanted = call.text("template_uuid", 64) or call.text("template_id", 64)
    if not re.fullmatch(r"[0-9]{0,3}", wanted) or int(wanted or 0) not in (0, *(n for n, _ in COVERS)):
        raise Fault("invalid_cover", "There is no such cover; FaxJob/ListAvailableCovers lists them.")
    text = call.raw("text").replace("\r\n", "\n").replace("\r", "\n")
    values = call.arguments.get("data")
    for name, value in values.items() if isinstance(values, dict) else ():
        if isinstance(value, str):
            text = text.replace(name if name.startswith("{") else f"{{{name}}}", value)
    if len(text) > 10_000 or not text.replace("\n", "").replace("\t", "").isprintable():
        raise Fault("bad_property", "text has at most 10000 printable characters.")
    await change(house, call, lambda body: body.update(cover={"id": int(wanted or 0), "text": text}))
    return {}


@fax_job.method("RemoveCover")
async def remove_cover(house: House, call: Call) -> Members:
    await change(house, call, lambda body: body.update(cover={"id": 0, "text": ""}))
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


@fax_job.method("SetNotifications")
@fax_job.method("ResetNotifications")
async def notifications(_house: House, _call: Call) -> Members:
    raise Fault("missing_right_messaging", "Results are mailed and called back as the account's own settings say.")


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
        await house.previews.ask(body, mail, partial(_job, house, call, body), patience)
        body = await current(house, call)
    return body


def _job(house: House, call: Call, body: Body, mail: Headers, source: Path, out: Path) -> Job:
    return pages.of_mail(
        house.config,
        mail,
        previews.recipient(body),
        source=source,
        out=out,
        templates=house.templates.folders,
        sender=call.account.login if "@" in call.account.login else "",
        sent=house.store.now(),
        reference=body["recipients"][0]["id"] if body["recipients"] else body["id"],
        asked=cover_of(body),
    )


def cover_of(body: Body) -> CoverPage:
    """What is asked of the cover page. A fax without files has its text as mail, which stands there too."""
    cover = body["cover"]
    return CoverPage(
        wanted=bool(cover["id"]),
        sender=body["sender"]["name"] or "",
        message=cover["text"] if body["files"] else "",
        template=dict(COVERS).get(cover["id"], "").lower(),
    )


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
        address=call.account.login if "@" in call.account.login else "",
        subject=", ".join(file.name for file in files),
        at=house.moment(body["created"]),
        message_id=f"<{body['id']}@{house.config.host}>",
        text="" if files else body["cover"]["text"],
    )
    return await asyncio.to_thread(make)


async def cover_preview(house: House, call: Call, cover: int) -> Sha256:
    """A cover as it would look, as PDF."""
    body = {**new_body(house), "cover": {"id": cover, "text": "Message"}}
    asked = partial(_job, house, call, body)
    return await house.previews.printed(await mail_of(house, call, body), asked)


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
    made = body.get("made", {})
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
        "send_mail": 0,
        "send_sms": 0,
        "send_chat": 0,
        "sms_cost": 0,
        "group_notification": 0,
        "error_notification": 0,
    }
