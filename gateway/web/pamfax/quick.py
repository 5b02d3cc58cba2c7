"""FaxJob/QuickSend: signing in, a fax and its sending in one call. Section 7.1 of reference/pamfax.md.

Its answer, `FaxContainer` and `Recipients`, comes when every fax is durable, its pages being made meanwhile. Whoever repeats it
because an answer was lost sends a second fax: a program that must not do that uses Create and Send.
"""

from __future__ import annotations

from dataclasses import replace

from gateway.spool import pamfax as records
from gateway.spool.pamfax import Session
from gateway.web.pamfax import covers, files, jobs, money, sending, session
from gateway.web.pamfax.call import Call, Members
from gateway.web.pamfax.house import House
from gateway.web.pamfax.jobs import fax_job

_PATIENCE = 60.0  # seconds for the pages


@fax_job.method("QuickSend", user=False)
async def quick_send(house: House, call: Call) -> Members:
    account = await session.verified(house, call)
    body = jobs.new_body(house)
    alone = Session(token="", account=account.id, application=call.application, state={"job": body["id"]})
    call = replace(call, signed_in=(alone, account), zone=await house.zone_of(account, call.zone))
    body["notify"] = await jobs.wishes_of(house, call)
    cover = await covers.wanted(house, call, call.text("cover_id", 64), "cover_text")
    await house.store.write(records.open_job, alone.token, account.id, body["id"], body)
    await jobs.add(house, call, jobs.several(call, "rec_number", "rec_name"), replace=False)
    await jobs.change(house, call, lambda now: now.update(cover=cover))
    if call.uploads or isinstance(call.arguments.get("file"), str):
        await files.attach(house, call, *await files.uploaded(call))
    body = await sending.ready(house, call, _PATIENCE)
    await sending.submit(house, call, body, at=None, pages=jobs.pages_of(body))
    body = await jobs.current(house, call)
    return {
        "FaxContainer": jobs.container(house, call, body, await money.of(house, account), jobs.SENT),
        "Recipients": await jobs.told(house, call, body["recipients"]),
    }
