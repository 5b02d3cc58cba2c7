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
from PIL import Image, ImageChops, ImageFilter

_PERIOD = 8  # pixels: two 45-degree cells in a tile
_DARK, _LIGHT = 56, 208  # tones between these are neither ink nor paper
_LOOK = 24  # pixels: the neighbourhood in which tones are judged
_SHARE = 0.35  # of a neighbourhood: with more tone than this it is a photograph
_WHOLE = 0.5  # of a picture: with more tone than this all of it is
_EDGE, _STEEP = 2, 30  # a tone that changes by so much over so many pixels is an edge
_PAPER_SHARE, _PAPER_SPREAD = 0.4, 16  # so much of a picture within so many tones is its paper,
_DIMMEST = 176  # if it is at least as light as this


def with_photos(page: pypdfium2.PdfPage, grey: Image.Image, black_and_white: Image.Image) -> Image.Image:
    """The black-and-white page with its photographs screened. `grey` is the same page in tones, equally large."""
    mask = _photographs(page, grey)
    if mask is None:
        return black_and_white
    return Image.composite(_screened(grey), black_and_white.convert("L"), mask).convert("1", dither=Image.Dither.NONE)


def _photographs(page: pypdfium2.PdfPage, grey: Image.Image) -> Image.Image | None:
    """Where pictures are and have tones, as a mask; None where there is no such place."""
    mask = Image.new("L", grey.size)
    for box in _pictures(page, grey.size):
        mask.paste(_toned(grey.crop(box)), box)
    return mask if mask.getbbox() else None


def _toned(picture: Image.Image) -> Image.Image:
    """Where one picture is a photograph, as a mask."""
    flat = _flat_tones(picture)
    if flat.histogram()[255] > _WHOLE * picture.width * picture.height:
        return Image.new("L", picture.size, 255)
    small = (max(1, picture.width // _LOOK), max(1, picture.height // _LOOK))
    dense = flat.resize(small, Image.Resampling.BOX).point([255 if tone > 255 * _SHARE else 0 for tone in range(256)])
    # Grown, so that dark and light places inside a photograph belong to it too.
    return dense.filter(ImageFilter.MaxFilter(5)).resize(picture.size, Image.Resampling.NEAREST)


def _flat_tones(picture: Image.Image) -> Image.Image:
    """Where its tones are neither ink nor paper, nor the edge between the two, which is all that scanned words have."""
    light = _lightest(picture.histogram())
    tones = picture.point([255 if _DARK < tone < light else 0 for tone in range(256)])
    for step in ((_EDGE, 0), (0, _EDGE)):
        change = ImageChops.difference(picture, ImageChops.offset(picture, *step))
        tones = ImageChops.darker(tones, change.point([255 if tone < _STEEP else 0 for tone in range(256)]))
    return tones


def _lightest(histogram: list[int]) -> int:
    """Tones from here on are paper. Scanned paper may be grey: then most of the picture has nearly one tone."""
    paper = max(range(_DIMMEST, 256), key=histogram.__getitem__)
    share = sum(histogram[paper - _PAPER_SPREAD : paper + _PAPER_SPREAD + 1]) / sum(histogram)
    return min(_LIGHT, paper - _PAPER_SPREAD) if share > _PAPER_SHARE else _LIGHT


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
    # Lighter than the pattern: paper.
    return ImageChops.subtract(grey, pattern).point([0] + [255] * 255)


def _thresholds() -> list[int]:
    """Ink grows from two points of the tile, in the order of a cosine hill, until everything is black."""
    turn = 2 * math.pi / _PERIOD
    places = [(x, y) for y in range(_PERIOD) for x in range(_PERIOD)]

    def hill(place: tuple[int, int]) -> tuple[float, int, int]:
        x, y = place
        return (round(math.cos(turn * (x + y)) + math.cos(turn * (x - y)), 6), x, y)

    rank = {place: n for n, place in enumerate(sorted(places, key=hill))}
    return [round((rank[place] + 0.5) * 255 / len(places)) for place in places]
