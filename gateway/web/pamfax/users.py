"""UserInfo: the account, its settings, its numbers, its money. Section 6.7 of reference/pamfax.md.

An account is made and removed by the operator (`faxgate account`), and its password, where the configuration file declares it,
changed there: what the API would do about that is `missing_right`. Profiles keep what programs put there; of it `currency`
and `timezone` mean something here.
"""

from __future__ import annotations

import re
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gateway.carriers.pamfax_wire import Listing
from gateway.errors import Refused
from gateway.fax import Line
from gateway.spool import applications
from gateway.units import eur
from gateway.web.pamfax import money, shapes
from gateway.web.pamfax.call import Call, Fault, Members, Processor, called_number
from gateway.web.pamfax.history import listed
from gateway.web.pamfax.house import House
from gateway.web.pamfax.jobs import COVERS

user_info = Processor("UserInfo")
_PROPERTIES, _LONGEST = 50, 1000


@user_info.method("ListInboxes")
async def list_inboxes(house: House, call: Call) -> Members:
    return {"FaxInNumberList": Listing(entries=[_number(line) for line in await lines_of(house, call)], entry="FaxInNumber")}


async def lines_of(house: House, call: Call) -> list[Line]:
    """The account's lines."""
    return [line for line in await house.identity.lines() if line.account == call.account.id]


def _number(line: Line) -> dict[str, Any]:
    facts = shapes.number_facts(line.number)
    return {
        "number": line.number,
        "formatted_number": facts["formatted_number"],
        "country_code": facts["country_code"],
        "area_code": facts["area_code"],
        "city": facts["city"],
        "state": "active",
        "expires": None,
    }


@user_info.method("AssignFaxNumber")
async def assign_fax_number(house: House, call: Call) -> Members:
    """The area code is the id of its area (Shopping/ListFaxInAreacodes). Bought at the carrier: never repeated blindly."""
    area = call.needed("areacode_id", 10)
    if not re.fullmatch(r"[2-9][0-9]{2}", area):
        raise Fault("no_faxin_available", "There is no such area; Shopping/ListFaxInAreacodes lists them.")
    try:
        return {"FaxInNumber": _number(await house.lines.buy(call.account, area))}
    except Refused as error:
        raise Fault("no_faxin_available", error.text) from error


@user_info.method("CancelNumber")
async def cancel_number(house: House, call: Call) -> Members:
    wanted = called_number(call.raw("number", 100), house.config.region).e164
    if wanted not in [line.number for line in await lines_of(house, call)]:
        raise Fault("number_not_assigned_to_user", "This account has no such number.")
    try:
        await house.lines.release(call.account, wanted)
    except Refused as error:
        raise Fault("unable_to_cancel", error.text) from error
    return {}


@user_info.method("HasPlan")
async def has_plan(house: House, call: Call) -> Members:
    return {"Plan": {"type": "BASIC" if await lines_of(house, call) else "NONE"}}


@user_info.method("ListExpirations")
async def list_expirations(_house: House, _call: Call) -> Members:
    return {"Expirations": []}  # lines here stay until they are given back


@user_info.method("ListProfiles")
async def list_profiles(house: House, call: Call) -> Members:
    profile = await house.store.read(applications.profile_of, call.account.id)
    purse = await money.of(house, call.account)
    said = {name: value for name, value in profile.body.items() if isinstance(value, str)}
    return {"UserProfile": {**said, "currency": purse.currency, "timezone": profile.zone or call.zone.key}, "SkypeProfile": {}}


@user_info.method("SaveUser")
async def save_user(house: House, call: Call) -> Members:
    values = call.arguments.get("profile")
    if call.arguments.get("user") not in (None, "", "0"):
        raise Fault("missing_right", "The operator changes names and logins.")
    if isinstance(values, dict):
        await _save(house, call, values)
    return {"User": await shapes.user(house, call, await money.of(house, call.account))}


@user_info.method("SetProfileProperties")
async def set_profile_properties(house: House, call: Call) -> Members:
    values = call.arguments.get("properties")
    if not isinstance(values, dict):
        raise Fault("missing_argument", "properties is a map.")
    await _save(house, call, values)
    return {}


