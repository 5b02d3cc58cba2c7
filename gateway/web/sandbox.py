"""The sandbox's page: a fax arrives when somebody says so, as the vendor's sandbox had it.

    GET  /sandbox       the form
    POST /sandbox       a fax arrives: `line` (default: the first), `caller`, `file` (PDF or TIFF; default: a sample page)

Only a sandbox has it: nobody signs in. It takes no fax for a number that is not one of its lines.
"""

from __future__ import annotations

import io

from reportlab.lib.pagesizes import LETTER
from reportlab.pdfgen.canvas import Canvas
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gateway import number
from gateway.carriers.loopback import Loopback
from gateway.errors import Refused, Unavailable
from gateway.templates import Templates
from gateway.web import form
from gateway.web.form import Fault, Parameters

_MAX_BODY = 31_500_000  # bytes
_BODY_TIME = 60.0  # seconds
_CALLER = "+12125550199"
_FORMATS = (b"%PDF-", b"II*\0", b"MM\0*")


class SandboxPage:
    """The page over the simulated network."""

    def __init__(self, network: Loopback, templates: Templates, *, name: str) -> None:
        self._network, self._templates, self._name = network, templates, name

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/sandbox", self._show, methods=["GET"], include_in_schema=False),
            Route("/sandbox", self._inject, methods=["POST"], include_in_schema=False),
        ]

    async def _show(self, _request: Request) -> Response:
        lines = await self._network.tools.lines()
        page = self._templates.render("web/sandbox.html", service=self._name, lines=lines, caller=_CALLER)
        return Response(page, media_type="text/html")

    async def _inject(self, request: Request) -> Response:
        """The fax's reference at the carrier and its line, or the reason why none arrives."""
        try:
            items = await form.read(request, max_body=_MAX_BODY, body_time=_BODY_TIME)
            try:
                said = Parameters(items, scalars=("line", "caller", "file"))
                line = said.one("line") or next(iter(await self._network.tools.lines()), "")
                caller = number.parse(said.one("caller") or _CALLER, "US").e164
                document = await _file(said) or sample_page(line)
            finally:
                form.close(items)
            ref = await self._network.receive(line, caller, document, "SANDBOX")
        except Fault as fault:
            return JSONResponse({"error": fault.text}, fault.status)
        except Refused as error:
            return JSONResponse({"error": error.text}, 400)
        except Unavailable as error:
            return JSONResponse({"error": error.text}, 503)
        return JSONResponse({"fax": ref, "line": line, "caller": caller})


async def _file(said: Parameters) -> bytes:
    """What was uploaded; b"" = nothing, as a form without a chosen file says it. Raises Fault."""
    values = said.many("file")
    if not values or not isinstance(values[0], UploadFile):
        return b""
    content = await values[0].read()
    if content and not content.startswith(_FORMATS):
        raise Fault(400, "A fax is a PDF or a TIFF.")
    return content


def sample_page(line: str) -> bytes:
    """One page of PDF."""
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=LETTER, invariant=True)
    canvas.setFont("Helvetica-Bold", 24)
    canvas.drawString(72, 700, "A fax for the sandbox")
    canvas.setFont("Helvetica", 12)
    canvas.drawString(72, 670, f"It came in on {line}.")
    canvas.showPage()
    canvas.save()
    return out.getvalue()
