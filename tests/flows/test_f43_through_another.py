"""A gateway faxes through another one: two whole programs, HelloFax between them, the simulated network behind the second.

The far end's journal of the second counts what was really dialled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.flows import test_f31_crash_matrix as steps
from tests.flows import trapline
from tests.flows.house import FINAL, OWN_LINE, House, fresh, letter, pdf
from tests.flows.matrix import STEP, Matrix
from tests.flows.nodes import Client, Node, Place, until
from tests.flows.test_f31_crash_matrix import trapped

LOGIN, PASSWORD = "branch@example.com", "a password of the other side"


@dataclass(slots=True)
class Both:
    """`near` takes mail and has the carrier `hello`; `far` serves the API and dials."""

    near: House
    far: House

    def ready(self) -> None:
        self.far.start()
        name_account(self.near, self.far)
        self.near.start()


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    near, far = House(tmp_path / "near"), House(tmp_path / "far")
    connect(near, far)
    try:
        yield Both(near, far)
    finally:
        near.close()
        far.close()


def connect(near: House, far: House) -> None:
    """`near` has the carrier `hellofax`, which is `far`."""
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


def name_account(near: House, far: House) -> None:
    """Tell the one the GUID of its account at the other."""
    guids = {account["name"]: account["guid"] for account in far.ask("accounts")}
    near.settings["carrier"]["main"]["guid"] = guids["branch"]


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


STEPS = {"accepted, not answered": trapped, **{name: look for name, look in steps.STEPS.items() if name != "telling"}}
TRAPS = {"accepted, not answered": "accepted", **steps.TRAPS}
"""Where the other one is killed. It mails nothing: programs are called back, which `ended` and `told` are about."""


def crash(near: Node, far: Node, step: str) -> tuple[str, Client]:
    """Faxes through `near` until `far` is at the step, and there it ends; it comes back, and everything settles. The fax the
    trap was set for, and all of them."""
    client = Client()
    chosen, trap = client.write(), TRAPS.get(step, "")
    if trap:
        far.stop()
        far.settings["carrier"]["main"] |= {"trap": trap, "trap_number": chosen, "sign": "SIGKILL"}
        far.start()
    look = STEPS[step](far)
    with client.feeding([near], 4 if trap else 12):
        assert client.hand_in(near, chosen)
        until(look, 30, f"the step “{step}”")
        far.kill()
    far.settings["carrier"]["main"]["trap"] = ""
    far.start()
    near.wait(lambda: {near.faxes(number)[0]["state"] for number in client.taken} <= {*FINAL, "held"}, 60, "all to settle")
    return chosen, client


@pytest.mark.timeout(300)
def test_the_other_is_killed_at_every_step_and_nothing_is_sent_twice(
    tmp_path: Path, matrix: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(trapline.install(tmp_path / "site")))
    here, there = Place(tmp_path / "here", ""), Place(tmp_path / "there", "")
    near, far = here.node(), there.node()
    connect(near, far)
    near.settings["retry"]["carrier_trouble"] = ["1s"] * 60  # as long as the other one needs to come back
    near.settings["work"] = {"poll": "0.5s"}
    try:
        far.start()
        name_account(near, far)
        near.start()
        for step in STEPS:
            chosen, client = crash(near, far, step)
            called = Counter(call.number for call in there.calls())
            faxes = {number: near.faxes(number)[0] for number in client.taken}
            held = [fax for fax in faxes.values() if fax["state"] == "held"]
            twice = sum(called[number] > 1 for number in faxes)
            matrix.note(STEP, step, "through another, killed", f"{len(faxes)} faxes, {len(held)} held, {twice} twice")
            assert not twice
            assert {fax["state"] for fax in faxes.values()} <= {"delivered", "held"}
            assert all(called[number] == 1 for number, fax in faxes.items() if fax["state"] == "delivered")
            # Held: it was killed with the call in its hand, and a list in which it is not proves nothing.
            assert all("may have been sent" in fax["reason"] for fax in held)
            if step in TRAPS:
                assert faxes[chosen]["state"] == "delivered", "it was stored: a lost answer is found in the list"
    finally:
        here.close()
        there.close()
