"""Fax numbers: what is read, what is refused, what is masked."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import number
from gateway.errors import BadAddress, NotAdmitted, Refused
from gateway.number import FaxNumber


@pytest.mark.parametrize(
    ("text", "region", "e164", "country"),
    [
        ("+14155550123", "DE", "+14155550123", "US"),
        (" (415) 555-0123 ", "US", "+14155550123", "US"),
        ("416 299 2222", "CA", "+14162992222", "CA"),
        ("8764567890", "JM", "+18764567890", "JM"),
        ("011 44 20 7946 0123", "JM", "+442079460123", "GB"),
        ("030 123456-0", "DE", "+49301234560", "DE"),
        ("00 1 415 555 0123", "DE", "+14155550123", "US"),
        ("00 1 415 555 0123", "BR", "+14155550123", "US"),
        ("0011 1 415 555 0123", "AU", "+14155550123", "US"),
        ("010 1 415 555 0123", "JP", "+14155550123", "US"),
        ("33 12 34 56", "DK", "+4533123456", "DK"),
        ("+4533123456", "US", "+4533123456", "DK"),
        ("040 226338", "IT", "+39040226338", "IT"),
        ("+39 040 226338", "US", "+39040226338", "IT"),
        ("+44 (0)20 7946 0123", "US", "+442079460123", "GB"),
        ("+881612345678", "US", "+881612345678", ""),
        ("+18764567890", "US", "+18764567890", "JM"),
    ],
)
def test_numbers_are_read_as_people_write_them(text: str, region: str, e164: str, country: str) -> None:
    found = number.parse(text, region)
    assert (found.e164, found.country) == (e164, country)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+",
        "911",
        "112",
        "5550123",
        "+112",
        "+1 411 555 0123",
        "+1 415 911 5555",
        "+1 015 555 0123",
        "+0123456789",
        "+210155550123",
        "+44020 7946 0123",
        "+1234567890123456",
        "1-800-FLOWERS",
        "+1415555O123",
        "\uff11\uff14\uff11\uff15\uff15\uff15\uff15\uff10\uff11\uff12\uff13",
        "1415555012\u00b3",
        "\u00a014155550123",
        "+1\n4155550123",
        "9" * 100_000,
    ],
)
def test_adr_27_incomplete_and_impossible_numbers_are_refused(text: str) -> None:
    with pytest.raises(BadAddress) as caught:
        number.parse(text, "US")
    assert caught.value.reply == "550 5.1.3"


@pytest.mark.parametrize("text", ["+19005550123", "+14159761234", "+449098790123", "+49900112345", "+491801234567"])
def test_adr_26_costly_numbers_are_never_dialled(text: str) -> None:
    with pytest.raises(NotAdmitted) as caught:
        number.parse(text, "US")
    assert caught.value.reply == "550 5.7.1"


def test_adr_03_a_plus_is_never_helped() -> None:
    with pytest.raises(BadAddress):
        number.parse("+4155550123", "US")


@pytest.mark.parametrize("region", sorted(phonenumbers.SUPPORTED_REGIONS))
def test_a_fixed_line_of_every_country_can_be_faxed(region: str) -> None:
    sample = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.FIXED_LINE)
    if sample is None:
        assert region == "TA"  # Tristan da Cunha shares the numbers of Saint Helena
        return
    e164 = phonenumbers.format_number(sample, phonenumbers.PhoneNumberFormat.E164)
    assert number.parse(e164, "US").e164 == e164
    national = phonenumbers.format_number(sample, phonenumbers.PhoneNumberFormat.NATIONAL)
    assert number.parse(national, region).e164 == e164


@given(
    st.text(max_size=30) | st.text("+0123456789 -.()", max_size=25) | st.text("0123456789", min_size=6, max_size=18),
    st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS)),
)
def test_any_text_is_a_number_or_refused(text: str, region: str) -> None:
    try:
        found = number.parse(text, region)
    except Refused:
        return
    assert number.parse(found.e164, "US") == found
    assert number.parse(found.readable, "US") == found
    assert found.country == "" or found.country in phonenumbers.SUPPORTED_REGIONS


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("+14155550123", "+*******0123"),
        ("FAX=+1-415-555-0123@fax.example", "FAX=+*-***-***-0123@fax.example"),
        ("0123", "0123"),
        ("", ""),
        ("\u0661\u0662\u0663\u0664\u0665", "\u0661\u0662\u0663\u0664\u0665"),
    ],
)
def test_log_03_all_but_four_digits_are_masked(text: str, masked: str) -> None:
    assert number.mask(text) == masked


def test_a_number_shows_itself() -> None:
    found = FaxNumber("+442079460123")
    assert str(found) == "+442079460123"
    assert found.readable == "+44 20 7946 0123"
