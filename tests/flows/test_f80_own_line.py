"""A real fax call: mail in, our pages, HylaFAX, two modems, and mail out again; and calls that fail, each in its way.

One gateway and one exchange for the whole file (tests/line/exchange.py). A call takes as long as a call takes.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pypdf
import pytest
from PIL import Image, ImageChops

from gateway.pages import raster
from tests.flows.house import House, letter, pdf
from tests.line import exchange
from tests.line.exchange import Exchange

pytestmark = [pytest.mark.skipif(bool(exchange.missing()), reason=exchange.missing()), pytest.mark.timeout(400)]
OURS, OTHER = "+14155550100", "+14155550101"


@pytest.fixture(scope="module")
def line() -> Iterator[Exchange]:
    with exchange.running() as made:
        yield made


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, line: Exchange) -> Iterator[House]:
    made = House(tmp_path_factory.mktemp("own-line"))
    made.settings["carrier"] = {
        "main": {
            "kind": "hylafax",
            "port": line.port,
            "username": exchange.LOGIN,
            "password": exchange.PASSWORD,
            "admin_password": exchange.ADMIN,
            "modem": line.modems[0],
            "called": 4,
        }
    }
    made.settings["line"] = [
        {"number": OURS, "account": "office", "carrier": "main", "mailbox": ["office@example.com"]},
        {"number": OTHER, "account": "office", "carrier": "main", "mailbox": ["other@example.com"]},
    ]
    made.settings["retry"] = {"busy": [], "no_answer": [], "line_trouble": []}
    try:
        made.start()
        yield made
    finally:
        made.close()


def dots(document: Path) -> list[Image.Image]:
    """The pages as `pages/raster.py` draws them."""
    return [page.bitmap.picture().convert("1") for page in raster.fax_pages(document)]


def arrived(document: bytes) -> list[Image.Image]:
    """The one picture on each page of a received fax."""
    return [page.images[0].image.convert("1") for page in pypdf.PdfReader(io.BytesIO(document)).pages if page.images[0].image]


def kept(house: House, name: str) -> Path:
    return house.spool / "documents" / name[:2] / name


def test_a_mail_becomes_a_call_and_the_call_a_mail_dot_for_dot(house: House, line: Exchange) -> None:
    mail = letter("Over the line", files=[("two.pdf", "application/pdf", pdf("The first page of two", "and the second"))])
    began = time.monotonic()
    house.send(mail, OTHER)
    (report,) = house.reports(mail, patience=100)
    assert "delivered" in report.subject, report.text + line.logged()
    fax = house.fax(OTHER)
    received = house.wait(lambda: [one for one in list(house.sink.letters) if one.mail["X-Fax-Line"]], 60, "the received fax")
    print(f"from mail to mail: {time.monotonic() - began:.0f} s")
    (one,) = received
    assert one.recipients == ["other@example.com"]
    assert one.mail["X-Fax-Line"] == OTHER
    assert one.mail["X-Fax-Pages"] == str(fax["pages"])
    (document,) = [part.get_payload(decode=True) for part in one.mail.walk() if part.get_content_type() == "application/pdf"]
    assert isinstance(document, bytes)
    sent, got = dots(kept(house, fax["document"])), arrived(document)
    assert len(sent) == len(got) == fax["pages"]
    for ours, theirs in zip(sent, got, strict=True):
        assert ours.size == theirs.size
        assert ImageChops.logical_xor(ours, theirs).getbbox() is None
    (attempt,) = house.ask("show", id=fax["id"])["attempts"]
    assert attempt["pages_sent"] == fax["pages"]


def test_a_line_test_says_what_the_two_modems_agreed_on(house: House, line: Exchange) -> None:
    line.wait_idle()
    done = house.cli("line", "test", OURS, "--wait", "150", "--json", check=False)
    assert done.returncode == 0, done.stderr + done.stdout + line.logged()
    told = json.loads(done.stdout)
    assert (told["to"], told["state"], told["pages_confirmed"]) == (OTHER, "delivered", 1)
    assert (told["speed"], told["resolution"], told["negotiated"]) == (14_400, "fine", "error correction, MMR")
    assert 10 < told["call_seconds"] < told["seconds"]
    came = told["received"]
    assert (came["caller"], came["pages"], came["complete"], came["damaged"], came["different"]) == (OURS, 1, True, 0, 0)


def test_a_busy_line_is_told_as_busy(house: House, line: Exchange) -> None:
    line.wait_idle()
    mail = letter("To a busy line")
    with line.busy(line.modems[1]):
        house.send(mail, OTHER)
        (report,) = house.reports(mail, patience=60)
    assert "busy" in report.flat, report.text + line.logged()
    assert "failed" in report.subject or "not" in report.subject


def test_a_line_where_nobody_answers_is_told_as_that(house: House, line: Exchange) -> None:
    line.wait_idle()
    mail = letter("To nobody")
    with line.dead(line.modems[1]):
        house.send(mail, OTHER)
        (report,) = house.reports(mail, patience=100)
    assert "answer" in report.flat, report.text + line.logged()


def test_a_call_that_is_cut_in_the_middle_is_told_with_the_pages_that_arrived(house: House, line: Exchange) -> None:
    line.wait_idle()
    sessions = line.sessions()
    mail = letter(
        "Cut in the middle", files=[("three.pdf", "application/pdf", pdf(*(f"page {n} of the cut fax" for n in range(3))))]
    )
    house.send(mail, OTHER)
    house.wait(lambda: "(page 1 of " in line.said_since(sessions), 100, "the first page to be confirmed")
    with line.dead(line.modems[1]):
        (report,) = house.reports(mail, patience=150)
    assert "1 of 4" in report.flat, report.text + line.logged()
    fax = house.faxes(OTHER)[0]
    assert fax["outcome"] == "partly_sent", house.ask("show", id=fax["id"])["attempts"]
    assert fax["pages_sent"] == 1
