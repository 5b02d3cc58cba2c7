"""Somebody out there who faxes to our lines: the same simulated network, from another process."""

from __future__ import annotations

import asyncio
import io
import time
from typing import Any

from reportlab.graphics import renderPDF
from reportlab.graphics.barcode.qr import QrCodeWidget
from reportlab.graphics.shapes import Drawing
from reportlab.lib.pagesizes import LETTER
from reportlab.pdfgen.canvas import Canvas

from gateway import carriers
from gateway.carriers import http
from gateway.carriers.base import Tools
from gateway.carriers.loopback import Loopback
from gateway.daemon import callback_secret, utc_now
from gateway.pages import raster, wire
from tests.flows.house import House


def page(*words: str, code: str = "", copies: int = 1) -> bytes:
    """A fax as it comes over the line: a TIFF of profile S, with a QR code where `code` says what is in it."""
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=LETTER, invariant=1)
    for _ in range(copies):
        canvas.setFont("Helvetica", 16)
        for n, word in enumerate(words):
            canvas.drawString(72, 700 - 30 * n, word)
        if code:
            drawing = Drawing(150, 150)
            drawing.add(QrCodeWidget(code, barWidth=150, barHeight=150))
            renderPDF.draw(drawing, canvas, 380, 560)
        canvas.showPage()
    canvas.save()
    return wire.profile_s([one.bitmap for one in raster.fax_pages(out.getvalue())])


def call(house: House, line: str, caller: str, document: bytes, station: str = "", **more: Any) -> dict[str, Any]:
    """Fax `document` to a line; what the gateway then says about it. Any: `sub_address`, `complete` of `Loopback.receive`."""
    ref = asyncio.run(_call(house, line, caller, document, station, more))
    return arrived(house, ref)


def arrived(house: House, ref: str) -> dict[str, Any]:
    """What the gateway says about a received fax, by the carrier's name of it."""
    (found,) = [fax for fax in house.ask("received", limit=1000) if fax["carrier_ref"] == ref]
    assert isinstance(found, dict)
    return found


def settled(house: House, fax: dict[str, Any], *states: str) -> dict[str, Any]:
    """The fax, once it is in one of these states; "mailed" where none is named."""
    wanted = states or ("mailed",)
    house.wait(lambda: arrived(house, fax["carrier_ref"])["state"] in wanted, 60, f"{fax['id']} to be {wanted}")
    return arrived(house, fax["carrier_ref"])


async def _call(house: House, line: str, caller: str, document: bytes, station: str, more: dict[str, Any]) -> str:
    async def lines() -> list[str]:
        return [line]

    async def rasterise(pdf: bytes) -> bytes:
        return pdf

    async with http.client() as client:
        tools = Tools(
            name="main",
            now=utc_now,
            http=client,
            folder=house.spool / "loopback" / "main",
            callback_url=f"http://127.0.0.1:{house.http_port}/callback/main/{callback_secret(house.spool, 'main')}",
            lines=lines,
            rasterise=rasterise,
        )
        network = carriers.build("main", {"kind": "loopback"}, "gateway.toml", tools)
        assert isinstance(network, Loopback)
        await network.start()
        try:
            ref = await network.receive(line, caller, document, station, **more)
            until = time.monotonic() + 90
            while not any(fax["carrier_ref"] == ref for fax in await asyncio.to_thread(house.ask, "received", limit=1000)):
                assert time.monotonic() < until, "the gateway hears of no fax"
                await asyncio.sleep(0.02)
        finally:
            await network.stop()
    return ref
