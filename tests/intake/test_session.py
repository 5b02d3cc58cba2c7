"""The IMAP client next to servers that real ones are not: what they say is a script."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.certificate import self_signed
from gateway.errors import MailboxRefused, MailboxUnavailable
from gateway.intake import session
from gateway.intake.session import Session

ABLE = "IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=XOAUTH2 IDLE UIDPLUS"


class Server:
    """Answers each command by its first words; what has no answer here is OK."""

    def __init__(self, folder: Path, answers: dict[str, str], *, greeting: str = "* OK ready", able: str = ABLE) -> None:
        self.answers = {"CAPABILITY": f"* CAPABILITY {able}", **answers}
        self.greeting, self.heard = greeting, list[str]()
        self.certificate, key = self_signed(folder)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.certificate, key)

    @contextlib.asynccontextmanager
    async def session(self, *, host: str = "localhost", patience: float = 5.0, tls: bool = True) -> AsyncIterator[Session]:
        listening = await asyncio.start_server(
            self._serve, "127.0.0.2" if host == "127.0.0.2" else "127.0.0.1", 0, ssl=self.context if tls else None
        )
        port = listening.sockets[0].getsockname()[1]
        context = ssl.create_default_context(cafile=str(self.certificate))
        try:
            async with session.opened(host, port, context, starttls=not tls, patience=patience) as made:
                yield made
        finally:
            listening.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(writer):
            writer.write(self.greeting.encode() + b"\r\n")
            while octets := await reader.readline():
                line = octets.decode().rstrip("\r\n")
                self.heard.append(line.partition(" ")[2] or line)
                tag, _, command = line.partition(" ")
                said = next((text for start, text in self.answers.items() if command.startswith(start)), "")
                said = said.replace("TAG", tag)
                if said == "silence":
                    continue
                writer.write("".join(f"{one}\r\n" for one in said.split("\n") if one).encode())
                if not said.startswith("+"):
                    end = next((one for one in said.split("\n") if one.startswith(tag + " ")), "")
                    writer.write(b"" if end else f"{tag} OK done\r\n".encode())


SELECTED = "* 3 EXISTS\n* OK [UIDVALIDITY 7] ok\n* OK [UIDNEXT 10] ok\n* OK [PERMANENTFLAGS (\\Seen $Faxed)] ok"


async def test_imp_03_a_folder_whose_numbers_do_not_last_is_not_read(tmp_path: Path) -> None:
    server = Server(tmp_path, {"SELECT": SELECTED + "\n* NO [UIDNOTSTICKY] numbers do not last"})
    async with server.session() as client:
        with pytest.raises(MailboxRefused, match="do not last"):
            await client.open("INBOX")


async def test_imp_04_the_last_mail_is_not_found_again_by_a_range_behind_it(tmp_path: Path) -> None:
    server = Server(tmp_path, {"SELECT": SELECTED, "UID SEARCH": "* SEARCH 9"})
    async with server.session() as client:
        folder = await client.open("INBOX")
        assert (folder.validity, folder.next_uid, folder.exists) == (7, 10, 3)
        assert folder.keeps("$faxed")
        assert not folder.keeps("$MDNSent")
        assert await client.search(10) == []
        assert await client.search(9) == [9]


async def test_imp_06_without_move_one_mail_is_copied_and_expunged_by_its_number(tmp_path: Path) -> None:
    server = Server(tmp_path, {})
    async with server.session() as client:
        await client._ask_able()
        await client.move(9, "Faxed é")
        said = [line for line in server.heard if line.startswith("UID")]
        assert said == ['UID COPY 9 "Faxed &AOk-"', "UID STORE 9 +FLAGS.SILENT (\\Deleted)", "UID EXPUNGE 9"]
        server.heard.clear()
        client.able -= {b"UIDPLUS"}
        await client.move(9, "Faxed")
        assert not [line for line in server.heard if "EXPUNGE" in line]  # it would take away what others have marked
        server.heard.clear()
        client.able |= {b"MOVE"}
        await client.move(9, "Faxed")
        assert server.heard == ['UID MOVE 9 "Faxed"']


async def test_imp_07_idle_says_done_when_its_time_is_over_and_at_news(tmp_path: Path) -> None:
    server = Server(tmp_path, {"IDLE": "+ idling"})
    async with server.session() as client:
        begun = asyncio.create_task(client.idle(0.2))
        with pytest.raises(MailboxUnavailable, match="answered"):
            client.patience = 0.5  # this server says nothing to DONE: the connection is half open
            await begun
        assert [line for line in server.heard if line in ("IDLE", "DONE")] == ["IDLE", "DONE"]


async def test_imp_08_news_between_the_search_and_the_wait_are_not_waited_for(tmp_path: Path) -> None:
    """A server tells of a mail once, in whatever it answers then."""
    server = Server(tmp_path, {"SELECT": SELECTED, "UID SEARCH": "* SEARCH 9", "UID STORE": "* 4 EXISTS", "IDLE": "+ idling"})
    server.answers |= {"LOGOUT": "* BYE", "": "A5 OK done"}  # to DONE
    async with server.session(patience=30) as client:
        await client.open("INBOX")
        await client.search(1)
        assert not client.news
        await client.flag(9, "$Faxed")
        assert client.news
        async with asyncio.timeout(20):
            await client.idle(60)
        await client.search(1)
        assert not client.news


async def test_imp_13_nobody_signs_in_where_the_certificate_has_another_name(tmp_path: Path) -> None:
    server = Server(tmp_path, {})
    with pytest.raises(MailboxRefused, match="certificate"):
        async with server.session(host="127.0.0.2"):
            pass
    assert server.heard == []


async def test_imp_13_a_server_that_keeps_tls_away_hears_no_password(tmp_path: Path) -> None:
    greets = Server(tmp_path, {}, greeting="* PREAUTH welcome")
    with pytest.raises(MailboxUnavailable):
        async with greets.session(tls=False):
            pass
    refuses = Server(tmp_path, {"STARTTLS": "A1 NO not here"})
    with pytest.raises(MailboxRefused):
        async with refuses.session(tls=False):
            pass
    assert not [line for line in greets.heard + refuses.heard if "AUTHENTICATE" in line or "LOGIN" in line]


async def test_what_a_server_sends_beyond_what_was_asked_is_not_held(tmp_path: Path) -> None:
    server = Server(tmp_path, {"UID FETCH": "* 1 FETCH (UID 9 BODY[] {4000000000}"})
    async with server.session() as client:
        with pytest.raises(MailboxUnavailable, match="more than it was asked for"):
            async for _ in client.pieces(9):
                pass


async def test_a_server_that_says_nothing_is_left(tmp_path: Path) -> None:
    server = Server(tmp_path, {"SELECT": "silence"})
    async with server.session(patience=0.3) as client:
        with pytest.raises(MailboxUnavailable, match="not answered"):
            await client.open("INBOX")


async def test_a_refused_token_is_not_in_the_error(tmp_path: Path) -> None:
    server = Server(tmp_path, {"AUTHENTICATE": "+ eyJzdGF0dXMiOiI0MDAifQ==", "": "A2 NO [AUTHENTICATIONFAILED] no"})
    async with server.session() as client:
        with pytest.raises(MailboxRefused) as caught:
            await client.sign_in_by_token("ann@example.com", "secret-token")
        assert "secret-token" not in caught.value.text
        assert caught.value.code == "AUTHENTICATIONFAILED"
