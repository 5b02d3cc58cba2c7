"""The SMTP door over real sockets: what is accepted, what is refused, and that the listener outlives everything."""

from __future__ import annotations

import asyncio
import logging
import smtplib
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from gateway import metrics
from gateway.errors import ConfigError, NotAdmitted, OverLimit, SpoolUnavailable
from gateway.intake.door import MailDoor
from tests.intake.recorder import CORP, NOW, PASSWORDS, Gateway, Recorder, Start, configured

T = TypeVar("T")
ANN = "ann@corp.example"
FAX = "14155550123@fax.example"
MAIL = b"From: Ann <ann@corp.example>\r\nSubject: hello\r\n\r\nhello\r\n"


async def talk(gateway: Gateway, conversation: Callable[[smtplib.SMTP], T]) -> T:
    """Hold a conversation in a thread; the door runs in this loop."""

    def held() -> T:
        with smtplib.SMTP("127.0.0.1", gateway.port, timeout=20) as client:
            return conversation(client)

    return await asyncio.to_thread(held)


async def send(gateway: Gateway, mail: bytes = MAIL, to: str = FAX, sender: str = ANN) -> tuple[int, bytes]:
    def conversation(client: smtplib.SMTP) -> tuple[int, bytes]:
        client.ehlo()
        for answer in (client.mail(sender), client.rcpt(to)):
            if answer[0] != 250:
                return answer
        return client.data(mail)

    return await talk(gateway, conversation)


