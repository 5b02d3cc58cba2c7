"""Session: sign in, stay signed in, hear what changed. Section 6.1 of reference/pamfax.md.

What the public material leaves open, and what was chosen:

- A session ends ten minutes after its last call, or after `timetolifeminutes`, at most a day.
- A login identifier is a one-time token for VerifyFromIdentifier; it ends after `timetolifeminutes`, at most a day. With 0 it
  can be used again and again, until nobody has for a day. One with a `user_ip` is taken with that `user_ip` only.
- A wrong login and a wrong password are both `user_not_found`; who fails too often hears `too_many_requests`.
- ListChanges answers the list `Changes`: `uuid`, `type`, `state`, `updated`, each change once.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from gateway.carriers.pamfax_wire import Listing
from gateway.fax import Account, Transmission
from gateway.fax import TransmissionState as T
from gateway.spool import pamfax as records
from gateway.spool.pamfax import Session
from gateway.web.pamfax import money, shapes
from gateway.web.pamfax.call import Call, Fault, Members, Processor
from gateway.web.pamfax.house import House

session = Processor("Session")
_LONGEST = 86_400  # seconds
_DIGITS = "abcdefghijklmnopqrstuvwxyz0123456789"
IDENTIFIER = "identifier"
_CHANGED: Mapping[str, frozenset[T]] = {
    "faxsending": frozenset({T.SENDING}),
    "faxsucceeded": frozenset({T.DELIVERED}),
    "faxfailed": frozenset({T.FAILED, T.CANCELLED}),
    "faxretrying": frozenset({T.DEFERRED}),
}
_MOST = 100  # changes in one answer
_LATE = timedelta(seconds=10)  # a change may be durable so much later than one that has a later time
_log = logging.getLogger(__name__)


def hashed(token: str) -> str:
    """As tokens are kept."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


@session.method("VerifyUser", user=False)
async def verify_user(house: House, call: Call) -> Members:
    return await signed_in(house, call, await verified(house, call))


async def verified(house: House, call: Call) -> Account:
    """Whose `username` and `password` a call has. Raises Fault, TooMany."""
    username, password = call.raw("username", 200).strip(), call.raw("password", 1000)
    login = await login_of(house, username)
    account = await house.throttle.by_password(call.client, login, password, digest=True) if login and password else None
    if account is None:
        _log.warning(
            "wrong login or password at the PamFax door from %s", call.client, extra={"action": "pamfax_sign_in_failed"}
        )
        raise Fault("user_not_found", "User name or password is wrong.")
    return account


async def login_of(house: House, username: str) -> str:
    """The login that is meant; some programs send its MD5."""
    for account in await house.identity.all():
        if account.login and hashlib.md5(account.login.encode(), usedforsecurity=False).hexdigest() == username.lower():
            return account.login
    return username


async def signed_in(house: House, call: Call, account: Account) -> Members:
    """A new session for an account, and what VerifyUser answers."""
    token = "".join(secrets.choice(_DIGITS) for _ in range(32))
    lifetime = min(60 * call.count("timetolifeminutes", 0), _LONGEST) or int(house.door.session.total_seconds())
    fresh = Session(token=hashed(token), account=account.id, application=call.application, state={})
    await house.store.write(records.begin, fresh, lifetime)
    call = replace(call, zone=await house.zone_of(account, call.zone), signed_in=(fresh, account))
    return {
        **await _user(house, call),
        "UserToken": {"token": token},
        "UserRights": [{"name": name, "allowed": int(allowed)} for name, allowed in _rights(house).items()],
    }


def _rights(house: House) -> dict[str, bool]:
    """What programs offer their users, and what would be refused. Credit is bought from a person, but in the sandbox."""
    return {
        "see_credit": True,
        "buy_credit": house.sandbox,
        "buy_number": house.lines.sells(),
        "transfer_credit": False,
        "receive_messages": True,
    }


async def _user(house: House, call: Call) -> dict[str, Any]:
    purse = await money.of(house, call.account)
    return {
        "User": await shapes.user(house, call, purse),
        "Currency": {"code": purse.currency, "raw_symbol": money.symbol(purse.currency)},
    }


