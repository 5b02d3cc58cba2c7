"""A gateway faxes through another one by the PamFax API: two whole programs, the simulated network behind the second.

The far end's journal of the second counts what was really dialled.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.flows.house import OWN_LINE, House, fresh, letter, pdf

KEY, SECRET = "branch-program", "a secret word of the other side"
LOGIN, PASSWORD = "branch@example.com", "a password of the other side"


@dataclass(slots=True)
class Both:
    """`near` takes mail and has a carrier of kind `pamfax`; `far` serves the API and dials."""

    near: House
    far: House

    def ready(self) -> None:
        self.far.start()
        self.near.start()


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    for name in ("near", "far"):
        (tmp_path / name).mkdir()
    near, far = House(tmp_path / "near"), House(tmp_path / "far")
    secret = tmp_path / "application.secret"
    secret.write_text(SECRET)
    branch = {"name": "branch", "login": LOGIN, "password": PASSWORD, "countries": ["US", "CA"], "keep_documents": True}
    far.settings["account"] = [branch]
    far.settings["line"] = [{"number": OWN_LINE, "account": "branch", "carrier": "main"}]
    far.settings["door"] = {"pamfax": {}}
    far.settings["door.pamfax.application"] = [{"key": KEY, "secret_file": str(secret)}]
    near.settings["carrier"]["main"] = {
        "kind": "pamfax", "url": f"http://127.0.0.1:{far.http_port}/pamfax", "api_key": KEY, "api_secret": SECRET,
        "username": LOGIN, "password": PASSWORD, "postpaid": True, "listing_lag": "2s",
    }  # fmt: skip
    try:
        yield Both(near, far)
    finally:
        near.close()
        far.close()


def test_a_mail_at_one_gateway_is_dialled_by_the_other(both: Both) -> None:
    both.ready()
    good, engaged = fresh(), fresh("11")
    mail = letter("Through two houses", files=[("contract.pdf", "application/pdf", pdf("clause one"))])
    both.near.send(mail, good, engaged)
    assert both.near.fax(good)["state"] == "delivered"
    failed = both.near.fax(engaged)
    assert (failed["state"], failed["outcome"]) == ("failed", "busy")
    assert len(both.far.calls(good)) == 1
    assert len(both.far.calls(engaged)) == failed["attempts"], "the gateway that took the mail redials, and no other"
    there = both.far.fax(good)
    assert there["caller"] == OWN_LINE
    assert "clause one" in both.far.pages(there)[1]
    assert len(both.far.pages(there)) == both.near.fax(good)["pages"], "one cover page, and it is the first house's"
    both.near.reports(mail, 2)
    assert SECRET not in both.near.log.read_text() + both.far.log.read_text()


def test_the_listener_brings_the_result_and_the_report_is_kept_beside_it(both: Both, tmp_path: Path) -> None:
    both.near.settings["carrier"]["main"]["listen_every"] = "0.5s"
    both.near.settings["work"]["poll"] = "20m"  # so that nothing but the listener can bring the result
    both.ready()
    numbers = [fresh(), fresh("14")]
    for number in numbers:
        both.near.send(letter("Told by itself"), number)
    good, gone = [both.near.fax(number) for number in numbers]
    assert (good["state"], gone["outcome"]) == ("delivered", "disconnected")

    def kept() -> list[dict[str, object]]:
        return [both.near.ask("show", id=fax["id"])["attempts"][-1] for fax in (good, gone)]

    both.near.wait(lambda: all(attempt["report"] for attempt in kept()), 60, "the reports")
    told = both.near.cli("show", good["id"]).stdout
    assert f"of {kept()[0]['id']}" in told
    out = tmp_path / "report.pdf"
    both.near.cli("fetch", good["id"], "--report", "--out", str(out))
    assert out.read_bytes().startswith(b"%PDF-")
    assert "no transmission report" in both.far.cli("fetch", both.far.fax(numbers[0])["id"], "--report", check=False).stderr
    assert "The spool is in order" in both.near.cli("fsck").stdout


def test_an_application_of_the_command_line_may_call_until_it_is_removed(both: Both) -> None:
    del both.far.settings["door.pamfax.application"]
    both.far.start()
    assert "There are none" in both.far.cli("application", "list").stdout
    made = json.loads(both.far.cli("application", "add", "branch", "--zone", "Europe/Berlin", "--json").stdout)
    assert made["secret"] not in both.far.cli("application", "list", "--json").stdout
    both.near.settings["carrier"]["main"] |= {"api_key": made["key"], "api_secret": made["secret"], "timezone": "Europe/Berlin"}
    both.near.start()
    number, later = fresh(), fresh()
    both.near.send(letter("By a new program"), number)
    assert both.near.fax(number)["state"] == "delivered"
    assert both.far.cli("application", "add", "x", "--zone", "Berlin", check=False).returncode == 1
    both.far.cli("application", "remove", made["key"])
    assert both.far.cli("application", "remove", made["key"], check=False).returncode == 1
    both.near.send(letter("Too late"), later)
    both.near.wait(lambda: both.near.faxes(later)[0]["attempts"] > 0, 30, "a try")
    assert both.far.calls(later) == []


@pytest.mark.timeout(300)
def test_both_are_killed_again_and_again_and_nothing_is_sent_twice(both: Both) -> None:
    both.far.settings["carrier"]["main"]["call_time"] = "0.3s"
    both.near.settings["retry"]["carrier_trouble"] = ["1s"] * 60  # as long as the other one needs to come back
    both.ready()
    numbers = [fresh() for _ in range(8)]
    for n, number in enumerate(numbers):
        both.near.send(letter(f"Fax {n}"), number)
        if n % 2:
            time.sleep(0.4 * n)  # each time at another step
            house = both.far if n % 4 == 1 else both.near
            house.kill()
            time.sleep(0.2)
            house.start(60)

    def settled() -> bool:
        return all(both.near.faxes(number)[0]["state"] in ("delivered", "failed", "held") for number in numbers)

    both.near.wait(settled, 200, "every fax to end")
    for number in numbers:
        fax, dialled = both.near.faxes(number)[0], len(both.far.calls(number))
        assert dialled <= 1, "never twice"
        assert fax["state"] in ("delivered", "held"), fax
        # Held: it was killed between its name and the answer, and a job that knows of no call proves nothing.
        assert dialled == 1 if fax["state"] == "delivered" else "may have been sent" in fax["reason"]
