"""A mail taken apart: facts only, no judgement about what is faxed.

`headers` reads the header block alone and is cheap; `parse` reads the whole mail and belongs in the fence, because the
content is hostile. Both survive any bytes. Sources: RFC 5322, 2045-2047, 2231, 3834.
"""

from __future__ import annotations

import email.errors
import email.header
import email.message
import email.parser
import email.policy
import email.utils
import functools
import hashlib
import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import idna

from gateway import cms

_HEADER_LIMIT = 256 * 1024
_SHORT = 16 * 1024  # octets of a header block that is remembered
_DEEPEST = 50  # levels of parts within parts; real mails have less than ten
_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n")
_MESSAGE_ID = re.compile(r"<[^<>\s\x00-\x1f\x7f]{1,998}>")
_WORD_GAP = re.compile(r"\s+")
_SHAPING = ("From", "Subject", "Content-Type", "Content-Transfer-Encoding")
#: Quoted strings, comments and encoded words, in which a mark means nothing.
_MARKS_ONLY = re.compile(r'"(?:[^"\\]|\\.)*"|\([^()]*\)|=\?[^?\s]*\?[^?\s]*\?[^?\s]*\?=')
_LONGEST_AUTHOR = 2000  # characters
_GATEWAY = re.compile(r"\sby (\S{1,255}) \(Faxgate\)")
_LIKED = re.compile(r"(?:^|,)\s*([a-z]{2,3})(?:-[a-z0-9-]*)?\s*(?:;\s*q\s*=\s*([01](?:\.[0-9]{1,3})?))?\s*(?=,|$)")
_LANGUAGE = re.compile(r"(?:^|,)\s*([a-z]{2,3})(?=[-,;\s]|$)")


class _Readable(email.policy.Compat32):
    """Header fields with raw bytes (RFC 6532, and programs that know no better) are read as UTF-8, else Windows-1252."""

    def header_fetch_parse(self, name: str, value: str) -> str:
        if value.isascii():
            return value
        raw = value.encode("utf-8", "surrogateescape")
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            return raw.decode("cp1252", "replace")


_POLICY = _Readable()


#: The octets of a mail: in memory, or a file that looks so.
Octets = bytes | mmap.mmap


