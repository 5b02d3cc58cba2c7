"""The account's page: what arrived on its lines, to be read, and what it sent.

    /                     both lists, newest first; ?received=ID and ?sent=ID begin after one of the account's faxes
    /received/ID.pdf      a received fax
    /site.css             how the page looks

Whoever has the account's login and password is let in (HTTP Basic, the same as at every door; failed sign-ins wait). A fax
of another account is not there (404). The page changes nothing and has no scripts; nothing of it is kept by the browser or a
proxy. Without TLS in front the password and the faxes can be read on the way.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.desk.throttle import Throttle
from gateway.errors import TooMany, Unavailable
from gateway.fax import Account, InboundFax, InboundState, Transmission
from gateway.fax import TransmissionState as T
from gateway.report import facts
from gateway.report.compose import file_name
from gateway.spool import inbounds, queries
from gateway.spool.documents import Documents
from gateway.spool.store import Store
from gateway.templates import Templates
from gateway.web.basic import credentials

_ROWS = 25  # of each list on one page
_RETRY_AFTER = 30  # seconds
_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_SENT: Mapping[T, str] = {
    T.ACCEPTED: "being prepared",
    T.READY: "waiting to be sent",
    T.SENDING: "being sent",
    T.DEFERRED: "will be tried again",
    T.HELD: "waits for the operator",
    T.DELIVERED: "delivered",
    T.FAILED: "failed",
    T.CANCELLED: "cancelled",
}
_LOST = {
    InboundState.ANNOUNCED: "is being fetched",
    InboundState.FAILED: "lost at the carrier",
    InboundState.REFUSED: "refused",
}
_log = logging.getLogger(__name__)
Endpoint = Callable[[Request], Awaitable[Response]]
Page = Callable[[Request, Account], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One fax, in words."""

    id: str
    time: str
    other: str
    """The far end: who called, or who was called."""
    line: str
    """Ours."""
    pages: str
    state: str
    mood: str
    """good, bad or open."""
    document: bool = False
    """It can be fetched."""


@dataclass(frozen=True, slots=True)
class _List:
    """One page of a list."""

    name: str
    after: str
    """The fax it begins after; "" = the newest."""
    rows: tuple[Row, ...]
    more: bool

    @property
    def last(self) -> str:
        return self.rows[-1].id if self.rows else ""


