"""Photographs in black and white: dots whose size says how dark it is.

A threshold makes a photograph a silhouette; error diffusion makes it longer on the wire than no coding at all. A clustered
dot keeps the tone at a fraction of the bytes (reference measurements: 45 degrees, cells of 32 pixels). Only where a page
shows a picture *and* its tones are neither paper nor ink; scanned text stays with the threshold, which reads better.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import pypdfium2
import pypdfium2.raw as pdfium
from PIL import Image, ImageChops, ImageFilter, ImageOps

_PERIOD = 8  # pixels: two 45-degree cells in a tile
_DARK, _LIGHT = 56, 208  # tones between these are neither ink nor paper
_LOOK = 24  # pixels: the neighbourhood in which tones are judged
_SHARE = 0.35  # of a neighbourhood: with more tone than this it is a photograph
_WHOLE = 0.5  # of a picture: with more tone than this all of it is


def with_photos(page: pypdfium2.PdfPage, grey: Image.Image, black_and_white: Image.Image) -> Image.Image:
    """The black-and-white page with its photographs screened. `grey` is the same page in tones, equally large."""
    mask = _photographs(page, grey)
    if mask is None:
        return black_and_white
    return Image.composite(_screened(grey), black_and_white.convert("L"), mask).convert("1", dither=Image.Dither.NONE)


def _photographs(page: pypdfium2.PdfPage, grey: Image.Image) -> Image.Image | None:
    """Where pictures are and have tones, as a mask; None where there is no such place."""
    pictures = list(_pictures(page, grey.size))
    if not pictures:
        return None
    tones = grey.point([255 if _DARK < tone < _LIGHT else 0 for tone in range(256)])
    small = (max(1, grey.width // _LOOK), max(1, grey.height // _LOOK))
    dense = tones.resize(small, Image.Resampling.BOX).point([255 if tone > 255 * _SHARE else 0 for tone in range(256)])
    # Grown, so that dark and light places inside a photograph belong to it too.
    dense = dense.filter(ImageFilter.MaxFilter(5)).resize(grey.size, Image.Resampling.NEAREST)
    mask = Image.new("L", grey.size)
    for box in pictures:
        inside = tones.crop(box)
        whole = inside.histogram()[255] > _WHOLE * inside.width * inside.height
        mask.paste(255 if whole else dense.crop(box), box)
    return mask if mask.getbbox() else None


def _pictures(page: pypdfium2.PdfPage, size: tuple[int, int]) -> Iterable[tuple[int, int, int, int]]:
    """Places of the pictures on the page, in pixels from the top left."""
    width, height = page.get_size()
    across, down = size[0] / width, size[1] / height
    for picture in page.get_objects(filter=(pdfium.FPDF_PAGEOBJ_IMAGE,), max_depth=8):
        left, bottom, right, top = picture.get_bounds()
        box = (int(left * across), int((height - top) * down), int(right * across), int((height - bottom) * down))
        if box[2] > box[0] and box[3] > box[1]:
            yield box


def _screened(grey: Image.Image) -> Image.Image:
    """The whole page in dots, as tones 0 and 255."""
    tile = Image.new("L", (_PERIOD, _PERIOD))
    tile.putdata(_thresholds())
    pattern = Image.new("L", grey.size)
    row = Image.new("L", (grey.width, _PERIOD))
    for x in range(0, grey.width, _PERIOD):
        row.paste(tile, (x, 0))
    for y in range(0, grey.height, _PERIOD):
        pattern.paste(row, (0, y))
    stretched = ImageOps.autocontrast(grey, cutoff=1)
    # Lighter than the pattern: paper.
    return ImageChops.subtract(stretched, pattern).point([0] + [255] * 255)


def _thresholds() -> list[int]:
    """Ink grows from two points of the tile, in the order of a cosine hill, until everything is black."""
    turn = 2 * math.pi / _PERIOD
    places = [(x, y) for y in range(_PERIOD) for x in range(_PERIOD)]

    def hill(place: tuple[int, int]) -> tuple[float, int, int]:
        x, y = place
        return (round(math.cos(turn * (x + y)) + math.cos(turn * (x - y)), 6), x, y)

    rank = {place: n for n, place in enumerate(sorted(places, key=hill))}
    return [round((rank[place] + 0.5) * 255 / len(places)) for place in places]
