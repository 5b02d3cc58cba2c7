"""Faxes that somebody must agree to: the mail to the approver, its links, the page behind them, the command line."""

from __future__ import annotations

import html.parser
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

import pytest

from tests.flows.house import House, Letter, fresh, letter, pdf

BOSS = "boss@example.com"
THREE = pdf("one", "two", "three")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = House(tmp_path_factory.mktemp("approval"))
    made.settings["http"]["public_url"] = f"http://127.0.0.1:{made.http_port}"
    made.settings["prices"] = {"1": {"fixed": "0.10"}}
    office = made.settings["account"][0]
    office["approval"] = {"by": BOSS, "pages": 3, "countries": ["CA"], "wait": "1h"}
    quick: dict[str, Any] = {"name": "quick", "senders": ["*@quick.example"], "networks": ["127.0.0.0/8"], "countries": ["US"]}
    quick["approval"] = {"by": BOSS, "always": True, "content": False, "wait": "1m"}
    made.settings["account"].append(quick)
    made.start()
    yield made
    made.close()


class Page(html.parser.HTMLParser):
    """What a browser would offer: the facts, the forms, the links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[tuple[str, str]] = []
        self.links: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        of = dict(attrs)
        if tag == "form":
            self.forms.append((str(of["method"]), str(of["action"])))
        if tag == "a":
            self.links.append(str(of["href"]))

    def handle_data(self, data: str) -> None:
        self.words = " ".join(f"{self.words} {data}".split())


def fetched(url: str, method: str = "GET") -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=60) as answer:
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def page(url: str, method: str = "GET") -> Page:
    status, body = fetched(url, method)
    assert status == 200
    return Page(body.decode())


def asked(house: House, number: str) -> Letter:
    """The mail to the approver about the fax to a number."""
    fax = house.fax(number, "held")

    def found() -> Letter | None:
        letters = list(house.sink.letters)
        return next((one for one in letters if one.recipients == [BOSS] and fax["id"] in one.text), None)

    mail = house.wait(found, what="the mail to the approver")
    assert mail is not None
    return mail


def links(mail: Letter) -> dict[str, str]:
    found = re.findall(r"^(http://\S+/approval/\S+/(approve|reject)/[0-9a-f]{40})\r?$", mail.text, re.MULTILINE)
    assert sorted(verb for _, verb in found) == ["approve", "reject"]
    return {verb: url for url, verb in found}


def sent(house: House, number: str, subject: str = "Contract", sender: str = "ann@example.com") -> Letter:
    """A mail of four pages is handed in; its sender is told that it waits."""
    mail = letter(subject, files=[("contract.pdf", "application/pdf", THREE)])
    if sender != "ann@example.com":
        mail.replace_header("From", sender)
    house.send(mail, number, sender=sender)
    house.fax(number, "held")
    return house.reports(mail)[0]


def test_who_is_asked_gets_the_facts_and_opening_the_link_decides_nothing(house: House) -> None:
    number = fresh()
    told = sent(house, number, "Größe <b>")
    assert told.recipients == ["ann@example.com"]
    assert "Somebody has to agree to it before it is sent, and has been asked." in told.flat
    assert "4 pages, more than 3" in told.flat
    mail = asked(house, number)
    assert mail.sender == ""
    assert mail.mail["Auto-Submitted"] == "auto-generated"
    for fact in ("ann@example.com", "office", "Größe <b>", "4 pages", "0.40 EUR", "4 pages, more than 3"):
        assert fact in mail.flat
    pictures = [part for part in mail.mail.walk() if part.get_content_type() == "image/png"]
    assert len(pictures) == 1, "the first page"
    written = mail.mail.get_body(preferencelist=("html",))
    assert written is not None
    text = written.get_content()
    assert "Größe &lt;b&gt;" in text
    assert str(pictures[0]["Content-ID"]).strip("<>") in text
    for url in links(mail).values():
        assert url in text
        shown = page(url)
        assert "Approve and send Reject" in shown.words
        assert "Größe <b>" in shown.words
        assert [method for method, _ in shown.forms] == ["post", "post"]
        status, _ = fetched(url, "HEAD")
        assert status == 200
        (document,) = shown.links
        assert fetched(urljoin(url, document))[1].startswith(b"%PDF")
    assert house.fax(number, "held")["state"] == "held"
    assert house.calls(number) == []


def test_dsn_who_asks_for_news_of_delays_gets_a_notification(house: House) -> None:
    number = fresh()
    mail = letter(files=[("contract.pdf", "application/pdf", THREE)])
    with house.smtp() as client:
        options = ["NOTIFY=DELAY,FAILURE"]
        assert client.sendmail("ann@example.com", f"{number}@fax.example.com", mail.as_bytes(), [], options) == {}
    (told,) = house.reports(mail)
    (status,) = [part for part in told.mail.walk() if part.get_content_type() == "message/delivery-status"]
    fields = status.as_string()
    assert "Action: delayed" in fields
    assert "Status: 4.7.1" in fields
    assert "4 pages, more than 3" in fields
    house.cli("reject", house.fax(number, "held")["id"])
    last = house.reports(mail, 2)[-1].mail.as_string()
    assert "Action: failed" in last
    assert "Status: 5.7.1" in last


def test_a_click_on_the_button_sends_it_once_and_a_second_one_says_so(house: House) -> None:
    number = fresh()
    sent(house, number)
    url = links(asked(house, number))["approve"]
    (approve, reject) = (urljoin(url, action) for _, action in page(url).forms)
    assert approve == url
    assert f"Approved by {BOSS}." in page(approve, "POST").words
    assert house.fax(number)["state"] == "delivered"
    for again, method in ((approve, "POST"), (reject, "POST"), (reject, "GET")):
        shown = page(again, method)
        assert f"Approved by {BOSS}." in shown.words
        assert shown.forms == []
    status, _ = fetched(f"{url}/fax.pdf")
    assert status == 404, "what is decided is not shown any more"
    assert len(house.calls(number)) == 1


def test_a_rejected_fax_is_not_sent_and_its_sender_is_told(house: House) -> None:
    number = fresh()
    mail = letter(files=[("contract.pdf", "application/pdf", THREE)])
    house.send(mail, number)
    url = links(asked(house, number))["reject"]
    assert f"Not approved by {BOSS}. Ask there before you send it again." in page(url, "POST").words
    fax = house.fax(number)
    assert (fax["state"], fax["outcome"]) == ("failed", "not_authorised")
    last = house.reports(mail, 2)[-1]
    assert f"Not approved by {BOSS}. Ask there before you send it again." in last.flat
    assert house.calls(number) == []


def test_a_link_is_good_for_its_fax_and_verb_only(house: House) -> None:
    number, other = fresh(), fresh()
    sent(house, number)
    sent(house, other)
    url, strange = links(asked(house, number))["reject"], links(asked(house, other))["approve"]
    mac, strange_mac = url.rpartition("/")[2], strange.rpartition("/")[2]
    wrong = [
        url.replace("/reject/", "/approve/"),
        url.replace(mac, strange_mac),
        url.replace(mac, "0" * 40),
        url.replace("/reject/", "/cancel/"),
        url.replace(mac, "%C3%A9"),
    ]
    for one in wrong:
        for method in ("GET", "POST"):
            status, body = fetched(one, method)
            assert (status, b"This link is not valid." in body) == (404, True), one
    assert house.fax(number, "held")["state"] == "held"
    house.cli("reject", house.fax(number, "held")["id"])
    house.cli("reject", house.fax(other, "held")["id"])


def test_the_command_line_decides_too(house: House) -> None:
    number, other, third = fresh(), fresh(), fresh()
    for one in (number, other, third):
        sent(house, one)
    ids = [house.fax(one, "held")["id"] for one in (number, other, third)]
    assert "waits" in house.cli("show", ids[0]).stdout
    assert "approved: it is sent" in house.cli("approve", ids[0]).stdout
    assert "rejected" in house.cli("reject", ids[1]).stdout
    house.cli("release", ids[2])
    assert [house.fax(one)["state"] for one in (number, other, third)] == ["delivered", "failed", "delivered"]
    assert "approved" in house.cli("show", ids[2]).stdout
    late = house.cli("reject", ids[0], check=False)
    assert (late.returncode, "decided already: Approved by" in late.stderr) == (1, True)
    plain = fresh()
    house.send(letter(), plain)
    never = house.cli("approve", house.fax(plain)["id"], check=False)
    assert (never.returncode, "needs no approval" in never.stderr) == (1, True)


def test_a_country_can_be_reason_enough_and_explain_says_so(house: House, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("mail") / "mail.eml"
    file.write_bytes(letter().as_bytes())
    told = house.cli("explain", str(file), "--to", "+14162992222", "--json")
    (one,) = json.loads(told.stdout)["recipients"]
    assert (one["faxed"], one["approval"], one["approver"]) == (True, "to CA", BOSS)
    assert f"after {BOSS} has approved it: to CA" in house.cli("explain", str(file), "--to", "+14162992222").stdout


def test_a_cancelled_fax_is_decided_and_a_mail_without_content_shows_none(house: House) -> None:
    number = fresh()
    sent(house, number, sender="bob@quick.example")
    mail = asked(house, number)
    assert [part for part in mail.mail.walk() if part.get_content_type() == "image/png"] == []
    url = links(mail)["approve"]
    assert page(url).links == []
    assert fetched(f"{url}/fax.pdf")[0] == 404
    house.cli("cancel", house.fax(number, "held")["id"])
    shown = page(url, "POST")
    assert "Cancelled" in shown.words
    assert shown.forms == []
    assert house.calls(number) == []