async def _save(house: House, call: Call, values: dict[str, Any]) -> None:
    said = {str(name).lower(): value for name, value in values.items()}
    for name, value in said.items():
        proper = isinstance(value, str) and len(value) <= _LONGEST and re.fullmatch(r"[a-z_][a-z0-9_]{0,40}", name)
        if not proper or len(said) > _PROPERTIES:
            raise Fault("bad_property", f"Of a profile there are at most {_PROPERTIES} texts of {_LONGEST} characters.")
    currency, zone = said.pop("currency", None), said.pop("timezone", None)
    if currency is not None and currency not in house.prices.rates():
        raise Fault("bad_currency", "There is no such currency; Common/ListCurrencies lists them.")
    if zone:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise Fault("invalid_timezone", "timezone is like Europe/Berlin.") from error
    kept = await house.store.read(applications.profile_of, call.account.id)
    if len({**kept.body, **said}) > _PROPERTIES:
        raise Fault("bad_property", f"A profile has at most {_PROPERTIES} properties.")
    await house.store.write(applications.change_profile, call.account.id, currency=currency, zone=zone, body=said)


@user_info.method("GetCultureInfo")
async def get_culture_info(_house: House, _call: Call) -> Members:
    return {"CultureInfo": {"code": "en-US", "date_format": "Y-m-d", "time_format": "H:i:s"}}


@user_info.method("ListCovers")
async def list_covers(_house: House, _call: Call) -> Members:
    return {"Covers": [{"id": n, "template_id": str(n), "title": title, "preview_id": f"cover{n}"} for n, title in COVERS]}


@user_info.method("ListTransactions")
@user_info.method("ListOrders")
async def list_transactions(house: House, call: Call) -> Members:
    (size, offset), purse = call.page(), await money.of(house, call.account)
    entries = await house.ledger.entries(call.account.id, size, offset)
    told = [
        {
            "date": call.told(entry.at),
            "type": entry.kind.value,
            "amount": purse.shown(entry.amount),
            "currency": purse.currency,
            "about": entry.about,
            "description": entry.note or eur(entry.amount),
        }
        for entry in entries
    ]
    return {"Transactions": listed(call, told, "Transaction")}


@user_info.method("ListWallMessages")
@user_info.method("ListUserAgents")
async def nothing_listed(_house: House, _call: Call) -> Members:
    return {"Messages": []}


@user_info.method("HasAvatar")
async def has_avatar(_house: House, _call: Call) -> Members:
    return {"Avatar": {"has_avatar": 0}}


@user_info.method("IsSkypeBotConnected")
async def is_skype_bot_connected(_house: House, _call: Call) -> Members:
    return {"SkypeBot": {"connected": 0}}


@user_info.method("GetNotifySettings")
async def get_notify_settings(_house: House, call: Call) -> Members:
    settings = call.account.settings
    email = {"provider": "email", "success": int(settings.confirmations), "failure": int(settings.confirmations)}
    return {"NotifySettings": [{**email, "inbox": int(settings.received_mail), "group": 0}]}


@user_info.method("SetNotifyProviderSettings")
async def set_notify_provider_settings(house: House, call: Call) -> Members:
    if call.needed("provider", 20).lower() != "email":
        raise Fault("missing_right_messaging", "Results and received faxes are told by mail.")
    success, failure = call.flag("success"), call.flag("failure")
    if success != failure:
        raise Fault("bad_property", "Success and failure are told both, or neither.")
    await house.identity.change_settings(call.account, confirmations=success, received_mail=call.flag("inbox", default=True))
    return {}


@user_info.method("VerifyPassword")
async def verify_password(house: House, call: Call) -> Members:
    password = call.raw("password", 1000)
    if await house.throttle.by_password(call.client, call.account.login, password, digest=True) is None:
        raise Fault("bad_password", "The password is wrong.")
    return {}


@user_info.method("ValidateNewUsername", user=False)
async def validate_new_username(house: House, call: Call) -> Members:
    name = call.raw("username", 200).strip()
    taken = any(account.login.lower() == name.lower() for account in await house.identity.all())
    if taken or not 6 <= len(name) <= 60:
        raise Fault("bad_username", "A user name has 6 to 60 characters and is not taken.")
    return {}


@user_info.method("isEmailConfirmed")
async def is_email_confirmed(_house: House, call: Call) -> Members:
    return {"Email": {"confirmed": int(call.needed("email", 200).lower() == call.account.login.lower())}}
