"""STARTTLS and AUTH."""

from __future__ import annotations

import asyncio
import base64
import smtplib
import ssl
from pathlib import Path

import pytest

from gateway.errors import ConfigError, SpoolUnavailable
from gateway.intake.door import MailDoor
from tests.intake.recorder import NOW, ROAD, Recorder, Start, configured
from tests.intake.test_smtp import FAX, MAIL, raw, talk

ROB = "rob@road.example"
ROBS = MAIL.replace(b"ann@corp.example", b"rob@road.example")


def secure(client: smtplib.SMTP, context: ssl.SSLContext) -> None:
    client._host = "localhost"  # type: ignore[attr-defined]  # the name the certificate is checked against
    client.starttls(context=context)
    client.ehlo()


async def test_sub_03_passwords_are_offered_and_taken_over_tls_only(start: Start, trusting: ssl.SSLContext) -> None:
    gateway = await start(tls=True)

    def conversation(client: smtplib.SMTP) -> None:
        client.ehlo()
        assert client.has_extn("starttls")
        assert not client.has_extn("auth")
        assert client.docmd("AUTH", "PLAIN AGFubgBh") == (538, b"5.7.11 Say STARTTLS first: no password in clear.")
        secure(client, trusting)
        assert not client.has_extn("starttls")
        assert client.esmtp_features["auth"].split() == ["PLAIN", "LOGIN"]
        assert client.docmd("STARTTLS")[0] == 503

    await talk(gateway, conversation)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("initial", [True, False])
async def test_who_signs_in_may_fax_from_anywhere(
    start: Start, trusting: ssl.SSLContext, mechanism: str, initial: bool
) -> None:
    gateway = await start(tls=True)

    def conversation(client: smtplib.SMTP) -> None:
        secure(client, trusting)
        client.user, client.password = "rob", "rob's password"
        code, _ = client.auth(mechanism, getattr(client, f"auth_{mechanism.lower()}"), initial_response_ok=initial)
        assert code == 235
        assert client.docmd("AUTH", "PLAIN")[0] == 503
        client.sendmail(ROB, [FAX], ROBS)

    await talk(gateway, conversation)
    (taken,) = gateway.desk.taken
    assert taken.account == ROAD
    assert (taken.envelope.login, taken.envelope.tls) == ("rob", True)
    assert b"with ESMTPSA (TLSv1.3 TLS_" in taken.trace


async def test_sub_05_wrong_passwords_are_refused_three_times_then_the_door_closes(
    start: Start, trusting: ssl.SSLContext
) -> None:
    gateway = await start(tls=True)

    def conversation(client: smtplib.SMTP) -> None:
        secure(client, trusting)
        wrong = base64.b64encode(b"\0rob\0ann's password").decode()
        for _ in range(3):
            assert client.docmd("AUTH", f"PLAIN {wrong}") == (535, b"5.7.8 Login or password is wrong.")
        assert client.noop()[0] == 250
        right = base64.b64encode(b"\0rob\0rob's password").decode()
        assert client.docmd("AUTH", f"PLAIN {right}")[0] == 535
        assert client.getreply() == (421, b"4.7.0 Too many wrong passwords, closing")
        with pytest.raises(smtplib.SMTPServerDisconnected):
            client.noop()

    await talk(gateway, conversation)


async def test_sub_05_no_accounts_to_look_at_is_454(start: Start, trusting: ssl.SSLContext) -> None:
    gateway = await start(tls=True)
    gateway.desk.identity_fault = SpoolUnavailable()

    def conversation(client: smtplib.SMTP) -> tuple[int, bytes]:
        secure(client, trusting)
        return client.docmd("AUTH", "PLAIN " + base64.b64encode(b"\0rob\0rob's password").decode())

    code, text = await talk(gateway, conversation)
    assert (code, text[:6]) == (454, b"4.7.0 ")


