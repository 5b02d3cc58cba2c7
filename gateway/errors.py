"""Every error of the gateway and every outcome of a fax, in one place.

The tree. The whole retry logic asks only which of the three kinds in the middle it is:

    GatewayError
    ├─ ConfigError            wrong configuration: names file and key, stops the start
    ├─ Refused                permanent; carries an SMTP reply and an Outcome
    │  ├─ NotAdmitted             sender, number or limit
    │  ├─ NoCredit                the account cannot pay for it
    │  ├─ BadAddress              not a fax number
    │  ├─ BadDocument             cannot become pages
    │  ├─ Unsupported             this carrier cannot do what was asked
    │  ├─ CarrierRefused          the carrier said no and we know why
    │  ├─ MailboxRefused          the server of a mailbox said no
    │  └─ MailTaken               a mail in a mailbox that was dealt with before
    ├─ Unavailable            temporary; certainly not sent; try again later
    │  ├─ CarrierUnavailable      connect failed; may carry retry_after
    │  │  ├─ CarrierBusy             429: it takes nothing from us for a while, whatever fax it is
    │  │  └─ SessionEnded            signed out there: signing in again mends it
    │  ├─ CallbackNotTaken        a program that we call did not answer 200
    │  ├─ DownloadFailed          a file that an account named could not be fetched
    │  ├─ ConverterUnavailable    child process died, out of space
    │  ├─ DnsUnavailable          what a mail's proof depends on cannot be looked up
    │  ├─ TooMany                 too much at once from one account or client; may carry retry_after
    │  │  └─ OverLimit               the account's limits let it pass later
    │  ├─ MailboxUnavailable      the server of a mailbox cannot be reached, or makes no sense
    │  ├─ LeaseLost               another node reads the mailbox now
    │  └─ SpoolUnavailable        database or disk
    ├─ Uncertain              perhaps sent; never repeated blindly
    │  └─ CarrierUncertain        time-out or broken reply after the request left
    ├─ CallbackRejected       bad or missing signature: 401, nothing stored
    └─ SpoolBusy              another process owns this spool

The docstring of a class is its default message. Texts are written for the outside: no paths of ours, no hosts, no
secrets; detail goes to the log.
"""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """Why an attempt, and in the end a fax, ended. Closed; `lifecycle.TRAITS` says what each one means for redialling."""

    DELIVERED = "delivered"  #: every page was confirmed by the far end
    BUSY = "busy"  #: the line was engaged
    NO_ANSWER = "no_answer"  #: it rang, nobody answered
    NOT_A_FAX = "not_a_fax"  #: a person or a voice system answered
    BAD_NUMBER = "bad_number"  #: no such number
    DISCONNECTED = "disconnected"  #: the number is out of service
    LINE_TROUBLE = "line_trouble"  #: the call was made but broke off before a page was confirmed
    PARTLY_SENT = "partly_sent"  #: some pages were confirmed, not all
    DOCUMENT_REFUSED = "document_refused"  #: the document cannot be faxed
    RECIPIENT_BLOCKED = "recipient_blocked"  #: this number may not be faxed
    NO_CREDIT = "no_credit"  #: the account at the carrier, or ours, has no credit
    NOT_AUTHORISED = "not_authorised"  #: the sender may not do this
    CARRIER_TROUBLE = "carrier_trouble"  #: the carrier had a fault of its own
    GAVE_UP = "gave_up"  #: time ran out before an attempt succeeded
    CANCELLED = "cancelled"  #: a person cancelled it, and the carrier confirmed
    UNKNOWN = "unknown"  #: nobody can say whether it arrived


class GatewayError(Exception):
    """Something went wrong in the fax gateway."""

    def __init__(self, text: str | None = None) -> None:
        super().__init__(text or (type(self).__doc__ or "").strip().splitlines()[0])

    @property
    def text(self) -> str:
        """The message, fit for a stranger's eyes."""
        return str(self.args[0])


class ConfigError(GatewayError):
    """The configuration is wrong."""

    def __init__(self, file: str, key: str, problem: str) -> None:
        super().__init__(f"{file}: {key}: {problem}" if key else f"{file}: {problem}")
        self.file, self.key, self.problem = file, key, problem


