"""Which mails are never faxed, whoever sends them: circles, automatic answers, mailing lists.

Reads the header block only. Sources: RFC 3834, 5321 §6.3; rows SMT-20, AUR-06, AUR-08, AUT-12.
"""

from __future__ import annotations

from gateway.errors import NotAdmitted, Refused
from gateway.message import Headers

_HOPS = 100


def check_loop(headers: Headers) -> None:
    """A mail that runs in circles, or that we wrote ourselves, is taken for nobody. Raises Refused."""
    if headers.received > _HOPS:
        raise Refused("This mail has passed too many servers; it runs in a circle.", reply="554 5.4.6")
    if headers.loop_marks:
        raise Refused("A fax gateway wrote this mail; it would be faxed in a circle.", reply="554 5.4.6")


def check_kind(headers: Headers) -> None:
    """Automatic answers and bulk mail are not faxed. Raises NotAdmitted."""
    if headers.auto_submitted == "auto-replied":
        raise NotAdmitted("Automatic replies are not faxed.")
    if headers.list_id or headers.precedence in ("bulk", "list", "junk"):
        raise NotAdmitted("Mail of mailing lists and bulk mail is not faxed.")
