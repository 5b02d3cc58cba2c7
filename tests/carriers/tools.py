"""What the daemon hands to an adapter, for tests: a clock that can be put forward, a rasteriser that leaves a mark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from gateway.carriers.base import Order, Tools

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
