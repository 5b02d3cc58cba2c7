"""FaxJob, second half: a fax is sent, at once or later, watched and cancelled. Sections 6.4 and 7 of reference/pamfax.md.

Success is answered when every fax of the job is durable. What the public material leaves open, and what was chosen:

- Send of a job that has been sent is success again: the first answer was lost. It is never sent twice.
- Send before the pages are made is `fax_not_ready`; where they cannot be made, `conversion_compilefax`.
- `send_at` has the form of `datetime`; a time ahead is at most 14 days ahead, else `invalid_datetime`.
- SendLater of a job that can be paid is `enough_credit`, unless a time is given. What it takes waits for credit.
- FaxesInProgress answers `Faxes` and `Unpaid` with its `count`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gateway.desk.steer import steer
from gateway.errors import NoCredit, NotAdmitted, Refused
from gateway.fax import AccountId, Door, Envelope, Recipient, SubmissionId, Transmission, TransmissionId
from gateway.fax import TransmissionState as T
from gateway.lifecycle import FINAL
from gateway.spool import applications
from gateway.spool import pamfax as records
from gateway.spool.applications import AGENTS
from gateway.spool.commit import Transaction
from gateway.web.pamfax import faxes, files, jobs, money, shapes
from gateway.web.pamfax.call import Call, Fault, Members, called_number, own
from gateway.web.pamfax.house import House
from gateway.web.pamfax.jobs import SENT, Body, fax_job
from gateway.web.pamfax.users import aliases_of, lines_of

OPEN = tuple(state for state in T if state not in FINAL)
_AHEAD = timedelta(days=14)
_AGENTS = 20  # programs that are counted
_PATIENCE = 10.0  # seconds that sending waits for the pages
_SAID = ("recipients", "files", "cover", "sender", "notify")  # what a program says of a job


@fax_job.method("Send")
async def send(house: House, call: Call) -> Members:
    at = _at(house, call)
    body = await ready(house, call)
    if body["state"] != SENT:
        await submit(house, call, body, at=at, pages=jobs.pages_of(body))
    return {}


@fax_job.method("SendLater")
async def send_later(house: House, call: Call) -> Members:
    at = _at(house, call)
    body = await ready(house, call)
    if body["state"] == SENT:
        return {}
    purse = await money.of(house, call.account)
    enough = not purse.limited or jobs.price_of(house, body) <= purse.available
    if enough and at is None:
        raise Fault("enough_credit", "There is enough credit: FaxJob/Send sends it now.")
    await submit(house, call, body, at=at, pages=jobs.pages_of(body) if enough else None)
    return {}


async def ready(house: House, call: Call, patience: float = _PATIENCE) -> Body:
    """The session's job, if it can be sent or was. Raises Fault."""
    body = await jobs.current(house, call)
    if body["state"] == SENT:
        return body
    if not body["recipients"]:
        raise Fault("no_recipients_in_fax", "Add a recipient first.")
    if not body["files"] and not body["cover"]["id"]:
        raise Fault("no_files_in_fax", "Add a file or a cover first.")
    body = await jobs.prepared(house, call, patience)
    state = jobs.job_state(body)
    if state == "conversion_failed":
        raise Fault("conversion_compilefax", body["made"]["error"])
    if state != "ready_to_send":
        raise Fault("fax_not_ready", "Its pages are being made; ask FaxJob/GetFaxState.")
    return body


def _at(house: House, call: Call) -> datetime | None:
    """When it is to be sent; None: now. Raises Fault."""
    zone = call.zone
    if name := call.text("send_at_timezone", 60):
        try:
            zone = ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise Fault("invalid_timezone", "send_at_timezone is like Europe/Moscow.") from error
    wanted = call.moment("datetime")
    if wanted is None and (wanted := call.moment("send_at")) is not None:
        wanted = wanted.replace(tzinfo=zone)
    if wanted is None:
        return None
    now = house.store.now()
    if not now - timedelta(minutes=1) <= wanted <= now + _AHEAD:
        raise Fault("invalid_datetime", "A fax is sent now or within 14 days.")
    return wanted if wanted > now else None


async def submit(house: House, call: Call, body: Body, *, at: datetime | None, pages: int | None) -> None:
    """Every recipient's fax, durable, and the job is over: both or neither, so that nothing that was added to the job and
    answered with success in this moment is left out. Raises Fault."""
    notify = _notify(body.get("notify", {}))
    recipients = [
        Recipient(written=one["number"], number=one["number"], cover_name=one["name"], notify=notify)
        for one in body["recipients"]
    ]
    try:
        await house.desk.submit_call(
            call.account,
            Envelope(
                door=Door.PAMFAX,
                sender=call.address,
                client=call.client,
                login=call.account.login,
            ),
            recipients,
            await jobs.mail_of(house, call, body),
            cover=jobs.cover_of(body),
            caller=await _caller(house, call, body),
            pages=pages,
            ids={one["number"]: TransmissionId(f"tx_{one['id']}") for one in body["recipients"]},
            not_before=at,
            own=SubmissionId(f"sub_{body['id']}"),
            before=partial(_close, body, call.account.id),
        )
    except _SentBefore:
        return  # by the same call a moment earlier
    except NoCredit as error:
        raise Fault("not_enough_credit", error.text) from error
    except Refused as error:
        raise Fault("missing_right", error.text) from error


class _SentBefore(Exception):
    """The job has been sent meanwhile."""


