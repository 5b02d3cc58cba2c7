"""What the daemon hands to an adapter, for tests: a clock that can be put forward, a rasteriser that leaves a mark."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from gateway import carriers
from gateway.carriers import http as carriers_http
from gateway.carriers.base import Order, Tools
from gateway.carriers.loopback import Loopback

LINE = "+14155550100"
PDF = b"%PDF-1.4\n%%EOF\n"
PRINTED = b"%PDF-1.4\n% as a fax machine prints it\n"


class Clock:
    """Real time, put forward by a test."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def forward(self, seconds: float) -> None:
        self.ahead += timedelta(seconds=seconds)


def tools_for(
    folder: Path,
    *,
    http: httpx.AsyncClient,
    now: Callable[[], datetime] | None = None,
    callback_url: str = "",
    lines: Sequence[str] = (LINE,),
) -> Tools:
    async def our_lines() -> Sequence[str]:
        return lines

    async def rasterise(pdf: bytes) -> bytes:
        return PRINTED + pdf

    return Tools(
        name="main",
        now=now or Clock(),
        http=http,
        folder=folder / "carrier",
        callback_url=callback_url,
        lines=our_lines,
        rasterise=rasterise,
    )


def order(
    folder: Path, number: str = "+14155550123", reference: str = "at_1", *, pages: int = 2, content: bytes = PDF
) -> Order:
    """An order whose document lies in `folder`."""
    document = folder / "document.pdf"
    document.write_bytes(content)
    return Order(reference=reference, number=number, caller=LINE, document=document, pages=pages, subject="Offer")


@asynccontextmanager
async def running(
    folder: Path, clock: Callable[[], datetime] | None = None, url: str = "", **section: object
) -> AsyncIterator[Loopback]:
    """A started loopback network whose calls take 20 s of the clock unless the section says otherwise."""
    section = {"kind": "loopback", "call_time": "20s", **section}
    async with carriers_http.client() as client:
        tools = tools_for(folder, http=client, now=clock, callback_url=url)
        adapter = carriers.build("main", section, "gateway.toml", tools)
        assert isinstance(adapter, Loopback)
        await adapter.start()
        try:
            yield adapter
        finally:
            await adapter.stop()
