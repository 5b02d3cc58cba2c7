"""One account has hundreds of faxes waiting; another account's single one does not wait for them."""

from __future__ import annotations

from email.message import EmailMessage
from typing import Any

from tests.flows.house import DOMAIN, House, letter

MANY = 300
SMALL = "bob@small.example"


def two_accounts(house: House) -> None:
    network: dict[str, Any] = {"networks": ["127.0.0.0/8"], "countries": ["US"]}
    house.settings["account"] = [
        {"name": "large", "senders": ["*@example.com"], **network},
        {"name": "small", "senders": ["*@small.example"], **network},
    ]
    house.settings["line"] = []


def bulk(house: House, many: int) -> None:
    """So many faxes of the large account, a hundred a mail."""
    for first in range(0, many, 100):
        numbers = [f"+1212555{n:04}@{DOMAIN}" for n in range(1000 + first, 1000 + min(first + 100, many))]
        house.send(letter(f"Rates {first}"), *(number for number in numbers))


def unfinished(house: House) -> int:
    ((count,),) = house.sql("SELECT count(*) FROM step WHERE kind IN ('prepare', 'send', 'track')")
    return int(count)


def single(house: House) -> EmailMessage:
    """The small account's fax."""
    mail = letter("One page")
    mail.replace_header("From", SMALL)
    house.send(mail, "+14155550123", sender=SMALL)
    return mail


def test_a_single_fax_overtakes_hundreds_of_another_account(house: House) -> None:
    two_accounts(house)
    house.start()
    bulk(house, MANY)
    mail = single(house)
    (report,) = house.reports(mail, patience=30)
    waiting = unfinished(house)
    assert "delivered" in report.subject
    assert waiting > MANY / 2, f"only {waiting} of {MANY} still wait: this shows nothing"


def test_faxes_at_a_slow_carrier_do_not_hold_up_those_at_another(house: House) -> None:
    two_accounts(house)
    house.settings["carrier"] = {
        "main": {"kind": "loopback", "call_time": "0.05s"},
        "slow": {"kind": "loopback", "call_time": "60s", "calls": 3},
    }
    house.settings["line"] = [{"number": "+12125550100", "account": "large", "carrier": "slow"}]
    house.start()
    bulk(house, 20)
    house.wait(lambda: house.sql("SELECT id FROM attempt WHERE carrier = 'slow' AND slot IS NOT NULL"), what="a slow call")
    mail = single(house)
    (report,) = house.reports(mail)
    assert "delivered" in report.subject
    assert not house.sql("SELECT id FROM attempt WHERE carrier = 'slow' AND finished_at IS NOT NULL")
    house.wait(lambda: not house.sql("SELECT id FROM transmission WHERE state = 'accepted'"), what="every fax to be made")
    assert len(house.sql("SELECT id FROM attempt WHERE carrier = 'slow'")) == 3, "three calls at a time"
