"""Every code of the corpus can be decoded on the printed page, fine and standard: a code turned over or blotted is dead."""

from __future__ import annotations

import pytest
import zxingcpp
from PIL import Image

from bench import corpus
from gateway.pages import raster, windows

WITH_CODES = [page for page in corpus.pages() if page.codes]


def read(picture: Image.Image, *, fine: bool) -> set[str]:
    grey = picture.convert("L")
    if not fine:
        grey = grey.resize((grey.width, grey.height * 2), Image.Resampling.NEAREST)
    return {found.text for found in zxingcpp.read_barcodes(grey)}


def test_the_corpus_has_codes_of_several_kinds_on_several_grounds() -> None:
    assert sum(len(page.codes) for page in WITH_CODES) >= 14


@pytest.mark.parametrize("fine", [True, False], ids=["fine", "standard"])
@pytest.mark.parametrize("opencv", [True, False], ids=["opencv", "numpy"])
@pytest.mark.parametrize("page", WITH_CODES, ids=[page.name for page in WITH_CODES])
def test_every_code_is_decoded(page: corpus.Page, fine: bool, opencv: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if opencv and windows.opencv() is None:
        pytest.skip("OpenCV is not installed")
    if not opencv:
        monkeypatch.setattr(windows, "opencv", lambda: None)
    (printed,) = raster.to_fax_pages(page.pdf, fine=fine)
    assert read(printed, fine=fine) >= set(page.codes)
