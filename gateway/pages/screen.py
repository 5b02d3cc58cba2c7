"""Photographs in black and white: dots whose size says how dark it is.

A threshold makes a photograph a silhouette; error diffusion makes it longer on the wire than no coding at all. A clustered
dot keeps the tone at a fraction of the bytes (reference measurements: 45 degrees, cells of 32 pixels). Only where a page
shows a picture *and* its tones are neither paper nor ink; scanned text stays with the threshold, which reads better.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from gateway.pages import windows
from gateway.pages.windows import Grey, Mask

_PERIOD = 8  # pixels: two 45-degree cells in a tile
_DARK, _LIGHT = 56, 208  # tones between these are neither ink nor paper
_EVERY = 2  # dots, and lines: one of these is looked at
_LOOK = 12  # of those: the neighbourhood in which tones are judged
_SHARE = 0.35  # of a neighbourhood: with more tone than this it is a photograph
_WHOLE = 0.5  # of a picture: with more tone than this all of it is
_EDGE, _STEEP = 1, 30  # a tone that changes by so much over so many of those is an edge
_PAPER_SHARE, _PAPER_SPREAD = 0.4, 16  # so much of a picture within so many tones is its paper,
_DIMMEST = 176  # if it is at least as light as this
_STROKE, _SOME_STROKES = 60, 0.01  # contrast of a stroke; share of a page of words that is strokes
_DIM_PAPER, _SHADE = 90, 0.05  # paper in the shadow of a telephone; share of a page that may be darker
_SLOW, _FOLDS = 20, 0.06  # a change of tone over 40 dots; share of a page that is creases and edges of shadows


def photographs(grey: Grey, ground: Grey, contrast: Grey) -> Mask | None:
    """Where a picture is a photograph; None: nowhere.

    ground    the lightest tones around each dot, as strokes stand on it
    contrast  how much darker each dot is
    """
    if _is_paper(ground, contrast):
        return None
    toned = _toned(Image.fromarray(np.ascontiguousarray(grey[::_EVERY, ::_EVERY])))
    if not toned.getbbox():
        return None
    mask: Mask = np.asarray(toned.resize((grey.shape[1], grey.shape[0]), Image.Resampling.NEAREST)) > 0
    return mask


def dots(grey: Grey, left: int, top: int) -> Mask:
    """The tones of a place as dots; `left` and `top` say where on the page it is, so that neighbours fit together."""
    tile = _thresholds()[:, (np.arange(grey.shape[1]) + left) % _PERIOD]
    black: Mask = np.empty(grey.shape, dtype=bool)
    for row in range(_PERIOD):
        np.less(grey[row::_PERIOD], tile[(row + top) % _PERIOD], out=black[row::_PERIOD])
    return black


def _is_paper(ground: Grey, contrast: Grey) -> bool:
    """Whether a picture shows strokes on paper, however unevenly lit: its ground is light and changes slowly."""
    coarse = np.ascontiguousarray(ground[::8, ::8])
    change = windows.lightest(coarse, 5, 5) - windows.darkest(coarse, 5, 5)
    return bool(
        np.count_nonzero(contrast > _STROKE) > _SOME_STROKES * contrast.size
        and np.count_nonzero(coarse <= _DIM_PAPER) < _SHADE * coarse.size
        and (change > _SLOW).mean() < _FOLDS
    )


def _toned(picture: Image.Image) -> Image.Image:
    """Where one picture is a photograph, as a mask of fewer dots."""
    flat = _flat_tones(picture)
    if np.count_nonzero(np.asarray(flat)) > _WHOLE * picture.width * picture.height:
        return Image.new("L", (1, 1), 255)
    small = (max(1, picture.width // _LOOK), max(1, picture.height // _LOOK))
    dense = flat.resize(small, Image.Resampling.BOX).point([255 if tone > 255 * _SHARE else 0 for tone in range(256)])
    # Grown, so that dark and light places inside a photograph belong to it too.
    return dense.filter(ImageFilter.MaxFilter(5))


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


@functools.cache
def _thresholds() -> Grey:
    """Ink grows from two points of the tile, in the order of a cosine hill, until everything is black."""
    turn = 2 * math.pi / _PERIOD
    places = [(x, y) for y in range(_PERIOD) for x in range(_PERIOD)]

    def hill(place: tuple[int, int]) -> tuple[float, int, int]:
        x, y = place
        return (round(math.cos(turn * (x + y)) + math.cos(turn * (x - y)), 6), x, y)

    rank = {place: n for n, place in enumerate(sorted(places, key=hill))}
    tones = [round((rank[place] + 0.5) * 255 / len(places)) for place in places]
    return np.array(tones, dtype=np.uint8).reshape(_PERIOD, _PERIOD)
