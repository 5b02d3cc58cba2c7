"""Fax numbers: reading, E.164, dialling rules, masking.

Promises a number in E.164 or a `BadAddress` that says what to do. Does not know who may fax where: that is
`desk.admission`. libphonenumber calls real fax numbers invalid, so its *possible* lengths are asked, not its
allocation tables (DESIGN section 10). Sources: RFC 3191, RFC 3601, reference/internet-fax-standards.md section 16
(rows ADR-03, ADR-23, ADR-26, ADR-27 and rule 3).
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

import phonenumbers
from phonenumbers import PhoneNumberType

from gateway.errors import BadAddress, NotAdmitted

_SEPARATORS = re.compile(r"[-. ()]")
_DIGITS = re.compile(r"[0-9]+\Z")
#: Kinds of number that cost the caller extra, everywhere and always refused (ADR-26).
_NEVER = {PhoneNumberType.PREMIUM_RATE: "a premium-rate number", PhoneNumberType.SHARED_COST: "a shared-cost number"}
_NORTH_AMERICA = 1
#: Area code and exchange of North America: neither begins with 0 or 1, and 211 to 911 are services, not places.
_NANP = re.compile(r"[2-9](?!11)[0-9]{2}[2-9](?!11)[0-9]{2}")
_NANP_PREMIUM = re.compile(r"900|[0-9]{3}976")
_LONGEST = 60  # as written, with separators
_LEADING = re.compile(r"\s*(\+[0-9(][0-9 ().-]*[0-9])")


@dataclass(frozen=True, slots=True)
class FaxNumber:
    """A complete fax number."""

    e164: str
    """`+` and 7 to 15 ASCII digits."""

    def __str__(self) -> str:
        return self.e164

    @property
    def country(self) -> str:
        """ISO 3166 region, "" where the number belongs to none (satellite, international freephone)."""
        return _country(self.e164)

    @property
    def readable(self) -> str:
        """International form with spaces, as printed on covers and in reports."""
        return phonenumbers.format_number(_known(self.e164), phonenumbers.PhoneNumberFormat.INTERNATIONAL)


#: A number on its way in is looked at several times within a moment, and many are called again and again.
_remembered = functools.lru_cache(4096)


def _known(e164: str) -> phonenumbers.PhoneNumber:
    return phonenumbers.parse(e164)


@_remembered
def _country(e164: str) -> str:
    region = phonenumbers.region_code_for_number(_known(e164))
    if region and region != "001":
        return region
    # A number outside the allocated ranges still has a country code; several share +1 and the main one is named.
    main = phonenumbers.region_code_for_country_code(_known(e164).country_code or 0)
    return "" if main in ("ZZ", "001") else main


def parse(text: str, region: str) -> FaxNumber:
    """Read a number as a person wrote it, seen from `region` (ISO 3166, e.g. "US").

    A leading `+` means complete: nothing is added or taken away. Raises BadAddress; NotAdmitted for numbers that cost
    the caller extra.
    """
    compact = text.strip(" ")
    if len(compact) > _LONGEST:
        raise BadAddress("This is too long for a fax number.")
    if compact.startswith("+") and "(0)" in compact:
        compact = compact.replace("(0)", "", 1)  # "+44 (0)20 …": the zero is the trunk prefix, rule 3
    complete = compact.startswith("+")
    digits = _SEPARATORS.sub("", compact[1:] if complete else compact)
    if not _DIGITS.match(digits):
        raise BadAddress("A fax number has digits only, for example +14155550123.")
    e164 = "+" + digits if complete else _from_national(digits, region)
    return _checked(e164)


def leading(text: str) -> tuple[FaxNumber, str]:
    """The number at the beginning of a text, and what follows it. It begins with + and ends at a colon, a comma, a
    semicolon, the end of the text, or where it cannot be longer or shorter.

    Raises BadAddress: there is none, or nobody can say where it ends; NotAdmitted.
    """
    found = _LEADING.match(text)
    if found is None:
        raise BadAddress("There is no fax number at the beginning. Write it with + and country code, like +1 415 555 0123.")
    written, rest = found[1], text[found.end() :]
    if rest[:1].isalnum():
        raise BadAddress("A fax number has digits only; write a blank or a colon behind it.")
    called = parse(written, "US")
    if (following := rest.lstrip(" ).-")) and rest.lstrip(" )")[:1] not in (":", ",", ";"):
        groups = written.split(" ")
        if any(_is_number(" ".join(groups[:n])) for n in range(1, len(groups))):
            raise BadAddress("Nobody can say where this number ends: write a colon behind it.")
    return called, following.lstrip(" :,;")


def _is_number(text: str) -> bool:
    try:
        parse(text, "US")
    except NotAdmitted:
        return True
    except BadAddress:
        return False
    return True


def _from_national(digits: str, region: str) -> str:
    """Rule 3 of the grammar: the national reading wins over the international one."""
    if phonenumbers.country_code_for_region(region) == _NORTH_AMERICA:
        return _from_north_america(digits)
    try:
        read = phonenumbers.parse(digits, region, keep_raw_input=True)
    except phonenumbers.NumberParseException as error:
        raise BadAddress("The number is not complete: write it with country code, for example +442079460123.") from error
    e164 = phonenumbers.format_number(read, phonenumbers.PhoneNumberFormat.E164)
    possible = phonenumbers.is_possible_number(read)
    with_exit_code = read.country_code_source == phonenumbers.CountryCodeSource.FROM_NUMBER_WITH_IDD
    if possible and with_exit_code and digits.endswith(e164[1:]):
        return e164  # the country's own exit code: 00 nearly everywhere, 0011, 010, 810 in places
    if digits.startswith("00"):
        return "+" + digits[2:]
    if possible and (digits.startswith("0") or phonenumbers.is_valid_number(read)):
        return e164
    return "+" + digits


def _from_north_america(digits: str) -> str:
    if digits.startswith("011"):
        return "+" + digits[3:]
    if len(digits) == 10 and digits[0] in "23456789":
        return "+1" + digits
    if len(digits) == 11 and digits[0] == "1":
        return "+" + digits
    if len(digits) >= 11 and digits[0] in "23456789":
        return "+" + digits
    raise BadAddress("The number is not complete: write it with country code, for example +14155550123.")


@_remembered
def _checked(e164: str) -> FaxNumber:
    digits = e164[1:]
    if not 7 <= len(digits) <= 15 or digits[0] == "0":
        raise BadAddress("After the + there must be 7 to 15 digits and no leading 0, for example +14155550123.")
    try:
        number = phonenumbers.parse(e164)
    except phonenumbers.NumberParseException as error:
        raise BadAddress("The country code of this number does not exist.") from error
    national = phonenumbers.national_significant_number(number)
    if str(number.country_code) + national != digits:
        raise BadAddress("This is not a complete international number.")
    reason = phonenumbers.is_possible_number_with_reason(number)
    if reason != phonenumbers.ValidationResult.IS_POSSIBLE:
        raise BadAddress("The number is too short or too long for its country.")
    if number.country_code == _NORTH_AMERICA:
        if not _NANP.match(national):
            raise BadAddress("There is no such area code or exchange in North America.")
        if _NANP_PREMIUM.match(national):
            raise NotAdmitted("This is a premium-rate number; such numbers are never faxed.")
    if kind := _costly(number, national):
        raise NotAdmitted(f"This is {kind}; such numbers are never faxed.")
    return FaxNumber(e164)


def _costly(number: phonenumbers.PhoneNumber, national: str) -> str:
    """What kind of number that costs extra this is, "" for none.

    A number the tables do not know may still lie in a costly range, a digit too short or too long for it: exchanges
    connect such calls. So an unknown number is also tried at the lengths which costly numbers have.
    """
    kind = phonenumbers.number_type(number)
    if kind != PhoneNumberType.UNKNOWN:
        return _NEVER.get(kind, "")
    for region in phonenumbers.region_codes_for_country_code(number.country_code or 0):
        metadata = phonenumbers.PhoneMetadata.metadata_for_region(region)
        if metadata is None:
            continue
        for name, plan in zip(_NEVER.values(), (metadata.premium_rate, metadata.shared_cost), strict=True):
            if plan is None or plan.national_number_pattern is None:
                continue
            pattern = re.compile(plan.national_number_pattern)
            if any(pattern.fullmatch(national.ljust(n, "0")[:n]) for n in plan.possible_length if n > 0):
                return name
    return ""


def mask(number: str) -> str:
    """All but the last four digits hidden, for logs: `+14155550123` -> `+*******0123`."""
    digits = sum(c.isascii() and c.isdigit() for c in number)
    hide, out = max(0, digits - 4), []
    for c in number:
        if c.isascii() and c.isdigit() and hide > 0:
            hide -= 1
            c = "*"
        out.append(c)
    return "".join(out)
