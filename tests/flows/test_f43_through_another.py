"""A gateway faxes through another one: two whole programs, HelloFax between them, the simulated network behind the second.

The far end's journal of the second counts what was really dialled.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.flows.house import OWN_LINE, House, fresh, letter, pdf

LOGIN, PASSWORD = "branch@example.com", "a password of the other side"


@dataclass(slots=True)
class Both:
    """`near` takes mail and has the carrier `hello`; `far` serves the API and dials."""

    near: House
    far: House

    def ready(self) -> None:
        self.far.start()
        self.near.settings["carrier"]["main"]["guid"] = next(
            account["guid"] for account in self.far.ask("accounts") if account["name"] == "branch"
        )
        self.near.start()


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    near, far = House(tmp_path / "near"), House(tmp_path / "far")
    branch = {"name": "branch", "login": LOGIN, "password": PASSWORD, "countries": ["US", "CA"], "keep_documents": True}
    far.settings["account"] = [branch]
    far.settings["line"] = [{"number": OWN_LINE, "account": "branch", "carrier": "main"}]
    far.settings["door"] = {"hellofax": {}}
    far.settings["http"]["callback_networks"] = ["127.0.0.0/8"]
    near.settings["carrier"]["main"] = {
        "kind": "hellofax", "url": f"http://127.0.0.1:{far.http_port}/v1", "login": LOGIN, "password": PASSWORD,
        "set_callbacks": True, "listing_lag": "2s", "guid": "",
        "document": "pdf",  # the far one prints it as we would, and its header line moves the page
    }  # fmt: skip
    try:
        yield Both(near, far)
    finally:
        near.close()
        far.close()


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path) -> None:
    for name in ("near", "far"):
        (tmp_path / name).mkdir()


def test_a_mail_at_one_gateway_is_dialled_by_the_other(both: Both) -> None:
    both.ready()
    good, engaged, mail = (
        fresh(),
        fresh("11"),
        letter("Through two houses", files=[("contract.pdf", "application/pdf", pdf("clause one"))]),
    )
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
    assert not [one for one in both.far.sink.letters if good in one.text], "the caller's own house tells its people"


def test_a_fax_that_arrives_at_the_other_is_mailed_here(both: Both) -> None:
    both.ready()
    both.near.send(letter("To ourselves"), OWN_LINE)
    assert both.near.fax(OWN_LINE)["state"] == "delivered"

    def arrived() -> bool:
        return any(one.recipients == ["office@example.com"] and OWN_LINE[-4:] in one.text for one in both.near.sink.letters)

    both.near.wait(arrived, 30, "the received fax")
    (received,) = both.near.ask("received")
    assert (received["line"], received["carrier"]) == (OWN_LINE, "main")


@pytest.mark.timeout(240)
def test_the_other_is_killed_again_and_again_and_nothing_is_sent_twice(both: Both) -> None:
    both.far.settings["carrier"]["main"]["call_time"] = "0.3s"
    both.near.settings["retry"]["carrier_trouble"] = ["1s"] * 60  # as long as the other one needs to come back
    both.ready()
    numbers = [fresh() for _ in range(12)]
    for n, number in enumerate(numbers):
        both.near.send(letter(f"Fax {n}"), number)
        if n % 4 == 3:
            time.sleep(0.15 * (n // 4))  # each time at another step
            both.far.kill()
            time.sleep(0.2)
            both.far.start()

    def settled() -> bool:
        return all(both.near.faxes(number)[0]["state"] in ("delivered", "failed", "held") for number in numbers)

    both.near.wait(settled, 150, "every fax to end")
    for number in numbers:
        fax, dialled = both.near.faxes(number)[0], len(both.far.calls(number))
        assert dialled <= 1, "never twice"
        assert fax["state"] in ("delivered", "held"), fax
        # Held: it was killed with the call in its hand, and a list in which it is not proves nothing.
        assert dialled == 1 if fax["state"] == "delivered" else "may have been sent" in fax["reason"]
    last = fresh()
    both.near.send(letter("After all that"), last)
    assert both.near.fax(last)["state"] == "delivered"
    assert len(both.far.calls(last)) == 1
