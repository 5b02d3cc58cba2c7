"""The page on which somebody agrees to a fax, or does not, from the link in the mail about it.

    GET  /approval/FAX/VERB/MAC           what the fax is, and the buttons; changes nothing, for mail scanners follow links
    POST /approval/FAX/VERB/MAC           decides; once. Afterwards the page says what was decided
    GET  /approval/FAX/VERB/MAC/fax.pdf   the fax, while it waits and where its approver may see it

Whoever has the link may decide: it cannot be guessed, and is good for one fax and one verb. Nothing of it is kept by the
browser or a proxy.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.desk.approval import APPROVE, REJECT, Links
from gateway.desk.identity import Identity
from gateway.desk.limits import Limits
from gateway.desk.steer import steer
from gateway.errors import NotAdmitted, Unavailable
from gateway.fax import Account, TransmissionId
from gateway.fax import TransmissionState as T
from gateway.report import facts
from gateway.report.words import english_words
from gateway.spool import approvals, queries
from gateway.spool.approvals import Approval
from gateway.spool.documents import Documents
from gateway.spool.queries import Case
from gateway.spool.store import Store
from gateway.templates import Templates

_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_VERDICTS = {
    "approved": "Approved",
    "rejected": "Not approved",
    "cancelled": "Cancelled",
    "void": "Not to be decided here any more",
}
_MOODS = {"approved": "good", "rejected": "bad", "cancelled": "bad", "void": "bad"}
_PATH = "/approval/{fax}/{verb}/{mac}"
Page = Callable[[Request, Case, Approval], Awaitable[Response]]


class ApprovalPage:
    """The page over one spool.

    name  what the service is called: the domain that is faxed
    zone  IANA name; times are shown in it
    """

    def __init__(
        self,
        *,
        store: Store,
        documents: Documents,
        identity: Identity,
        limits: Limits,
        links: Links,
        templates: Templates,
        name: str,
        zone: str,
    ) -> None:
        self._store, self._documents, self._identity = store, documents, identity
        self._limits, self._links, self._templates = limits, links, templates
        self._name, self._zone = name, ZoneInfo(zone)

    def routes(self) -> list[BaseRoute]:
        """For `WebDoor`."""
        return [
            Route(_PATH, self._of_a_link(self._show), methods=["GET"]),
            Route(_PATH, self._of_a_link(self._decide), methods=["POST"]),
            Route(_PATH + "/fax.pdf", self._of_a_link(self._pdf), methods=["GET"]),
        ]

    def _of_a_link(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        """The page, for somebody whose link was made here and whose fax is still known."""

        async def answer(request: Request) -> Response:
            fax, verb, mac = (str(request.path_params[name]) for name in ("fax", "verb", "mac"))
            if not self._links.is_ours(fax, verb, mac):
                return self._stop(404, "This link is not valid.", "Copy the whole address from the mail.")
            try:
                case = await self._store.read(queries.case, TransmissionId(fax))
                approval = await self._store.read(approvals.of, TransmissionId(fax))
                if case is None or approval is None:
                    return self._stop(404, "This fax is not known here any more.", "It was decided long ago.")
                return await page(request, case, approval)
            except Unavailable as error:
                return self._stop(503, "This does not work right now.", f"{error.text} Try again in a minute.")

        return answer

    async def _show(self, request: Request, case: Case, approval: Approval, *, noted: bool = False) -> Response:
        account = await self._identity.by_id(case.transmission.account)
        fax = case.transmission
        question = facts.question(
            case.submission,
            fax,
            case.recipients,
            self._zone,
            english_words(),
            account=account.name if account else "",
            cost=self._limits.cost(fax.number, fax.pages),
            links=(self._beside(fax.id, APPROVE), self._beside(fax.id, REJECT)),
        )
        document = ""
        if approval.decided_at is None and self._shows(account, approval):
            document = f"{self._beside(fax.id, APPROVE)}/fax.pdf"
        return self._page(
            200,
            question=question,
            reason=approval.reason,
            verb=str(request.path_params["verb"]),
            document=document,
            verdict=_VERDICTS.get(approval.verdict, ""),
            mood=_MOODS.get(approval.verdict, "open"),
            words=approval.words,
            decided=facts.moment(approval.decided_at, self._zone) if approval.decided_at else "",
            waits=approval.decided_at is None and fax.state is T.HELD and not noted,
        )

    async def _decide(self, request: Request, case: Case, approval: Approval) -> Response:
        fax = case.transmission.id
        with contextlib.suppress(NotAdmitted):  # it was decided before, or a moment ago: the page says how
            await steer(self._store, fax, str(request.path_params["verb"]), by=approval.approver)
        now = await self._store.read(queries.case, fax)
        decided = await self._store.read(approvals.of, fax)
        return await self._show(request, now or case, decided or approval, noted=True)

    async def _pdf(self, _request: Request, case: Case, approval: Approval) -> Response:
        account = await self._identity.by_id(case.transmission.account)
        document = case.transmission.document
        if approval.decided_at or document is None or not self._shows(account, approval):
            return self._stop(404, "The fax cannot be read here.", "It has been decided, or is not to be shown.")
        headers = {**_HEADERS, "Content-Disposition": f'inline; filename="{case.transmission.id}.pdf"'}
        return Response(await self._documents.get(document), media_type="application/pdf", headers=headers)

    def _shows(self, account: Account | None, approval: Approval) -> bool:
        """Whether who is asked may see the pages: who sent them may."""
        return account is not None and (approval.proof or self._limits.shows_content(account))

    def _beside(self, fax: TransmissionId, verb: str) -> str:
        """From one of a fax's pages to another, wherever a proxy has put them."""
        return f"../{self._links.tail(fax, verb)}"

    def _stop(self, status: int, text: str, advice: str) -> Response:
        return self._page(status, name="approval-stop.html", text=text, advice=advice)

    def _page(self, status: int, *, name: str = "approval.html", **values: object) -> Response:
        html = self._templates.render(f"web/{name}", service=self._name, **values)
        return Response(html, status, _HEADERS, media_type="text/html")