@session.method("CreateLoginIdentifier")
async def create_login_identifier(house: House, call: Call) -> Members:
    identifier = secrets.token_hex(16)
    asked = call.raw("timetolifeminutes", 20).strip()
    lasting = asked.startswith("-") or asked == "0"
    minutes = _LONGEST // 60 if lasting else min(call.count("timetolifeminutes", 60), _LONGEST // 60)
    one = Session(
        token=hashed(f"{IDENTIFIER} {identifier}"),
        account=call.account.id,
        application=call.application,
        state={IDENTIFIER: True, "lasting": lasting, "user_ip": call.text("user_ip", 100)},
    )
    await house.store.write(records.begin, one, 60 * minutes)
    return {"UserIdentifier": {"identifier": identifier}}


@session.method("VerifyFromIdentifier", user=False)
async def verify_from_identifier(house: House, call: Call) -> Members:
    token = hashed(f"{IDENTIFIER} {call.raw('identifier', 100).strip()}")
    found = await house.store.write(records.use, token)
    account = await house.identity.by_id(found.account) if found and found.application == call.application else None
    if account is None:
        raise Fault("identifier_not_found", "There is no such identifier, or it has ended.")
    if found and found.state.get("user_ip") not in (None, "", call.text("user_ip", 100)):
        raise Fault("invalid_ip", "This identifier belongs to another address.")
    once = found is not None and not found.state.get("lasting")
    if once and not await house.store.write(records.end, token):  # somebody was a moment faster
        raise Fault("identifier_not_found", "There is no such identifier, or it has ended.")
    return await signed_in(house, call, account)


@session.method("RemoveLoginIdentifier")
async def remove_login_identifier(house: House, call: Call) -> Members:
    await house.store.write(records.end, hashed(f"{IDENTIFIER} {call.needed('identifier', 100)}"))
    return {}


@session.method("KeepAlive")
@session.method("Ping")
async def keep_alive(_house: House, call: Call) -> Members:
    assert call.session  # that it was used was written down before
    return {}


@session.method("Logout")
async def logout(house: House, call: Call) -> Members:
    await house.store.write(records.end, call.session.token)
    return {}


@session.method("ReloadUser")
async def reload_user(house: House, call: Call) -> Members:
    return await _user(house, call)


@session.method("RegisterListener")
async def register_listener(house: House, call: Call) -> Members:
    wanted = set(call.texts("listener_types"))
    if unknown := wanted - {"faxall", *_CHANGED}:
        raise Fault("bad_property", f"There is no listener {sorted(unknown)[0][:40]}; there are faxall, {', '.join(_CHANGED)}.")
    types = set(_CHANGED) if "faxall" in wanted else wanted
    if call.flag("append"):
        types |= set(call.session.state.get("listener", ()))
    changes: dict[str, Any] = {"listener": sorted(types)}
    if "listened" not in call.session.state:
        now = house.store.now().isoformat()
        changes |= {"began": now, "listened": now}
    await house.store.write(records.change_session, call.session.token, changes)
    return {}


@session.method("ListChanges")
async def list_changes(house: House, call: Call) -> Members:
    state = call.session.state
    if not (types := state.get("listener", ())):
        return {"Changes": []}
    listened, before = house.moment(state["listened"]), list[list[str]](state.get("told", ()))
    since = max(house.moment(state["began"]), listened - _LATE)
    found = await house.store.read(records.changed, call.account.id, since, _MOST + len(before))
    fresh = [fax for fax in found if _change(fax) not in before][:_MOST]
    told = [
        {"uuid": fax.id[3:], "type": kind, "state": shapes.state(fax, call.now), "updated": call.told(fax.updated_at)}
        for fax in fresh
        for kind in types
        if fax.state in _CHANGED[kind]
    ]
    if fresh:
        listened = max(listened, *(fax.updated_at for fax in fresh))
        kept = [one for one in (*before, *map(_change, fresh)) if house.moment(one[2]) >= listened - _LATE]
        place = {"listened": listened.isoformat(), "told": kept}
        await house.store.write(records.change_session, call.session.token, place)
    return {"Changes": Listing(entries=told, entry="Change")}


def _change(fax: Transmission) -> list[str]:
    """What tells a change from others, as JSON."""
    return [fax.id, fax.state.value, fax.updated_at.isoformat()]
