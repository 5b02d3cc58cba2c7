"""One connection to an IMAP server: the commands that a mailbox is read with, each with its answer.

TLS always, from the first octet or by STARTTLS, its certificate checked before anything is said about who we are. Nothing that
a server says is held in memory but one line and one piece of a mail. Cancelled or timed out in the middle of a command, a
session is of no use any more: close it.
Sources: RFC 3501, 9051 (IMAP), 2177 (IDLE), 4315 (UIDPLUS), 6851 (MOVE), 4959 (SASL-IR), 7628 (OAUTHBEARER), 8314 (TLS).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from gateway.errors import MailboxRefused, MailboxUnavailable
from gateway.intake import answers
from gateway.intake.answers import Answer, Literal

T = TypeVar("T")
_LINE = 4_000_000  # octets: a search that finds half a million mails
_PIECE = 256 * 1024  # octets of a mail asked for at a time
_MORE = 64 * 1024  # of a literal that nobody asked for
_NEWS = (b"EXISTS", b"RECENT", b"EXPUNGE")
_MOST_UIDS = 200  # in one command
_LITERAL = re.compile(rb"~?\{([0-9]{1,10})\+?\}\Z")


@dataclass(frozen=True, slots=True)
class Folder:
    """What SELECT says."""

    validity: int
    next_uid: int
    keywords: frozenset[str]
    """Flags that can be kept, lower case; "\\*" = any keyword."""
    exists: int

    def keeps(self, keyword: str) -> bool:
        """Whether a keyword can be stored."""
        return "\\*" in self.keywords or keyword.lower() in self.keywords


@dataclass(frozen=True, slots=True)
class Listed:
    """What is known of a mail without reading it."""

    uid: int
    size: int
    flags: frozenset[str]
    """Lower case."""
    arrived: datetime


@dataclass(slots=True)
class Session:
    """A connection that was opened by `opened`."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    patience: float
    """Seconds for each answer."""
    able: frozenset[bytes] = frozenset()
    """Capabilities, upper case."""
    in_clear: asyncio.StreamWriter | None = None
    """What the connection was before STARTTLS: whoever lets go of it closes the connection."""
    news: bool = False
    """The server has told of mail since the last search began: whatever it answered then, and it tells nothing twice."""
    _n: int = 0

    # --- who we are

    async def sign_in(self, user: str, password: str) -> None:
        """By password. Raises MailboxRefused."""
        if b"AUTH=PLAIN" in self.able:
            await self._authenticate(b"PLAIN", f"\0{user}\0{password}".encode())
        elif b"LOGINDISABLED" in self.able:
            raise MailboxRefused("The server takes no password here.")
        else:
            await self.command(b"LOGIN", _string(user), _string(password))
        await self._ask_able()

    async def sign_in_by_token(self, user: str, token: str) -> None:
        """By an OAuth 2 token. Raises MailboxRefused."""
        if b"AUTH=XOAUTH2" in self.able:
            await self._authenticate(b"XOAUTH2", f"user={user}\x01auth=Bearer {token}\x01\x01".encode())
        elif b"AUTH=OAUTHBEARER" in self.able:
            who = user.replace("=", "=3D").replace(",", "=2C")
            await self._authenticate(b"OAUTHBEARER", f"n,a={who},\x01auth=Bearer {token}\x01\x01".encode())
        else:
            raise MailboxRefused("The server takes no OAuth token: it offers neither XOAUTH2 nor OAUTHBEARER.")
        await self._ask_able()

    async def _authenticate(self, mechanism: bytes, response: bytes) -> None:
        coded = base64.b64encode(response)
        if b"SASL-IR" in self.able:
            tag = await self._say(b"AUTHENTICATE", mechanism, coded)
        else:
            tag = await self._say(b"AUTHENTICATE", mechanism)
            await self._invited(tag)
            await self._write(coded + b"\r\n")
        while (answer := await self._answer()).tag != tag:
            if answer.tag == b"+":  # an error is told in base64; an empty response lets the server end it
                await self._write(b"\r\n")
        if answer.kind != b"OK":
            raise MailboxRefused(f"The server does not let us in: {answer.text}", code=answer.code.decode("ascii", "replace"))

    async def _ask_able(self) -> None:
        self.able = frozenset()
        for answer in await self.command(b"CAPABILITY"):
            if answer.kind == b"CAPABILITY":
                self.able = frozenset(word.upper() for word in answer.words if isinstance(word, bytes))

    # --- folders

    async def folders(self) -> list[str]:
        """Names of those that can be opened."""
        found = []
        for answer in await self.command(b"LIST", b'""', b'"*"'):
            if answer.kind in (b"LIST", b"LSUB") and len(answer.words) == 3:
                flags, _, name = answer.words
                marks = {flag.lower() for flag in flags if isinstance(flag, bytes)} if isinstance(flags, list) else set()
                if isinstance(name, bytes) and not marks & {b"\\noselect", b"\\nonexistent"}:
                    found.append(answers.decoded(name))
        return found

    async def create(self, name: str) -> None:
        """Make a folder; one that is there already is as good."""
        try:
            await self.command(b"CREATE", _string(answers.encoded(name)))
        except MailboxRefused as error:
            if error.code != "ALREADYEXISTS" and name not in await self.folders():
                raise

    async def open(self, name: str, *, only_look: bool = False) -> Folder:
        """Choose a folder. Raises MailboxRefused where its numbers do not last (UIDNOTSTICKY)."""
        said = await self.command(b"EXAMINE" if only_look else b"SELECT", _string(answers.encoded(name)))
        codes = {answer.code: answer.values for answer in said if answer.code}
        if b"UIDNOTSTICKY" in codes:
            raise MailboxRefused(f"The numbers of mails in the folder {name} do not last there: it cannot be read safely.")
        if b"READ-ONLY" in codes and not only_look:
            raise MailboxRefused(f"The folder {name} can only be read: nothing could be marked as done.")
        exists = next((answer.number or 0 for answer in said if answer.kind == b"EXISTS"), 0)
        kept = codes.get(b"PERMANENTFLAGS", b"").strip(b"()").decode("ascii", "replace").lower().split()
        try:
            validity, next_uid = int(codes[b"UIDVALIDITY"]), int(codes.get(b"UIDNEXT", b"0"))
        except (KeyError, ValueError) as error:
            raise MailboxRefused(f"The server does not number the mails in the folder {name}.") from error
        return Folder(validity, next_uid, frozenset(kept), exists)

    # --- mails

    async def search(self, first: int, *, deleted: bool = False) -> list[int]:
        """UIDs from `first` on, in their order; not those that are marked as deleted."""
        criteria = (b"UID", b"%d:*" % first, *(() if deleted else (b"UNDELETED",)))
        found: set[int] = set()
        self.news = False
        for answer in await self.command(b"UID", b"SEARCH", *criteria):
            if answer.kind == b"SEARCH":
                found.update(_sound(answers.numbers, answer))
        return sorted(uid for uid in found if uid >= first)  # "n:*" has the last mail, whatever its number (IMP-04)

    async def listed(self, uids: Sequence[int]) -> AsyncIterator[Listed]:
        """What is known of mails; those that are gone are left out."""
        for start in range(0, len(uids), _MOST_UIDS):
            some = uids[start : start + _MOST_UIDS]
            for answer in await self.command(b"UID", b"FETCH", _set(some), b"(UID RFC822.SIZE FLAGS INTERNALDATE)"):
                if answer.kind == b"FETCH" and (one := _listed(_sound(answers.pairs, answer))) and one.uid in some:
                    yield one

    async def pieces(self, uid: int) -> AsyncIterator[bytes]:
        """A mail, piece by piece, not marked as seen by it. Raises MailboxRefused where it is gone."""
        at = 0
        while True:
            words = [b"UID", b"FETCH", b"%d" % uid, b"(BODY.PEEK[]<%d.%d>)" % (at, _PIECE)]
            piece = None
            for answer in await self.command(*words):
                if answer.kind == b"FETCH":
                    found = _sound(answers.pairs, answer)
                    piece = found.get(b"BODY[]", piece) if found.get(b"UID") == b"%d" % uid else piece
            if not isinstance(piece, bytes):
                raise MailboxRefused("The mail is not there any more.")
            if piece:
                yield piece
            at += len(piece)
            if len(piece) < _PIECE:
                return

    async def flag(self, uid: int, *flags: str) -> None:
        """Add flags to a mail."""
        words = b"(" + " ".join(flags).encode("ascii") + b")"
        await self.command(b"UID", b"STORE", b"%d" % uid, b"+FLAGS.SILENT", words)

    async def move(self, uid: int, folder: str) -> None:
        """Take a mail out of the open folder into another one, and nothing else with it (IMP-06).

        Without MOVE it is copied and deleted; without UIDPLUS it then stays, marked as deleted, because whatever takes it away
        would take away what other programs have marked.
        """
        name = _string(answers.encoded(folder))
        if b"MOVE" in self.able:
            await self.command(b"UID", b"MOVE", b"%d" % uid, name)
            return
        await self.command(b"UID", b"COPY", b"%d" % uid, name)
        await self.flag(uid, "\\Deleted")
        if b"UIDPLUS" in self.able:
            await self.command(b"UID", b"EXPUNGE", b"%d" % uid)

    async def idle(self, seconds: float) -> None:
        """Wait for news, at most so long; what the news are has to be searched for. Nothing but DONE is said meanwhile."""
        tag = await self._say(b"IDLE")
        await self._invited(tag)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.news:
                    line = await self._line()  # a line that has not come whole when time is over is read later
                    if line.startswith(tag + b" "):
                        return
                    if any(line.endswith(b" " + news) for news in _NEWS):
                        break
        await self._write(b"DONE\r\n")
        await self._until(tag)

    # --- the wire

    async def command(self, *words: bytes | _Sent) -> list[Answer]:
        """Everything the server says up to OK. Raises MailboxRefused (NO), MailboxUnavailable."""
        return await self._until(await self._say(*words))

    async def close(self) -> None:
        """Say goodbye, where the server still listens, and hang up."""
        try:
            with contextlib.suppress(MailboxUnavailable, MailboxRefused, TimeoutError):
                async with asyncio.timeout(2):
                    await self.command(b"LOGOUT")
        finally:
            self.writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(2):
                await self.writer.wait_closed()

    async def _say(self, *words: bytes | _Sent) -> bytes:
        """Send one command; its tag."""
        self._n += 1
        tag, line = b"A%d" % self._n, bytearray(b"A%d" % self._n)
        for word in words:
            line += b" "
            if isinstance(word, _Sent):
                await self._write(bytes(line) + b"{%d}\r\n" % len(word.octets))
                await self._invited(tag)
                line = bytearray(word.octets)
            else:
                line += word
        await self._write(bytes(line) + b"\r\n")
        return tag

    async def _write(self, octets: bytes) -> None:
        try:
            async with asyncio.timeout(self.patience):
                self.writer.write(octets)
                await self.writer.drain()
        except OSError as error:  # TimeoutError is one
            raise MailboxUnavailable(f"The connection to the server broke ({_why(error)}).") from error

    async def _invited(self, tag: bytes) -> None:
        """Wait until the server says that it waits for more."""
        while (answer := await self._answer()).tag != b"+":
            if answer.tag == tag:
                _check(answer)
                raise MailboxUnavailable("The server makes no sense: it ended what had not begun.")

    async def _until(self, tag: bytes) -> list[Answer]:
        said: list[Answer] = []
        while (answer := await self._answer()).tag != tag:
            said.append(answer)
        _check(answer)
        return [*said, answer]

    async def _answer(self) -> Answer:
        try:
            async with asyncio.timeout(self.patience):
                return await self._rest(await self._line())
        except TimeoutError as error:
            raise MailboxUnavailable(f"The server has not answered for {self.patience:.0f} s.") from error

    async def _line(self) -> bytes:
        try:
            line = await self.reader.readuntil(b"\r\n")
        except asyncio.IncompleteReadError as error:
            raise MailboxUnavailable("The server hung up.") from error
        except asyncio.LimitOverrunError as error:
            raise MailboxUnavailable("The server makes no sense: its line does not end.") from error
        except (OSError, ssl.SSLError) as error:
            raise MailboxUnavailable(f"The connection to the server broke ({_why(error)}).") from error
        return line[:-2]

    async def _rest(self, line: bytes) -> Answer:
        """A response from its first line on."""
        head, pieces, held = b"", list[bytes | Literal](), 0
        while match := _LITERAL.search(line):
            held += int(match[1])
            if held > _PIECE + _MORE:
                raise MailboxUnavailable("The server makes no sense: it sends more than it was asked for.")
            before = line[: match.start()]
            try:
                literal = Literal(await self.reader.readexactly(int(match[1])))
            except (asyncio.IncompleteReadError, OSError) as error:
                raise MailboxUnavailable("The server hung up in the middle of a mail.") from error
            if pieces:
                pieces.append(before)
            else:
                head = before
            pieces.append(literal)
            line = await self._line()
        try:
            answer = answers.read(head, [*pieces, line]) if pieces else answers.read(line)
        except ValueError as error:
            raise MailboxUnavailable(f"The server makes no sense: an answer {error}.") from error
        self.news = self.news or answer.kind == b"EXISTS"
        return answer


