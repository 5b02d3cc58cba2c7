"""May this account fax this number now?

Called where a recipient is named (RCPT, an API call), so that the answer comes in the dialogue and not by a bounce later,
and once more by the desk when it stores the fax. Decides by values only; whether the mail's sender speaks for the account
is the doors' question. Sources: RFC 6409 §6.2; reference/internet-fax-standards.md rows ADR-06, ADR-26, SUB-08, AUT-01.
"""

from __future__ import annotations

from collections.abc import Mapping

from phonenumbers import PhoneNumberType
from phonenumbers import number_type as type_of
from phonenumbers import parse as known

from gateway import number, options
from gateway.carriers.base import Capabilities
from gateway.errors import NotAdmitted, Unavailable, Unsupported
from gateway.fax import Account, Recipient

#: Beside what `number` never lets pass: numbers that ring wherever their owner is, at a price nobody can tell, and that are no
#: fax machines. Company-wide numbers (UAN, e.g. 0300 in the UK) cost what a call to the country costs, and are faxed.
_NEVER = {
    PhoneNumberType.PERSONAL_NUMBER: "a personal number",
    PhoneNumberType.PAGER: "a pager",
    PhoneNumberType.VOICEMAIL: "a voice mailbox",
}


class Admission:
    """The rules, over what each carrier can do."""

    def __init__(self, capabilities: Mapping[str, Capabilities]) -> None:
        self._capabilities = capabilities  # by the carrier's name in the configuration

    def check(self, account: Account, recipient: Recipient, carrier: str) -> None:
        """Return if `account` may fax `recipient` through `carrier`.

        Raises NotAdmitted (country, premium or personal number), BadAddress (short or impossible number) or Unsupported (a wish
        beyond the carrier), Unavailable (the carrier is not configured any more).
        """
        called = number.parse(recipient.number, "US")  # complete, so the region does not matter; costly ones end here
        _country(account, called)
        if kind := _NEVER.get(type_of(known(called.e164))):
            raise NotAdmitted(f"This is {kind}; such numbers are never faxed.")
        if carrier not in self._capabilities:
            raise Unavailable(f"The carrier “{carrier}” of this account's line is not in the configuration.")
        if recipient.sub_address and not self._capabilities[carrier].sub_addresses:
            raise Unsupported(
                "A sub-address (/T33S=) cannot be sent from here; the fax would reach the wrong person without it."
            )
        if options.fine(recipient) is not None and not self._capabilities[carrier].resolutions:
            raise Unsupported("The carrier decides about the resolution: fine and standard cannot be chosen here.")

    def delays(self, carrier: str) -> bool:
        """Whether the carrier may be given a fax before the time at which it is to be sent."""
        return carrier in self._capabilities and self._capabilities[carrier].delays


def _country(account: Account, called: number.FaxNumber) -> None:
    country = called.country
    if not country:
        raise NotAdmitted("This number belongs to no country (satellite or international service); such numbers are not faxed.")
    if country not in account.countries:
        raise NotAdmitted(
            f"This account may not fax to {country} (it may fax to {', '.join(account.countries) or 'no country'}); "
            f"ask the operator of the gateway to allow {country}."
        )
