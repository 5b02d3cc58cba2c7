"""What is fuzzed: recipient addresses, whole dialogues, and mails. Each target fails by raising anything."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Mapping

from gateway import message, opening, options
from gateway.errors import BadDocument, Refused
from gateway.fax import Recipient
from gateway.intake import address
from gateway.intake.address import Reply, Special
from gateway.intake.door import MailDoor
from gateway.pages import parts
from tests.intake.recorder import NOW, Recorder, configured

_REPLY = re.compile(rb"[2345][0-9][0-9][ -][ -~]*\r\n")
_FAULT = b"A fault of this gateway"
_LOOP = asyncio.new_event_loop()


def address_of(data: bytes) -> None:
    """Any octets are a number, a person, or refused in words for the dialogue."""
    path = data.decode("utf-8", "surrogateescape")
    found = _read(path)
    if isinstance(found, Refused):
        assert re.fullmatch(r"5[05][0-9] 5\.[0-9]\.[0-9]", found.reply)
        assert found.text.isascii()
        return
    assert found.written == path
    if isinstance(found, Recipient) and found.number:
        assert re.fullmatch(r"\+[1-9][0-9]{6,14}", found.number)
        assert re.fullmatch(r"[0-9]{0,20}", found.sub_address)
    with contextlib.suppress(Refused):
        address.sender(path)


def _read(path: str) -> Recipient | Special | Reply | Refused:
    try:
        return address.parse(path, domains=("fax.example",), region="US", number_in_subject=("fax",))
    except Refused as error:
        return error


def dialogue(data: bytes) -> None:
    """Whatever a client says, it gets replies, no fault of ours shows, and the connection ends."""
    _LOOP.run_until_complete(_dialogue(data))


async def _dialogue(data: bytes) -> None:
    desk = Recorder()
    settings = {"client_rate": 1_000_000, "max_recipients": 100}
    door = MailDoor(configured(settings), identity=desk, throttle=desk, desk=desk, now=lambda: NOW)
    await door.start()
    try:
        reader, writer = await asyncio.open_connection(*door.addresses()[0])
        with contextlib.suppress(ConnectionError):
            writer.write(data)
            writer.write_eof()
            said = await asyncio.wait_for(reader.read(), 20)
            assert said == b"".join(_REPLY.findall(said))
            assert _FAULT not in said
        writer.close()
    finally:
        await door.stop()
    for one in desk.taken:
        assert b"\n" not in one.content.replace(b"\r\n", b"")
        assert b"\r" not in one.content.replace(b"\r\n", b"")


def mail(data: bytes) -> None:
    """Any octets are a mail: every leaf is chosen or explained, or the whole is refused with the part's name."""
    read = message.headers(data)
    assert "\n" not in read.subject
    assert len(message.content_hash(data)) == 64
    options.brackets(opening.line(data))
    whole = message.parse(data)
    with contextlib.suppress(BadDocument):
        judged = parts.judge(whole)
        assert all(one.position for one in judged.chosen)
        assert all(one.position for one in judged.skipped)


TARGETS: Mapping[str, Callable[[bytes], None]] = {"address": address_of, "dialogue": dialogue, "mail": mail}
#: Words of each language, which the mutations are made of.
WORDS: Mapping[str, tuple[bytes, ...]] = {
    "address": (
        b"FAX=", b"/T33S=", b"/ATTN=", b"+1415555", b"0123", b"@fax.example", b'"', b"\\", b"@a:", b"postmaster", b"/POSTD=",
    ),
    "dialogue": (
        b"EHLO a\r\n", b"MAIL FROM:<ann@corp.example>", b"RCPT TO:<14155550123@fax.example>", b"DATA\r\n", b"\r\n.\r\n",
        b"\n.\n",
        b"\r", b"From: ann@corp.example\r\n\r\n", b"RSET\r\n", b"QUIT\r\n", b" NOTIFY=", b" SIZE=9", b"\x00", b"VRFY a\r\n",
        b"AUTH PLAIN =\r\n", b"STARTTLS\r\n", b"LHLO a\r\n", b"BDAT 5\r\n", b"\xff",
    ),
    "mail": (
        b"Content-Type: multipart/mixed; boundary=a\r\n\r\n", b"--a\r\n", b"--a--\r\n", b"Content-Type: text/html\r\n\r\n",
        b"Content-Type: message/rfc822\r\n\r\n", b"Content-Transfer-Encoding: base64\r\n", b"=?utf-8?q?=41?=",
        b"From: a@b.example\r\n",
        b"Content-Disposition: attachment; filename*=utf-8''%41\r\n", b"[fine] ", b"\r\n\r\n", b"PK\x03\x04", b"%PDF-1.4",
        b"\xff", b"Subject: +1 415 555 0123 [cover=none]\r\n", b"Content-Type: application/ms-tnef\r\n\r\n",
        b"multipart/alternative",
    ),
}  # fmt: skip
