"""Grey pages to ink and paper: every stroke that a reader sees stays, grounds and shades go.

A stroke is judged by its contrast to the ground behind it (the lightest tone around, `windows.closed`), and ink is what
has a good part of the strongest contrast nearby; so grey words, words on colour and an uneven scan come out alike. On a
white page that is all. Filled areas are judged one by one (`fills`), photographs are the business of `screen`.

Never error diffusion: it grows past the bitmap itself on the line.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from gateway.pages import fills, screen, windows
from gateway.pages.fills import STROKE, Area, Cell
from gateway.pages.windows import Grey, Mask

PLAIN = 166  #: tones below are ink where everything on a page is black
_FLOOR = 30  # contrast that is no accident of drawing: pure yellow, which words are marked with, has 29
_WHITE = 255 - _FLOOR  # a ground as light as this is paper
_SCAN_FLOOR = 52  # in pictures of pages: grain is no ink
_SHARE = {True: 0.35, False: 0.42}  # of the strongest contrast nearby, at fine and at standard
_NEAR = 3  # cells to each side that count as nearby, itself included: about nine dots
_SOLID = 80  # in pictures, a ground darker than this is ink


def ink(grey: Grey, pictures: Sequence[Area], *, fine: bool) -> Mask:
    """Where a page is black. `grey` has square dots at fine, and dots twice as high as wide at standard."""
    cell = (4 if fine else 2, 4)
    cells = windows.lightest_in_cells(grey, cell)
    sharp = grey if fine else _sharpened(grey)
    bands = _toned_bands(cells, cell, pictures)
    if not bands:
        return _strokes(255 - sharp, cell, np.uint8(_FLOOR), _SHARE[fine])
    ground = _ground(grey, bands, fine=fine)
    contrast = ground - (grey if fine else np.minimum(sharp, ground))  # sharpening makes edges lighter than their ground
    found = fills.find(grey, contrast, cells, cell, pictures)
    for area in found.light_on_dark:
        lights = sharp[area.place] - (area.behind if fine else np.minimum(area.behind, sharp[area.place]))
        np.copyto(contrast[area.place], lights, where=area.mask)
    black = _strokes(contrast, cell, _floors(cells, cell, pictures), _SHARE[fine])
    fills.draw(black, grey, found, fine=fine)
    for left, top, right, bottom in pictures:
        place = slice(top, bottom), slice(left, right)
        photograph = screen.photographs(grey[place], ground[place], contrast[place])
        if photograph is not None and photograph.all():
            black[place] = screen.dots(grey[place], left, top)
            continue
        dark = (ground[place] if fine else np.maximum(ground[place], sharp[place])) < _SOLID
        black[place] = windows.crowded(black[place] | dark, 3)  # specks go
        if photograph is not None:
            np.copyto(black[place], screen.dots(grey[place], left, top), where=photograph)
    return black


def _toned_bands(cells: Grey, cell: Cell, pictures: Sequence[Area]) -> list[slice]:
    """The lines, from and to, between which something is on a ground other than white paper, and some around them."""
    toned = windows.closed(cells, 7, 7).min(axis=1) < _WHITE
    for _, top, _, bottom in pictures:
        toned[top // cell[0] : -(-bottom // cell[0])] = True
    around = -(-STROKE // cell[0])
    wider = np.convolve(toned, np.ones(2 * around + 1), "same") > 0 if toned.any() else toned
    edges = np.flatnonzero(np.diff(wider, prepend=False, append=False))
    return [slice(int(first) * cell[0], int(last) * cell[0]) for first, last in edges.reshape(-1, 2)]


def _ground(grey: Grey, bands: list[slice], *, fine: bool) -> Grey:
    """What is behind the strokes: found in these bands, white paper elsewhere."""
    ground = np.empty_like(grey)
    white = 0
    for band in bands:
        ground[white : band.start] = 255
        ground[band] = windows.closed(grey[band], STROKE, STROKE if fine else STROKE // 2 + 1)
        white = band.stop
    ground[white:] = 255
    return ground


def _floors(cells: Grey, cell: Cell, pictures: Sequence[Area]) -> Grey:
    """For each cell the contrast that ink must exceed."""
    floors = np.full_like(cells, _FLOOR)
    for left, top, right, bottom in pictures:
        floors[top // cell[0] : -(-bottom // cell[0]), left // cell[1] : -(-right // cell[1])] = _SCAN_FLOOR
    return floors


def _strokes(contrast: Grey, cell: Cell, floors: Grey | np.uint8, share: float) -> Mask:
    """Where the contrast is more than a share of the strongest one nearby, and than the floor."""
    strongest = windows.lightest(windows.lightest_in_cells(contrast, cell), _NEAR, _NEAR)
    limits = np.maximum(_shares(share)[strongest], floors)
    tall, wide = contrast.shape
    rows = windows.on_dots(limits, (1, cell[1]))[:, :wide]
    black: Mask = np.empty(contrast.shape, dtype=bool)
    whole = tall - tall % cell[0]  # all lines of a cell are compared with one row; the last cells may be lower
    in_cells = (whole // cell[0], cell[0], wide)
    np.greater(contrast[:whole].reshape(in_cells), rows[: in_cells[0], None], out=black[:whole].reshape(in_cells))
    np.greater(contrast[whole:], rows[-1], out=black[whole:])
    return black


@functools.cache
def _shares(share: float) -> Grey:
    """A share of each tone."""
    return np.array([round(share * tone) for tone in range(256)], dtype=np.uint8)


def _sharpened(grey: Grey) -> Grey:
    """Up and down only: a line of standard resolution averages two of the drawing's. The edges of pale areas stay pale."""
    twice = grey.astype(np.int16) * 2
    around = np.pad(grey, ((1, 1), (0, 0)), mode="edge").astype(np.int16)
    sharp: Grey = np.clip(twice - (around[:-2] + around[2:]) // 2, 0, 255).astype(np.uint8)
    np.copyto(sharp, grey, where=grey >= _WHITE)
    return sharp
