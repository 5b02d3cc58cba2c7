"""A program sends by the HelloFax API and is called back: by schedule, once the gateway is up again, with what arrived."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import sqlite3
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pypdf
import pytest

from tests.flows.house import OWN_LINE, House, fresh, letter, pdf
from tests.flows.program import Program

LOGIN, PASSWORD, SECRET = "shop@example.com", "a good password", "what only we two know"


@pytest.fixture
def program() -> Iterator[Program]:
    made = Program()
    yield made
    made.close()


@pytest.fixture
def shop(house: House, program: Program) -> House:
    """A house with the door open, and an account whose program wants to be called about everything."""
    house.settings["door"] = {"hellofax": {}}
    house.settings["http"]["callback_networks"] = ["127.0.0.0/8"]
    house.settings["account"][0] |= {
        "login": LOGIN,
        "password": PASSWORD,
        "outbound_callback": f"{program.url}/out?type=outbound",
        "inbound_callback": f"{program.url}/in",
        "callback_secret": SECRET,
    }
    return house


def post(house: House, number: str) -> dict[str, Any]:
    """Send a PDF by the API, as curl does; the transmission."""
    (account,) = json.loads(house.cli("account", "list", "--json").stdout)
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.pdf"\r\nContent-Type: application/pdf\r\n\r\n'
    request = urllib.request.Request(
        f"http://127.0.0.1:{house.http_port}/v1/Accounts/{account['guid']}/Transmissions?To={number.lstrip('+')}",
        data=head + pdf("one page") + b"\r\n--b--\r\n",
        headers={
            "Content-Type": "multipart/form-data; boundary=b",
            "Authorization": "Basic " + base64.b64encode(f"{LOGIN}:{PASSWORD}".encode()).decode(),
        },
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        fax: dict[str, Any] = json.load(answer)["Transmission"]
        return fax


def told(house: House, fax: str) -> list[str]:
    """What `show` says about callbacks."""
    shown = json.loads(house.cli("show", fax, "--json").stdout)
    return [entry["detail"] for entry in shown["history"] if entry["what"] == "callback"]


def later(house: House, by: timedelta = timedelta(0)) -> timedelta:
    """Time passes until the next try is due, and a little more: stored times are moved back. How long that was."""
    database = sqlite3.connect(house.spool / "faxgate.db", timeout=20, isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    (due,) = database.execute("SELECT due_at FROM step WHERE lane = 'callback'").fetchone()
    passed = datetime.fromisoformat(due) - datetime.now(UTC) + by
    for table, column in (("outbox", "tried_at"), ("outbox", "created_at"), ("step", "due_at"), ("step", "age")):
        for rowid, at in database.execute(f"SELECT rowid, {column} FROM {table} WHERE {column} < '9'").fetchall():
            moved = (datetime.fromisoformat(at) - passed).isoformat(timespec="microseconds").replace("+00:00", "Z")
            database.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (moved, rowid))
    database.execute("COMMIT")
    database.close()
    return passed


def recorded(house: House, tries: int) -> bool:
    """So many tries of the callback have failed."""
    return house.sql("SELECT failures FROM outbox WHERE kind = 'callback'") == [(tries,)]


@pytest.mark.parametrize(("ending", "status", "error"), [("23", "S", None), ("11", "E", "B")])
def test_a_program_is_called_when_its_fax_has_ended(
    shop: House, program: Program, ending: str, status: str, error: str | None
) -> None:
    shop.start()
    number = fresh(ending)
    posted = post(shop, number)
    shop.wait(lambda: program.calls, what="the callback")
    (called,) = program.calls
    assert called.path == "/out?type=outbound"
    assert (called.fax["Guid"], called.fax["StatusCode"], called.fax["ErrorCode"]) == (posted["Guid"], status, error)
    assert called.fax["To"] == number.lstrip("+")
    signed = dict(field.split("=", 1) for field in str(called.headers["X-Faxgate-Signature"]).split(","))
    assert signed["v1"] == hmac.new(SECRET.encode(), signed["t"].encode() + b"." + called.body, hashlib.sha256).hexdigest()
    fax = shop.fax(number)
    assert shop.wait(lambda: told(shop, fax["id"])) == [f"POST {program.url}/… answered 200"]
    assert len(shop.calls(number)) == 1, "a program dials again by itself"
    assert shop.sink.letters == [], "nobody asked for a report"
    metrics = shop.get("/metrics")[1]
    assert 'faxgate_account_callbacks_total{direction="out",result="taken"} 1.0' in metrics


def test_the_documents_of_a_delivered_fax_are_let_go_of_and_its_record_stays(shop: House, program: Program) -> None:
    shop.start()
    number = fresh()
    post(shop, number)
    shop.wait(lambda: program.calls, what="the callback")
    (fax,) = shop.faxes(number)
    assert (fax["state"], fax["document"], fax["pages"]) == ("delivered", None, 1)
    assert shop.sql("SELECT document FROM submission") == [("",)]
    assert shop.sql("SELECT count(*) FROM discarded") == [(2,)]
    assert shop.cli("fsck").stdout.strip() == "The spool is in order."


def test_f41_a_gateway_killed_between_rounds_keeps_the_schedule(shop: House, program: Program) -> None:
    program.status = 503
    shop.start()
    posted = post(shop, fresh())
    passed = timedelta(0)
    for n, minutes in enumerate((0, 15, 45)):
        for tries in range(3 * n + 1, 3 * n + 4):
            shop.wait(partial(recorded, shop, tries), what=f"try {tries}")
            if tries % 3 == 1:
                assert abs(passed - timedelta(minutes=minutes)) < timedelta(minutes=1), f"round {n + 1}"
            elif tries % 3 == 0:
                shop.kill()
            passed += later(shop)
        assert len(program.calls) == 3 * n + 3
        if n == 2:
            program.status = 200
        shop.start()
    shop.wait(lambda: shop.sql("SELECT state FROM outbox WHERE kind = 'callback'") == [("sent",)])
    assert abs(passed - timedelta(minutes=90)) < timedelta(minutes=1)
    assert len(program.calls) == 10
    assert {called.fax["Guid"] for called in program.calls} == {posted["Guid"]}
    (fax,) = shop.faxes(f"+{posted['To']}")
    lines = told(shop, fax["id"])
    assert len(lines) == 10
    assert all(line.startswith(f"POST {program.url}/… answered 503; again at ") for line in lines[:9])
    assert lines[9] == f"POST {program.url}/… answered 200"


def test_a_gateway_killed_in_a_try_makes_it_again(shop: House, program: Program) -> None:
    program.open.clear()
    shop.start()
    posted = post(shop, fresh())
    shop.wait(lambda: program.calls, what="the callback")
    shop.kill()
    program.open.set()
    shop.start()
    shop.wait(lambda: shop.sql("SELECT state FROM outbox WHERE kind = 'callback'") == [("sent",)], what="the second try")
    assert [called.fax["Guid"] for called in program.calls] == [posted["Guid"]] * 2


def test_what_arrives_is_mailed_and_handed_to_the_program(shop: House, program: Program) -> None:
    shop.settings["account"][0]["outbound_callback"] = ""
    shop.start()
    shop.send(letter("For the program", files=[("a.pdf", "application/pdf", pdf("two"))]), OWN_LINE)
    shop.wait(lambda: program.calls, what="the callback")
    (called,) = program.calls
    assert called.path == "/in"
    assert (called.fax["IsInbound"], called.fax["To"], called.fax["StatusCode"]) == (True, OWN_LINE.lstrip("+"), "S")
    file = called.parts["file"]
    assert (file.get_content_type(), file.get_filename()) == ("application/pdf", f"{called.fax['Guid']}.pdf")
    content = called.body.split(b"Content-Type: application/pdf\r\n\r\n")[1].rsplit(b"\r\n--", 1)[0]
    assert len(pypdf.PdfReader(io.BytesIO(content)).pages) == 2
    (fax,) = shop.wait(lambda: [one for one in shop.ask("received") if one["state"] == "mailed"])
    assert [one.recipients for one in shop.sink.letters if one.mail["X-Fax-Line"]] == [["office@example.com"]]
    assert shop.wait(lambda: told(shop, fax["id"])) == [f"POST {program.url}/… answered 200"]


def test_this_house_is_not_called_unless_that_is_allowed(shop: House, program: Program, tmp_path: Path) -> None:
    del shop.settings["http"]["callback_networks"]
    shop.start()
    number = fresh()
    post(shop, number)
    fax = shop.fax(number)
    first, *_ = shop.wait(lambda: told(shop, fax["id"]))
    assert first.startswith(f"POST {program.url}/… was not made: the host is not a public one; again at ")
    assert program.calls == []
