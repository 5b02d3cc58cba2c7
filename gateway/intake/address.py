"""Recipient addresses: from the path of RCPT to a fax number and the wishes beside it.

Promises a `Recipient`, a `Special`, or a `Refused` whose reply is fit for the dialogue; never another error, whatever
the octets. Does not know who may fax where (`desk.admission`). The standard library's address parser turns
`FAX=+1415(x)555…` into another address, so the path is read here, strictly.
Sources: RFC 5321 §4.1.2, RFC 3191, 3192, 2846, 3601; reference/internet-fax-standards.md section 16 (grammar, examples).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from gateway import number
from gateway.errors import BadAddress, NotAdmitted, Unsupported
from gateway.fax import Recipient

_PATH_LIMIT = 254  # RFC 5321 §4.5.3.1.3: 256 octets with the angle brackets
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN_NAME = rf"{_LABEL}(?:\.{_LABEL})*"
_DOMAIN = re.compile(rf"(?:{_DOMAIN_NAME}|\[[A-Za-z0-9.:]+\])\Z")
_ROUTE = re.compile(rf"@{_DOMAIN_NAME}(?:,@{_DOMAIN_NAME})*:")
_ATOM = r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+"
_LOCAL = re.compile(rf'"(?P<quoted>(?:[ !#-\[\]-~]|\\[ -~])*)"|(?P<plain>{_ATOM}(?:\.{_ATOM})*)')

_WORD = re.compile(r"/?([A-Za-z0-9-]+)=")
_ELEMENT = re.compile(r"/(?=[A-Za-z0-9-]+=)")
_BARE = re.compile(r"(\+?[0-9 .()-]+)(?:\+([A-Za-z0-9._-]{1,32}))?\Z")
_NUMBER_LABEL = re.compile(r"(\+?[0-9][0-9.-]*[0-9])\.([A-Za-z][A-Za-z0-9._-]*)\Z")
_LABEL_NUMBER = re.compile(r"([A-Za-z][A-Za-z0-9_-]*(?:\.[A-Za-z][A-Za-z0-9_-]*)*)\.(\+?[0-9][0-9.-]*[0-9])\Z")
_BOUNCE = re.compile(r"bounce\+(?:in_[0-9a-z]{26}|out_[0-9a-z]{26}-[0-9a-f]{20})\Z", re.IGNORECASE)
_PHONE = re.compile(r"\+?[0-9 .()-]+\Z")
_DIAL_STRING = re.compile(r"[0-9#*A-Da-dpPwW.-]*[#*A-Da-dpPwW][0-9#*A-Da-dpPwW.-]*\Z")

_EXAMPLE = "Write the number with country code, for example +14155550123."


@dataclass(frozen=True, slots=True, kw_only=True)
class Special:
    """An address that goes to a person and never to a fax machine (ADR-25)."""

    written: str
    name: str
    """"postmaster", "abuse", "operator" (who is shown as sender of our mails) or "bounce" (of a received fax's mail)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An address that one of our own mails asked for its answer (`desk.replies`)."""

    written: str
    local: str


def parse(
    path: str,
    *,
    domains: Collection[str],
    region: str,
    staffed: Collection[str] = (),
    number_in_subject: Collection[str] = (),
) -> Recipient | Special | Reply:
    """Read the path of RCPT, without its angle brackets.

    domains   ours, in lower case; an address literal only if it is listed, like "[192.0.2.10]"
    region    ISO 3166: numbers without + are read as dialled from there
    staffed   addresses, in lower case, whose mail a person reads: what our own mails show as sender (DSN-28)
    number_in_subject  local parts, in lower case, whose mail has the number in its subject: a Recipient without one
    Raises    BadAddress 501 5.1.3 (not an address), 550 5.1.3 (not a fax number), 550 5.1.1 (nobody by that name),
              553 5.6.7 (not ASCII); NotAdmitted 550 5.7.1 (not our domain, premium number); Unsupported 550 5.3.3
    """
    local, domain = _mailbox(path)
    if domain and domain.lower() not in domains:
        raise NotAdmitted("This gateway does not take mail for that domain.")
    if local.lower() == "postmaster" or (domain and local.lower() == "abuse"):
        return Special(written=path, name=local.lower())
    if f"{local}@{domain}".lower() in staffed:
        return Special(written=path, name="operator")
    if domain and _BOUNCE.match(local):
        return Special(written=path, name="bounce")
    if domain and local[:6].lower() == "reply+":
        return Reply(written=path, local=local)
    if not domain:
        raise _malformed("An address has a domain, for example 14155550123@fax.example.com.")
    if local.lower() in number_in_subject:
        return Recipient(written=path, number="")
    word = _WORD.match(local)
    if word and word[1].lower() != "fax":
        raise BadAddress("Only FAX= addresses are served here.", reply="550 5.1.1")
    head, slash, rest = (local[word.end() :] if word else local).partition("/")
    if not word and head[:1] not in tuple("0123456789+( .-") and not _LABEL_NUMBER.match(head):
        raise BadAddress("There is nobody by that name here. " + _EXAMPLE, reply="550 5.1.1")
    wishes = _Wishes.read(_elements(slash + rest))
    if word:
        return wishes.recipient(path, _number(head, region))
    return _convenient(path, head, wishes, region)


def sender(path: str) -> str:
    """Read the path of MAIL: the address without a source route, "" for the empty return path.

    Raises BadAddress: 501 5.1.7 (not an address), 553 5.6.7 (not ASCII), 554 5.1.8 (domain not complete, SUB-09).
    """
    if not path:
        return ""
    try:
        _, domain = _mailbox(path)
    except BadAddress as error:
        raise BadAddress(error.text, reply=error.reply.replace("501 5.1.3", "501 5.1.7")) from error
    if not domain:
        raise BadAddress("A sender has a domain, for example ann@example.com.", reply="501 5.1.7")
    if "." not in domain and not domain.startswith("["):
        raise BadAddress("The domain of the sender is not complete.", reply="554 5.1.8")
    route = _ROUTE.match(path)
    return path[route.end() :] if route else path


def _malformed(text: str = "This is not a mail address.") -> BadAddress:
    return BadAddress(text, reply="501 5.1.3")


def _mailbox(path: str) -> tuple[str, str]:
    """Local part, unquoted, and domain as written; "" where there is none."""
    if not path.isascii():
        raise BadAddress("Addresses here have ASCII characters only.", reply="553 5.6.7")
    if len(path) > _PATH_LIMIT:
        raise _malformed("The address is too long: 254 characters at most.")
    route = _ROUTE.match(path)
    start = route.end() if route else 0  # RFC 5321 §4.1.2: accept a source route and ignore it
    local = _LOCAL.match(path, start)
    if not local:
        raise _malformed()
    text = local["plain"] if local["quoted"] is None else re.sub(r"\\(.)", r"\1", local["quoted"])
    rest = path[local.end() :]
    if not rest:
        return text, ""
    if rest[0] != "@" or not _DOMAIN.match(rest, 1):
        raise _malformed()
    return text, rest[1:]


def _elements(text: str) -> list[tuple[str, str]]:
    """The `/keyword=value` elements in what follows the number.

    A value ends where the next element begins, or at a slash that ends the whole.
    """
    if text in ("", "/"):
        return []
    if not _WORD.match(text):
        raise BadAddress("What follows the number must look like /T33S=1234.")
    pairs = [element.partition("=") for element in _ELEMENT.split(text.removesuffix("/"))[1:]]
    for keyword, _, value in pairs:
        if not value:
            raise BadAddress(f"There is no value behind /{keyword}=.")
    return [(keyword, value) for keyword, _, value in pairs]


@dataclass(frozen=True, slots=True)
class _Wishes:
    """The elements behind the number, understood."""

    sub_address: str
    cover_name: str
    organisation: str
    options: tuple[tuple[str, str], ...]

    @classmethod
    def read(cls, elements: list[tuple[str, str]]) -> _Wishes:
        taken: dict[str, str] = {}
        options: list[tuple[str, str]] = []
        for keyword, value in elements:
            name = keyword.upper()
            if name == "T33S" and name in taken:
                raise BadAddress("One address has one sub-address: use two recipients.")
            if name in ("T33S", "ISUB", "POSTD", "ATTN", "ORG") and name not in taken:
                taken[name] = value
            else:
                options.append((keyword, value))
        if not re.fullmatch(r"[0-9]{1,20}", taken.get("T33S", "0")):
            raise BadAddress("The sub-address behind /T33S= has 1 to 20 digits and nothing else.")
        if not re.fullmatch(r"[0-9.-]*[0-9][0-9.-]*", taken.get("ISUB", "0")):
            raise BadAddress("The sub-address behind /ISUB= has digits only.")
        if "POSTD" in taken and not re.fullmatch(r"[0-9#*A-DPW.-]+", taken["POSTD"].upper()):
            raise BadAddress("What stands behind /POSTD= cannot be dialled.")
        if "ISUB" in taken or "POSTD" in taken:
            raise Unsupported(
                "ISDN sub-addresses and digits to dial after the answer (/ISUB=, /POSTD=) cannot be sent from here."
            )
        return cls(taken.get("T33S", ""), taken.get("ATTN", "").replace(".", " ").strip(), taken.get("ORG", ""), tuple(options))

    def recipient(self, path: str, called: number.FaxNumber, *, label: str = "", tag: str = "") -> Recipient:
        return Recipient(
            written=path,
            number=called.e164,
            sub_address=self.sub_address,
            cover_name=self.cover_name or label.replace("_", " ").strip(),
            organisation=self.organisation,
            tag=tag,
            options=self.options,
        )


def _convenient(path: str, head: str, wishes: _Wishes, region: str) -> Recipient:
    """The forms without `FAX=`: a number, a number and a tag, a number and a name in either order."""
    if bare := _BARE.match(head):
        return wishes.recipient(path, _number(bare[1], region), tag=bare[2] or "")
    if labelled := _NUMBER_LABEL.match(head):
        return wishes.recipient(path, _number(labelled[1], region), label=labelled[2])
    if labelled := _LABEL_NUMBER.match(head):
        return wishes.recipient(path, _number(labelled[2], region), label=labelled[1])
    return wishes.recipient(path, _number(head, region))


def _number(phone: str, region: str) -> number.FaxNumber:
    if _DIAL_STRING.match(phone):
        raise Unsupported("Pauses, tones and other dial strings cannot be dialled from here. " + _EXAMPLE)
    if not _PHONE.match(phone):
        raise BadAddress("This is not a fax number: letters are not dialled. " + _EXAMPLE)
    return number.parse(phone, region)