@dataclass(frozen=True, slots=True, kw_only=True)
class Headers:
    """What the header block says. Texts are decoded and on one line; "" where a field is missing."""

    subject: str
    from_header: str
    """Decoded, e.g. `Ann Doe <ann@corp.example>`."""
    from_addresses: tuple[str, ...]
    """Mail addresses of every From field, as written. Anything but exactly one is suspicious (AUT-09)."""
    from_name: str
    """Display name of the first From address."""
    reply_to: str
    message_id: str
    """With its angle brackets."""
    resent_message_id: str
    references: tuple[str, ...]
    """References, else In-Reply-To: oldest first."""
    date: datetime | None
    """Aware; None when missing or unreadable."""
    auto_submitted: str
    """The word before any parameter or comment, lower case: "no", "auto-generated", "auto-replied"."""
    precedence: str
    list_id: str
    received: int
    """How many Received fields there are."""
    loop_marks: tuple[str, ...]
    """Values of X-Faxgate-Loop, our own mark."""
    languages: tuple[str, ...] = ()
    """Content-Language (RFC 3282): the main tags, lower case, e.g. "de" for "de-AT"."""
    reads: tuple[str, ...] = ()
    """Accept-Language (RFC 3282): what its author likes to read, best first, as above."""
    cover: str = ""
    """X-Faxgate-Cover: what the sender asks of the cover page."""
    from_fields: int = 1
    """How many From fields there are."""
    from_group: bool = False
    """The From field names a group (`name: …;`) or a route, not a mailbox."""
    content_type: str = "text/plain"
    """Lower case, without parameters; what the standard assumes where there is none."""
    smime_type: str = ""
    """The `smime-type` parameter, lower case."""
    answers_by_itself: bool = False
    """It has a field of older programs that answer by themselves (X-Autoreply, X-Autorespond)."""
    wants_no_answers: bool = False
    """X-Auto-Response-Suppress: a program wrote it that wants no program's answer."""
    gateways: tuple[str, ...] = ()
    """Hosts of fax gateways like this one that it has passed through, lower case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One leaf or container of the MIME tree."""

    position: str
    """Like "1.2": the second child of the first child; "" for the mail itself."""
    content_type: str
    """Lower case, as declared."""
    charset: str
    name: str
    """File name as the sender wrote it, decoded, on one line. Data, never a path. "" when there is none."""
    disposition: str
    """"inline", "attachment" or ""."""
    content_id: str
    """Without angle brackets."""
    parameters: tuple[tuple[str, str], ...]
    """Other Content-Type parameters, names in lower case."""
    children: tuple[Part, ...]
    problem: str = ""
    """Why its structure could not be read, e.g. "nested too deeply"; "" when it could."""
    _leaf: email.message.Message | None = field(repr=False, default=None)

    @property
    def content(self) -> bytes:
        """The decoded bytes of a leaf; b"" for containers and for an attached mail, whose content is `inner`."""
        if self._leaf is None or self._leaf.is_multipart():
            return b""
        payload = self._leaf.get_payload(decode=True)
        return payload if isinstance(payload, bytes) else b""

    @property
    def is_cut(self) -> bool:
        """Whether the end of its base64 is missing; `content` is then the undecoded text. Known after `content` was read."""
        defects = self._leaf.defects if self._leaf is not None else []
        return any(isinstance(defect, email.errors.InvalidBase64LengthDefect) for defect in defects)

    @property
    def inner(self) -> Message | None:
        """The attached mail of a `message/rfc822` part; None for every other part."""
        if self._leaf is None or self.content_type != "message/rfc822" or not self._leaf.is_multipart():
            return None
        mail = next((part for part in self._leaf.get_payload() if isinstance(part, email.message.Message)), None)
        if mail is None:
            return None
        if str(self._leaf.get("Content-Transfer-Encoding", "")).strip().lower() in ("base64", "quoted-printable"):
            # RFC 2046 forbids encoding an attached mail, some programs do it; the library then parses the encoded text.
            coded = email.message.Message()
            coded["Content-Transfer-Encoding"] = str(self._leaf["Content-Transfer-Encoding"]).strip()
            coded.set_payload(mail.get_payload())
            decoded_mail = coded.get_payload(decode=True)
            if not len(mail) and isinstance(decoded_mail, bytes):
                return parse(decoded_mail)
        return Message(headers=_headers(mail), root=_part(mail, "", _DEEPEST))

    @property
    def title(self) -> str:
        """How a person recognises the part: its name, else what it is, and its position."""
        words = {"text/plain": "message text", "text/html": "message as HTML"}
        body = words.get(self.content_type) if self.disposition != "attachment" else None
        if body and not self.position.strip("1."):  # the first leaf, at whatever depth
            return self.name or body
        return self.name or f"{body or self.content_type} (part {self.position or '1'})"

    def walk(self) -> Iterator[Part]:
        """This part and everything below it, in the order of the mail."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One mail."""

    headers: Headers
    root: Part


def headers(data: Octets) -> Headers:
    """Read the header block of a mail. Never raises."""
    end = _END_OF_HEADERS.search(data, 0, _HEADER_LIMIT)
    return _block(bytes(data[: end.end() if end else _HEADER_LIMIT])).headers


@dataclass(frozen=True, slots=True)
class _Block:
    """A header block, read."""

    headers: Headers
    shaping: tuple[str, ...]
    """The fields that shape the fax, as `content_hash` counts them."""


def _block(octets: bytes) -> _Block:
    return _remembered(octets) if len(octets) <= _SHORT else _read(octets)


def _read(octets: bytes) -> _Block:
    mail = email.parser.BytesHeaderParser(policy=_POLICY).parsebytes(octets)
    shaping = [f"{name}: {str(value).strip()}\n" for name in _SHAPING for value in mail.get_all(name, [])]
    return _Block(_headers(mail), tuple(shaping))


#: A mail on its way in is looked at by several, one after the other; each time it is the same block.
_remembered = functools.lru_cache(64)(_read)


