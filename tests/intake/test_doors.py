"""The listeners: for whom each is, how many may come, who is cut off, and that none of them is an open relay."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import resource
import shutil
import socket
import ssl
import stat
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway import metrics
from gateway.errors import OverLimit, TooMany
from gateway.fax import Account
from gateway.intake import listener
from gateway.intake.crowd import Crowd, Visit
from gateway.listeners import Purpose, Smtp
from tests.intake.recorder import CORP, NOW, Gateway, Start
from tests.intake.test_smtp import MAIL

ANY = "127.0.0.1:0"
EHLO, ANN, TO = b"EHLO x\r\n", b"MAIL FROM:<ann@corp.example>\r\n", b"RCPT TO:<14155550123@fax.example>\r\n"
ROB = b"AUTH PLAIN " + base64.b64encode(b"\0rob\0rob's password") + b"\r\n"


def port(gateway: Gateway, purpose: Purpose = Purpose.RELAY) -> int:
    return gateway.door.addresses(purpose)[0][1]


@contextlib.asynccontextmanager
async def connected(at: int, **more: Any) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection that is gone afterwards, at once."""
    reader, writer = await asyncio.open_connection("127.0.0.1", at, **more)
    try:
        async with asyncio.timeout(30):
            yield reader, writer
    finally:
        writer.transport.abort()


async def heard(at: int, said: bytes, **more: Any) -> bytes:
    """Everything the door answers to what is said in one packet."""
    async with connected(at, **more) as (reader, writer):
        writer.write(said)
        return await reader.read()


async def counted(gateway: Gateway, n: int) -> None:
    """Wait until so many connections are open."""
    async with asyncio.timeout(20):
        while (metrics.REGISTRY.get_sample_value("faxgate_smtp_connections") or 0) != n:
            await asyncio.sleep(0.01)


# No open relay.

FOREIGN = [
    "eve@other.example",
    "14155550123@other.example",
    "eve%other.example@fax.example",
    "eve@other.example@fax.example",
    '"eve@other.example"@fax.example',
    '"eve%other.example"@fax.example',
    "other.example!eve@fax.example",
    "@fax.example:eve@other.example",
    "@fax.example,@gw.fax.example:eve@other.example",
    "eve@[192.0.2.99]",
    "eve@192.0.2.10",
    "eve@fax.example.",
    "eve@fax.example.other.example",
    "postmaster@other.example",
    "14155550123%other.example@fax.example",
    "14155550123@other.example%fax.example",
    '"14155550123@other.example"@fax.example',
    "eve",
    "14155550123",
    "FAX=+14155550123@other.example@fax.example",
    "",
]


PEOPLE = (Purpose.SUBMISSION, Purpose.SUBMISSIONS)


@pytest.mark.parametrize(
    ("purpose", "tls"), [(purpose, tls) for purpose in Purpose for tls in (False, True) if tls or purpose not in PEOPLE]
)
@pytest.mark.parametrize("sender", ["ann@corp.example", "eve@other.example", "14155550123@fax.example", ""])
@pytest.mark.usefixtures("proven")
async def test_no_listener_passes_mail_on_to_others(
    start: Start, trusting: ssl.SSLContext, purpose: Purpose, tls: bool, sender: str
) -> None:
    people = {"submission": [ANY], "submissions": [ANY]} if tls else {}
    gateway = await start(tls=tls, lmtp=(ANY,), **people)
    implicit: dict[str, Any] = {"ssl": trusting, "server_hostname": "localhost"} if purpose is Purpose.SUBMISSIONS else {}
    async with connected(port(gateway, purpose), **implicit) as (reader, writer):
        hello = b"LHLO x\r\n" if purpose is Purpose.LMTP else EHLO
        secured = bool(implicit)
        if tls and purpose is Purpose.SUBMISSION:
            writer.write(b"EHLO x\r\nSTARTTLS\r\n")
            while not (await reader.readline()).startswith(b"220 2.0.0"):
                pass
            await writer.start_tls(trusting, server_hostname="localhost")
            secured = True
        signing = ROB if secured else b""
        if secured and sender == "ann@corp.example":
            sender = "rob@road.example"
        said = b"".join(f"RCPT TO:<{one}>\r\n".encode() for one in FOREIGN)
        writer.write(hello + signing + f"MAIL FROM:<{sender}>\r\n".encode() + said + b"DATA\r\nQUIT\r\n")
        answers = (await reader.read()).decode().splitlines()
    codes = [answer[:3] for answer in answers[-len(FOREIGN) - 2 : -1]]
    assert len(codes) == len(FOREIGN) + 1
    assert all(code.startswith("5") for code in codes), list(zip(FOREIGN, codes, strict=False))
    assert gateway.desk.taken == []


