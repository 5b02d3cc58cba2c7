"""UserInfo, second part: an account is made and removed, its password changed, somebody is written to. Section 6.7 of
reference/pamfax.md.

What the public material leaves open, and what was chosen:

- An application makes accounts where the configuration names its `countries`: accounts that fax there, and pay in advance.
  They are good at once: `withconfirmation` is `missing_right`.
- DeleteUser removes such an account, for the application that made it. Its numbers are given back to their carriers, what it
  had left is booked out, and the operator is told how much that was; while a fax is on its way, it stays: `access_denied`.
  Its faxes stay in the records for as long as those of others.
- SetPassword ends every other session. The configuration file's passwords are changed there, but in the sandbox.
- SendMessage writes to the account itself, unless an application made it with an address that nobody has confirmed; in the
  sandbox to anybody: mail stays there. SendPasswordResetMessage asks the operator, once a day for one account.
"""

from __future__ import annotations

import re
import secrets

from pydantic import TypeAdapter, ValidationError

from gateway.errors import Refused
from gateway.fax import Account, AccountId, new_id
from gateway.spool import accounts, applications, outbox
from gateway.spool.commit import Transaction
from gateway.units import Mail, eur
from gateway.web.pamfax import session
from gateway.web.pamfax.call import Call, Fault, Members
from gateway.web.pamfax.house import House
from gateway.web.pamfax.users import lines_of, user_info

_SHORTEST, _LONGEST = 6, 60  # characters of a login, and of a password
_NAME, _SUBJECT = 80, 200  # characters
_UNDER_WAY = "This account has faxes on their way: cancel them, or wait for their end."
_MD5 = re.compile(r"[0-9A-Fa-f]{32}")


@user_info.method("CreateUser", user=False)
async def create_user(house: House, call: Call) -> Members:
    made_by = next((one for one in house.door.application if one.key == call.application), None)
    if made_by is None or not made_by.countries:
        raise Fault("missing_right", "This application makes no accounts: the operator does.")
    if call.flag("withconfirmation"):
        raise Fault("missing_right", "Accounts are good at once: nothing is confirmed here.")
    email = _address(house, call.needed("email", 200))
    username = call.text("username", 200) or email
    await _free(house, username, email)
    password_hash, digest_hash = await house.identity.hashes(_password(call, "password") or secrets.token_urlsafe(24))
    name = call.text("name", _NAME) or username
    if await house.identity.by_name(name) is not None:
        name = f"{name} ({username})"
    account = Account(
        id=AccountId(new_id("acc")),
        name=name,
        login=username.lower(),
        password_hash=password_hash,
        senders=(email,),
        countries=made_by.countries,
        prepaid=True,
        digest_hash=digest_hash,
        guid=secrets.token_hex(20),
    )
    if not await house.store.write(accounts.add_account, account, call.application):
        raise Fault("bad_username", "This user name is taken.")
    house.identity.forget()
    return await session.signed_in(house, call, account)


def _address(house: House, written: str) -> str:
    """A mail address outside the domains that are faxed. Raises Fault."""
    try:
        address = TypeAdapter(Mail).validate_python(written)
    except ValidationError as error:
        raise Fault("bad_email", "email is a mail address.") from error
    if address.rpartition("@")[2].lower() in house.config.domain:
        raise Fault("bad_email", "Mail to this domain is faxed.")
    return str(address)


async def _free(house: House, username: str, email: str = "") -> None:
    """Raises Fault where an account cannot be called so, or is already."""
    logins = {account.login.lower() for account in await house.identity.all()}
    if not _SHORTEST <= len(username) <= _LONGEST or not username.isprintable() or username.lower() in logins:
        raise Fault("bad_username", f"A user name has {_SHORTEST} to {_LONGEST} characters and is not taken.")
    if email.lower() in logins:
        raise Fault("user_email_already_exist", "There is an account with this mail address.")


def _password(call: Call, name: str) -> str:
    password = call.raw(name, 1000)
    if password and not _SHORTEST <= len(password) <= _LONGEST:
        raise Fault("bad_password", f"A password has {_SHORTEST} to {_LONGEST} characters.")
    return password


