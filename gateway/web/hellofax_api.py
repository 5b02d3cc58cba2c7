"""The HelloFax API, served: the programs written for it run against this gateway. Wire reference: reference/hellofax.md.

Below `/v1` and `/apiapp.php/v1`: Accounts, FaxLines, AreaCodes, Transmissions, and a description at `/v1/openapi.json`.
Success is 200 and nothing else; a send is answered 200 when it is durable. What the public material leaves open, and what
was chosen:

    400  parameters: unknown, contradictory, missing, wrong       401  login or password
    403  another account's GUID; what the operator has fixed      404  no such fax, line or path; another account's
    405  method         408, 413, 415  body                       429  200 faxes pending; failed sign-ins; `Retry-After`
    502  the carrier's answer was lost: perhaps done              503  not now, nothing was done; `Retry-After`

- Every call signs in, AreaCodes too. Errors are `{"Error": {"Code": 429, "Message": "…"}}`.
- Accounts are changed by POST or PUT, with a form or JSON; the answer is the changed account. "" takes a callback away.
- Lines are written with eleven digits and read with ten, eleven, or `+`. Buying answers the line as `FaxLine`, giving one
  back too.
- Area codes are texts: `{"AreaCodes": ["213", "415"]}`.
- Lists have sent and received faxes of all doors, newest first. `Page` counts from 0; `PageSize` is 20, at most 100. The
  next page's URI says `After` which fax it begins, so that it costs the same at any depth and new faxes move nothing. Beyond
  10,000 faxes `Total`, `NumPages` and `LastPageUri` are null.
- `FaxLine` in the singular is the same as `FaxLines`: the vendor's migration guide writes it so.

Limits: the password travels with every call, so the way here must be TLS (a proxy's) or the machine itself.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.types import Receive, Scope, Send

from gateway import number
from gateway.config import Config
from gateway.desk.identity import Identity
from gateway.desk.lines import Lines
from gateway.desk.submit import Desk
from gateway.desk.throttle import Tally, Throttle
from gateway.errors import GatewayError, NotAdmitted, Refused, TooMany, Unavailable, Uncertain
from gateway.fax import Account, InboundFax, Line, Transmission
from gateway.sections import HelloFaxDoor
from gateway.spool import inbounds, queries
from gateway.spool.store import Store
from gateway.units import WebAddress
from gateway.web import form, hellofax, hellofax_openapi, hellofax_send
from gateway.web.basic import credentials
from gateway.web.form import Fault, Parameters
from gateway.web.guid import id_of
from gateway.web.hellofax_send import Sends

PREFIXES = ("/v1", "/apiapp.php/v1")
_MAX_BODY = 31_500_000  # bytes: 30 MB of files and their wrapping
_BODY_TIME = 120.0  # seconds
_UNREAD = 1_000_000  # bytes of a stranger's body that are read so that he sees the answer
_RETRY_AFTER = 30  # seconds
_COUNTED = 10_000  # faxes; further ones are listed, not counted
_DEEPEST = 100_000  # faxes that a page may be behind by its number alone
_SETTINGS = {
    "DefaultInboundFaxCallbackUrl": "inbound_callback",
    "DefaultOutboundFaxCallbackUrl": "outbound_callback",
    "ShouldSendOutboundConfEmails": "confirmations",
    "ShouldSendConfEmails": "confirmations",  # an early README's name
    "ShouldIncludePdfsInReceivedFaxEmails": "received_pdf",
}
_FLAGS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
_WEB_ADDRESS = TypeAdapter[str](WebAddress)
_log = logging.getLogger(__name__)
Answer = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """One call of somebody who has signed in."""

    account: Account
    request: Request
    last: str
    """The last piece of the path, where it names one of several."""

    async def parameters(self, *, scalars: Sequence[str] = (), lists: Sequence[str] = ()) -> Parameters:
        """For calls that upload nothing."""
        items = await form.read(self.request, max_body=_MAX_BODY, body_time=_BODY_TIME)
        try:
            return Parameters(items, scalars=scalars, lists=lists)
        finally:
            form.close(items)


class HelloFaxApi:
    """The door."""

    def __init__(
        self, config: Config, identity: Identity, desk: Desk, store: Store, lines: Lines, *, throttle: Throttle
    ) -> None:
        self._identity, self._store, self._lines, self._throttle = identity, store, lines, throttle
        limits = config.door.hellofax or HelloFaxDoor()
        self._sends = Sends(identity=identity, desk=desk, store=store, host=config.host, pending=limits.pending)
        self._most_lines, self._buying = limits.lines, asyncio.Lock()
        self._strange = Tally(20, 30.0)  # other accounts' GUIDs, by account
        verbs = Mapping[str, Callable[[_Call], Awaitable[Answer]]]
        self._resources: Sequence[tuple[re.Pattern[str], verbs]] = (
            (re.compile(r"AreaCodes"), {"GET": self._areas}),
            (re.compile(r"Accounts/(?P<guid>[^/]+)"), {"GET": self._account, "POST": self._change, "PUT": self._change}),
            (re.compile(r"Accounts/(?P<guid>[^/]+)/FaxLines?"), {"GET": self._list_lines, "POST": self._buy}),
            (re.compile(r"Accounts/(?P<guid>[^/]+)/FaxLines?/(?P<last>[^/]+)"), {"DELETE": self._release}),
            (re.compile(r"Accounts/(?P<guid>[^/]+)/Transmissions"), {"GET": self._list, "POST": self._send}),
            (re.compile(r"Accounts/(?P<guid>[^/]+)/Transmissions/(?P<last>[^/]+)"), {"GET": self._one}),
        )

    def routes(self) -> list[BaseRoute]:
        """For `WebDoor`."""
        return [Mount(prefix, self._serve) for prefix in PREFIXES]

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        unread = _UNREAD
        try:
            if _below(request) == "openapi.json" and request.method in ("GET", "HEAD"):
                body: Mapping[str, object] = hellofax_openapi.DESCRIPTION
            else:
                account = await self._signed_in(request)
                unread = _MAX_BODY
                body = await self._answer(account, request)
            response = _response(200, body)
        except (Fault, GatewayError) as error:
            fault = error if isinstance(error, Fault) else _fault(error)
            if fault.status != 408:
                await form.drain(request, unread)
            text = {"Error": {"Code": fault.status, "Message": fault.text}}
            response = _response(fault.status, text, fault.headers)
        await response(scope, receive, send)

    async def _answer(self, account: Account, request: Request) -> Answer:
        path = _below(request).removesuffix("/")
        for pattern, verbs in self._resources:
            found = pattern.fullmatch(path)
            if found is None:
                continue
            named = found.groupdict()
            if "guid" in named:
                self._check_guid(account, named["guid"])
            method = "GET" if request.method == "HEAD" else request.method
            if method not in verbs:
                raise Fault(405, f"{request.method} is not possible here.", {"allow": ", ".join(verbs)})
            return await verbs[method](_Call(account=account, request=request, last=named.get("last", "")))
        raise Fault(404, "There is nothing here.")

    async def _signed_in(self, request: Request) -> Account:
        given = credentials(request.headers.get("authorization", ""))
        account = None
        if given is not None:
            client = request.client.host if request.client else ""
            account = await self._throttle.by_password(client, *given)
            if account is None:
                _log.warning("wrong login or password at the HelloFax door from %s", client, extra={"action": "sign_in_failed"})
        if account is None:
            text = "Sign in with login and password (HTTP Basic)." if given is None else "Login or password is wrong."
            raise Fault(401, text, {"www-authenticate": 'Basic realm="HelloFax API", charset="UTF-8"'})
        return account

    def _check_guid(self, account: Account, guid: str) -> None:
        if guid.lower() == account.guid:
            return
        if wait := self._strange.wait(account.id):
            raise TooMany("Too many calls with another account's GUID: wait.", retry_after=wait)
        self._strange.add(account.id)
        raise Fault(403, "This is not the GUID of the account that signed in.")

    async def _account(self, call: _Call) -> Answer:
        await call.parameters()
        return {"Account": hellofax.account_object(call.account)}

    async def _change(self, call: _Call) -> Answer:
        parameters = await call.parameters(scalars=tuple(_SETTINGS))
        changes: dict[str, str | bool] = {}
        for name, setting in _SETTINGS.items():
            if not parameters.given(name):
                continue
            value = _setting(name, parameters.one(name))
            if changes.setdefault(setting, value) != value:
                raise Fault(400, f"{name} contradicts another parameter.")
        account = await self._identity.change_settings(call.account, **changes) if changes else call.account
        return {"Account": hellofax.account_object(account)}

    async def _areas(self, call: _Call) -> Answer:
        state = (await call.parameters(scalars=("StateCode",))).one("StateCode")
        if not re.fullmatch(r"[A-Za-z]{2}", state):
            raise Fault(400, "StateCode is the two letters of a state, like CA.")
        return {"AreaCodes": list(await self._lines.areas(state.upper()))}

    async def _list_lines(self, call: _Call) -> Answer:
        await call.parameters()
        return {"FaxLines": [hellofax.line_object(call.account, line) for line in await self._lines_of(call.account)]}

    async def _buy(self, call: _Call) -> Answer:
        area = (await call.parameters(scalars=("AreaCode",))).one("AreaCode")
        if not re.fullmatch(r"[2-9][0-9]{2}", area):
            raise Fault(400, "AreaCode is three digits, like 415; AreaCodes lists those on sale.")
        async with self._buying:
            if len(await self._lines_of(call.account)) >= self._most_lines:
                raise Fault(403, f"This account may hold {self._most_lines} fax lines: give one back, or ask the operator.")
            line = await self._lines.buy(call.account, area)
        return {"FaxLine": hellofax.line_object(call.account, line)}

    async def _release(self, call: _Call) -> Answer:
        await call.parameters()
        try:
            wanted = number.parse(call.last, "US").e164
        except Refused:
            wanted = ""
        line = next((line for line in await self._lines_of(call.account) if line.number == wanted), None)
        if line is None:
            raise Fault(404, "This account has no such fax line.")
        await self._lines.release(call.account, line.number)
        return {"FaxLine": hellofax.line_object(call.account, line)}

    async def _lines_of(self, account: Account) -> list[Line]:
        return [line for line in await self._identity.lines() if line.account == account.id]

    async def _send(self, call: _Call) -> Answer:
        await self._sends.check_pending(call.account)
        items = await form.read(call.request, max_body=_MAX_BODY, body_time=_BODY_TIME)
        try:
            parameters = Parameters(items, scalars=hellofax_send.SCALARS, lists=hellofax_send.LISTS)
            return await self._sends.send(call.account, call.request, parameters)
        except Refused as error:  # about this fax, not about the account: 403 would stop a program's other faxes too
            raise Fault(400, error.text) from error
        finally:
            form.close(items)

    async def _one(self, call: _Call) -> Answer:
        await call.parameters()
        identity = id_of(call.last) or ""
        fax: Transmission | InboundFax | None = None
        if identity.startswith("tx_"):
            fax = await self._store.read_one(queries.transmissions, identity)
        elif identity:
            fax = await self._store.read(inbounds.get, identity)
        if fax is None or fax.account != call.account.id:
            raise Fault(404, "This account has no such transmission.")
        return {"Transmission": _object(call.account, fax)}

    async def _list(self, call: _Call) -> Answer:
        parameters = await call.parameters(scalars=("Page", "PageSize", "After"))
        page, size = _count("Page", parameters.one("Page"), 0), _count("PageSize", parameters.one("PageSize"), 20)
        account, after, size = call.account, id_of(parameters.one("After")), min(size, 100)
        if parameters.given("After") and after is None:
            raise Fault(400, "After is a GUID out of NextPageUri.")
        before = await self._store.read(queries.place_of, account.id, after) if after else None
        offset = 0 if before else page * size
        if not size or offset > _DEEPEST:
            raise Fault(400, f"PageSize is at least 1, and a page is at most {_DEEPEST} faxes deep; NextPageUri leads further.")
        found = await self._store.read(queries.of_account, account.id, limit=size + 1, offset=offset, before=before)
        total = await self._store.read(queries.count_of_account, account.id, _COUNTED + 1)
        faxes = [_object(account, fax) for fax in found[:size]]
        last = math.ceil(total / size) - 1 if total <= _COUNTED else None

        def uri(n: int, more: str = "") -> str:
            return f"{hellofax.account_uri(account)}/Transmissions?Page={n}&PageSize={size}{more}"

        return {
            "Transmissions": faxes,
            "Page": page,
            "PageSize": size,
            "NumPages": None if last is None else last + 1,
            "Total": None if last is None else total,
            "FirstPageUri": uri(0),
            "PreviousPageUri": uri(page - 1) if page else None,
            "NextPageUri": uri(page + 1, f"&After={faxes[-1]['Guid']}") if len(found) > size else None,
            "LastPageUri": None if last is None else uri(max(0, last)),
        }


def _below(request: Request) -> str:
    """The path after the prefix, decoded, without the slash between them."""
    return str(request.scope["path"]).removeprefix(request.scope["root_path"]).removeprefix("/")


def _object(account: Account, fax: Transmission | InboundFax) -> dict[str, object]:
    if isinstance(fax, InboundFax):
        return hellofax.inbound_object(account, fax)
    return hellofax.transmission_object(account, fax)


def _setting(name: str, written: str) -> str | bool:
    if name.endswith("Url"):
        try:
            return _WEB_ADDRESS.validate_python(written)
        except ValidationError as error:
            raise Fault(400, f"{name} must be a URL like https://www.example.com/fax, without name and password.") from error
    if written.lower() not in _FLAGS:
        raise Fault(400, f"{name} is true or false.")
    return _FLAGS[written.lower()]


def _count(name: str, written: str, default: int) -> int:
    if not re.fullmatch(r"[0-9]{0,7}", written):
        raise Fault(400, f"{name} is a number.")
    return int(written or default)


def _fault(error: GatewayError) -> Fault:
    if isinstance(error, TooMany | Unavailable):
        wait = {"retry-after": str(math.ceil(error.retry_after or _RETRY_AFTER))}
        return Fault(429 if isinstance(error, TooMany) else 503, error.text, wait)
    if isinstance(error, Uncertain):
        return Fault(502, error.text)
    return Fault(403 if isinstance(error, NotAdmitted) else 400, error.text)


def _response(status: int, body: Mapping[str, object], headers: Mapping[str, str] | None = None) -> Response:
    kept = {"content-type": "application/json", "cache-control": "no-store", **(headers or {})}
    return Response(hellofax.encoded(body), status_code=status, headers=kept)
