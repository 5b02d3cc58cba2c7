"""Accounts: who somebody is, by password, or by sender address and client network.

Passwords are kept as argon2id. A verified password is remembered for a minute under a keyed hash, so that a program
that signs in for every mail does not cost 50 ms of CPU each time. Unknown logins cost as much time as wrong passwords.
"""

from __future__ import annotations

import asyncio
import fnmatch
import hashlib
import hmac
import ipaddress
import re
import secrets
import time
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from pydantic import TypeAdapter, ValidationError

from gateway import message
from gateway.config import Config
from gateway.errors import ConfigError, NotAdmitted
from gateway.fax import Account, AccountId, Line, Settings, new_id, provable
from gateway.sections import SETTINGS
from gateway.spool import accounts
from gateway.spool.store import Store
from gateway.units import Mail

_REMEMBER = 60.0  # seconds a verified password is known
_FRESH = 2.0  # seconds the list of accounts is used before it is read again
_MOST = 1000  # remembered passwords
_ARGON2 = "$argon2id$"
_MD5 = re.compile(r"[0-9A-Fa-f]{32}")


class Roll:
    """Accounts, and which of them a sender speaks for."""

    def __init__(self, accounts: Sequence[Account] = ()) -> None:
        self._accounts = accounts

    async def all(self) -> Sequence[Account]:
        """Every account."""
        return self._accounts

    async def by_name(self, name: str) -> Account | None:
        return next((account for account in await self.all() if account.name == name), None)

    async def by_id(self, identity: str) -> Account | None:
        return next((account for account in await self.all() if account.id == identity), None)

    async def by_network(self, sender: str, client: str) -> Account | None:
        """The account that lists this sender and this client's network; neither alone proves anything."""
        return next((one for one in await self.all() if is_inside(one, client) and self.owns(one, sender)), None)

    async def by_author(self, sender: str) -> Account | None:
        """The account that lists this sender and takes DMARC's proof of it, which is still to be given."""
        return next((one for one in await self.all() if one.dmarc and self.owns(one, sender, provably=True)), None)

    @staticmethod
    def owns(account: Account, address: str, *, provably: bool = False) -> bool:
        """Whether a mail address is one of the account's senders. Patterns know only `*`; case does not matter.

        provably  only by patterns whose domain is named
        """
        wanted = message.plain_address(address)
        if not wanted:
            return False
        listed = [pattern for pattern in account.senders if not provably or provable(pattern)]
        return any(_is_listed(wanted, pattern) for pattern in listed)


