"""A send of the HelloFax API: its parameters become a submission. Sections 5 and 10 of reference/hellofax.md.

What the public material leaves open, and what was chosen:

- Ten digits are a number in North America; anything longer begins with the country code; `+` and punctuation are fine. Ten
  digits that are a whole number of another country, which this account may fax, are refused: nobody knows who is meant. The
  same goes for a `+` that a URL has made a blank.
- Several `To` answer with `Transmissions`, in their order; one also with `Transmission`. A number named twice is one fax.
- `file` without a file name (a form value) is a text. An empty form field of a browser (no name, no content) is no file.
- Blank cover parameters are not given; without any there is no cover page.
- Faxes on hold do not count as pending.
- `Idempotency-Key` (not part of that API): the same key with the same content within 48 hours is the same fax.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import astuple, dataclass

from starlette.datastructures import UploadFile
from starlette.requests import Request

from gateway import number
from gateway.desk import posted
from gateway.desk.identity import Identity
from gateway.desk.posted import File
from gateway.desk.submit import Desk, too_many
from gateway.errors import Refused, SpoolUnavailable, TooMany
from gateway.fax import Account, CoverPage, Door, Envelope, Recipient, TransmissionId
from gateway.spool import queries, steps
from gateway.spool.store import Store
from gateway.web import hellofax
from gateway.web.form import Fault, Parameters, Value

SCALARS = ("From", "CoverPageTo", "CoverPageFrom", "CoverPageMessage")
LISTS = ("To", "file")
_MOST_FILES = 10
_LONGEST_NAME, _LONGEST_MESSAGE = 200, 10_000  # characters of a cover page
_LONGEST_KEY = 255
_NORTH_AMERICA = 10  # digits of a number there, without the country code
_MEMORY = 400_000_000  # octets that all sends in hand may have in memory
_COPIES = 6  # of the files, while they become a mail


class _Room:
    """Memory for the sends in hand: they wait for one another."""

    def __init__(self, size: int) -> None:
        self._free = self._size = size
        self._given_back = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def of(self, octets: int) -> AsyncIterator[None]:
        octets = min(octets, self._size)
        async with self._given_back:
            await self._given_back.wait_for(lambda: self._free >= octets)
            self._free -= octets
        try:
            yield
        finally:
            async with self._given_back:
                self._free += octets
                self._given_back.notify_all()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """What a call asks for."""

    recipients: Sequence[Recipient]
    caller: str
    """E.164, or "" for the account's first line."""
    cover: CoverPage
    files: Sequence[Value]
    key: str