@dataclass(frozen=True, slots=True)
class _Sent:
    """An argument that is sent as a literal."""

    octets: bytes


@contextlib.asynccontextmanager
async def opened(host: str, port: int, context: ssl.SSLContext, *, starttls: bool, patience: float) -> AsyncIterator[Session]:
    """A session over TLS, before anybody has signed in. Raises MailboxUnavailable; MailboxRefused for a bad certificate."""
    try:
        async with asyncio.timeout(patience):
            session = await (_upgraded if starttls else _implicit)(host, port, context, patience)
    except ssl.SSLCertVerificationError as error:
        raise MailboxRefused(f"The certificate of {host} is not good: {error.verify_message}") from error
    except OSError as error:
        raise MailboxUnavailable(f"{host} cannot be reached ({_why(error)}).") from error
    try:
        yield session
    finally:
        await session.close()


async def _implicit(host: str, port: int, context: ssl.SSLContext, patience: float) -> Session:
    reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host, limit=_LINE)
    session = Session(reader, writer, patience)
    try:
        greeting = await session._answer()
        if greeting.kind != b"OK":  # PREAUTH too: we would not know as whom
            raise MailboxUnavailable(f"The server does not want us now: {greeting.text}")
        await session._ask_able()
    except BaseException:
        writer.close()
        raise
    return session