class _Stop(Exception):
    """The answer is no; carries it."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status, self.text, self.headers = status, text, headers or {}


class Site:
    """The page of every account.

    name  what the service is called: the domain that is faxed
    zone  IANA name; times are shown in it
    """

    def __init__(
        self, *, store: Store, documents: Documents, throttle: Throttle, templates: Templates, name: str, zone: str
    ) -> None:
        self._store, self._documents, self._throttle, self._templates = store, documents, throttle, templates
        self._name, self._zone = name, ZoneInfo(zone)

    def routes(self) -> list[BaseRoute]:
        """For `WebDoor`."""
        return [
            Route("/", self._for_accounts(self._lists)),
            Route("/received/{fax}.pdf", self._for_accounts(self._document)),
            Route("/site.css", self._style),
        ]

    def _for_accounts(self, page: Page) -> Endpoint:
        async def answer(request: Request) -> Response:
            try:
                return await page(request, await self._signed_in(request))
            except _Stop as stop:
                return self._page("stop.html", stop.status, stop.headers, text=stop.text)
            except (TooMany, Unavailable) as error:
                wait = {"Retry-After": str(math.ceil(error.retry_after or _RETRY_AFTER))}
                return self._page("stop.html", 429 if isinstance(error, TooMany) else 503, wait, text=error.text)

        return answer

    async def _signed_in(self, request: Request) -> Account:
        given, account = credentials(request.headers.get("authorization", "")), None
        if given is not None:
            client = request.client.host if request.client else ""
            account = await self._throttle.by_password(client, *given)
            if account is None:
                _log.warning("wrong login or password at the page from %s", client, extra={"action": "page_sign_in_failed"})
        if account is None:
            text = "Login or password is wrong." if given else "Sign in with your login and password."
            raise _Stop(401, text, {"WWW-Authenticate": 'Basic realm="Faxgate", charset="UTF-8"'})
        return account

    async def _lists(self, request: Request, account: Account) -> Response:
        after_received, after_sent = (request.query_params.get(name, "") for name in ("received", "sent"))
        received = await self._store.read(
            inbounds.page, account=account.id, before=await self._place(account, after_received), limit=_ROWS + 1
        )
        sent = await self._store.read(
            queries.page, account=account.id, before=await self._place(account, after_sent), limit=_ROWS + 1
        )
        lists = (
            _List("received", after_received, tuple(self._arrived(fax) for fax in received[:_ROWS]), len(received) > _ROWS),
            _List("sent", after_sent, tuple(self._went(fax) for fax in sent[:_ROWS]), len(sent) > _ROWS),
        )
        links = {one.name: (_query(one.name, "", lists), _query(one.name, one.last, lists)) for one in lists}
        return self._page("faxes.html", 200, {}, account=account.name, lists=lists, links=links, zone=self._zone.key)

    async def _place(self, account: Account, fax: str) -> tuple[datetime, str] | None:
        if not fax:
            return None
        if (place := await self._store.read(queries.place_of, account.id, fax)) is None:
            raise _Stop(404, "There is no such fax.")
        return place

    async def _document(self, request: Request, account: Account) -> Response:
        inbound = await self._store.read(inbounds.get, str(request.path_params["fax"]))
        if inbound is None or inbound.account != account.id:
            raise _Stop(404, "There is no such fax.")
        if inbound.document is None:
            raise _Stop(
                404, "This fax is not kept here any more." if inbound.state is InboundState.MAILED else "It is not here."
            )
        disposition = f'attachment; filename="{file_name(inbound, self._zone)}"'
        pdf = await self._documents.get(inbound.document)
        return Response(pdf, media_type="application/pdf", headers={**_HEADERS, "Content-Disposition": disposition})

    async def _style(self, _request: Request) -> Response:
        style = self._templates.render("web/site.css")
        return Response(style, media_type="text/css", headers={**_HEADERS, "Cache-Control": "max-age=3600"})

    def _page(self, name: str, status: int, headers: Mapping[str, str], **values: object) -> Response:
        html = self._templates.render(f"web/{name}", service=self._name, **values)
        return Response(html, status, {**_HEADERS, **headers}, media_type="text/html")

    def _arrived(self, fax: InboundFax) -> Row:
        lost = fax.state in _LOST or fax.document is None
        words = _LOST.get(fax.state, "waits for the operator" if fax.state is InboundState.HELD else "not kept any more")
        if not lost:
            words = "arrived" if fax.complete else "incomplete: the call broke off"
        return Row(
            id=fax.id,
            time=facts.moment(fax.received_at, self._zone),
            other=facts.readable(fax.caller) or "unknown caller",
            line=facts.readable(fax.line),
            pages=facts.counted(fax.pages) if fax.pages else "",
            state=words,
            mood="bad" if fax.state is InboundState.FAILED else "open" if lost or not fax.complete else "good",
            document=fax.document is not None,
        )

    def _went(self, fax: Transmission) -> Row:
        words = "waits to be approved" if facts.waits_for_approval(fax) else _SENT[fax.state]
        if fax.state is T.FAILED and fax.outcome:
            words = f"{words}: {facts.short(fax.outcome)}"
        return Row(
            id=fax.id,
            time=facts.moment(fax.accepted_at, self._zone),
            other=facts.readable(fax.number),
            line=facts.readable(fax.caller),
            pages=facts.counted(fax.pages) if fax.pages else "",
            state=words,
            mood={T.DELIVERED: "good", T.FAILED: "bad", T.CANCELLED: "bad"}.get(fax.state, "open"),
        )


def _query(name: str, after: str, lists: tuple[_List, ...]) -> str:
    """The page on which one list begins after a fax, and the other ones as they are."""
    places = {one.name: after if one.name == name else one.after for one in lists}
    return "/?" + urlencode({name: place for name, place in places.items() if place})