def _close(body: Body, account: AccountId, t: Transaction) -> None:
    """The job is over, as it was read. Raises Fault where it was changed since, _SentBefore."""

    def sent(now: Body) -> bool:
        if now["state"] == SENT:
            raise _SentBefore
        if any(now.get(name) != body.get(name) for name in _SAID):
            raise Fault("fax_not_ready", "It was changed while it was to be sent; ask FaxJob/GetFaxState.")
        now["state"], now["documents"] = SENT, []
        return True

    if not records.change_job(t, body["id"], sent):
        raise Fault("no_fax", "This fax has gone; begin another one with FaxJob/Create.")
    applications.edit_profile(t, account, partial(_count_agent, body.get("agent", "")))


def _count_agent(agent: str, profile: Body) -> None:
    """How often a program was used; only the most used are kept."""
    if agent:
        agents = {**profile.get(AGENTS, {})}
        agents[agent] = agents.get(agent, 0) + 1
        profile[AGENTS] = dict(sorted(agents.items(), key=lambda one: (one[0] != agent, -one[1]))[:_AGENTS])


def _notify(wishes: Mapping[str, bool]) -> tuple[str, ...]:
    """As RFC 3461 says which ends are mailed; () = as everybody wants it, both."""
    success, failure = wishes.get("success", True), wishes.get("failure", True)
    return () if success and failure else ("SUCCESS",) if success else ("FAILURE",) if failure else ("NEVER",)


async def _caller(house: House, call: Call, body: Body) -> str:
    """The line that SetSenderDetails names, where it is the account's; "" = its first."""
    if not (written := body["sender"]["number"]):
        return ""
    try:
        wanted = called_number(written, house.config.region).e164
    except Fault:
        return ""  # what people write there need not be a number
    mine = [line.number for line in await lines_of(house, call)]
    wanted = next((line for line, alias in (await aliases_of(house, call)).items() if alias == wanted), wanted)
    return wanted if wanted in mine else ""


@fax_job.method("Cancel")
async def cancel(house: House, call: Call) -> Members:
    fax = await faxes.sent(house, call, call.needed("uuid", 64))
    some = await house.store.read(records.group, fax.id) if call.flag("siblings_too") else [fax]
    if fax.state in FINAL and len(some) == 1:
        raise Fault("fax_removed", "This fax has ended already.")
    answers = [await _cancel(house, call, one) for one in some if one.state not in FINAL]
    if failed := [answer for answer in answers if not answer.startswith("cancelled")]:
        raise Fault("unable_to_cancel", failed[0])
    return {}


async def _cancel(house: House, call: Call, fax: Transmission) -> str:
    try:
        return await steer(house.store, fax.id, "cancel", by=call.account.login or call.account.name)
    except NotAdmitted:
        return "too late: the fax has ended meanwhile"


@fax_job.method("FaxesInProgress")
async def faxes_in_progress(house: House, call: Call) -> Members:
    found = await house.store.read(records.sent, call.account.id, OPEN, limit=500)
    unpaid = set(await house.ledger.unpaid(call.account.id))
    told = [
        {
            "recipient_uuid": fax.id[3:],
            "recipient_id": fax.id[3:],
            "container_id": fax.submission[4:],
            "number": fax.number,
            "state": shapes.state(fax, call.now),
            "state_code": list(T).index(fax.state),
            "created": call.told(fax.accepted_at),
            "updated": call.told(fax.updated_at),
        }
        for fax in found
        if fax.id not in unpaid
    ]
    return {"Faxes": told, "Unpaid": {"count": len(unpaid)}}


@fax_job.method("SendUnpaidFaxes")
@fax_job.method("SendUnpaid")
async def send_unpaid_faxes(house: House, call: Call) -> Members:
    wanted = [TransmissionId(f"tx_{uuid}") for uuid in own(call.texts("uuids"), "uuids")]
    waiting = [fax for fax in await house.ledger.unpaid(call.account.id) if fax in wanted]
    if not waiting:
        raise Fault("fax_not_found", "None of these faxes waits for credit.")
    sent = set(await house.ledger.send_unpaid(call.account.id, waiting))
    return {
        "SentFaxes": _uuids([fax for fax in waiting if fax in sent]),
        "UnpaidFaxes": _uuids([fax for fax in waiting if fax not in sent]),
    }


def _uuids(some: Sequence[str]) -> list[dict[str, Any]]:
    return [{"uuid": fax[3:]} for fax in some]


@fax_job.method("SendDelayedFaxNow")
async def send_delayed_fax_now(house: House, call: Call) -> Members:
    await _moved(house, call, call.needed("uuid", 64), house.store.now())
    return {}


@fax_job.method("EditDelayedFax")
async def edit_delayed_fax(house: House, call: Call) -> Members:
    at = _at(house, call)
    await _moved(house, call, call.needed("fax_uuid", 64), at or house.store.now())
    return {}


async def _moved(house: House, call: Call, uuid: str, at: datetime) -> None:
    fax = await faxes.sent(house, call, uuid)
    if not await house.store.write(records.delay, fax.id, at):
        raise Fault("fax_removed", "This fax is not delayed, or is being sent already.")


@fax_job.method("CloneFax")
async def clone_fax(house: House, call: Call) -> Members:
    document = await faxes.document(house, call, call.needed("uuid", 64))
    body = jobs.new_body(house, await jobs.wishes_of(house, call))
    await house.store.write(records.open_job, call.session.token, call.account.id, body["id"], body)
    again = replace(call, signed_in=(replace(call.session, state={"job": body["id"]}), call.account))
    await files.attach(house, again, "fax.pdf", await house.documents.get(document))
    body = await jobs.current(house, again)
    return {"FaxContainer": jobs.container(house, call, body, await money.of(house, call.account))}