# How many may come.


class Counted(Crowd):
    """A crowd that goes home in the end, so that the count of all connections is right for other tests."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(Smtp(**settings))
        self.everybody: list[Visit] = []

    def come(self, address: str, purpose: Purpose = Purpose.RELAY) -> Visit:
        self.everybody.append(self.arrive(purpose))
        self.recognise(self.everybody[-1], address)
        return self.everybody[-1]

    def __enter__(self) -> Counted:
        return self

    def __exit__(self, *_: object) -> None:
        for visit in self.everybody:
            self.leave(visit)
        assert not self._purposes
        assert not self._clients


def test_a_client_is_an_address_or_a_customers_network() -> None:
    with Counted(client_connections=2) as crowd:
        first = crowd.come("2001:db8:1:2::1")
        crowd.come("2001:db8:1:2:ffff::9")
        with pytest.raises(TooMany, match="from your network"):
            crowd.come("2001:db8:1:2::3")
        crowd.come("2001:db8:1:3::1")
        crowd.come("192.0.2.1")
        crowd.leave(first)
        crowd.leave(first)
        crowd.come("2001:db8:1:2::3")
        with pytest.raises(TooMany, match="from your network"):
            crowd.come("2001:db8:1:2::4")
        for _ in range(10):
            crowd.come("", Purpose.LMTP)  # nobody's address is nobody's limit


def test_a_client_may_connect_so_often_in_a_minute() -> None:
    with Counted(client_rate=3) as crowd:
        for _ in range(3):
            crowd.leave(crowd.come("192.0.2.1"))
        with pytest.raises(TooMany, match="too often"):
            crowd.come("192.0.2.1")
        crowd.come("192.0.2.2")


async def test_strangers_at_one_listener_take_no_room_from_those_who_sign_in(start: Start, trusting: ssl.SSLContext) -> None:
    gateway = await start(tls=True, submissions=[ANY], max_connections=2)
    async with connected(port(gateway)) as (one, _), connected(port(gateway)) as (two, _):
        assert (await one.readline())[:3] == (await two.readline())[:3] == b"220"
        assert await heard(port(gateway), b"") == b"421 4.7.0 Too many connections, come again later\r\n"
        secured = {"ssl": trusting, "server_hostname": "localhost"}
        assert (await heard(port(gateway, Purpose.SUBMISSIONS), b"QUIT\r\n", **secured)).startswith(b"220 ")
    await counted(gateway, 0)


async def test_one_client_may_have_so_many_connections_and_is_told(start: Start) -> None:
    gateway = await start(client_connections=1)
    async with connected(port(gateway)) as (reader, _):
        assert (await reader.readline())[:3] == b"220"
        assert (await heard(port(gateway), b"")).startswith(b"421 4.7.0 Too many connections from your network")
    await counted(gateway, 0)
    assert (await heard(port(gateway), b"QUIT\r\n")).startswith(b"220 ")


async def test_one_account_may_have_so_many_connections(start: Start, trusting: ssl.SSLContext) -> None:
    gateway = await start(tls=True, submissions=[ANY], account_connections=1)
    secured = {"ssl": trusting, "server_hostname": "localhost"}
    at = port(gateway, Purpose.SUBMISSIONS)
    async with connected(at, **secured) as (reader, writer):
        writer.write(EHLO + ROB)
        while not (await reader.readline()).startswith(b"235 "):
            pass
        assert b"\r\n454 4.7.0 This account has too many connections" in await heard(at, EHLO + ROB + b"QUIT\r\n", **secured)
    await counted(gateway, 0)
    assert b"\r\n235 2.7.0 " in await heard(at, EHLO + ROB + b"QUIT\r\n", **secured)


async def test_strangers_may_write_to_the_operator_so_often(start: Start) -> None:
    gateway = await start()
    one = b"MAIL FROM:<>\r\nRCPT TO:<postmaster>\r\nDATA\r\nSubject: x\r\n\r\n.\r\n"
    answers = await heard(port(gateway), EHLO + one * 101 + b"QUIT\r\n")
    assert answers.count(b"accepted for the operator") == 100
    assert b"\r\n450 4.7.1 Too much mail to the operator" in answers
    ann = await heard(port(gateway), EHLO + ANN + TO + b"DATA\r\n" + MAIL + b".\r\nQUIT\r\n")
    assert b"250 2.0.0 accepted as sub_" in ann


async def test_a_system_without_descriptors_lets_clients_in_again_when_it_has_some(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listener, "_PAUSE", 0.05)
    gateway = await start()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.closing(socket.socket()) as client:
        client.setblocking(False)
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))  # no new descriptor fits below it
        try:
            await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port(gateway)))
            async with asyncio.timeout(20):
                while "nobody can be let in" not in caplog.text:
                    await asyncio.sleep(0.01)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        async with asyncio.timeout(20):
            assert (await asyncio.get_running_loop().sock_recv(client, 100)).startswith(b"220 ")


async def test_whoever_is_refused_all_the_time_is_sent_away(start: Start) -> None:
    gateway = await start()
    answers = await heard(port(gateway), EHLO + ANN + b"RCPT TO:<guess@fax.example>\r\n" * 300)
    assert answers.count(b"\r\n550 5.1.1 ") == 201
    assert answers.endswith(b"421 4.7.0 Too much was refused, closing\r\n")


# Who is too slow.


async def test_a_client_that_drips_is_cut_off_however_busy_it_looks(start: Start) -> None:
    gateway = await start(timeout="20s", mail_time="0.5s")
    async with connected(port(gateway)) as (reader, writer):
        writer.write(EHLO + ANN + TO + b"DATA\r\n")

        async def drip() -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    writer.write(b"x\r\n")
                    await writer.drain()
                    await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        answers = b""
        with contextlib.suppress(ConnectionError):
            while more := await reader.read(1000):
                answers += more
        dripping.cancel()
    assert b"421 4.4.2 No mail for too long, closing\r\n" in answers
    assert gateway.desk.taken == []


async def test_each_mail_has_its_own_time(start: Start) -> None:
    gateway = await start(timeout="20s", mail_time="1.5s")
    one = ANN + TO + b"DATA\r\n" + MAIL + b".\r\n"
    async with connected(port(gateway)) as (reader, writer):
        writer.write(EHLO)
        for _ in range(3):
            await asyncio.sleep(0.7)
            writer.write(one)
            while not (line := await reader.readline()).startswith(b"250 2.0.0 accepted"):
                assert not line.startswith(b"421")


async def test_who_is_waiting_for_us_is_not_cut_off(start: Start) -> None:
    gateway = await start(timeout="0.2s", mail_time="0.2s")
    gateway.desk.gate = asyncio.Event()
    async with connected(port(gateway)) as (reader, writer):
        writer.write(EHLO + ANN + TO + b"DATA\r\n" + MAIL + b".\r\nQUIT\r\n")
        await asyncio.sleep(0.6)
        gateway.desk.gate.set()
        answers = await reader.read()
    assert b"421" not in answers
    assert answers.endswith(b"250 2.0.0 accepted as sub_1\r\n221 2.0.0 Bye\r\n")


async def test_a_client_that_does_not_listen_is_let_go(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.intake.connection._GRACE", 0.1)
    gateway = await start(timeout="0.3s", max_recipients=10000)
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", port(gateway)))
        deaf.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(deaf, EHLO + ANN)
        with contextlib.suppress(TimeoutError, ConnectionError):
            await asyncio.wait_for(asyncio.get_running_loop().sock_sendall(deaf, b"RCPT TO:<x@fax.example>\r\n" * 400_000), 20)
        await counted(gateway, 0)


# PROXY.


async def test_prx_01_only_listed_proxies_are_heard_and_within_a_time(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    header = b"PROXY TCP4 127.0.0.1 192.0.2.10 1 25\r\nQUIT\r\n"
    elsewhere = await start(proxied=[ANY], proxies=["192.0.2.0/24"])
    with contextlib.suppress(ConnectionResetError):
        assert await heard(port(elsewhere), header) == b""
    monkeypatch.setattr(listener, "_HEADER_TIME", 0.2)
    gateway = await start(proxied=[ANY], proxies=["127.0.0.0/8"])
    assert (await heard(port(gateway), header)).startswith(b"220 ")
    assert await heard(port(gateway), b"PROXY TCP4 ") == b""
    await counted(gateway, 0)


async def test_prx_02_limits_and_trace_know_the_proxied_address(start: Start) -> None:
    gateway = await start(proxied=[ANY], proxies=["127.0.0.1"], client_connections=1)
    header = b"PROXY TCP6 2001:db8::%d 2001:db8::99 1 25\r\n"
    async with connected(port(gateway)) as (reader, writer):
        writer.write(header % 1)
        assert (await reader.readline()).startswith(b"220 ")
        assert (await heard(port(gateway), header % 2)).startswith(b"421 4.7.0 Too many connections from your network")
        letter = b"MAIL FROM:<>\r\nRCPT TO:<postmaster>\r\nDATA\r\nSubject: x\r\n\r\n.\r\nQUIT\r\n"
        other = b"PROXY TCP4 192.0.2.77 192.0.2.10 1 25\r\n" + EHLO + letter
        assert b"accepted for the operator" in await heard(port(gateway), other)
    (taken,) = gateway.desk.taken
    assert taken.envelope.client == "192.0.2.77"
    assert taken.trace.startswith(b"Received: from x ([192.0.2.77])\r\n")


async def test_prx_01_tls_begins_behind_the_header(start: Start, trusting: ssl.SSLContext) -> None:
    gateway = await start(tls=True, submissions=["127.0.0.2:0"], proxied=["127.0.0.2:0"], proxies=["127.0.0.0/8"])
    host, at = gateway.door.addresses(Purpose.SUBMISSIONS)[0]

    def conversation() -> bytes:
        with socket.create_connection((host, at), 20) as plain:
            plain.sendall(b"PROXY TCP4 192.0.2.77 192.0.2.10 1 465\r\n")
            with trusting.wrap_socket(plain, server_hostname="localhost") as secured:
                secured.sendall(EHLO + ROB + b"QUIT\r\n")
                said = b""
                while more := secured.recv(4096):
                    said += more
                return said

    assert b"\r\n235 2.7.0 " in await asyncio.to_thread(conversation)


async def test_a_handshake_that_fails_leaves_nothing_behind(start: Start) -> None:
    gateway = await start(tls=True, submissions=[ANY])
    for said in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b""):
        async with connected(port(gateway, Purpose.SUBMISSIONS)) as (reader, writer):
            writer.write(said)
            writer.write_eof()
            with contextlib.suppress(ConnectionError):
                assert b"220" not in await reader.read()
    await counted(gateway, 0)
    assert gateway.door.hall.connections == set()


# LMTP.


@pytest.mark.usefixtures("proven")
async def test_lmt_02_each_recipient_has_an_answer_of_its_own(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "lmtp.sock"
    path.touch()
    path.unlink()
    gateway = await start(lmtp=(str(path),))
    assert stat.S_IMODE(path.stat().st_mode) == 0o666
    gateway.desk.full.add("+14155550124")
    reader, writer = await asyncio.open_unix_connection(path)
    numbers = ["14155550123", "14155550124", "+1 415 555 0123", "14155550125"]
    to = "".join(f'RCPT TO:<"{number}"@fax.example>\r\n' for number in numbers).encode()
    writer.write(b"LHLO mx\r\n" + ANN + to + b"RCPT TO:<postmaster>\r\nDATA\r\n" + MAIL + b".\r\nQUIT\r\n")
    async with asyncio.timeout(20):
        answers = (await reader.read()).split(b"354 ")[1].splitlines()[1:]
    writer.close()
    assert answers == [
        b"250 2.0.0 accepted as sub_2",
        b"450 4.7.0 No more faxes to +14155550124 today.",
        b"250 2.0.0 accepted as sub_2",
        b"250 2.0.0 accepted as sub_3",
        b"250 2.0.0 accepted for the operator",
        b"221 2.0.0 Bye",
    ]
    operator, both, one = gateway.desk.taken
    assert operator.specials == ("postmaster",)
    assert [recipient.number for recipient in both.recipients] == ["+14155550123"] * 2, "spellings of one number: one call"
    assert [recipient.number for recipient in one.recipients] == ["+14155550125"]
    assert both.trace.startswith(b"Received: from mx (local)\r\n\tby gw.fax.example (Faxgate) with LMTP;")
    assert (both.envelope.door, both.envelope.client) == ("lmtp", "")
    await gateway.door.stop()
    assert not path.exists()


@pytest.mark.usefixtures("proven")
async def test_lmt_02_a_fault_of_ours_is_told_to_each_and_nothing_is_lost(start: Start) -> None:
    gateway = await start(lmtp=(ANY,))
    said = b"LHLO mx\r\n" + ANN + TO * 2 + b"DATA\r\n" + MAIL + b".\r\n"
    for fault, code in ((ValueError("x"), b"451 4.3.0 A fault"), (OSError(28, "full"), b"451 4.3.0 A fault")):
        gateway.desk.fault = fault
        answers = await heard(port(gateway, Purpose.LMTP), said + b"QUIT\r\n")
        assert answers.count(b"\r\n" + code) == 2
    assert gateway.desk.taken == []


async def test_who_only_claims_to_be_the_sender_learns_no_limit(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = await start(lmtp=(ANY,))

    async def over(*_: object, **_more: object) -> None:
        raise OverLimit("This account may fax 50 faxes in one day.")

    monkeypatch.setattr(gateway.desk, "admit", over)
    assert b"450 4.7.0 This account may fax 50" in await heard(port(gateway), EHLO + ANN + TO + b"QUIT\r\n")

    async def claimed(_: str) -> Account:
        return replace(CORP, dmarc=True)

    monkeypatch.setattr(gateway.desk, "by_author", claimed)
    answers = await heard(port(gateway, Purpose.LMTP), b"LHLO mx\r\n" + ANN + TO + b"QUIT\r\n")
    assert b"450 4.7.0 The account of this sender may not fax now" in answers
    assert b"50" not in answers.split(b"450 4.7.0", 1)[1]


async def test_lmtp_proves_nothing_by_its_address(start: Start) -> None:
    gateway = await start(lmtp=(ANY,))
    answers = await heard(port(gateway, Purpose.LMTP), b"LHLO mx\r\n" + ANN + TO + b"QUIT\r\n")
    assert b"\r\n550 5.7.1 " in answers


# A later time.


async def test_sub_11_the_desk_hears_when_a_fax_may_begin(start: Start, trusting: ssl.SSLContext) -> None:
    gateway = await start(tls=True, submissions=[ANY])
    said = b"".join(
        b"MAIL FROM:<rob@road.example>" + wish + b"\r\n" + TO + b"DATA\r\nFrom: rob@road.example\r\n\r\n.\r\n"
        for wish in (b"", b" HOLDFOR=3600", b" HOLDUNTIL=2026-02-01T10:00:00.5+01:00", b" HOLDUNTIL=2026-01-31T09:30:00Z")
    )
    secured = {"ssl": trusting, "server_hostname": "localhost"}
    await heard(port(gateway, Purpose.SUBMISSIONS), EHLO + ROB + said + b"QUIT\r\n", **secured)
    assert [taken.not_before and taken.not_before - NOW for taken in gateway.desk.taken] == [
        None,
        timedelta(hours=1),
        timedelta(hours=23, minutes=30, seconds=0.5),
        None,
    ]
    wishes = ["", "for;3600", "until;2026-02-01T10:00:00.5+01:00", "until;2026-01-31T09:30:00Z"]
    assert [taken.envelope.future_release for taken in gateway.desk.taken] == wishes


# The certificate.


def another(folder: Path) -> None:
    """A certificate for localhost with a key of another kind, in place of the one in `folder`."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    pem, kind, clear = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, kind, clear))
    (folder / "certificate.pem").write_bytes(signed.public_bytes(pem))


async def shown(at: int) -> bytes:
    """The certificate that a client is shown."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with connected(at, ssl=context) as (_, writer):
        certificate: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return certificate


async def test_a_renewed_certificate_is_in_force_without_a_restart(
    start: Start, certificate: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.intake.tls._LOOK", 0.0)
    for path in certificate:
        shutil.copy(path, tmp_path)
    files = {"tls_cert": str(tmp_path / "certificate.pem"), "tls_key": str(tmp_path / "key.pem")}
    gateway = await start(submissions=[ANY], **files)
    at = port(gateway, Purpose.SUBMISSIONS)
    old = await shown(at)
    async with connected(at, ssl=ssl._create_unverified_context()) as (reader, writer):
        assert (await reader.readline()).startswith(b"220 ")
        (tmp_path / "certificate.pem").write_bytes(b"half a certif")
        assert await shown(at) == old, "what cannot be used leaves the old one in force"
        another(tmp_path)
        new = await shown(at)
        assert new != old
        writer.write(b"NOOP\r\n")
        assert (await reader.readline()).startswith(b"250 "), "who is connected stays connected"
    (tmp_path / "key.pem").unlink()
    assert await shown(at) == new