class Sends:
    """Takes the sends of all accounts."""

    def __init__(self, *, identity: Identity, desk: Desk, store: Store, host: str, pending: int) -> None:
        self._identity, self._desk, self._store = identity, desk, store
        self._host = host  # right side of Message-IDs
        self._pending = pending
        self._room = _Room(_MEMORY)

    async def check_pending(self, account: Account) -> None:
        """Raises TooMany where an account's faxes on their way have reached the limit: before its files are read."""
        if await self._store.read(steps.unfinished, account.id, self._pending) >= self._pending:
            raise TooMany(too_many(self._pending))

    async def send(self, account: Account, request: Request, parameters: Parameters) -> dict[str, object]:
        """Accept what a call sends; the answer. Durable when it returns. Raises Fault, Refused, TooMany, SpoolUnavailable."""
        wish = await self._wish(account, request, parameters)
        envelope = Envelope(
            door=Door.HELLOFAX,
            sender=account.login if "@" in account.login else "",
            client=request.client.host if request.client else "",
            login=account.login,
        )
        size = sum(file.size or 0 if isinstance(file, UploadFile) else len(file) for file in wish.files)
        async with self._room.of(_COPIES * size):
            mail = await asyncio.to_thread(self._mail, account, wish)
            ids = await self._desk.submit_call(
                account, envelope, wish.recipients, mail, cover=wish.cover, caller=wish.caller, most=self._pending
            )
        sent = [await self._told(account, wish, *one) for one in zip(ids, wish.recipients, strict=True)]
        return {"Transmission": sent[0], "Transmissions": sent} if len(sent) == 1 else {"Transmissions": sent}

    async def _wish(self, account: Account, request: Request, parameters: Parameters) -> _Wish:
        files = [file for file in parameters.many("file") if not _is_blank(file)]
        to = [text for text in parameters.texts("To") if text.strip()]
        if not to:
            raise Fault(400, "To is missing: the number to fax, in digits with country code.")
        if not files:
            raise Fault(400, "file is missing: the document to fax.")
        if len(files) > _MOST_FILES:
            raise Fault(400, f"A fax may have {_MOST_FILES} files, not {len(files)}.")
        if empty := [_name(file) for file in files if isinstance(file, UploadFile) and not file.size]:
            raise Fault(400, f"The file “{empty[0]}” is empty.")
        key = request.headers.get("idempotency-key", "")
        if len(key) > _LONGEST_KEY or not key.isprintable():
            raise Fault(400, f"Idempotency-Key has at most {_LONGEST_KEY} printable characters.")
        return _Wish(
            recipients=[Recipient(written=text.strip(), number=_number(account, text)) for text in to],
            caller=await self._caller(account, parameters.one("From")),
            cover=_cover(parameters),
            files=files,
            key=key,
        )

    async def _caller(self, account: Account, written: str) -> str:
        lines = [line.number for line in await self._identity.lines() if line.account == account.id]
        if not written:
            return lines[0] if lines else ""
        caller = number.parse(written, "US").e164
        if caller not in lines:
            raise Fault(400, "From is not one of this account's fax lines; FaxLines lists them.")
        return caller

    def _mail(self, account: Account, wish: _Wish) -> bytes:
        files = [_file(file) for file in wish.files]
        said = json.dumps([wish.key, wish.caller, astuple(wish.cover)])
        message_id = f"<{hashlib.sha256(said.encode()).hexdigest()[:40]}@{self._host}>" if wish.key else ""
        return posted.mail(
            files,
            name=account.name,
            address=account.login if "@" in account.login else "",
            subject=", ".join(file.name for file in files),
            at=self._store.now(),
            message_id=message_id,
        )

    async def _told(self, account: Account, wish: _Wish, tx: TransmissionId, recipient: Recipient) -> dict[str, object]:
        """What was accepted. It is accepted even if it cannot be read now: anything but 200 would have it sent again."""
        with contextlib.suppress(SpoolUnavailable):
            if fax := await self._store.read_one(queries.transmissions, str(tx)):
                return hellofax.transmission_object(account, fax)
        return hellofax.accepted_object(account, tx, number=recipient.number, caller=wish.caller, at=self._store.now())


def _number(account: Account, written: str) -> str:
    """E.164 of a `To`. Raises Fault where it may be one of two numbers, Refused."""
    called, lost_plus = number.parse(written, "US"), written.startswith(" ")
    digits = "".join(c for c in written if c.isdigit())
    if "+" in written or len(digits) != _NORTH_AMERICA:
        return called.e164
    try:
        abroad = number.parse(f"+{digits}", "US").country
    except Refused:
        return called.e164
    if lost_plus or abroad in account.countries:
        raise Fault(
            400, f"To {digits} is a number in North America, or one in {abroad}: write 1 or + before it (in a URL %2B)."
        )
    return called.e164


def _cover(parameters: Parameters) -> CoverPage:
    to, sender = (" ".join(parameters.one(name).split()) for name in ("CoverPageTo", "CoverPageFrom"))
    message = parameters.one("CoverPageMessage").replace("\r\n", "\n").replace("\r", "\n")
    if len(to) > _LONGEST_NAME or len(sender) > _LONGEST_NAME:
        raise Fault(400, f"CoverPageTo and CoverPageFrom have at most {_LONGEST_NAME} characters.")
    if len(message) > _LONGEST_MESSAGE:
        raise Fault(400, f"CoverPageMessage has at most {_LONGEST_MESSAGE} characters; send longer texts as a file.")
    return CoverPage(wanted=bool(to or sender or message), to=to, sender=sender, message=message)


def _is_blank(file: Value) -> bool:
    """A field that was not filled in."""
    return not file if isinstance(file, str) else not file.filename and not file.size


def _name(file: Value) -> str:
    if isinstance(file, str):
        return "text.txt"
    return "".join(c if c.isprintable() else "?" for c in file.filename or "document")


def _file(file: Value) -> File:
    if isinstance(file, str):
        return File(name=_name(file), content_type="text/plain", content=file.encode("utf-8", "surrogateescape"))
    return File(name=_name(file), content_type=file.content_type or "", content=file.file.read())
