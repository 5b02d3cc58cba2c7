"""What a mail asks beside being faxed: by the address of a recipient, by its subject, by the first line of its text.

The words are those of `options`; which of them an account may use is in the configuration. The number of a recipient without
one is that at the beginning of the subject.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from gateway import number, opening, options
from gateway.config import Config
from gateway.errors import Refused
from gateway.fax import Account, Recipient
from gateway.message import Headers, Octets
from gateway.options import Rules


class Wishes:
    """Reads them, by the configuration."""

    def __init__(self, config: Config, now: Callable[[], datetime]) -> None:
        self._config, self._now = config, now

    def of_address(self, account: Account, recipient: Recipient) -> Recipient:
        """A recipient with what its address asks understood. Raises Refused, fit for an answer to RCPT."""
        return self._rules(account).of_address(recipient) if recipient.options else recipient

    def of_mail(self, account: Account, recipients: Sequence[Recipient], headers: Headers, content: Octets) -> list[Recipient]:
        """The recipients with what the mail asks for all of them, each with a number. Raises Refused.

        What their own addresses ask stays. Two spellings of one number that ask for different things are refused: it is
        called once.
        """
        subject, called = headers.subject, ""
        silent = not subject.startswith("[") and not self._config.presentation(account.name).options
        if silent and len(recipients) == 1 and recipients[0].number:
            return list(recipients)  # as most mails are
        rules = self._rules(account)
        if any(not one.number for one in recipients):
            found, subject = number.leading(subject)
            called = found.e164
        parts = [rules.of_text(subject)]
        if rules.allowed:
            parts.append(rules.of_text(opening.line(content[: opening.LOOK])))
        wishes = options.together(parts)
        if not wishes and not called and len(recipients) == 1:
            return list(recipients)
        made = [options.asked(replace(one, number=one.number or called), wishes) for one in recipients]
        asked: dict[tuple[str, str], dict[str, str]] = {}
        for one in made:
            own = dict(one.options)
            if asked.setdefault((one.number, one.sub_address), own) != own:
                raise Refused(f"Two addresses with the number {one.number} ask for different things.", reply=options.IN_SUBJECT)
        return made

    def _rules(self, account: Account) -> Rules:
        return Rules(
            allowed=self._config.presentation(account.name).options,
            zone=self._config.zone_of(account.name),
            now=self._now(),
            farthest=self._config.smtp.hold,
        )