async def _upgraded(host: str, port: int, context: ssl.SSLContext, patience: float) -> Session:
    reader, writer = await asyncio.open_connection(host, port, limit=_LINE)
    clear = Session(reader, writer, patience)
    try:
        greeting = await clear._answer()
        if greeting.kind != b"OK":  # PREAUTH would keep TLS away
            raise MailboxUnavailable(f"The server does not want us now: {greeting.text}")
        await clear.command(b"STARTTLS")
        # A reader of its own: what was sent in clear behind the OK is not taken for the server's word.
        loop, fresh = asyncio.get_running_loop(), asyncio.StreamReader(limit=_LINE)
        protocol = asyncio.StreamReaderProtocol(fresh)
        transport = await loop.start_tls(writer.transport, protocol, context, server_hostname=host)
        assert transport is not None
        protocol.connection_made(transport)
        session = Session(fresh, asyncio.StreamWriter(transport, protocol, fresh, loop), patience, in_clear=writer)
        await session._ask_able()
    except BaseException:
        writer.close()
        raise
    return session


def _check(answer: Answer) -> None:
    if answer.kind == b"NO":
        raise MailboxRefused(f"The server says no: {answer.text}", code=answer.code.decode("ascii", "replace"))
    if answer.kind != b"OK":
        raise MailboxUnavailable(f"The server does not understand us: {answer.text}")


