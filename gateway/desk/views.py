"""Links to the pages of a fax, for reports of accounts whose faxes are not to be read in mails.

    PUBLIC_URL/view/FAX/UNTIL/MAC

Only the spool's key can make one; it shows one fax, till UNTIL (seconds since 1970), and until then works as often as
it is asked for: programs that look through mail follow links, and one that worked once would be used up by them.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import UTC, datetime

from gateway.fax import TransmissionId

_SECONDS = re.compile(r"[0-9]{1,12}\Z")


class Views:
    """The links of one spool; `key` is the spool's, `public_url` how the page is reached."""

    def __init__(self, key: bytes, public_url: str) -> None:
        self._key, self._public_url = key, public_url

    def link(self, fax: TransmissionId, until: datetime) -> str:
        """The address of the pages of a fax, till then."""
        seconds = str(int(until.timestamp()))
        return f"{self._public_url}/view/{fax}/{seconds}/{self._mac(fax, seconds)}"

    def until(self, fax: str, seconds: str, mac: str) -> datetime | None:
        """Till when such a link holds; None: it was not made here."""
        ours = hmac.compare_digest(self._mac(fax, seconds).encode(), mac.encode("utf-8", "surrogatepass"))
        return datetime.fromtimestamp(int(seconds), UTC) if ours and _SECONDS.match(seconds) else None

    def _mac(self, fax: str, seconds: str) -> str:
        return hmac.digest(self._key, f"view {fax} {seconds}".encode("utf-8", "surrogatepass"), hashlib.sha256).hex()[:40]
