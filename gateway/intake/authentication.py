"""Who a connection is, and for which account an envelope and a mail speak.

Three proofs count: a password over TLS, a listed sender from one of its account's own networks, or a mail whose author DMARC
proves (`proof`). The sender address alone proves nothing (AUT-02), nor does that of a server which passes on other people's
mail. Sources: RFC 4954, 4616, 6409 §6; rows SUB-03 to SUB-07, AUT-01, AUT-02, AUT-09.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from gateway.desk.identity import within
from gateway.errors import NotAdmitted, Refused
from gateway.fax import Account, Door
from gateway.message import Headers

_USERNAME, _PASSWORD = (base64.b64encode(word).decode() for word in (b"Username:", b"Password:"))


class Proof(StrEnum):
    """What shows that a mail may speak for an account."""

    LOGIN = "login"  #: its client signed in
    NETWORK = "network"  #: its client is in one of the account's own networks
    DMARC = "dmarc"  #: a signature or a host of the author's domain: known when the mail is there


class Owner(Protocol):
    """Says whose address it is."""

    @staticmethod
    def owns(account: Account, address: str, *, provably: bool = False) -> bool: ...


class Accounts(Owner, Protocol):
    """Says which account a sender speaks for."""

    async def by_id(self, identity: str) -> Account | None: ...

    async def by_network(self, sender: str, client: str) -> Account | None: ...

    async def by_author(self, sender: str) -> Account | None: ...


@dataclass(slots=True)
class Client:
    """What is known about the other side of a connection. Begun anew at STARTTLS: what was said in clear is forgotten."""

    address: str
    """IP address; "" for LMTP, a Unix socket, and behind a proxy that does not name it."""
    helo: str = ""
    """The name it gave itself, "" before HELO: a claim."""
    extended: bool = False
    """It said EHLO."""
    tls: str = ""
    """Version and cipher, "" in clear."""
    account: Account | None = None
    """Who signed in."""
    failures: int = 0
    """Wrong passwords so far."""
    door: Door = Door.SMTP
    """LMTP: a mail server that passes on the mail of many. IMAP: a mailbox, whose server has it from anybody."""
    authserv_ids: frozenset[str] | None = None
    """Names under which the server before us writes Authentication-Results, lower case. None: those of `[smtp]`."""
    hops: int = 1
    """How many Received fields that server writes."""


@dataclass(frozen=True, slots=True)
class Standing:
    """For which account an envelope speaks, and by what proof."""

    account: Account
    proof: Proof


def is_relay(client: Client, relays: Collection[str]) -> bool:
    """Whether a client passes on other people's mail, so that its address says nothing about a sender."""
    return client.door in (Door.LMTP, Door.IMAP) or not client.address or within(client.address, relays)


async def standing(identity: Accounts, client: Client, sender: str, *, relays: Collection[str] = ()) -> Standing:
    """The account that the envelope belongs to. With `Proof.DMARC` the mail itself still has to prove it.

    relays  networks (CIDR) of servers that pass on other people's mail
    Raises NotAdmitted saying what to do; SpoolUnavailable.
    """
    if not sender:
        raise NotAdmitted("Mail with an empty return path is not faxed.")  # AUR-07
    if client.account:
        account = await _still(identity, client.account)
        check_sender(identity, account, sender)
        return Standing(account, Proof.LOGIN)
    known = None if is_relay(client, relays) else await identity.by_network(sender, client.address)
    if known:
        return Standing(known, Proof.NETWORK)
    claimed = await identity.by_author(sender)
    if claimed:
        return Standing(claimed, Proof.DMARC)
    raise NotAdmitted(
        "This sender may not fax from this network: sign in, or ask the operator to list the address and the network."
    )


async def _still(identity: Accounts, account: Account) -> Account:
    """The account as it is now: a connection may be older than a password taken away. Raises NotAdmitted 530."""
    now = await identity.by_id(account.id)
    if now is None or (now.login, now.password_hash, now.digest_hash) != (
        account.login,
        account.password_hash,
        account.digest_hash,
    ):
        raise NotAdmitted("This account was changed meanwhile: sign in again.", reply="530 5.7.0")
    return now


def check_sender(identity: Owner, account: Account, sender: str) -> None:
    """The envelope sender must belong to the login (SUB-07): faxes cost money. Raises NotAdmitted."""
    if sender and not identity.owns(account, sender):
        raise NotAdmitted("This sender address does not belong to the account that signed in.")


def check_author(identity: Owner, standing: Standing, headers: Headers) -> None:
    """The From field must name exactly one address, of the same account (AUT-09). Raises NotAdmitted."""
    if headers.from_fields != 1 or len(headers.from_addresses) != 1 or headers.from_group:
        raise NotAdmitted("The From field of a mail to be faxed names exactly one address.")
    if not identity.owns(standing.account, headers.from_addresses[0], provably=standing.proof is Proof.DMARC):
        raise NotAdmitted("The address in the From field does not belong to the account that the sender belongs to.")


async def credentials(argument: str, ask: Callable[[str], Awaitable[bytes]]) -> tuple[str, str]:
    """Login and password of an AUTH command.

    argument  what stands behind AUTH: PLAIN or LOGIN, and perhaps the first response
    ask       sends a challenge (base64) and returns the client's line
    Raises    Refused 501, 504 or 535
    """
    mechanism, _, initial = argument.partition(" ")
    if mechanism.upper() == "PLAIN":
        return _plain(_unpacked(initial.encode("ascii", "replace") if initial else await ask("")))
    if mechanism.upper() == "LOGIN":
        login = _unpacked(initial.encode("ascii", "replace") if initial else await ask(_USERNAME))
        return _text(login), _text(_unpacked(await ask(_PASSWORD)))
    raise Refused("PLAIN and LOGIN are offered here.", reply="504 5.5.4")


def rejected() -> Refused:
    """The one answer to every wrong login and password."""
    return Refused("Login or password is wrong.", reply="535 5.7.8")


def _unpacked(response: bytes) -> bytes:
    if response == b"*":
        raise Refused("Sign-in cancelled.", reply="501 5.7.0")
    if response == b"=":  # an empty initial response, RFC 4954 §4
        return b""
    try:
        return base64.b64decode(response, validate=True)
    except binascii.Error as error:
        raise Refused("This is not base64.", reply="501 5.5.2") from error


def _plain(response: bytes) -> tuple[str, str]:
    """RFC 4616: identity to act as, login, password, with NUL between them."""
    parts = response.split(b"\0")
    if len(parts) != 3:
        raise Refused("PLAIN is an identity, a login and a password with NUL between them.", reply="501 5.5.2")
    act_as, login, password = parts
    if act_as not in (b"", login):
        raise rejected()
    return _text(login), _text(password)


def _text(credential: bytes) -> str:
    """What is not UTF-8 is nobody's login or password."""
    try:
        return credential.decode("utf-8")
    except UnicodeDecodeError as error:
        raise rejected() from error