def _sound(read: Callable[[Sequence[answers.Word]], T], answer: Answer) -> T:
    """What an answer says."""
    try:
        return read(answer.words)
    except ValueError as error:
        raise MailboxUnavailable(f"The server makes no sense: an answer {error}.") from error


def _set(uids: Collection[int]) -> bytes:
    return b",".join(b"%d" % uid for uid in uids)


def _string(text: str | bytes) -> bytes | _Sent:
    octets = text.encode() if isinstance(text, str) else text
    if re.fullmatch(rb"[ -~]{0,1000}", octets):
        return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    return _Sent(octets)


def _listed(found: dict[bytes, answers.Word]) -> Listed | None:
    """None for news of another kind about a mail."""
    uid, size, flags, date = (found.get(name) for name in (b"UID", b"RFC822.SIZE", b"FLAGS", b"INTERNALDATE"))
    if not isinstance(uid, bytes) or not isinstance(size, bytes) or not isinstance(flags, list) or not isinstance(date, bytes):
        return None
    words = frozenset(flag.decode("ascii", "replace").lower() for flag in flags if isinstance(flag, bytes))
    try:
        arrived = datetime.strptime(date.decode("ascii").strip(), "%d-%b-%Y %H:%M:%S %z")
        return Listed(int(uid), int(size), words, arrived)
    except ValueError as error:
        raise MailboxUnavailable("The server makes no sense: a mail has no day of arrival.") from error


def _why(error: OSError) -> str:
    return error.strerror or type(error).__name__
