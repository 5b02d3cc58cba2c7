"""UserInfo, first part: the account, its settings, its numbers, its money. Section 6.7 of reference/pamfax.md. Making and
removing accounts, passwords and messages: `accounts`; covers: `covers`; who is told: `notices`.

What the public material leaves open, and what was chosen:

- Profiles keep what programs put there; of it `currency` and `timezone` mean something here.
- The alias of a number is another number of the account that leads to it: it is listed with it, and a fax that names it as its
  sender's (SetSenderDetails) is sent from that line. One alias leads to one line.
- ListWallMessages tells the latest faxes and payments, newest first: `type`, `created`, `uuid`, `message`.
"""

from __future__ import annotations

import re
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gateway.carriers.pamfax_wire import Listing
from gateway.errors import Refused
from gateway.fax import Line
from gateway.fax import TransmissionState as T
from gateway.lifecycle import FINAL
from gateway.spool import applications
from gateway.spool import pamfax as records
from gateway.spool.applications import AGENTS, ALIASES
from gateway.spool.ledger import Kind
from gateway.units import eur
from gateway.web.pamfax import money, shapes
from gateway.web.pamfax.call import Call, Fault, Members, Processor, called_number, listed
from gateway.web.pamfax.house import House

user_info = Processor("UserInfo")
_PROPERTIES, _LONGEST = 50, 1000
_PAYMENTS = frozenset({Kind.CREDIT, Kind.DEBIT, Kind.VOUCHER})


@user_info.method("ListInboxes")
async def list_inboxes(house: House, call: Call) -> Members:
    aliases = await aliases_of(house, call)
    entries = [{**_number(line), "alias_number": aliases.get(line.number)} for line in await lines_of(house, call)]
    return {"FaxInNumberList": Listing(entries=entries, entry="FaxInNumber")}


async def lines_of(house: House, call: Call) -> list[Line]:
    """The account's lines."""
    return [line for line in await house.identity.lines() if line.account == call.account.id]


async def aliases_of(house: House, call: Call) -> dict[str, str]:
    """Other numbers that lead to the account's lines, by line."""
    return dict((await house.store.read(applications.profile_of, call.account.id)).body.get(ALIASES, {}))


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
    wanted = await _own(house, call)
    try:
        await house.lines.release(call.account, wanted)
    except Refused as error:
        raise Fault("unable_to_cancel", error.text) from error
    return {}


@user_info.method("SetNumberAlias")
async def set_number_alias(house: House, call: Call) -> Members:
    mine = await _own(house, call)
    try:
        alias = called_number(call.raw("alias_number", 100), house.config.region).e164
    except Fault as fault:
        raise Fault("invalid_alias_number", fault.text) from fault
    taken = alias in [line.number for line in await house.identity.lines()]
    if taken or await house.store.read(applications.alias_taken, alias, call.account.id):
        raise Fault("alias_already_assigned", "This number is a line here, or leads to one.")

    def edit(body: dict[str, Any]) -> None:
        aliases = body.get(ALIASES, {})
        if any(line != mine for line, known in aliases.items() if known == alias):
            raise Fault("alias_already_assigned", "This number leads to another line of this account.")
        body[ALIASES] = {**aliases, mine: alias}

    await house.store.write(applications.edit_profile, call.account.id, edit)
    return {}


@user_info.method("RemoveNumberAlias")
async def remove_number_alias(house: House, call: Call) -> Members:
    mine = await _own(house, call)
    alias = called_number(call.raw("alias_number", 100), house.config.region).e164

    def edit(body: dict[str, Any]) -> None:
        aliases = body.get(ALIASES, {})
        if aliases.get(mine) != alias:
            raise Fault("alias_not_found", "This number does not lead to that line.")
        body[ALIASES] = {line: known for line, known in aliases.items() if line != mine}

    await house.store.write(applications.edit_profile, call.account.id, edit)
    return {}


async def _own(house: House, call: Call) -> str:
    """The `number` of a call, a line of the account. Raises Fault."""
    wanted = called_number(call.raw("number", 100), house.config.region).e164
    if wanted not in [line.number for line in await lines_of(house, call)]:
        raise Fault("number_not_assigned_to_user", "This account has no such number.")
    return wanted


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


@user_info.method("ListUserAgents")
async def list_user_agents(house: House, call: Call) -> Members:
    used = (await house.store.read(applications.profile_of, call.account.id)).body.get(AGENTS, {})
    most = sorted(used.items(), key=lambda one: -one[1])[: call.count("max", 5, 20)]
    return {"UserAgents": [{"user_agent": agent, "count": count} for agent, count in most]}


@user_info.method("ListWallMessages")
async def list_wall_messages(house: House, call: Call) -> Members:
    count, kinds, of = max(1, call.count("count", 15, 100)), call.kinds("data_to_list"), call.account.id
    sent = await house.store.read(records.sent, of, tuple(T), limit=count)
    arrived = await house.store.read(records.received, of, limit=count)
    booked = [entry for entry in await house.ledger.entries(of, count) if entry.kind in _PAYMENTS]
    told = [
        *(("faxsent" if fax.state in FINAL else "faxout", fax.accepted_at, fax.id[3:], fax.number) for fax in sent),
        *(("faxin", fax.received_at, fax.id[3:], fax.caller or fax.station_id) for fax in arrived),
        *(("payment", entry.at, "", entry.note or eur(entry.amount)) for entry in booked),
    ]
    latest = sorted((one for one in told if not kinds or one[0] in kinds), key=lambda one: one[1], reverse=True)[:count]
    entries = [{"type": kind, "created": call.told(at), "uuid": uuid, "message": text} for kind, at, uuid, text in latest]
    return {"WallMessages": entries}


@user_info.method("HasAvatar")
async def has_avatar(_house: House, _call: Call) -> Members:
    return {"Avatar": {"has_avatar": 0}}


@user_info.method("IsSkypeBotConnected")
async def is_skype_bot_connected(_house: House, _call: Call) -> Members:
    return {"SkypeBot": {"connected": 0}}
