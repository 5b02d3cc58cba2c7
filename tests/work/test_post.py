"""The way out to the smarthosts, over real sockets: connections used again, smarthosts in order, TLS, what an answer means."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.certificate import self_signed
from gateway.config import parse
from gateway.errors import ConfigError, Refused, Unavailable, Uncertain
from gateway.report.compose import Mail
from gateway.work import post
from gateway.work.post import Post
from tests.work.mailserver import CUT, MailServer, running, scripted
from tests.work.shop import SETTINGS

CONTENT = b"Message-ID: <out_1@fax.example.com>\r\n\r\n.a line with a dot\r\n"


def letter(sender: str = "", content: bytes = CONTENT) -> Mail:
    return Mail(envelope_from=sender, to=("ann@example.com",), content=content, kind="delivered")


def made(*urls: str, password: str = "", **keys: Any) -> Post:
    """Any: keys of [mail]."""
    mail = {"from": "fax@fax.example.com", "operator": "o@example.com", "smarthost": list(urls), **keys}
    return Post(parse({**SETTINGS, "spool": "/nowhere", "mail": mail}, "/gateway.toml"), password)


@contextlib.asynccontextmanager
async def way(*servers: MailServer, scheme: str = "smtp", host: str = "127.0.0.1", **keys: Any) -> AsyncIterator[Post]:
    found = made(*(f"{scheme}://{host}:{server.port}" for server in servers), **keys)
    try:
        yield found
    finally:
        await found.close()


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with running() as made:
        yield made


async def test_several_mails_go_over_one_connection(server: MailServer) -> None:
    async with way(server) as post:
        for _ in range(3):
            assert await post.send(letter()) == "2.0.0 kept"
    assert (server.connections, len(server.mails)) == (1, 3)
    assert server.commands[-1] == "QUIT"
    assert set(server.mails) == {CONTENT}


async def test_mails_at_once_have_connections_of_their_own_and_share_them_later(server: MailServer) -> None:
    async with way(server) as post:
        await asyncio.gather(*(post.send(letter()) for _ in range(4)))
        await asyncio.gather(*(post.send(letter()) for _ in range(4)))
    assert (server.connections, len(server.mails)) == (4, 8)


async def test_a_connection_is_left_after_a_hundred_mails_and_when_it_waits_too_long(
    server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(post, "_MAILS", 2)
    monkeypatch.setattr(post, "_IDLE", 0.05)
    async with way(server) as found:
        for _ in range(3):
            await found.send(letter())
        assert server.connections == 2
        while server.commands.count("QUIT") < 2:
            await asyncio.sleep(0.01)
        await found.send(letter())
    assert server.connections == 3


@pytest.mark.parametrize("answer", [CUT, "421 4.3.2 shutting down"])
@pytest.mark.parametrize("step", ["RSET", "MAIL", "RCPT"])
async def test_a_used_connection_that_broke_is_nobodys_failure(server: MailServer, step: str, answer: str) -> None:
    async with way(server) as post:
        await post.send(letter())
        server.answers = scripted([(step, answer)])
        assert await post.send(letter()) == "2.0.0 kept"
    assert (server.connections, len(server.mails)) == (2, 2)


async def test_a_server_that_was_started_anew_is_asked_anew(server: MailServer) -> None:
    async with way(server) as post:
        await asyncio.gather(*(post.send(letter()) for _ in range(3)))
        server.cut()
        assert await post.send(letter()) == "2.0.0 kept"
    assert len(server.mails) == 4


@pytest.mark.parametrize("step", ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "dot"])
@pytest.mark.parametrize("answer", ["451 4.3.0 later", "421 4.3.2 not now"])
async def test_the_next_smarthost_takes_what_the_first_does_not_take_now(server: MailServer, step: str, answer: str) -> None:
    steps = (step, "HELO") if step == "EHLO" else (step,)
    async with running(answers=lambda now: answer if now in steps else "") as first, way(first, server) as post:
        assert await post.send(letter()) == "2.0.0 kept"
        assert (len(first.mails), len(server.mails)) == (0, 1)


async def test_a_dead_smarthost_is_asked_last_for_a_while(
    server: MailServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(answers=lambda step: CUT if step == "greeting" else "") as first, way(first, server) as found:
        for _ in range(3):
            await found.send(letter())
        assert (first.connections, len(server.mails)) == (1, 3)
        assert [record.message for record in caplog.records if "asked last for 30 s" in record.message]
        await server.stop()
        first.answers = lambda step: ""
        assert await found.send(letter()) == "2.0.0 kept"  # the last one is better than none
        await server.start()
        await found.send(letter())
        assert len(first.mails) == 2  # it is the first again


async def test_nobody_there_is_told_of_each(server: MailServer) -> None:
    await server.stop()
    async with way(server) as post:
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1 cannot be reached .*[Cc]onnect"):
            await post.send(letter())
    await server.start()


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "dot"])
async def test_a_permanent_no_is_no_and_the_next_smarthost_is_not_asked(server: MailServer, step: str) -> None:
    async with running(answers=scripted([(step, "554 5.7.1 not\tyou")])) as first, way(first, server) as post:
        with pytest.raises(Refused, match=r"^554 5\.7\.1 not you$"):
            await post.send(letter())
        assert await post.send(letter()) == "2.0.0 kept"  # on the same connection
        assert (first.connections, len(first.mails), len(server.mails)) == (1, 1, 0)


@pytest.mark.parametrize("code", [530, 535, 503])
async def test_a_no_to_us_is_no_word_about_the_mail(server: MailServer, code: int) -> None:
    async with running(answers=lambda step: f"{code} 5.7.0 who are you" if step == "MAIL" else "") as first:
        async with way(first, server) as post:
            assert await post.send(letter()) == "2.0.0 kept"
        assert len(server.mails) == 1


async def test_an_answer_lost_after_the_dot_is_uncertain_and_not_asked_of_another_at_once(server: MailServer) -> None:
    async with running(answers=scripted([("dot", CUT)])) as first, way(first, server) as post:
        with pytest.raises(Uncertain, match="the mail was lost"):
            await post.send(letter())
        assert (len(first.mails), len(server.mails)) == (1, 0)
        await post.send(letter())
        assert server.mails == first.mails  # the same Message-ID: one mail for whoever reads them


async def test_a_silent_server_is_left_for_the_next(server: MailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(post, "_GREETING", 0.2)

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await _reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as mute:
        port = mute.sockets[0].getsockname()[1]
        found = made(f"smtp://127.0.0.1:{port}", f"smtp://127.0.0.1:{server.port}")
        assert await found.send(letter()) == "2.0.0 kept"
        await found.close()


async def test_dsn_10_onr_16_what_servers_are_asked_to_report(server: MailServer) -> None:
    async with way(server) as post:
        await post.send(letter())
        await post.send(letter("bounce@fax.example.com"))
    assert [one for one in server.commands if one.startswith(("MAIL", "RCPT"))] == [
        f"MAIL FROM:<> SIZE={len(CONTENT)}",
        "RCPT TO:<ann@example.com> NOTIFY=NEVER",
        f"MAIL FROM:<bounce@fax.example.com> SIZE={len(CONTENT)}",
        "RCPT TO:<ann@example.com> NOTIFY=FAILURE",
    ]


async def test_a_server_without_extensions_is_asked_for_none() -> None:
    async with running(extensions=()) as plain, way(plain) as post:
        await post.send(letter())
    assert "MAIL FROM:<>" in plain.commands
    assert "RCPT TO:<ann@example.com>" in plain.commands


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate


Tls = tuple[ssl.SSLContext, Path]


@pytest.mark.parametrize("scheme", ["smtp+starttls", "smtps"])
async def test_required_tls_believes_the_named_authority_only(tls: Tls, scheme: str) -> None:
    async with running(tls=tls[0], implicit=scheme == "smtps") as server:
        async with way(server, scheme=scheme, host="localhost", ca=str(tls[1])) as post:
            assert await post.send(letter()) == "2.0.0 kept"
        async with way(server, scheme=scheme, host="localhost") as post:
            with pytest.raises(Unavailable, match="certificate of localhost is not to be believed"):
                await post.send(letter())
        assert len(server.mails) == 1


async def test_required_tls_is_not_done_without(server: MailServer) -> None:
    async with way(server, scheme="smtp+starttls") as post:
        with pytest.raises(Unavailable, match="STARTTLS"):
            await post.send(letter())
    assert server.mails == []


async def test_opportunistic_tls_takes_any_certificate(tls: Tls) -> None:
    async with running(tls=tls[0]) as server, way(server) as post:
        await post.send(letter())
        assert "STARTTLS" in server.commands
        assert len(server.mails) == 1


async def test_a_password_is_given_inside_tls_and_a_wrong_one_keeps_the_mail(
    tls: Tls, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tls=tls[0], implicit=True, extensions=("AUTH PLAIN",)) as server:
        keys = {"ca": str(tls[1]), "username": "fax", "password": "hunter2"}
        async with way(server, scheme="smtps", host="localhost", **keys) as post:
            await post.send(letter())
            server.answers = lambda step: "535 5.7.8 no" if step == "AUTH" else ""
        async with way(server, scheme="smtps", host="localhost", **keys) as post:
            with pytest.raises(Unavailable, match="does not accept our password") as error:
                await post.send(letter())
        assert "hunter2" not in error.value.text + caplog.text
        assert len([one for one in server.commands if one.startswith("AUTH PLAIN")]) == 2


def test_a_password_is_not_for_whoever_answers() -> None:
    with pytest.raises(ConfigError, match=r"the password would go to whoever answers as mail\.example\.com"):
        made("smtp://mail.example.com", username="fax", password="x")
    made("smtp://127.0.0.1", "smtps://mail.example.com", username="fax", password="x")


def test_an_authority_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mail\.ca"):
        made("smtps://mail.example.com", ca=str(tmp_path / "none.pem"))


STEPS = ("greeting", "EHLO", "RSET", "MAIL", "RCPT", "DATA", "dot")
TROUBLE = st.tuples(st.sampled_from(STEPS), st.sampled_from([CUT, "421 4.3.2 bye", "451 4.3.0 later", "550 5.1.1 nobody"]))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.lists(TROUBLE, max_size=6), second=st.lists(TROUBLE, max_size=6), mails=st.integers(1, 4))
def test_no_order_of_answers_and_breaks_loses_a_mail(
    first: list[tuple[str, str]], second: list[tuple[str, str]], mails: int
) -> None:
    """A mail is said to be taken only if a server has it, and to be refused only if a server said so; it is there twice only
    after an answer that was lost."""

    async def run() -> None:
        async with running(answers=scripted(first)) as one, running(answers=scripted(second)) as two, way(one, two) as post:
            said = Counter[str]()
            for n in range(mails):
                content = b"Message-ID: <%d@x>\r\n\r\ntext\r\n" % n
                for _ in range(30):
                    before = len(one.mails) + len(two.mails)
                    try:
                        await post.send(letter(content=content))
                    except Unavailable:
                        assert len(one.mails) + len(two.mails) == before
                    except Uncertain:
                        said[str(n)] += 1
                        assert len(one.mails) + len(two.mails) in (before, before + 1)
                    except Refused:
                        assert len(one.mails) + len(two.mails) == before
                        break
                    else:
                        there = (one.mails + two.mails).count(content)
                        assert 1 <= there <= 1 + said[str(n)]
                        break
                else:
                    raise AssertionError("every script comes to its end")

    asyncio.run(run())
