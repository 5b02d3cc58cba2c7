"""Who deserves a report, and in which frame: a delivery status notification, a disposition notification, or a plain mail.

One event, one mail (AUR-09): a DSN where it is due, else an MDN where one was asked for and may be sent, else plain words.
Sources: RFC 3461 sections 4.1 and 5.2, RFC 3834, RFC 8098, RFC 2532; reference/internet-fax-standards.md rows DSN-01 to DSN-07,
AUR-01, AUR-02, AUR-09, MDN-01 to MDN-09 and section 19.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.fax import Door, Recipient, Submission, Transmission, TransmissionState
from gateway.lifecycle import FINAL
from gateway.report import mdn

_NOTIFY = {
    TransmissionState.DELIVERED: "SUCCESS",
    TransmissionState.FAILED: "FAILURE",
    TransmissionState.CANCELLED: "FAILURE",
}
#: Only what came by a mail transport may be answered by a delivery status notification (MDN-09).
TRANSPORTS = frozenset({Door.SMTP, Door.LMTP})


def wanted(
    submission: Submission, transmission: Transmission, recipients: Sequence[Recipient], *, good_news: bool = True
) -> list[Recipient]:
    """The recipients that deserve a report of this state: final, held or late. None of them = the sender is not told.

    An empty return path silences everything, NOTIFY what it does not list. Without NOTIFY a failure is always told;
    delays are told too, and good news where the account wants it (`good_news`), unless a program wrote the mail (AUR-01).
    Where one spelling of a number asks by NOTIFY for good news and another says nothing, the one that asked is answered.
    """
    word = _NOTIFY.get(transmission.state, "DELAY")
    if not submission.envelope.sender:
        return []
    asked = [recipient for recipient in recipients if word in recipient.notify]
    silent = [recipient for recipient in recipients if not recipient.notify]
    if word == "FAILURE":
        return [recipient for recipient in recipients if recipient in asked or recipient in silent]
    if asked:
        return asked
    return silent if not submission.auto_submitted and (good_news or word != "SUCCESS") else []


def gets_dsn(submission: Submission, transmission: Transmission, told: Sequence[Recipient]) -> bool:
    """Whether a report has the frame of RFC 3464.

    Failures have; other news only where NOTIFY asked, because an unasked confirmation must not look like one (DSN-06).
    A program's mail gets nothing but notifications (AUR-01).
    """
    if submission.envelope.door not in TRANSPORTS or not told:
        return False
    asked = any(recipient.notify for recipient in told)
    return transmission.state is TransmissionState.FAILED or asked or submission.auto_submitted


def mdn_address(submission: Submission, transmission: Transmission) -> str:
    """Who gets a disposition notification of a fax that has ended; "" = nobody: it came by a transport, or did not ask for
    one that may be sent without asking a person; that was judged at the door."""
    if submission.envelope.door is not Door.IMAP or transmission.state not in FINAL or submission.auto_submitted:
        return ""
    return submission.envelope.disposition_to
