"""A picture of the first page of a fax, for mails."""

from __future__ import annotations

import logging
from pathlib import Path

from gateway.errors import BadDocument, ConverterUnavailable
from gateway.pages.fence import Fence

_log = logging.getLogger(__name__)


async def first_page(fence: Fence, pdf: Path) -> bytes:
    """The first page as PNG; b"" where it cannot be drawn: a fax must not stay here for want of a picture."""
    try:
        png = await fence.run("gateway.pages.raster:first_page_png", pdf)
    except (BadDocument, ConverterUnavailable) as error:
        _log.warning("%s has no picture: %s", pdf.name, error.text, extra={"action": "no_picture"})
        return b""
    assert isinstance(png, bytes)
    return png


async def profile_s(fence: Fence, pdf: Path) -> bytes:
    """A received fax as TIFF of profile S; b"" where that cannot be made: the PDF goes instead."""
    try:
        tiff = await fence.run("gateway.pages.printed:profile_s", pdf)
    except (BadDocument, ConverterUnavailable) as error:
        _log.warning("%s goes as PDF: %s", pdf.name, error.text, extra={"action": "no_tiff"})
        return b""
    assert isinstance(tiff, bytes)
    return tiff
