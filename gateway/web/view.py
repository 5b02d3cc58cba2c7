"""The pages of one fax, from the link in a report.

    GET  /view/FAX/UNTIL/MAC    the PDF, till the link ends

Whoever has the link may read them: it cannot be guessed, is good for one fax, and ends. Nothing of it is kept by the browser or
a proxy. A link that was not made here, or names a fax that is not known any more, is told the same.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.desk.views import Views
from gateway.errors import Unavailable
from gateway.spool import queries
from gateway.spool.documents import Documents
from gateway.spool.store import Store
from gateway.templates import Templates

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class ViewPage:
    """The page over one spool; `name` is what the service is called."""

    def __init__(
        self,
        *,
        store: Store,
        documents: Documents,
        views: Views,
        templates: Templates,
        name: str,
        now: Callable[[], datetime],
    ) -> None:
        self._store, self._documents, self._views, self._templates = store, documents, views, templates
        self._name, self._now = name, now

    def routes(self) -> list[BaseRoute]:
        """For `WebDoor`."""
        return [Route("/view/{fax}/{until}/{mac}", self._show, methods=["GET"])]

    async def _show(self, request: Request) -> Response:
        fax, seconds, mac = (str(request.path_params[name]) for name in ("fax", "until", "mac"))
        until = self._views.until(fax, seconds, mac)
        if until is None:
            return self._stop(404, "This link is not valid.", "Copy the whole address from the mail.")
        if until <= self._now():
            return self._stop(410, "This link has ended.", "The operator of this service can say more, by the id of the fax.")
        try:
            return await self._pages(fax)
        except Unavailable as error:
            return self._stop(503, "This does not work right now.", f"{error.text} Try again in a minute.")

    async def _pages(self, fax: str) -> Response:
        found = (await self._store.read(queries.transmissions, [fax])).get(fax)
        if found is None or found.document is None:
            return self._stop(410, "These pages are not kept any more.", "They were removed some time after the fax had ended.")
        headers = {**_HEADERS, "Content-Disposition": f'inline; filename="{found.id}.pdf"'}
        return Response(await self._documents.get(found.document), media_type="application/pdf", headers=headers)

    def _stop(self, status: int, text: str, advice: str) -> Response:
        html = self._templates.render("web/approval-stop.html", service=self._name, text=text, advice=advice)
        return Response(html, status, _HEADERS, media_type="text/html")
