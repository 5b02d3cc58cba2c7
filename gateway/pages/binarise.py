"""Grey pages to ink and paper: every stroke that a reader sees stays, grounds and shades go.

A stroke is judged by its contrast to the ground behind it (the lightest tone around, `windows.closed`), and ink is what
has a good part of the strongest contrast nearby; so grey words, words on colour and an uneven scan come out alike. On a
white page that is all. Filled areas are judged one by one (`fills`), photographs are the business of `screen`.

Never error diffusion: it grows past the bitmap itself on the line.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gateway.pages import fills, screen, windows
from gateway.pages.fills import Area, Cell
from gateway.pages.windows import Grey, Mask

PLAIN = 166  #: tones below are ink where everything on a page is black
_GROUND = 25  # dots: what is narrower is a stroke
_WHITE = 225  # a ground as light as this is paper
_FLOOR = 28  # contrast that is no accident of drawing
_SCAN_FLOOR = 52  # in pictures of pages: grain is no ink
_SHARE = {True: 0.35, False: 0.42}  # of the strongest contrast nearby, at fine and at standard
_NEAR = 3  # cells to each side that count as nearby, itself included: about nine dots
_SOLID = 80  # in pictures, a ground darker than this is ink


def ink(grey: Grey, pictures: Sequence[Area], *, fine: bool) -> Mask:
    """Where a page is black. `grey` has square dots at fine, and dots twice as high as wide at standard."""
    cell = (4 if fine else 2, 4)
    cells = _lightest_cells(grey, cell)
    sharp = grey if fine else _sharpened(grey)
    if not pictures and int(windows.closed(cells, 7, 7).min()) >= _WHITE:
        return _strokes(255 - sharp, cell, _FLOOR, _SHARE[fine])
    high = _GROUND if fine else _GROUND // 2 + 1
    ground = windows.closed(grey, _GROUND, high)
    contrast = np.subtract(ground, np.minimum(sharp, ground))  # sharpening makes edges lighter than their ground
    found = fills.find(grey, contrast, lambda: grey - windows.opened(grey, _GROUND, high), cell, pictures)
    for area in found.light_on_dark:
        behind = windows.opened(grey[area.place], _GROUND, high)
        lights = np.maximum(sharp[area.place], behind) - behind
        contrast[area.place] = np.where(area.mask, lights, contrast[area.place])
    black = _strokes(contrast, cell, _FLOOR, _SHARE[fine])
    fills.draw(black, grey, found, fine=fine)
    for left, top, right, bottom in pictures:
        place = slice(top, bottom), slice(left, right)
        dark = (ground[place] < _SOLID) & (sharp[place] < _SOLID)
        words = _without_specks(_strokes(contrast[place], cell, _SCAN_FLOOR, _SHARE[fine]) | dark)
        photograph = screen.photographs(grey[place], ground[place], contrast[place])
        if photograph is None:
            black[place] = words
        else:
            black[place] = np.where(photograph, screen.dots(grey[place], left, top), words)
    return black


def _strokes(contrast: Grey, cell: Cell, floor: int, share: float) -> Mask:
    """Where the contrast is more than a share of the strongest one nearby, and than the floor."""
    strongest = windows.lightest(_lightest_cells(contrast, cell), _NEAR, _NEAR)
    limits = np.array([max(floor, round(share * tone)) for tone in range(256)], dtype=np.uint8)[strongest]
    tall, wide = contrast.shape
    spread = limits.repeat(cell[0], axis=0)[:tall].repeat(cell[1], axis=1)[:, :wide]
    black: Mask = contrast > spread
    return black


def _lightest_cells(grey: Grey, cell: Cell) -> Grey:
    """The lightest tone of each cell; the last ones may be smaller."""
    tall, wide = grey.shape
    spread = np.pad(grey, ((0, -tall % cell[0]), (0, -wide % cell[1])), mode="edge")
    rows = spread[:: cell[0]]
    for n in range(1, cell[0]):
        rows = np.maximum(rows, spread[n :: cell[0]])
    columns = rows[:, :: cell[1]]
    for n in range(1, cell[1]):
        columns = np.maximum(columns, rows[:, n :: cell[1]])
    return np.ascontiguousarray(columns)


def _sharpened(grey: Grey) -> Grey:
    """Up and down only: a line of standard resolution averages two of the drawing's."""
    twice = grey.astype(np.int16) * 2
    around = np.pad(grey, ((1, 1), (0, 0)), mode="edge").astype(np.int16)
    sharp: Grey = np.clip(twice - (around[:-2] + around[2:]) // 2, 0, 255).astype(np.uint8)
    return sharp


def _without_specks(black: Mask) -> Mask:
    """Without dots that have at most one other around them."""
    count = np.zeros((black.shape[0] + 2, black.shape[1] + 2), dtype=np.uint8)
    dots = black.view(np.uint8)
    for down in range(3):
        for across in range(3):
            count[down : down + black.shape[0], across : across + black.shape[1]] += dots
    kept: Mask = black & (count[1:-1, 1:-1] > 2)
    return kept
