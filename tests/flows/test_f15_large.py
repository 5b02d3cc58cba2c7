"""Large mails, and clients that speak no SMTP."""

import smtplib
import socket

import psutil
import pytest

from tests.flows.house import DOMAIN, House, addresses, as_bytes, fresh, letter, pdf

MB = 1_000_000


def padded(size: int) -> bytes:
    """A PDF of about `size` bytes with one page."""
    document = pdf("the page")
    filler = b"%" + b"x" * 98 + b"\n"
    return document + filler * ((size - len(document)) // len(filler))


def test_a_mail_of_60_mb_is_refused_before_and_after_it_comes(open_house: House) -> None:
    mail = as_bytes(letter()) + (b"x" * 78 + b"\r\n") * 750_000
    assert len(mail) > 60 * MB
    with open_house.smtp(60) as client:
        client.ehlo()
        assert client.mail("ann@example.com", [f"SIZE={len(mail)}"])[0] == 552
    with open_house.smtp(60) as client:  # one that does not say how large it is
        client.ehlo()
        client.mail("ann@example.com")
        client.rcpt(addresses(fresh())[0])
        code, text = client.data(mail)
        assert (code, text[:5]) == (552, b"5.3.4")
        assert client.noop()[0] == 250


def test_a_mail_of_25_mb_costs_three_copies_at_most(open_house: House) -> None:
    warm = letter()
    open_house.send(warm, fresh())
    open_house.reports(warm)
    number = fresh()
    mail = letter(files=[("large.pdf", "application/pdf", padded(18 * MB))])
    content = as_bytes(mail)
    assert 24 * MB < len(content) < 26 * MB
    assert open_house.process is not None
    process = psutil.Process(open_house.process.pid)
    before, peak = process.memory_info().rss, 0
    with open_house.smtp(60) as client:
        client.ehlo()
        client.mail("ann@example.com")
        client.rcpt(addresses(number)[0])
        assert client.docmd("DATA")[0] == 354
        assert client.sock is not None
        for at in range(0, len(content), MB):
            client.sock.sendall(content[at : at + MB])
            peak = max(peak, process.memory_info().rss)
        client.sock.sendall(b"\r\n.\r\n")
        assert client.getreply()[0] == 250
        peak = max(peak, process.memory_info().rss)
    open_house.reports(mail, patience=60)
    assert open_house.fax(number)["pages"] == 2
    peak = max(peak, process.memory_info().rss)
    growth = peak - before
    assert growth < 3 * len(content) + 30 * MB, f"{growth / MB:.0f} MB more for a mail of {len(content) / MB:.0f} MB"


@pytest.mark.parametrize(
    "noise",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc" * 50,
        b"\x00" * 5000,
        b"A" * 100_000,
        b"\r\n" * 500,
    ],
    ids=["http", "tls", "zeros", "a long line", "empty lines"],
)
def test_garbage_does_not_hurt_others(open_house: House, noise: bytes) -> None:
    good = smtplib.SMTP("127.0.0.1", open_house.smtp_port, timeout=30)
    good.ehlo()
    bad = [socket.create_connection(("127.0.0.1", open_house.smtp_port), 10) for _ in range(5)]
    try:
        for one in bad:
            try:
                one.sendall(noise)
            except OSError:
                continue
        mail, number = letter(), fresh()
        assert good.sendmail("ann@example.com", addresses(number), as_bytes(mail)) == {}
        good.quit()
        assert open_house.reports(mail)
        assert open_house.get("/readyz")[0] == 200
    finally:
        for one in bad:
            one.close()
    assert open_house.faults() == ""


def test_a_client_that_leaves_in_the_middle_of_a_mail_leaves_nothing(open_house: House) -> None:
    number = fresh()
    with socket.create_connection(("127.0.0.1", open_house.smtp_port), 10) as client:
        client.sendall(f"EHLO x.example\r\nMAIL FROM:<ann@example.com>\r\nRCPT TO:<{number}@{DOMAIN}>\r\nDATA\r\n".encode())
        client.sendall(b"From: ann@example.com\r\nSubject: half\r\n\r\nHello")
    mail = letter()
    open_house.send(mail, fresh())
    open_house.reports(mail)
    assert open_house.faxes(number) == []
