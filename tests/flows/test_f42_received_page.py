"""Received faxes stay listed, and are fetched on the account's page and by the command line."""

from __future__ import annotations

import base64
import io
import json
import re
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import pypdf
import pytest

from tests.flows.house import OWN_LINE, House, fresh, letter, pdf

LOGIN, PASSWORD = "office@example.com", "a good password"
STRANGER = ("eve@example.org", "another password")
STRANGERS_LINE = "+14155550200"


class Page(HTMLParser):
    """What a page says, and where it leads."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        super().__init__()
        self.status, self.headers, self.body = status, headers, body
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.words = ""
        if headers.get("content-type", "").startswith("text/html"):
            self.feed(body.decode())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value for name, value in attributes if name == "href" and value]

    def handle_data(self, data: str) -> None:
        self.words = " ".join(f"{self.words} {data}".split())

    def documents(self) -> list[str]:
        return [link for link in self.links if link.endswith(".pdf")]


def visit(house: House, path: str, login: str = LOGIN, password: str = PASSWORD) -> Page:
    """A page as the account sees it; "" = nobody signs in."""
    request = urllib.request.Request(f"http://127.0.0.1:{house.http_port}{path}")
    if login:
        request.add_header("Authorization", "Basic " + base64.b64encode(f"{login}:{password}".encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return Page(answer.status, dict(answer.headers), answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Page(error.code, dict(error.headers), error.read())


@pytest.fixture(scope="module")
def offices(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Two accounts with a line each; three faxes have arrived for the first one, one for the stranger."""
    house = House(tmp_path_factory.mktemp("offices"))
    house.settings["account"][0] |= {"login": LOGIN, "password": PASSWORD}
    house.settings["account"].append(
        {"name": "stranger", "login": STRANGER[0], "password": STRANGER[1], "countries": ["US"], "received_pdf": False}
    )
    house.settings["line"].append({"number": STRANGERS_LINE, "account": "stranger", "carrier": "main"})
    try:
        house.start()
        for n in range(3):
            house.send(letter(f"Fax {n}", files=[("a.pdf", "application/pdf", pdf(*["page"] * n))] if n else []), OWN_LINE)
            house.wait(partial(_arrived, house, n + 1), what="the fax to arrive")
        house.send(letter("<script>alert(1)</script>"), STRANGERS_LINE, fresh("14"))
        house.wait(lambda: sum(fax["state"] == "mailed" for fax in house.ask("received")) == 4, what="the faxes to arrive")
        house.wait(lambda: {fax["state"] for fax in house.faxes()} == {"delivered", "failed"}, what="the faxes to end")
        yield house
    finally:
        house.close()


def _arrived(house: House, count: int) -> bool:
    return len(house.ask("received")) == count


def received(house: House, line: str) -> list[str]:
    """Ids of the faxes for a line, newest first."""
    return [fax["id"] for fax in house.ask("received") if fax["line"] == line]


def test_an_account_sees_what_arrived_and_what_it_sent(offices: House) -> None:
    page = visit(offices, "/")
    assert page.status == 200
    assert page.documents() == [f"/received/{fax}.pdf" for fax in received(offices, OWN_LINE)]
    assert "Faxes of office" in page.words
    assert page.words.count("✓") == 0, "marks are a matter of style"
    assert page.words.count("delivered") == 4
    assert "failed: number out of service" in page.words
    assert "+1 415-555-0200" in page.words, "whom it faxed"
    assert page.tags.isdisjoint({"script", "form", "img", "iframe"})


def test_a_fax_is_fetched_as_it_arrived(offices: House) -> None:
    newest, *_ = visit(offices, "/").documents()
    fetched = visit(offices, newest)
    assert fetched.headers["content-type"] == "application/pdf"
    assert re.fullmatch(
        r'attachment; filename="fax-[0-9-]+-from-14155550100-in_[0-9a-z]{26}\.pdf"', fetched.headers["content-disposition"]
    )
    assert len(pypdf.PdfReader(io.BytesIO(fetched.body)).pages) == 3


def test_a_stranger_sees_only_its_own(offices: House) -> None:
    page = visit(offices, "/", *STRANGER)
    (own,) = received(offices, STRANGERS_LINE)
    assert page.documents() == [f"/received/{own}.pdf"]
    assert "delivered" not in page.words
    for fax in (*received(offices, OWN_LINE), "in_00000000000000000000000000", offices.faxes()[0]["id"]):
        for path in (f"/received/{fax}.pdf", f"/?received={fax}", f"/?sent={fax}"):
            refused = visit(offices, path, *STRANGER)
            assert (refused.status, refused.words) == (404, visit(offices, "/?received=x", *STRANGER).words)


