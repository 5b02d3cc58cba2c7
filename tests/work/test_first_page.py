"""The picture in the mail of a received fax: there where it can be drawn, and never in the way of the fax."""

from __future__ import annotations

from pathlib import Path

from gateway.pages.fence import Fence
from gateway.work.picture import first_page
from tests.pages import fax_files


async def test_a_fax_whose_first_page_cannot_be_drawn_is_mailed_without_its_picture(tmp_path: Path) -> None:
    good, bad, gone = (tmp_path / name for name in ("good.pdf", "bad.pdf", "gone.pdf"))
    good.write_bytes(fax_files.pdf("words"))
    bad.write_bytes(b"%PDF-1.4 that is all")
    fence = Fence(memory=300_000_000, time_limit=20, folder=tmp_path / "scraps")
    try:
        assert (await first_page(fence, good)).startswith(b"\x89PNG")
        assert await first_page(fence, bad) == b""
        assert await first_page(fence, gone) == b""
    finally:
        await fence.close()
