"""Who may fax where."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.carriers.base import Capabilities
from gateway.desk.admission import Admission
from gateway.errors import BadAddress, NotAdmitted, Unsupported
from gateway.fax import Account, AccountId, Recipient

ACCOUNT = Account(id=AccountId("acc_1"), name="office", countries=("US", "CA"))
ADMISSION = Admission({"plain": Capabilities(), "rich": Capabilities(sub_addresses=True)})


def to(number: str, sub_address: str = "") -> Recipient:
    return Recipient(written=number, number=number, sub_address=sub_address)


@pytest.mark.parametrize("number", ["+14155550123", "+14162992222", "+18005550123"])
def test_allowed_countries_are_admitted(number: str) -> None:
    ADMISSION.check(ACCOUNT, to(number), "plain")
    with pytest.raises(NotAdmitted):
        ADMISSION.check(Account(id=AccountId("acc_2"), name="none"), to(number), "plain")


@pytest.mark.parametrize(
    ("number", "named"),
    [
        ("+442079460123", "GB"),
        ("+18764567890", "JM"),
        ("+18092992222", "DO"),
        ("+881612345678", "satellite"),
        ("+80012345678", "no country"),
    ],
)
def test_sub_08_other_countries_are_refused_by_name(number: str, named: str) -> None:
    with pytest.raises(NotAdmitted, match=named) as caught:
        ADMISSION.check(ACCOUNT, to(number), "plain")
    assert caught.value.reply == "550 5.7.1"


@pytest.mark.parametrize(
    ("number", "error"), [("+19005550123", NotAdmitted), ("+112", BadAddress), ("+19115550123", BadAddress)]
)
def test_adr_26_premium_short_and_emergency_numbers_never(number: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        ADMISSION.check(ACCOUNT, to(number), "plain")


def test_adr_06_a_sub_address_needs_a_carrier_that_sends_it() -> None:
    ADMISSION.check(ACCOUNT, to("+14155550123", "1387"), "rich")
    with pytest.raises(Unsupported) as caught:
        ADMISSION.check(ACCOUNT, to("+14155550123", "1387"), "plain")
    assert caught.value.reply == "550 5.3.3"


@pytest.mark.parametrize(
    ("number", "named"),
    [
        ("+447012345678", "a personal number"),
        ("+4970012345678", "a personal number"),
        ("+15002345678", "a personal number"),
        ("+447640123456", "a pager"),
        ("+491805123456", "a shared-cost number"),
        ("+870773123456", "no country"),
        ("+979123456789", "premium"),
        ("+80812345678", "a shared-cost number"),
    ],
)
def test_adr_26_numbers_that_cost_what_nobody_can_tell_never(number: str, named: str) -> None:
    everywhere = replace(ACCOUNT, countries=("US", "GB", "DE"))
    with pytest.raises(NotAdmitted, match=named) as caught:
        ADMISSION.check(everywhere, to(number), "plain")
    assert caught.value.reply == "550 5.7.1"


def test_company_wide_numbers_are_faxed() -> None:
    ADMISSION.check(replace(ACCOUNT, countries=("GB",)), to("+443001234567"), "plain")