class Refused(GatewayError):
    """This will never work as it stands."""

    reply = "550 5.0.0"  #: SMTP code and enhanced status code when it is said in a mail dialogue
    outcome = Outcome.UNKNOWN

    def __init__(self, text: str | None = None, *, reply: str | None = None, outcome: Outcome | None = None) -> None:
        super().__init__(text)
        self.reply = reply or type(self).reply
        self.outcome = outcome or type(self).outcome


class NotAdmitted(Refused):
    """You may not fax here."""

    reply = "550 5.7.1"
    outcome = Outcome.NOT_AUTHORISED


class NoCredit(Refused):
    """The credit of this account does not reach for this fax."""

    reply = "550 5.7.1"
    outcome = Outcome.NO_CREDIT


class BadAddress(Refused):
    """This is not a fax number."""

    reply = "550 5.1.3"
    outcome = Outcome.BAD_NUMBER


class BadDocument(Refused):
    """A part of this mail cannot become fax pages."""

    reply = "554 5.6.1"
    outcome = Outcome.DOCUMENT_REFUSED

    def __init__(self, text: str | None = None, *, part: str = "", reply: str | None = None) -> None:
        super().__init__(text, reply=reply)
        self.part = part  #: the name of the part, as the sender knows it


class Unsupported(Refused):
    """This carrier cannot do that."""

    reply = "550 5.3.3"
    outcome = Outcome.CARRIER_TROUBLE


class CarrierRefused(Refused):
    """The carrier refused the fax."""

    outcome = Outcome.CARRIER_TROUBLE

    def __init__(
        self, text: str | None = None, *, outcome: Outcome | None = None, carrier_code: str = "", reply: str | None = None
    ) -> None:
        super().__init__(text, reply=reply, outcome=outcome)
        self.carrier_code = carrier_code  #: the carrier's own word for it


class MailboxRefused(Refused):
    """The server of the mailbox refused it."""

    def __init__(
        self, text: str | None = None, *, code: str = "", reply: str | None = None, outcome: Outcome | None = None
    ) -> None:
        super().__init__(text, reply=reply, outcome=outcome)
        self.code = code  #: the server's own word for it, upper case


class MailTaken(Refused):
    """This mail was dealt with before."""


class Unavailable(GatewayError):
    """This does not work right now; nothing was sent."""

    reply = "451 4.3.0"

    def __init__(self, text: str | None = None, *, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after  #: seconds, where the other side named them


class CarrierUnavailable(Unavailable):
    """The carrier cannot be reached."""


class CarrierBusy(CarrierUnavailable):
    """The carrier asks us to wait."""


class CallbackNotTaken(Unavailable):
    """The program that was to be called did not take the callback."""


class DownloadFailed(Unavailable):
    """The file could not be fetched."""


class SessionEnded(CarrierUnavailable):
    """The session with the carrier has ended."""


class ConverterUnavailable(Unavailable):
    """The document converter is not available right now."""

    def __init__(self, text: str | None = None, *, part: str = "") -> None:
        super().__init__(text)
        self.part = part  #: the part it was at work on, "" when unknown


class DnsUnavailable(Unavailable):
    """The DNS does not answer right now, and the sender cannot be proven without it."""

    reply = "451 4.4.3"

    def __init__(self, text: str | None = None, *, reply: str | None = None) -> None:
        super().__init__(text)
        self.reply = reply or type(self).reply


class TooMany(Unavailable):
    """This is too much at once: wait."""


class OverLimit(TooMany):
    """The limit of this account is reached for now."""

    reply = "450 4.7.0"


class MailboxUnavailable(Unavailable):
    """The mailbox cannot be read right now."""


class LeaseLost(Unavailable):
    """Another node reads this mailbox now."""


class SpoolUnavailable(Unavailable):
    """The fax cannot be stored right now."""


class Uncertain(GatewayError):
    """Nobody can say whether this was sent."""


class CarrierUncertain(Uncertain):
    """The carrier's answer was lost after the fax was handed over."""


class CallbackRejected(GatewayError):
    """The callback is not authentic."""


class SpoolBusy(GatewayError):
    """Another process owns this spool."""
