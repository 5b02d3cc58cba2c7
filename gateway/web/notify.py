"""Callbacks to accounts: what is sent, in the form of the HelloFax API. When, and how often, says `work.callback`.

Source: reference/hellofax.md section 9.2. `multipart/form-data` with the text part `json`, which has no content type; in it
the transmission, wrapped as `Transaction`. Choices where the source is silent: a received fax comes as a second part `file`,
`application/pdf`, named after its GUID; an account with a secret gets the header

    X-Faxgate-Signature: t=UNIX_SECONDS,v1=HEX

where HEX is the HMAC-SHA256, with that secret, of the digits after `t=`, a full stop, and the body as it was sent.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from datetime import datetime

from gateway.errors import CallbackNotTaken
from gateway.fax import Account, InboundFax, Transmission
from gateway.web.guid import guid_of
from gateway.web.hellofax import encoded, inbound_object, transmission_object
from gateway.web.outbound import Outbound, shown

SIGNATURE = "X-Faxgate-Signature"


class Notifier:
    """Calls the URLs of accounts. What was answered is said in one line, for the fax's history."""

    def __init__(self, outbound: Outbound, now: Callable[[], datetime]) -> None:
        self._outbound, self._now = outbound, now

    async def sent(self, account: Account, transmission: Transmission) -> str:
        """About a fax that has ended. Raises CallbackNotTaken."""
        parts = [_json(transmission_object(account, transmission))]
        return await self._post(account, account.settings.outbound_callback, parts)

    async def received(self, account: Account, inbound: InboundFax, pdf: bytes) -> str:
        """About a fax that has arrived, with it. Raises CallbackNotTaken."""
        disposition = f'form-data; name="file"; filename="{guid_of(inbound.id)}.pdf"'.encode()
        file = b"Content-Disposition: " + disposition + b"\r\nContent-Type: application/pdf\r\n\r\n" + pdf
        parts = [_json(inbound_object(account, inbound)), file]
        return await self._post(account, account.settings.inbound_callback, parts)

    async def _post(self, account: Account, url: str, parts: list[bytes]) -> str:
        boundary = secrets.token_hex(16)
        body = b"".join(b"--%s\r\n%s\r\n" % (boundary.encode(), part) for part in parts) + b"--%s--\r\n" % boundary.encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        if secret := account.settings.callback_secret:
            headers[SIGNATURE] = signature(secret, int(self._now().timestamp()), body)
        try:
            status = await self._outbound.post(url, body, headers)
        except CallbackNotTaken as error:
            raise CallbackNotTaken(f"POST {shown(url)} {error.text}") from error
        said = f"POST {shown(url)} answered {status}"
        if status != 200:
            raise CallbackNotTaken(said)
        return said


def signature(secret: str, seconds: int, body: bytes) -> str:
    """The value of the header."""
    digest = hmac.new(secret.encode(), b"%d." % seconds + body, hashlib.sha256).hexdigest()
    return f"t={seconds},v1={digest}"


def _json(fax: dict[str, object]) -> bytes:
    return b'Content-Disposition: form-data; name="json"\r\n\r\n' + encoded({"Transaction": fax})
