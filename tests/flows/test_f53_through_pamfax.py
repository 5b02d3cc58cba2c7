"""A gateway faxes through another one by the PamFax API: two whole programs, the simulated network behind the second.

The far end's journal of the second counts what was really dialled.
"""

from __future__ import annotations

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