def parse(data: bytes) -> Message:
    """Read a whole mail. Never raises; what makes no sense is left as it stands."""
    try:
        mail = email.parser.BytesParser(policy=_POLICY).parsebytes(data)
    except RecursionError:  # the library opens parts within parts by recursion
        mail = email.parser.BytesHeaderParser(policy=_POLICY).parsebytes(data)
        return Message(headers=_headers(mail), root=_part(mail, "", 0))
    return Message(headers=_headers(mail), root=_part(mail, "", _DEEPEST))


def content_hash(data: Octets) -> str:
    """SHA-256 that stays the same when a mail is sent again by another route.

    Over the body and the fields that shape the fax (From, Subject, Content-Type); trace fields differ by route.
    """
    end = _END_OF_HEADERS.search(data)
    split = end.end() if end else len(data)
    digest = hashlib.sha256()
    for shaping in _block(bytes(data[:split])).shaping:
        digest.update(shaping.encode("utf-8", "surrogateescape"))
    digest.update(b"\n")
    digest.update(memoryview(data)[split:])
    return digest.hexdigest()


def plain_address(address: str) -> str:
    """A mail address (or a pattern with `*`) in its one spelling: lower case, the domain in A-labels; "" where it is none.

    Only ASCII letters have two cases here: the Kelvin sign is no k, and a Cyrillic а no a.
    """
    local, at, domain = address.rpartition("@")
    if not at or not local or "@" in local or not local.isascii() or not local.isprintable() or " " in local.strip('"'):
        return ""
    try:
        labels = [_label(label) for label in domain.split(".")]
    except (idna.IDNAError, UnicodeError):
        return ""
    return f"{local.lower()}@{'.'.join(labels)}" if all(labels) else ""


def _label(label: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_*-]{1,63}|\[[A-Za-z0-9:*]+|[0-9*]+\]", label):  # the last two: of an address literal
        return label.lower()
    if any(letter.lower().isascii() for letter in label if not letter.isascii()):
        return ""
    return idna.encode(label.lower(), strict=True).decode("ascii")


def decoded(value: object) -> str:
    """A header value with its encoded words read, on one line, without control characters (CNT-19)."""
    text = str(value)
    if text.isascii() and text.isprintable() and "=?" not in text:
        return _WORD_GAP.sub(" ", text).strip()
    try:
        text = str(email.header.make_header(email.header.decode_header(value)))  # type: ignore[arg-type]  # str or Header
    except (LookupError, ValueError, email.errors.MessageError):
        text = text.encode("ascii", "replace").decode("ascii")
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    text = "".join(c if c.isprintable() or c == "\t" else " " for c in text)
    return _WORD_GAP.sub(" ", text).strip()


def _headers(mail: email.message.Message) -> Headers:
    def first(name: str) -> str:
        return decoded(mail.get(name, ""))

    def raw(name: str) -> str:
        return _WORD_GAP.sub(" ", str(mail.get(name, ""))).strip()

    froms = [decoded(value) for value in mail.get_all("From", [])]
    addresses = _addresses([str(value) for value in mail.get_all("From", [])])
    return Headers(
        subject=first("Subject"),
        from_header=", ".join(froms),
        from_addresses=tuple(address for _, address in addresses if address),
        from_name=decoded(addresses[0][0]) if addresses else "",
        reply_to=first("Reply-To"),
        message_id=_first_id(raw("Message-ID")),
        resent_message_id=_first_id(raw("Resent-Message-ID")),
        references=tuple(_MESSAGE_ID.findall(raw("References")) or _MESSAGE_ID.findall(raw("In-Reply-To"))),
        date=_date(raw("Date")),
        auto_submitted=re.split(r"[;\s(]", raw("Auto-Submitted").lower(), maxsplit=1)[0] or "no",
        precedence=raw("Precedence").lower(),
        list_id=raw("List-Id") or raw("List-Unsubscribe"),
        received=len(mail.get_all("Received", [])),
        loop_marks=tuple(str(value).strip() for value in mail.get_all("X-Faxgate-Loop", [])),
        languages=tuple(_LANGUAGE.findall(raw("Content-Language").lower())),
        reads=_liked(raw("Accept-Language").lower()),
        cover=first("X-Faxgate-Cover"),
        from_fields=len(froms),
        from_group=any(_is_group(str(value)) for value in mail.get_all("From", [])),
        content_type=_content_type(mail),
        smime_type=dict(_parameters(mail)).get("smime-type", "").lower(),
        answers_by_itself=any(name in mail for name in ("X-Autoreply", "X-Autorespond", "X-Autoresponder")),
        wants_no_answers="X-Auto-Response-Suppress" in mail,
        gateways=tuple(host.lower() for value in mail.get_all("Received", []) for host in _GATEWAY.findall(str(value))),
    )