async def raw(gateway: Gateway, *said: bytes) -> bytes:
    """Say something, wait until there is nothing more to hear, and hang up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    for piece in said:
        writer.write(piece)
        await writer.drain()
    writer.write_eof()
    async with asyncio.timeout(20):
        heard = await reader.read()
    writer.close()
    return heard


def refused(reason: str) -> float:
    return metrics.REGISTRY.get_sample_value("faxgate_refused_total", {"reason": reason}) or 0.0


@pytest.mark.parametrize("to", [FAX, "+14155550123@fax.example", "FAX=+14155550123@FAX.example"])
async def test_mail_from_a_listed_sender_and_network_is_accepted(start: Start, to: str) -> None:
    gateway = await start()
    assert await send(gateway, to=to) == (250, b"2.0.0 accepted as sub_1")
    (taken,) = gateway.desk.taken
    assert taken.account == CORP
    assert [(r.written, r.number) for r in taken.recipients] == [(to, "+14155550123")]
    assert (taken.envelope.sender, taken.envelope.client, taken.envelope.login) == (ANN, "127.0.0.1", "")
    assert taken.content == MAIL


async def test_smt_19_one_received_field_is_given_apart(start: Start) -> None:
    gateway = await start()
    await send(gateway)
    (taken,) = gateway.desk.taken
    assert taken.trace.startswith(b"Received: from ")
    assert taken.trace.endswith(b"Sat, 31 Jan 2026 09:30:00 +0000\r\n")
    assert b"\r\n\tby gw.fax.example (Faxgate) with ESMTP\r\n\tfor <14155550123@fax.example>;" in taken.trace
    assert taken.trace.count(b"\n") == taken.trace.count(b"\r\n\t") + 1


async def test_smt_12_wishes_reach_the_desk_decoded_with_their_case(start: Start) -> None:
    gateway = await start()

    def conversation(client: smtplib.SMTP) -> None:
        client.ehlo()
        client.mail(ANN, ["RET=hdrs", "ENVID=aBc+2B1", "AUTH=<>"])
        long = "x" * 490
        assert client.rcpt(FAX, ["NOTIFY=success,Delay", "ORCPT=rfc822;FAX+3D+2B390408565@Fax.example"])[0] == 250
        assert client.rcpt("+442079460123@fax.example", [f"ORCPT=rfc822;{long}", "NOTIFY=NEVER"])[0] == 250
        assert client.rcpt("+442079460124@fax.example", [f"ORCPT=rfc822;{long}{long}"]) == (
            501,
            b"5.5.4 ORCPT is xtext of at most 500 characters.",
        )
        client.data(MAIL)

    await talk(gateway, conversation)
    (taken,) = gateway.desk.taken
    assert (taken.envelope.ret, taken.envelope.envelope_id) == ("HDRS", "aBc+1")
    first, second = taken.recipients
    assert first.notify == ("SUCCESS", "DELAY")
    assert first.original_recipient == "rfc822;FAX=+390408565@Fax.example"
    assert second.notify == ("NEVER",)
    assert len(second.original_recipient) == len("rfc822;") + 490


async def test_smt_13_a_command_line_of_1036_octets_is_taken(start: Start) -> None:
    gateway = await start()
    hello = b"EHLO x\r\nMAIL FROM:<ann@corp.example>\r\n"
    recipient = b"RCPT TO:<14155550123@fax.example>" + b" " * (1036 - 35) + b"\r\n"
    assert len(recipient) == 1036
    heard = await raw(gateway, hello + recipient + b"NOOP " + b"x" * 4000 + b"\r\nQUIT\r\n")
    assert b"\r\n250 2.1.5 OK\r\n500 5.5.2 This line is too long.\r\n221 2.0.0" in heard


async def test_strangers_are_refused_at_rcpt_and_counted(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    gateway = await start()
    before = refused("5.7.1")
    with caplog.at_level(logging.INFO, "gateway.intake"):
        code, text = await send(gateway, sender="eve@evil.example")
    assert code == 550
    assert text.startswith(b"5.7.1 This sender may not fax from this network")
    assert refused("5.7.1") == before + 1
    (record,) = [r for r in caplog.records if getattr(r, "action", "") == "refused"]
    assert "*******0123" in record.getMessage()
    assert "4155550123" not in record.getMessage()


async def test_smt_26_escape_sequences_reach_neither_answer_nor_log(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    gateway = await start()
    with caplog.at_level(logging.DEBUG):
        heard = await raw(
            gateway,
            b"\x1b[31mHI\r\nEHLO \x1b[2J\xff\r\nMAIL FROM:<\x1b[1m@corp.example>\r\nMAIL FROM:<ann@corp.example>\r\n"
            b"RCPT TO:<\x1b[7m@fax.example>\r\nRCPT TO:<14155550123@fax.example> FOO\x1b=1\r\nQUIT\r\n",
        )
    assert b"\x1b" not in heard
    assert heard.isascii()
    ours = [r.getMessage() for r in caplog.records if r.name.startswith("gateway")]
    assert ours
    assert all(text.isprintable() for text in ours)


async def test_smt_05_the_101st_recipient_is_put_off(start: Start) -> None:
    gateway = await start()

    def conversation(client: smtplib.SMTP) -> list[int]:
        client.ehlo()
        client.mail(ANN)
        answers = [client.rcpt(f"1415555{n:04}@fax.example") for n in range(101)]
        assert answers[-1] == (452, b"4.5.3 Too many recipients; send the rest in another mail.")
        assert client.data(MAIL)[0] == 250
        return [code for code, _ in answers]

    codes = await talk(gateway, conversation)
    assert codes == [250] * 100 + [452]
    assert len(gateway.desk.taken[0].recipients) == 100


async def test_adr_25_operator_and_number_in_one_mail_both_get_it(start: Start) -> None:
    gateway = await start()

    def conversation(client: smtplib.SMTP) -> tuple[int, bytes]:
        client.ehlo()
        client.mail(ANN)
        assert client.rcpt("postmaster")[0] == client.rcpt(FAX)[0] == 250
        return client.data(MAIL)

    assert await talk(gateway, conversation) == (250, b"2.0.0 accepted as sub_2")
    operators, fax = gateway.desk.taken
    assert operators.specials == ("postmaster",)
    assert [r.number for r in fax.recipients] == ["+14155550123"]


async def test_smt_20_a_mail_that_runs_in_circles_is_refused(start: Start) -> None:
    gateway = await start()
    assert (await send(gateway, b"Received: from a by b; now\r\n" * 100 + MAIL))[0] == 250
    code, text = await send(gateway, b"Received: from a by b; now\r\n" * 101 + MAIL)
    assert (code, text[:5]) == (554, b"5.4.6")
    assert (await send(gateway, b"X-Faxgate-Loop: x\r\n" + MAIL, to="postmaster"))[1][:5] == b"5.4.6"


@pytest.mark.parametrize(
    ("fault", "code", "start_of_text"),
    [
        (SpoolUnavailable(), 451, b"4.3.0 The fax cannot be stored right now."),
        (NotAdmitted("This account has used its pages for today.", reply="450 4.7.0"), 450, b"4.7.0 This account"),
        (ValueError("secret path /var/lib/faxgate"), 451, b"4.3.0 A fault of this gateway"),
        (OSError(28, "No space left on device"), 451, b"4.3.0 A fault of this gateway"),
    ],
)
async def test_smt_08_what_is_not_stored_is_not_accepted(
    start: Start, fault: Exception, code: int, start_of_text: bytes
) -> None:
    gateway = await start()
    gateway.desk.fault = fault
    answer, text = await send(gateway)
    assert answer == code
    assert text.startswith(start_of_text)
    assert b"/var" not in text
    gateway.desk.fault = None
    assert (await send(gateway))[0] == 250
    assert len(gateway.desk.taken) == 1


async def test_an_unreadable_account_list_is_no_final_no(start: Start) -> None:
    gateway = await start()
    gateway.desk.identity_fault = SpoolUnavailable()
    assert (await send(gateway))[0] == 451


async def test_250_comes_only_after_the_desk_is_done(start: Start) -> None:
    gateway = await start()
    gateway.desk.gate = asyncio.Event()
    sending = asyncio.create_task(send(gateway))
    async with asyncio.timeout(10):
        while not gateway.desk.begun:
            await asyncio.sleep(0.005)
    done, _ = await asyncio.wait([sending], timeout=0.1)
    assert not done
    gateway.desk.gate.set()
    assert (await sending)[0] == 250


async def test_what_was_begun_is_finished_when_the_client_leaves(start: Start) -> None:
    gateway = await start()
    gateway.desk.gate = asyncio.Event()
    client = socket.create_connection(("127.0.0.1", gateway.port))
    client.sendall(b"EHLO x\r\nMAIL FROM:<ann@corp.example>\r\nRCPT TO:<14155550123@fax.example>\r\nDATA\r\n" + MAIL + b".\r\n")
    async with asyncio.timeout(10):
        while not gateway.desk.begun:
            await asyncio.sleep(0.005)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset, not a polite end
    client.close()
    await asyncio.sleep(0.05)
    gateway.desk.gate.set()
    await gateway.door.stop()
    assert [taken.content for taken in gateway.desk.taken] == [MAIL]


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\0" * 1000,
        b"\xff\xfe\r\n" * 50,
        b"\r\n" * 50,
        bytes(range(256)) * 500,
        b"A" * 300_000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x42" * 500,
        b"EHLO x\r\nMAIL FROM:<ann@corp",
        b"EHLO x\r\nMAIL FROM:<ann@corp.example>\r\nRCPT TO:<14155550123@fax.example>\r\nDATA\r\nFrom: ann@corp.exam",
        b"EHLO x\r\nMAIL FROM:<ann@corp.example>\r\nRCPT TO:<14155550123@fax.example>\r\nDATA\r\n" + MAIL + b".\r",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_garbage_and_half_commands_harm_nobody(start: Start, said: bytes) -> None:
    gateway = await start()
    heard = await raw(gateway, said)
    assert heard.startswith(b"220 ")
    assert heard.isascii()
    assert gateway.desk.taken == []
    assert (await send(gateway))[0] == 250


async def test_lines_that_end_in_a_bare_lf_are_answered_and_refused(start: Start) -> None:
    gateway = await start()
    heard = await raw(gateway, b"EHLO x\nMAIL FROM:<ann@corp.example>\nQUIT\r\n")
    assert heard.count(b"500 5.5.2 Lines end in CR and LF together.") == 2
    assert heard.endswith(b"221 2.0.0 Bye\r\n")


@pytest.mark.parametrize("field", [b"From: " + b"(" * 900, b"From: " + b"a:" * 450, b"From: " + b"\xff\0 <a", b"From:"])
async def test_unreadable_authors_are_refused_for_good(start: Start, field: bytes) -> None:
    gateway = await start()
    code, text = await send(gateway, (field + b"\r\n ") * 40 + b"\r\n\r\nhello\r\n")
    assert (code, text[:6]) == (550, b"5.7.1 ")


@pytest.mark.parametrize("trick", [b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r\n\0.\r\n"])
async def test_smt_01_smuggled_mail_is_never_a_second_mail(start: Start, trick: bytes) -> None:
    gateway = await start()
    envelope = b"MAIL FROM:<ann@corp.example>\r\nRCPT TO:<14155550123@fax.example>\r\nDATA\r\n"
    heard = await raw(gateway, b"EHLO x\r\n" + envelope + MAIL + trick + envelope + MAIL + b".\r\nQUIT\r\n")
    assert heard.count(b"\r\n354 ") == 1
    assert len(gateway.desk.taken) == (1 if b"\0" in trick else 0)
    assert heard.endswith(b"221 2.0.0 Bye\r\n")


async def test_commands_in_one_packet_are_answered_in_order(start: Start) -> None:
    gateway = await start()
    one = b"MAIL FROM:<ann@corp.example>\r\nRCPT TO:<14155550123@fax.example>\r\nDATA\r\n" + MAIL + b".\r\n"
    heard = await raw(gateway, b"EHLO x\r\n" + one * 3 + b"QUIT\r\n")
    assert [line[:3] for line in heard.splitlines()[8:]] == [b"250", b"250", b"354", b"250"] * 3 + [b"221"]
    assert len(gateway.desk.taken) == 3


async def test_60_megabytes_are_refused_and_the_connection_survives(start: Start) -> None:
    gateway = await start()
    body = b"x" * 76 + b"\r\n"
    big = body * (60_000_000 // len(body))

    def conversation(client: smtplib.SMTP) -> tuple[int, bytes]:
        client.ehlo()
        assert client.mail(ANN, [f"SIZE={len(big)}"]) == (552, b"5.3.4 Mail here has at most 50000000 octets.")
        client.mail(ANN)
        client.rcpt(FAX)
        client.putcmd("DATA")
        client.getreply()
        client.send(big)
        client.send(b".\r\n")
        assert client.getreply() == (552, b"5.3.4 This mail is larger than 50000000 octets.")
        client.mail(ANN)
        client.rcpt(FAX)
        return client.data(MAIL)

    assert (await talk(gateway, conversation))[0] == 250
    assert len(gateway.desk.taken) == 1


async def test_smt_22_twenty_clients_at_once(start: Start) -> None:
    gateway = await start()
    answers = await asyncio.gather(*(send(gateway, MAIL + b"%d\r\n" % n) for n in range(20)))
    assert [code for code, _ in answers] == [250] * 20
    assert sorted(taken.content for taken in gateway.desk.taken) == sorted(MAIL + b"%d\r\n" % n for n in range(20))


async def test_one_connection_too_many_is_told_to_come_again(start: Start) -> None:
    gateway = await start(max_connections=2)

    def conversation(_: smtplib.SMTP) -> None:
        with smtplib.SMTP("127.0.0.1", gateway.port) as second:
            with pytest.raises(smtplib.SMTPConnectError) as caught:
                smtplib.SMTP("127.0.0.1", gateway.port)
            assert caught.value.smtp_code == 421
            assert second.noop()[0] == 250

    await talk(gateway, conversation)
    assert metrics.REGISTRY.get_sample_value("faxgate_smtp_connections") == 0
    assert (await send(gateway))[0] == 250


async def test_silent_clients_are_cut_off(start: Start) -> None:
    gateway = await start(timeout="0.2s")
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    async with asyncio.timeout(5):
        heard = await reader.read()
    assert heard.endswith(b"421 4.4.2 Nothing heard for too long, closing\r\n")
    writer.close()


async def test_a_slow_mail_is_not_cut_off_while_it_comes(start: Start) -> None:
    gateway = await start(timeout="0.4s")
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"EHLO x\r\nMAIL FROM:<ann@corp.example>\r\nRCPT TO:<14155550123@fax.example>\r\nDATA\r\n")
    for piece in (MAIL, b"a\r\n", b"b\r\n", b"c\r\n", b"d\r\n", b".\r\nQUIT\r\n"):
        await asyncio.sleep(0.15)
        writer.write(piece)
    async with asyncio.timeout(5):
        assert b"250 2.0.0 accepted as sub_1" in await reader.read()
    writer.close()


async def test_stopping_says_goodbye_to_the_silent_and_waits_for_the_busy(start: Start) -> None:
    gateway = await start()
    idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    assert (await idle_reader.readline()).startswith(b"220 ")
    gateway.desk.gate = asyncio.Event()
    envelope = b"EHLO x\r\nMAIL FROM:<ann@corp.example>\r\nRCPT TO:<14155550123@fax.example>\r\nDATA\r\n"
    busy = asyncio.create_task(raw(gateway, envelope + MAIL + b".\r\nNOOP\r\n"))
    async with asyncio.timeout(10):
        while not gateway.desk.begun:
            await asyncio.sleep(0.005)
    stopping = asyncio.create_task(gateway.door.stop())
    assert (await idle_reader.read()).startswith(b"421 4.3.2 ")
    gateway.desk.gate.set()
    assert (await busy).endswith(b"250 2.0.0 accepted as sub_1\r\n421 4.3.2 Closing for now, come again\r\n")
    async with asyncio.timeout(5):
        await stopping
    idle_writer.close()
    assert gateway.door.addresses() == []


async def test_every_listed_address_is_listened_on(start: Start) -> None:
    gateway = await start(listen=["127.0.0.1:0", "127.0.0.2:0"])
    assert [host for host, _ in gateway.door.addresses()] == ["127.0.0.1", "127.0.0.2"]
    assert all(port > 0 for _, port in gateway.door.addresses())


async def test_a_taken_port_is_a_wrong_configuration(start: Start) -> None:
    gateway = await start()
    second = MailDoor(
        configured({"listen": ["127.0.0.1:0", f"127.0.0.1:{gateway.port}"]}),
        identity=Recorder(),
        throttle=Recorder(),
        desk=Recorder(),
        now=lambda: NOW,
    )
    with pytest.raises(ConfigError, match=r"smtp\.listen: 127\.0\.0\.1:"):
        await second.start()
    assert second.addresses() == []


async def test_smt_09_a_mail_of_100_kilobytes_is_answered_quickly(start: Start) -> None:
    gateway = await start()
    mail = MAIL + (b"x" * 76 + b"\r\n") * 1300

    def conversation(client: smtplib.SMTP) -> list[float]:
        client.ehlo()
        took = []
        for _ in range(15):
            client.mail(ANN)
            client.rcpt(FAX)
            begun = time.perf_counter()
            assert client.data(mail)[0] == 250
            took.append(time.perf_counter() - begun)
        return sorted(took)

    assert (await talk(gateway, conversation))[7] < 0.05


async def test_a_unix_socket_proves_nothing(start: Start, tmp_path: Path) -> None:
    gateway = await start(listen=[str(tmp_path / "smtp.sock")])
    assert gateway.door.addresses() == []
    reader, writer = await asyncio.open_unix_connection(tmp_path / "smtp.sock")
    envelope = b"EHLO x\r\nMAIL FROM:<ann@corp.example>\r\nRCPT TO:<14155550123@fax.example>\r\n"
    writer.write(envelope + b"RCPT TO:<postmaster>\r\nDATA\r\n" + MAIL + b".\r\nQUIT\r\n")
    async with asyncio.timeout(5):
        heard = await reader.read()
    assert b"\r\n550 5.7.1 This sender may not fax from this network" in heard
    assert b"\r\n250 2.0.0 accepted for the operator\r\n" in heard
    assert gateway.desk.taken[0].trace.startswith(b"Received: from x (local)\r\n")
    writer.close()


async def test_strangers_cannot_fill_the_memory_with_mail_to_the_operator(start: Start) -> None:
    gateway = await start(max_size="100kB")
    begun = (
        b"EHLO x\r\nMAIL FROM:<spam@elsewhere.example>\r\nRCPT TO:<postmaster>\r\nDATA\r\n"
        + b"From: s@elsewhere.example\r\n\r\n"
    )
    lines = (b"x" * 76 + b"\r\n") * 1000

    async def stranger(said: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(begun + said)
        await writer.drain()
        return reader, writer

    async def used(enough: Callable[[int], bool]) -> None:
        async with asyncio.timeout(5):
            while not enough(gateway.door.hall.strangers_room.used):
                await asyncio.sleep(0.01)

    patient = [await stranger(lines) for _ in range(2)]
    await used(lambda octets: octets > 150_000)
    reader, writer = await stranger(lines + b".\r\nQUIT\r\n")
    assert b"\r\n452 4.3.1 " in await asyncio.wait_for(reader.read(), 5)
    writer.close()
    assert (await send(gateway, MAIL))[0] == 250, "who may fax has room of their own"
    reader, writer = patient.pop()
    writer.write(b".\r\nQUIT\r\n")
    assert b"\r\n250 2.0.0 accepted for the operator" in await asyncio.wait_for(reader.read(), 5)
    writer.close()
    patient.pop()[1].close()  # leaves in the middle
    await used(lambda octets: octets == 0)


CLAIM = b"Authentication-Results: gw.fax.example; dmarc=pass header.from=corp.example\r\n"


async def test_aut_04_a_field_in_our_name_is_not_in_the_stored_copy(start: Start) -> None:
    gateway = await start()
    other = b"Authentication-Results: mx.corp.example; spf=pass\r\n"
    assert (await send(gateway, other + CLAIM + MAIL))[0] == 250
    assert (await send(gateway, CLAIM + MAIL, to="postmaster@fax.example"))[0] == 250
    assert [taken.content for taken in gateway.desk.taken] == [other + MAIL, MAIL]


async def test_aut_13_login_envelope_and_author_are_kept_apart(start: Start) -> None:
    gateway = await start(tls=True)

    def conversation(client: smtplib.SMTP) -> None:
        client.starttls()
        client.login("ann", "ann's password")
        client.sendmail("bill@corp.example", FAX, MAIL)

    await talk(gateway, conversation)
    (taken,) = gateway.desk.taken
    assert (taken.envelope.login, taken.envelope.sender) == ("ann", "bill@corp.example")
    assert taken.content.startswith(b"From: Ann <ann@corp.example>")


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    "why", [OverLimit("This account may fax 3 faxes in one hour."), NotAdmitted("This account may fax to US only.")]
)
async def test_aut_11_who_only_claims_to_be_the_sender_learns_nothing_of_its_limits(
    start: Start, monkeypatch: pytest.MonkeyPatch, why: NotAdmitted | OverLimit, known: bool
) -> None:
    gateway = await start()
    post = replace(CORP, senders=("*@post.example",), networks=(), dmarc=True)
    monkeypatch.setitem(PASSWORDS, "post", ("", post))
    gateway.desk.not_admitted = why
    code, text = await send(gateway, sender=ANN if known else "ann@post.example")
    assert code == int(why.reply[:3])
    assert (b"This account may fax" in text, b"who signs in is told why" in text) == (known, not known)