@user_info.method("DeleteUser")
async def delete_user(house: House, call: Call) -> Members:
    profile = await house.store.read(applications.profile_of, call.account.id)
    if call.account.declared or profile.body.get(applications.MADE_BY) != call.application:
        raise Fault("missing_right", "The operator removes this account.")
    if await house.store.read(accounts.busy, call.account.id):  # before its numbers are given back for good
        raise Fault("access_denied", _UNDER_WAY)
    for line in await lines_of(house, call):
        try:
            await house.lines.release(call.account, line.number)
        except Refused as error:
            raise Fault("unable_to_cancel", error.text) from error

    def record(t: Transaction) -> bool:
        left = accounts.close(t, call.account.id)
        if left is None:
            return False
        text = f"{call.account.name} ({call.account.login}) was removed by itself; {eur(left)} that it had left are booked out."
        outbox.alarm(t, about=call.account.id, what="an account was removed", text=text)
        return True

    if not await house.store.write(record):
        raise Fault("access_denied", _UNDER_WAY)
    house.identity.forget()
    return {}


@user_info.method("SetPassword")
async def set_password(house: House, call: Call) -> Members:
    if call.account.declared and not house.sandbox:
        raise Fault("missing_right", "The configuration file says this password: the operator changes it there.")
    hashed = (call.text("hashFunction", 20) or "plain").lower()
    password, old = _password(call, "password"), call.raw("old_password", 1000)
    if hashed not in ("plain", "md5") or (hashed == "md5") != bool(_MD5.fullmatch(password)):
        raise Fault("bad_password", "hashFunction is plain, or md5 for 32 hex digits.")
    if not password:
        raise Fault("missing_argument", "password is missing.")
    if old not in ("", "0"):
        same = await house.throttle.by_password(call.client, call.account.login, old, digest=True)
        if same is None or same.id != call.account.id:
            raise Fault("current_password_wrong", "old_password is not the password.")
    kept = await house.identity.hashes(password)
    await house.store.write(accounts.set_password, call.account.id, *kept, call.session.token)
    house.identity.forget()
    return {}


@user_info.method("VerifyPassword")
async def verify_password(house: House, call: Call) -> Members:
    password = call.raw("password", 1000)
    if await house.throttle.by_password(call.client, call.account.login, password, digest=True) is None:
        raise Fault("bad_password", "The password is wrong.")
    return {}


@user_info.method("ValidateNewUsername", user=False)
async def validate_new_username(house: House, call: Call) -> Members:
    await _free(house, call.raw("username", 200).strip())
    return {}


@user_info.method("isEmailConfirmed")
async def is_email_confirmed(_house: House, call: Call) -> Members:
    return {"Email": {"confirmed": int(call.needed("email", 200).lower() == call.address.lower())}}


@user_info.method("SendMessage")
async def send_message(house: House, call: Call) -> Members:
    if (call.text("type", 20) or "email").lower() != "email":
        raise Fault("missing_right_messaging", "Messages are sent by mail.")
    profile = await house.store.read(applications.profile_of, call.account.id)
    if profile.body.get(applications.MADE_BY) and not house.sandbox:
        raise Fault("missing_right_messaging", "Nobody has shown that this account's address is its own.")
    to = call.text("recipient", 200) or call.address
    if to.lower() != call.address.lower() and not house.sandbox:
        raise Fault("missing_right_messaging", "Messages are sent to the account itself.")
    about, subject, body = f"{call.account.id}#{new_id('msg')[-10:]}", call.text("subject", _SUBJECT), call.needed("body")
    to = _address(house, to)

    def record(t: Transaction) -> None:
        outbox.owe(t, kind=outbox.MESSAGE, about=about, recipient=to, subject=subject, text=body)

    await house.store.write(record)
    return {}


@user_info.method("SendPasswordResetMessage", user=False)
async def send_password_reset_message(house: House, call: Call) -> Members:
    login = await session.login_of(house, call.needed("username", 200))
    account = next((one for one in await house.identity.all() if one.login and one.login.lower() == login.lower()), None)
    if account is None:
        raise Fault("user_not_found", "There is no such user.")
    what, name = "somebody asks for a new password", account.name
    text = f"{name} ({account.login}) asks for a new password; this sets one:\n\nfaxgate account password {name}"
    await house.store.write(outbox.alarm, about=f"{account.id}#{call.now:%Y%m%d}", what=what, text=text)
    return {}
