"""`faxgate line test`: a page from one line of ours to another, watched and compared."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pypdf
import pytest

from gateway.cli import trials
from gateway.cli.terminal import ask
from gateway.config import Config
from gateway.pages import wire
from gateway.pages.received import to_pdf
from tests.flows.house import OWN_LINE, House

SECOND_LINE, LATER, ELSEWHERE = "+14155550200", 75, "+14155550300"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = House(tmp_path_factory.mktemp("line-test"))
    made.settings["line"].append(
        {"number": SECOND_LINE, "account": "office", "carrier": "main", "mailbox": ["bob@example.com"]}
    )
    made.settings["line"].append({"number": ELSEWHERE, "account": "office", "carrier": "away"})
    made.settings["carrier"]["away"] = {"kind": "loopback", "outage": True}
    try:
        made.start()
        yield made
    finally:
        made.close()


def test_a_test_page_that_arrives_dot_for_dot_is_good(house: House) -> None:
    done = house.program("line", "test", "(415) 555-0100", "--to", SECOND_LINE, "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    told = json.loads(done.stdout)
    assert (told["line"], told["to"], told["carrier"]) == (OWN_LINE, SECOND_LINE, "main")
    assert (told["state"], told["pages"], told["pages_confirmed"]) == ("delivered", 1, 1)
    assert (told["speed"], told["resolution"]) == (14_400, "fine")
    came = told["received"]
    assert (came["pages"], came["complete"], came["damaged"], came["different"]) == (1, True, 0, 0)
    assert came["dots"] == 1728 * 2151  # letter paper, by T.4's millimetres
    assert "waiting until it comes in" in done.stderr
    assert house.fax(SECOND_LINE)["caller"] == OWN_LINE
    mail = house.wait(lambda: [one for one in list(house.sink.letters) if one.mail["X-Fax-Line"]], what="the received fax")
    assert mail[0].recipients == ["bob@example.com"]
    assert mail[0].mail["X-Fax-Id"] == came["id"]
    assert all(one.mail["X-Fax-Line"] for one in house.sink.letters), "nobody asked for a report"


def test_a_page_that_was_spoiled_on_the_way_is_not_good(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoiled(settings: Config, request: dict[str, Any]) -> Any:
        answer = ask(settings, request)
        if request["verb"] == "fetch":
            page = pypdf.PdfReader(io.BytesIO(base64.b64decode(answer["pdf"]))).pages[0]
            picture = page.images[0].image
            assert picture is not None
            dots = picture.convert("1")
            dots.paste(0, (0, 100, dots.width, 110))  # ten black lines
            answer["pdf"] = base64.b64encode(to_pdf(wire.profile_f([wire.Bitmap.of(dots, 196)]))[0]).decode()
        return answer

    monkeypatch.setattr(trials, "ask", spoiled)
    done = house.cli("line", "test", SECOND_LINE, check=False)
    assert done.returncode == 1, done.stderr
    assert re.search(r"dots: 17,2[0-9]{2} differ", done.stdout), done.stdout  # of ten lines that were nearly white
    assert "1 of 1 confirmed" in done.stdout


def test_only_our_own_lines_are_called(house: House) -> None:
    before = house.faxes()
    for words, reason in (
        ((OWN_LINE, "--to", "+14155550123"), "none of our lines"),
        (("+14155550123",), "none of our lines"),
        ((OWN_LINE, "--to", OWN_LINE), "cannot call itself"),
    ):
        done = house.cli("line", "test", *words, check=False)
        assert (done.returncode, reason in done.stderr) == (1, True), done.stderr
    assert house.faxes() == before


def test_what_does_not_go_out_now_is_cancelled(house: House) -> None:
    done = house.cli("line", "test", ELSEWHERE, "--to", OWN_LINE, "--wait", "5", "--json", check=False)
    assert done.returncode == LATER, done.stdout
    told = json.loads(done.stdout)
    assert told["received"] is None
    assert house.ask("show", id=told["fax"])["transmission"]["state"] == "cancelled"


def test_without_the_service_there_is_no_test(tmp_path: Path) -> None:
    alone = House(tmp_path)
    try:
        alone.write_settings()
        done = alone.cli("line", "test", OWN_LINE, check=False)
        assert (done.returncode, "faxgate serve" in done.stderr) == (1, True)
    finally:
        alone.close()
