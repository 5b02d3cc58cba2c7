"""Who is told by mail: of each fax, and of all of an account. Sections 6.4 and 6.7 of reference/pamfax.md.

What became of a fax is mailed to the login of its account, where that is a mail address, as for a fax that came by mail:
success, failure, both or neither (a failure nobody wants to hear of is mailed to the operator). What the public material leaves
open, and what was chosen:

- `email` is the one way; text messages, chats and one mail for many faxes are `missing_right_messaging`. What
  SetGlobalNotifySettings would set is the operator's: `missing_right`.
- `error_notification` leaves the failures alone. A new fax begins with the account's wishes; `save_defaults` changes these.
- What is received is mailed, unless a callback tells of it: only then can `inbox` be 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.errors import NotAdmitted
from gateway.spool import applications
from gateway.spool.applications import NOTIFY
from gateway.web.pamfax import jobs
from gateway.web.pamfax.call import Call, Fault, Members, truth
from gateway.web.pamfax.house import House
from gateway.web.pamfax.jobs import fax_job
from gateway.web.pamfax.users import user_info

_EMAIL = "email"


@fax_job.method("SetNotifications")
async def set_notifications(house: House, call: Call) -> Members:
    values = call.arguments.get("notifications")
    wishes = {str(name).lower(): truth(value) for name, value in values.items()} if isinstance(values, Mapping) else {}
    if call.flag("group_notification") or any(on for name, on in wishes.items() if name != _EMAIL):
        raise Fault("missing_right_messaging", "Results are told by mail, and of each fax.")
    body = await jobs.current(house, call)
    mailed = wishes.get(_EMAIL, any(body.get("notify", {}).values()))
    notify = {"success": mailed and not call.flag("error_notification"), "failure": mailed}
    await jobs.change(house, call, lambda now: now.update(notify=notify))
    if call.flag("save_defaults"):
        await _keep(house, call, notify)
    return {}


@fax_job.method("ResetNotifications")
async def reset_notifications(house: House, call: Call) -> Members:
    notify = await jobs.wishes_of(house, call)
    await jobs.change(house, call, lambda now: now.update(notify=notify))
    return {}


@user_info.method("GetNotifySettings")
async def get_notify_settings(house: House, call: Call) -> Members:
    notify, inbox = await jobs.wishes_of(house, call), call.account.settings.received_mail
    return {"NotifySettings": [{"provider": _EMAIL, **notify, "inbox": inbox, "group": 0}]}


@user_info.method("SetNotifyProviderSettings")
async def set_notify_provider_settings(house: House, call: Call) -> Members:
    inbox, settings = call.flag("inbox", default=True), call.account.settings
    if call.needed("provider", 20).lower() != _EMAIL or call.flag("group"):
        raise Fault("missing_right_messaging", "Results and received faxes are told by mail, one by one.")
    if not inbox and not settings.inbound_callback:
        raise Fault("missing_right_messaging", "What is received is mailed where no callback tells of it.")
    try:
        if inbox != settings.received_mail:
            await house.identity.change_settings(call.account, received_mail=inbox)
    except NotAdmitted as error:
        raise Fault("missing_right", error.text) from error
    await _keep(house, call, {"success": call.flag("success"), "failure": call.flag("failure")})
    return {}


async def _keep(house: House, call: Call, notify: dict[str, bool]) -> None:
    def edit(body: dict[str, Any]) -> None:
        body[NOTIFY] = notify

    await house.store.write(applications.edit_profile, call.account.id, edit)
