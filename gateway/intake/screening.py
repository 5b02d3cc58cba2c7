"""Which mails are never faxed, whoever sends them: circles, automatic answers, mailing lists, what nobody can read.

Reads the header block, and of a text its beginning. Sources: RFC 3834, 5321 §6.3, 8551 §3, 3156, 4880 §6.2; rows SMT-20,
AUR-06, AUR-08, AUT-12, CNT-09.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Set

from gateway import cms
from gateway.errors import BadDocument, NotAdmitted, Refused
from gateway.intake.authentication import Proof, Standing
from gateway.message import Headers, Octets
from gateway.pages.manifest import ENCRYPTED

_HOPS = 100
_BULK = ("bulk", "list", "junk")
_REPORTS = ("multipart/report", "message/delivery-status", "message/disposition-notification")
_SMIME = ("application/pkcs7-mime", "application/x-pkcs7-mime")
_ENVELOPED = ("", "enveloped-data", "authenveloped-data")  # "": it does not say
_PGP = b"-----BEGIN PGP MESSAGE-----"
_BEGINNING = 4096  # octets of a text in which a PGP message begins


def check_loop(headers: Headers, hosts: Set[str]) -> None:
    """A mail that runs in circles, or that we wrote ourselves, is taken for nobody. Raises Refused.

    hosts  our own name and domains, lower case
    """
    if headers.received > _HOPS:
        raise Refused("This mail has passed too many servers; it runs in a circle.", reply="554 5.4.6")
    ours = headers.message_id.rstrip(">").rpartition("@")[2].lower() in hosts
    if headers.loop_marks or ours or not hosts.isdisjoint(headers.gateways):
        raise Refused("A fax gateway wrote this mail; it would be faxed in a circle.", reply="554 5.4.6")


def check_kind(headers: Headers, standing: Standing) -> None:
    """Automatic answers, reports and bulk mail are not faxed; what a program wrote only where its client is known.

    Raises NotAdmitted.
    """
    automatic, proof = headers.auto_submitted, standing.proof
    if automatic == "auto-replied" or headers.precedence == "auto_reply" or headers.answers_by_itself:
        raise NotAdmitted("Automatic replies are not faxed.")
    if headers.content_type in _REPORTS:
        raise NotAdmitted("Reports of mail servers and mail programs are not faxed.")
    if automatic != "no" and proof is Proof.DMARC:
        raise NotAdmitted("Mail that a program wrote is faxed only when it signs in or comes from the account's own network.")
    if (headers.list_id or headers.precedence in _BULK) and not standing.account.bulk:
        raise NotAdmitted("Mail of mailing lists and bulk mail is not faxed for this account.")


def check_written_by_hand(headers: Headers) -> None:
    """What steers a fax was written by a person: nothing that any program has sent by itself counts. Raises NotAdmitted."""
    bulk = headers.list_id or headers.precedence in (*_BULK, "auto_reply")
    automatic = headers.auto_submitted != "no" or headers.answers_by_itself or headers.wants_no_answers
    if automatic or bulk or headers.content_type in _REPORTS:
        raise NotAdmitted("Automatic answers steer no fax.")


def check_readable(headers: Headers, content: Octets) -> None:
    """A mail that is encrypted as a whole is not taken; what is so deeper inside, preparation finds. Raises BadDocument."""
    kind, body = headers.content_type, content.find(b"\r\n\r\n") + 4
    if kind in _SMIME:
        enciphered = headers.smime_type in _ENVELOPED and not _is_signed(content[body : body + _BEGINNING])
    elif kind.startswith("text/"):
        enciphered = content.find(_PGP, body, body + _BEGINNING) >= 0
    else:
        enciphered = kind == "multipart/encrypted"
    if enciphered:
        raise BadDocument("Encrypted mail cannot be faxed: there is no key for it here. Send it signed only.", reply=ENCRYPTED)


def _is_signed(beginning: bytes) -> bool:
    """Whether what is encoded there is signed and no more, for mails that do not say."""
    letters = b"".join(beginning.split())[:64]
    try:
        return cms.SIGNED in base64.b64decode(letters[: len(letters) // 4 * 4], validate=True)
    except binascii.Error:
        return False