@pytest.mark.parametrize("path", ["/", "/received/in_00000000000000000000000000.pdf", "/?sent=x"])
@pytest.mark.parametrize(("login", "password"), [("", ""), (LOGIN, "wrong"), ("nobody", PASSWORD)])
def test_nobody_gets_in_without_the_password(offices: House, path: str, login: str, password: str) -> None:
    page = visit(offices, path, login, password)
    assert page.status == 401
    assert page.headers["www-authenticate"].startswith("Basic ")
    assert "fax" not in page.words.replace("fax.example.com", "").replace("To the faxes", "").lower()


@pytest.mark.parametrize("path", ["/", "/site.css", "/received/x.pdf"])
def test_a_page_loads_nothing_and_is_not_kept(offices: House, path: str) -> None:
    page = visit(offices, path)
    assert page.headers["content-security-policy"].startswith("default-src 'none'; style-src 'self';")
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["cache-control"] == ("max-age=3600" if path == "/site.css" else "no-store")


def test_a_mail_without_the_fax_says_that_one_came(offices: House) -> None:
    (told,) = [one for one in offices.sink.letters if one.mail["X-Fax-Line"] == STRANGERS_LINE]
    assert told.recipients == [STRANGER[0]], "a line without mailbox: its account"
    assert [part.get_content_type() for part in told.mail.walk()] == ["multipart/alternative", "text/plain", "text/html"]
    assert "The fax itself is not in this mail. The operator can fetch it by its id." in told.flat


def test_the_command_line_fetches_and_shows_a_received_fax(offices: House, tmp_path: Path) -> None:
    newest, *_, oldest = received(offices, OWN_LINE)
    out = tmp_path / "fax.pdf"
    assert f"{newest} is in {out}" in offices.cli("fetch", newest, "--out", str(out)).stdout
    assert len(pypdf.PdfReader(out).pages) == 3
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    again = offices.cli("fetch", newest, "--out", str(out), check=False)
    assert (again.returncode, "is there already" in again.stderr) == (1, True)
    assert offices.cli("fetch", "in_zzzzzzzzzz", check=False).returncode == 1
    shown = offices.cli("show", newest).stdout
    for words in (newest, OWN_LINE, "of office", "mailed", "fetched"):
        assert words in shown
    (page,) = json.loads(
        offices.cli("queue", "--received", "--limit", "1", "--before", received(offices, OWN_LINE)[1], "--json").stdout
    )
    assert page["id"] == oldest


def test_long_lists_have_pages(house: House) -> None:
    house.settings["account"][0] |= {"login": LOGIN, "password": PASSWORD}
    house.start()
    numbers = [fresh("15") for _ in range(30)]
    house.send(letter(), *numbers)
    house.wait(lambda: len(house.faxes()) == 30)
    first = visit(house, "/")
    (older,) = [link for link in first.links if link.startswith("/?")]
    second = visit(house, older.partition("#")[0])
    assert (first.body.count(b"<tr>"), second.body.count(b"<tr>")) == (26, 6), "each with its heading"
    assert [link for link in second.links if link.startswith("/")] == ["/site.css", "/?#sent"]


def test_whoever_guesses_passwords_has_to_wait(house: House) -> None:
    house.settings["account"][0] |= {"login": LOGIN, "password": PASSWORD}
    house.start()
    answers = [visit(house, "/", LOGIN, f"guess {n}") for n in range(12)]
    assert [page.status for page in answers[:5]] == [401] * 5
    assert answers[-1].status == 429
    assert int(answers[-1].headers["retry-after"]) > 0


def test_a_fax_that_a_mailbox_refused_is_mailed_again_when_it_is_released(house: House) -> None:
    house.sink.refused_recipients = {"office@example.com"}
    house.start()
    house.send(letter("To ourselves"), OWN_LINE)
    (held,) = house.wait(lambda: [fax for fax in house.ask("received") if fax["state"] == "held"], what="the fax to be held")
    alarm = house.wait(lambda: [one for one in list(house.sink.letters) if "received fax" in one.subject], what="the alarm")[0]
    assert alarm.recipients == ["operator@example.com"]
    assert f"faxgate release {held['id']}" in alarm.flat
    assert "nothing else" in house.cli("cancel", held["id"], check=False).stderr
    house.sink.refused_recipients = set()
    assert "mailed and called again" in house.cli("release", held["id"]).stdout
    house.wait(lambda: house.ask("received")[0]["state"] == "mailed", what="the fax to be mailed")
    assert [one.recipients for one in house.sink.letters].count(["office@example.com"]) == 1
    assert "nothing to release" in house.cli("release", held["id"], check=False).stderr