async def test_sub_06_broken_exchanges_are_refused(start: Start, trusting: ssl.SSLContext) -> None:
    gateway = await start(tls=True)

    def conversation(client: smtplib.SMTP) -> None:
        secure(client, trusting)
        assert client.docmd("AUTH", "PLAIN =AAA")[0] == 501
        assert client.docmd("AUTH", "PLAIN =")[1][:5] == b"5.5.2"
        assert client.docmd("AUTH", "CRAM-MD5")[1][:5] == b"5.5.4"
        assert client.docmd("AUTH", "login")[0] == 334
        assert client.docmd("*") == (501, b"5.7.0 Sign-in cancelled.")
        assert client.docmd("AUTH", "PLAIN")[0] == 334
        assert client.docmd("A" * 20_000)[1][:5] == b"5.5.6"
        assert client.docmd("AUTH", "PLAIN " + base64.b64encode(b"root\0rob\0rob's password").decode())[0] == 535
        assert client.docmd("AUTH", "PLAIN " + base64.b64encode(b"\0rob\0\xff").decode())[0] == 535
        client.mail(ROB)
        assert client.docmd("AUTH", "PLAIN")[0] == 503

    await talk(gateway, conversation)
    assert gateway.desk.taken == []


async def test_sub_07_the_login_sends_as_itself_only(start: Start, trusting: ssl.SSLContext) -> None:
    gateway = await start(tls=True)

    def conversation(client: smtplib.SMTP) -> None:
        secure(client, trusting)
        client.login("rob", "rob's password")
        assert client.mail("ann@corp.example") == (
            550,
            b"5.7.1 This sender address does not belong to the account that signed in.",
        )
        assert client.mail(ROB)[0] == 250
        assert client.rcpt("+442079460123@fax.example")[1].startswith(b"5.7.1 This account may not fax to GB")
        assert client.rcpt(FAX)[0] == 250
        assert client.data(MAIL)[1].startswith(b"5.7.1 The address in the From field does not belong")

    await talk(gateway, conversation)
    assert gateway.desk.taken == []


async def test_smt_24_what_was_said_in_clear_is_forgotten(start: Start, trusting: ssl.SSLContext) -> None:
    gateway = await start(tls=True)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    await reader.readline()
    # Everything in one packet: whoever sits on the line in clear tries to put commands into the secured dialogue.
    writer.write(
        b"EHLO clear.example\r\nMAIL FROM:<ann@corp.example>\r\nSTARTTLS\r\nRCPT TO:<14155550123@fax.example>\r\nNOOP\r\n"
    )
    async with asyncio.timeout(5):
        while not (line := await reader.readline()).startswith(b"220 2.0.0"):
            assert line
        await writer.start_tls(trusting, server_hostname="localhost")
        writer.write(b"MAIL FROM:<ann@corp.example>\r\n")
        assert (await reader.readline()).startswith(b"503 5.5.1 Say EHLO first")
        writer.write(b"RCPT TO:<14155550123@fax.example>\r\n")
        assert (await reader.readline()).startswith(b"503 5.5.1 Say MAIL first")
        writer.write(b"QUIT\r\n")
        assert (await reader.readline()).startswith(b"221 ")
    writer.close()
    await writer.wait_closed()


async def test_a_failed_handshake_ends_one_connection_only(start: Start) -> None:
    gateway = await start(tls=True)
    heard = await raw(gateway, b"STARTTLS\r\n", b"this is no handshake\r\n" * 10)
    assert b"220 2.0.0" in heard
    async with asyncio.timeout(20):
        while gateway.door.hall.connections:
            await asyncio.sleep(0.01)
    assert (await raw(gateway, b"QUIT\r\n")).endswith(b"221 2.0.0 Bye\r\n")


async def test_sub_02_tls_1_1_is_refused(start: Start, trusting: ssl.SSLContext) -> None:
    gateway = await start(tls=True)
    context = gateway.door.certificate.context()
    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    trusting.maximum_version = ssl.TLSVersion.TLSv1_2

    def conversation(client: smtplib.SMTP) -> str | None:
        secure(client, trusting)
        assert isinstance(client.sock, ssl.SSLSocket)
        return client.sock.version()

    assert await talk(gateway, conversation) == "TLSv1.2"


def test_an_unusable_certificate_stops_the_start(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    (tmp_path / "broken.pem").write_text("nothing")
    for cert, problem in ((tmp_path / "missing.pem", "cannot be read"), (tmp_path / "broken.pem", "cannot be used")):
        settings = configured({"tls_cert": str(cert), "tls_key": str(certificate[1])})
        with pytest.raises(ConfigError, match=problem):
            MailDoor(settings, identity=Recorder(), throttle=Recorder(), desk=Recorder(), now=lambda: NOW)