class Identity(Roll):
    """The accounts and lines of one spool."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store
        # Two threads: signing in must not take every core from the rest.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="argon2")
        self._hasher = PasswordHasher()
        self._nobody = self._hasher.hash(secrets.token_hex(16))
        self._key = secrets.token_bytes(32)
        self._fixed: dict[str, frozenset[str]] = {}
        self._verified: dict[bytes, tuple[str, float]] = {}
        self._lines: list[Line] = []
        self._read_at = float("-inf")

    def close(self) -> None:
        self._threads.shutdown(wait=True)

    async def declare(self, config: Config) -> None:
        """Make the accounts and lines of the configuration file part of the spool. Raises ConfigError."""
        known = {account.name: account for account in await self._store.read(accounts.accounts)}
        names = {section.name for section in config.account}
        taken = {old.login.lower(): old.name for old in known.values() if not old.declared and old.name not in names}
        declared = []
        for n, section in enumerate(config.account, 1):
            if section.login and section.login.lower() in taken:
                other = taken[section.login.lower()]
                raise ConfigError(config.file, f"account[{n}].login", f'the account "{other}" signs in as "{section.login}"')
            old = known.get(section.name)
            password = config.secret(section)
            settings = {name: value for name in SETTINGS if (value := getattr(section, name)) is not None}
            if secret := config.secret(section, "callback_secret"):
                settings["callback_secret"] = secret
            self._fixed[section.name] = frozenset(settings)
            kept = old if old and password and await self._matches(old.password_hash, password) else None
            digest = await self._digest(password, kept) if config.door.pamfax else ""
            declared.append(
                Account(
                    id=old.id if old else AccountId(new_id("acc")),
                    name=section.name,
                    login=section.login,
                    password_hash=kept.password_hash if kept else await self.hashed(password) if password else "",
                    senders=section.senders,
                    networks=section.networks,
                    countries=section.countries,
                    declared=True,
                    guid=old.guid if old else "",
                    settings=replace(old.settings if old else Settings(), **settings),
                    prepaid=section.prepaid,
                    dmarc=section.dmarc,
                    bulk=section.bulk,
                    digest_hash=digest,
                )
            )
        ids = {account.name: account.id for account in declared}
        lines = [
            Line(number=line.number, account=ids[line.account], carrier=line.carrier, mailbox=line.mailbox, declared=True)
            for line in config.line
        ]
        await self._store.write(accounts.declare, declared, lines)
        self.forget()

    async def all(self) -> Sequence[Account]:
        """Every account."""
        await self._refresh()
        return self._accounts

    async def lines(self) -> Sequence[Line]:
        """Every line."""
        await self._refresh()
        return self._lines

    async def change_settings(self, account: Account, **changes: str | bool) -> Account:
        """Change some of an account's settings; the changed account. Raises NotAdmitted for what the file declares."""
        fixed = self._fixed.get(account.name, frozenset())
        for name, value in changes.items():
            if name in fixed and value != getattr(account.settings, name):
                raise NotAdmitted(f"“{name}” of this account is declared in the configuration file: change it there.")
        changed = await self._store.write(accounts.change_settings, account.id, changes)
        self.forget()
        if changed is None:
            raise NotAdmitted("This account has been removed.")
        return changed

    async def by_password(self, login: str, password: str, *, digest: bool = False) -> Account | None:
        """The account that signs in so; None = wrong. With `digest` the password's MD5 does as well, where the account has
        a hash of it. Raises SpoolUnavailable."""
        account = next((a for a in await self.all() if a.login and a.login.lower() == login.lower()), None)
        stored = account.password_hash if account and account.password_hash else self._nobody
        if digest and account and account.digest_hash and _MD5.fullmatch(password):
            stored, password = account.digest_hash, password.lower()
        elif account and account.digest_hash and not account.password_hash:  # it was set as its MD5
            stored, password = account.digest_hash, _md5(password)
        remembered = hmac.digest(self._key, _octets(f"{login}\0{password}"), hashlib.sha256)
        known = self._verified.get(remembered)
        if account and known and known[0] == stored and known[1] > time.monotonic():
            return account
        if not await self._matches(stored, password) or account is None or stored == self._nobody:
            return None
        if len(self._verified) >= _MOST:
            self._verified.clear()
        self._verified[remembered] = (stored, time.monotonic() + _REMEMBER)
        return account

    async def save(self, account: Account) -> None:
        """Add or change an account that the file does not declare. Raises NotAdmitted."""
        known = await self.all()
        others = [other for other in known if other.id != account.id]
        declared = account.declared or any(other.declared for other in known if other.id == account.id)
        if declared or any(other.name == account.name for other in others):
            raise NotAdmitted(f'The account "{account.name}" exists; if the configuration file declares it, change it there.')
        if account.login and any(other.login.lower() == account.login.lower() for other in others):
            raise NotAdmitted(f'Another account signs in as "{account.login}".')
        await self._store.write(accounts.save_account, account)
        self.forget()

    async def hashed(self, password: str) -> str:
        """argon2id of a password; a string that is one already stays."""
        if password.startswith(_ARGON2):
            return password
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._hasher.hash, _octets(password))

    async def with_password(self, account: Account, password: str, *, digest: bool) -> Account:
        """The account with another password; with `digest` its MD5 will do, too, where that is asked for."""
        hashed = await self.hashed(password)
        return replace(account, password_hash=hashed, digest_hash=await self._digest(password, None) if digest else "")

    async def hashes(self, password: str) -> tuple[str, str]:
        """What is kept of a password, and of its MD5. Of one that is given as its MD5 (32 hex digits) only the latter."""
        if _MD5.fullmatch(password):
            return "", await self.hashed(password.lower())
        return await self.hashed(password), await self.hashed(_md5(password))

    async def _digest(self, password: str, known: Account | None) -> str:
        """argon2id of a password's MD5, which some programs send instead; "" where only a hash of the password is known.
        That of an account which has this password already is kept."""
        if not password or password.startswith(_ARGON2):
            return ""
        if known and known.digest_hash:
            return known.digest_hash
        return await self.hashed(_md5(password))

    def forget(self) -> None:
        """Read the accounts anew, and believe no remembered password."""
        self._read_at = float("-inf")
        self._verified.clear()

    async def _refresh(self) -> None:
        if time.monotonic() - self._read_at < _FRESH:
            return
        self._accounts = await self._store.read(accounts.accounts)
        self._lines = await self._store.read(accounts.lines)
        self._read_at = time.monotonic()

    async def _matches(self, stored: str, password: str) -> bool:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._verify, stored, password)

    def _verify(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, _octets(password))
        except (VerificationError, InvalidHashError):
            return False


def is_inside(account: Account, client: str) -> bool:
    """Whether a client's IP address is in one of the account's own networks."""
    return within(client, account.networks)


def within(client: str, networks: Iterable[str]) -> bool:
    """Whether an IP address is in one of the networks (CIDR). What is no IP address is in none."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in ipaddress.ip_network(network) for network in networks)


def _is_listed(address: str, pattern: str) -> bool:
    """A pattern with an @ is spelled as addresses are; one without stays as it is written."""
    spelled = message.plain_address(pattern) if "@" in pattern else pattern.lower()
    return fnmatch.fnmatchcase(address, spelled.replace("[", "[[]").replace("?", "[?]"))


def _octets(text: str) -> bytes:
    """What is hashed; a client may send octets that are no text."""
    return text.encode("utf-8", "surrogatepass")


def _md5(password: str) -> str:
    return hashlib.md5(_octets(password), usedforsecurity=False).hexdigest()


def mailbox_of(account: Account | None, domains: Collection[str]) -> str:
    """The login of an account, where it is a mail address outside the `domains` that are faxed; else ""."""
    login = account.login if account else ""
    try:
        TypeAdapter(Mail).validate_python(login)
    except ValidationError:
        return ""
    return "" if login.rpartition("@")[2].lower() in domains else login