def _liked(value: str) -> tuple[str, ...]:
    """The languages of an Accept-Language field by their weights; those that are not wanted (0) are left out."""
    weighed = [(float(weight or 1), language) for language, weight in _LIKED.findall(value)]
    return tuple(language for weight, language in sorted(weighed, key=lambda one: -one[0]) if weight)


def _is_group(author: str) -> bool:
    """Whether a From field names a group or a route. One of such a length that looking takes long is as suspicious."""
    return len(author) > _LONGEST_AUTHOR or ":" in _MARKS_ONLY.sub("", author)


def addresses(fields: list[str]) -> list[str]:
    """The mail addresses that address fields name, as written."""
    return [address for _, address in _addresses(fields) if address]


def _addresses(fields: list[str]) -> list[tuple[str, str]]:
    """Name and address of each; none where comments or groups are nested so deep that the library gives up."""
    try:
        return email.utils.getaddresses(fields)
    except RecursionError:
        return []


def _first_id(value: str) -> str:
    found = _MESSAGE_ID.search(value)
    return found.group(0) if found else ""


def _date(value: str) -> datetime | None:
    try:
        date = email.utils.parsedate_to_datetime(value)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)  # "-0000": the zone is not known


def _part(mail: email.message.Message, position: str, depth: int) -> Part:
    if depth > 0 and (entity := _signed(mail)) is not None:
        return _part(entity, position, depth - 1)
    content_type = _content_type(mail)
    children: list[Part] = []
    problem = ""
    container = content_type.startswith("multipart/")
    if container and depth <= 0:
        problem = "nested too deeply"
    elif container and not mail.is_multipart():
        problem = "its parts cannot be told apart"
    elif container:
        for n, child in enumerate(mail.get_payload(), 1):
            if isinstance(child, email.message.Message):
                children.append(_part(child, f"{position}.{n}" if position else str(n), depth - 1))
    return Part(
        position=position,
        content_type=content_type,
        charset=_charset(mail),
        name=_name(mail),
        disposition=_disposition(mail),
        content_id=str(mail.get("Content-ID", "")).strip().strip("<>"),
        parameters=_parameters(mail),
        children=tuple(children),
        problem=problem,
        _leaf=None if container else mail,
    )


def _signed(mail: email.message.Message) -> email.message.Message | None:
    """What an S/MIME signature that has the text inside it signs; None for everything else."""
    if _content_type(mail) not in ("application/pkcs7-mime", "application/x-pkcs7-mime"):
        return None
    payload = mail.get_payload(decode=True)
    entity = cms.signed_content(payload) if isinstance(payload, bytes) else None
    try:
        return email.parser.BytesParser(policy=_POLICY).parsebytes(entity) if entity else None
    except RecursionError:
        return None


def _content_type(mail: email.message.Message) -> str:
    try:
        return _WORD_GAP.sub(" ", mail.get_content_type())  # a folded one keeps its line end
    except (ValueError, LookupError, AttributeError):
        return "application/octet-stream"


def _charset(mail: email.message.Message) -> str:
    try:
        return str(mail.get_content_charset() or "")
    except (LookupError, ValueError, UnicodeError):
        return ""


def _name(mail: email.message.Message) -> str:
    try:
        name = mail.get_filename()
    except (LookupError, ValueError, UnicodeError, TypeError):
        name = None
    return decoded(name)[:200] if name else ""


def _disposition(mail: email.message.Message) -> str:
    word = str(mail.get("Content-Disposition", "")).split(";", 1)[0].strip().lower()
    return word if word in ("inline", "attachment") else ""


def _parameters(mail: email.message.Message) -> tuple[tuple[str, str], ...]:
    try:
        found = mail.get_params([], header="content-type")[1:]
    except (LookupError, ValueError, UnicodeError, TypeError):
        return ()
    return tuple((name.lower(), value if isinstance(value, str) else "") for name, value in found)
