"""Links by which somebody agrees to a fax, or does not: one for each fax and verb, which only the spool's key can make.

    PUBLIC_URL/approval/FAX/VERB/MAC

Such a link only opens a page; what is on it decides (`web.approval`), by the same verbs as the command line (`desk.steer`).
It is of no use once the fax has been decided, which it is in any case when its time is over.
"""

from __future__ import annotations

import hashlib
import hmac

from gateway.fax import TransmissionId

APPROVE, REJECT = "approve", "reject"
VERBS = (APPROVE, REJECT)


class Links:
    """The links of one spool; `key` is the spool's, `public_url` how the page is reached."""

    def __init__(self, key: bytes, public_url: str) -> None:
        self._key, self._public_url = key, public_url

    def link(self, fax: TransmissionId, verb: str) -> str:
        """The address of the page on which the fax is approved, or rejected."""
        return f"{self._public_url}/approval/{fax}/{self.tail(fax, verb)}"

    def tail(self, fax: TransmissionId, verb: str) -> str:
        """What of it differs between the verbs of one fax."""
        return f"{verb}/{self._mac(fax, verb)}"

    def is_ours(self, fax: str, verb: str, mac: str) -> bool:
        """Whether such a link was made here."""
        made = hmac.compare_digest(self._mac(fax, verb).encode(), mac.encode("utf-8", "surrogatepass"))
        return made and verb in VERBS

    def _mac(self, fax: str, verb: str) -> str:
        return hmac.digest(self._key, f"approval {verb} {fax}".encode("utf-8", "surrogatepass"), hashlib.sha256).hex()[:40]
