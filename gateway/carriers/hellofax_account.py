"""Our account at a carrier that speaks the HelloFax API: its callback addresses, its lines, what a refusal says of it.

Source of every fact: the wire reference of this API, by section. A bought number whose answer names none is the one by which
our lines have grown (4).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlsplit

from pydantic import ValidationError

from gateway.carriers import http
from gateway.carriers.base import Tools
from gateway.carriers.hellofax_wire import AccountAnswer, AreaCodes, ErrorAnswer, FaxLines, digits, e164
from gateway.errors import CarrierRefused, CarrierUnavailable, CarrierUncertain, GatewayError, Outcome
from gateway.log import printable

_log = logging.getLogger(__name__)
_OUTBOUND = ("DefaultOutboundFaxCallbackUrl", "outbound")
_INBOUND = ("DefaultInboundFaxCallbackUrl", "inbound")


class HelloFaxAccount:
    """One account, at one base URL.

    auth  login and password, for every call
    """

    def __init__(self, tools: Tools, *, url: str, guid: str, auth: tuple[str, str]) -> None:
        self._tools, self._base, self.auth = tools, url.rstrip("/"), auth
        self.url = f"{self._base}/Accounts/{guid}"
        self._spelt: dict[str, str] = {}  # our lines as the carrier writes them, which is what From takes
        self._market = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<account of {self._tools.name}>"  # nothing else: it holds the password

    async def set_callbacks(self) -> bool:
        """Our two addresses in the account. False: that failed; meanwhile results are asked for."""
        ours = {name: f"{self._tools.callback_url}/{end}" for name, end in (_OUTBOUND, _INBOUND)}
        try:
            known = await http.ask(self._tools, "GET", self.url, decode=http.json_of(AccountAnswer), limit=15.0, auth=self.auth)
            foreign = [url for name, url in known.account.callbacks().items() if url and url != ours[name]]
            if known.account.callbacks() == ours:
                return True
            await http.ask(self._tools, "POST", self.url, decode=http.nothing, limit=15.0, auth=self.auth, data=ours)
        except (CarrierRefused, CarrierUnavailable) as error:
            text = "%s: the callback URLs of the account could not be set: %s Received faxes do not come until they are."
            _log.error(text, self._tools.name, error.text, extra={"action": "callbacks_not_set"})
            return False
        hosts = ", ".join(sorted({printable(urlsplit(url).hostname or "?", 80) for url in foreign}))
        told = f"; they were at {hosts}" if foreign else ""
        _log.warning("%s: set both callback URLs of the account%s", self._tools.name, told, extra={"action": "callbacks_set"})
        return True

    def resolved(self, uri: str) -> str:
        """An address the carrier named, at the carrier. It writes paths from `/v1` on, whatever the base is (6)."""
        try:
            return http.within(self._base, self._base + uri.removeprefix("/v1") if uri.startswith("/v1/") else uri)
        except ValueError as error:
            raise CarrierUnavailable("The carrier named an address outside its own.") from error

    def spelt(self, line: str) -> str:
        """A line of ours (E.164) as the carrier writes it."""
        return self._spelt.get(line, digits(line))

    async def lines(self) -> Mapping[str, str]:
        """Our lines, E.164 -> the address of the line there."""
        url = f"{self.url}/FaxLines"
        answer = await http.ask(self._tools, "GET", url, decode=http.json_of(FaxLines), auth=self.auth)
        self._spelt = {number: line.number for line in answer.lines if (number := e164(line.number))}
        return {
            e164(line.number): self.resolved(line.uri) if line.uri else f"{url}/{quote(line.number, safe='')}"
            for line in answer.lines
        }

    async def area_codes(self, state: str) -> Sequence[str]:
        """Those on sale in a state."""
        url, asked = f"{self._base}/AreaCodes", {"StateCode": state}
        answer = await http.ask(self._tools, "GET", url, decode=http.json_of(AreaCodes), auth=self.auth, params=asked)
        return answer.codes

    async def buy(self, area: str) -> str:
        """Buy a number; E.164. Raises CarrierRefused, CarrierUnavailable, CarrierUncertain."""
        async with self._market:  # so that two answers without a number are not taken for one another
            before = set(await self.lines())
            url, wanted = f"{self.url}/FaxLines", {"AreaCode": area}
            answer = await http.submit(
                self._tools, "POST", url, decode=http.json_of(FaxLines), judge=self.judge, auth=self.auth, data=wanted
            )
            try:
                new = set(await self.lines()) - before
            except (CarrierRefused, CarrierUnavailable):
                new = set()
        named = {e164(line.number) for line in answer.lines} - before
        if len(named or new) != 1:
            raise CarrierUncertain("The carrier does not say which number was bought.")
        return (named or new).pop()

    async def release(self, number: str) -> None:
        """Give a number back. Raises the same."""
        url = (await self.lines()).get(number)
        if url is None:
            raise CarrierRefused("The carrier does not have this line.", outcome=Outcome.BAD_NUMBER)
        await http.submit(self._tools, "DELETE", url, decode=http.nothing, auth=self.auth)

    def judge(self, answer: http.Answer) -> GatewayError | None:
        """What a refused send or purchase is about. 404 on what names nothing but our account is about the account, as 401
        and 403 are (10, inferred); 400 about what was asked for."""
        code = f"HTTP {answer.status}"
        if answer.status == 404:
            text = "The carrier does not know our account: its GUID in the configuration is wrong, or it has no API access."
            return CarrierRefused(text, outcome=Outcome.NO_CREDIT, carrier_code=code)
        if answer.status == 400:
            text = f"The carrier refuses it: {self._words(answer)}"
            return CarrierRefused(text, outcome=Outcome.NOT_AUTHORISED, carrier_code=code)
        return None

    def _words(self, answer: http.Answer) -> str:
        """The carrier's reason, unless it repeats our password to us."""
        try:
            said = ErrorAnswer.model_validate_json(answer.body).error.message
        except ValidationError:
            said = ""
        known = said and not any(secret in said for secret in self.auth)
        return printable(said, 200) if known else "this number, line or document is none that it takes."
