"""Filled areas of a page, and what becomes of them on paper that knows no tone.

    light words on a dark ground     turned over: black words on white, in a frame
    dark words on any ground         the ground goes
    no words, middle tone            thin hatching in a frame, so that bars of a chart can be told apart
    no words, dark                   black
    pale                             nothing

Turning over is for words only. A bar code or a QR code turned over is dead, so an area is turned only where the light
things in it are few, lie across and down, and are several; in doubt it stays as it is, black with light things in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from gateway.pages import windows
from gateway.pages.windows import Grey, Mask

#: Left, top, right, bottom in dots.
Area = tuple[int, int, int, int]
#: Lines and dots of a cell: areas are found in cells, which are square on paper.
Cell = tuple[int, int]
#: Rows and columns.
Place = tuple[slice, slice]

STROKE = 25  #: dots; what is narrower is a stroke, what is wider a ground
_TONED = 200  # lighter grounds vanish
_DARK = 90  # darker solid areas are black
_STEP = 24  # tones from one ground to another
_FLAT = 24  # tones within one cell of a flat ground
_CORE = 3  # cells: a ground shows itself somewhere in a square of so many
_BRIDGE = 11  # cells: words in a row of a table are no higher
_LEAST = 12  # cells of an area worth judging
_CONTRAST = 40  # of things on a ground
_FEW = 0.005  # share of an area that is something on it, not nothing
_MOST_LIGHT = 0.36  # share of light dots in an area of words
_LIGHT_THINGS = 3
_RECTANGLE = 0.75  # share of its bounding box that a ground of words fills
_NARROW = 32  # dots; a narrower ground holds no words worth turning
_ONE_WAY = 8.0  # how much more often light and dark may change across than down in words, or down than across
_FRAME = 2  # dots
_HATCH = 12  # dots from line to line


@dataclass(frozen=True, slots=True)
class Fill:
    """One area: its bounding box as slices of the page, and where in it the area is."""

    place: Place
    mask: Mask
    cells: Mask
    """The same, of cells."""
    tone: int
    """The middle one of its ground."""
    darkest: int
    lightest: int
    """Of its ground, which may fade."""
    behind: Grey = field(default_factory=lambda: np.empty((0, 0), dtype=np.uint8), repr=False)
    """Where light things stand on it: the ground behind light strokes."""

    @property
    def ink(self) -> int:
        """Darker than this is no ground."""
        return self.darkest - _CONTRAST // 2

    @property
    def paper(self) -> int:
        """Lighter than this is no ground."""
        return self.lightest + _CONTRAST // 2

    @property
    def white(self) -> int:
        """Lighter than this is light on the ground, however broad."""
        return (self.lightest + 255) // 2


@dataclass(frozen=True, slots=True)
class Fills:
    """The areas of a page by what becomes of them."""

    light_on_dark: tuple[Fill, ...] = ()
    dropped: tuple[Fill, ...] = ()
    hatched: tuple[Fill, ...] = ()
    black: tuple[Fill, ...] = ()


def find(grey: Grey, contrast: Grey, high: Grey, cell: Cell, pictures: Sequence[Area]) -> Fills:
    """Judge every area of a page.

    contrast  of strokes that are darker than their ground
    high      the lightest tone of each cell
    pictures  inside these only dark areas are areas: the rest may be paper
    """
    kinds: dict[str, list[Fill]] = {"light_on_dark": [], "dropped": [], "hatched": [], "black": []}
    toned = high < _TONED
    if not toned.any():
        return Fills()
    about = _about(toned)
    high = np.ascontiguousarray(high[about])
    low = windows.darkest_in_cells(grey[_dots(about, cell)], cell)
    cores = _grounds(low, high, [_cells(picture, cell, about) for picture in pictures])
    for alike in _alike(cores, high):
        for rows, columns, cells in _areas(alike, low):
            tones = high[rows, columns][alike[rows, columns] & cells]
            if not tones.size:
                continue  # a bridge between other areas
            place = _dots(_within((rows, columns), about), cell)
            inside = grey[place]
            mask = windows.on_dots(cells, cell)[: inside.shape[0], : inside.shape[1]]
            fill = Fill(place, mask, cells, int(np.median(tones)), int(tones.min()), int(tones.max()))
            lights = cells & (high[rows, columns] > fill.paper)
            if lights.any():
                fill = replace(fill, behind=_behind(inside, cell))
            kinds[_fate(fill, inside, contrast[place], lights)].append(fill)
    return Fills(**{name: tuple(found) for name, found in kinds.items()})


def _cells(area: Area, cell: Cell, about: Place) -> Place:
    """The cells of an area, as a place within a part of the page."""
    left, top, right, bottom = area
    rows, columns = (one.start for one in about)
    return (
        slice(max(0, top // cell[0] - rows), max(0, -(-bottom // cell[0]) - rows)),
        slice(max(0, left // cell[1] - columns), max(0, -(-right // cell[1]) - columns)),
    )


def _dots(cells: Place, cell: Cell) -> Place:
    """The dots of a place in cells."""
    rows, columns = cells
    return slice(rows.start * cell[0], rows.stop * cell[0]), slice(columns.start * cell[1], columns.stop * cell[1])


def _within(place: Place, whole: Place) -> Place:
    """A place of a part of the page, as a place of the page."""
    rows, columns = (slice(one.start + all_.start, one.stop + all_.start) for one, all_ in zip(place, whole, strict=True))
    return rows, columns


def _grounds(low: Grey, high: Grey, pictures: Sequence[Place]) -> Mask:
    """Cells of flat tone that are no paper, in squares of several."""
    flat = (high < _TONED) & (high - low <= _FLAT)
    for picture in pictures:
        flat[picture] &= high[picture] < _DARK
    if not flat.any():
        return flat
    brightest, dimmest = np.where(flat, high, np.uint8(0)), np.where(flat, high, np.uint8(255))
    brightest, dimmest = windows.lightest(brightest, 3, 3), windows.darkest(dimmest, 3, 3)
    flat &= (brightest < dimmest) | (brightest - dimmest <= _STEP)  # not where two grounds meet
    cores: Mask = windows.opened(flat.view(np.uint8), _CORE, _CORE).view(bool)
    return cores


def _alike(cores: Mask, high: Grey) -> list[Mask]:
    """Grounds of nearly one tone together, so that the bars of a chart stay apart. One that fades is one ground."""
    if not cores.any():
        return []
    labels, count = windows.pieces(cores)
    if count == 1 and np.count_nonzero(cores) >= _LEAST:
        return [cores]
    numbers = labels[cores]
    sizes = np.bincount(numbers, minlength=count + 1)
    tones = np.bincount(numbers, weights=high[cores], minlength=count + 1) / np.maximum(sizes, 1)
    large = np.flatnonzero(sizes[1:] >= _LEAST) + 1  # a gap between letters is no ground of its own
    if not large.size:
        return []
    order = large[np.argsort(tones[large], kind="stable")]
    groups = np.zeros(count + 1, dtype=np.uint8)
    groups[order] = np.minimum(255, 1 + np.cumsum(np.diff(tones[order], prepend=tones[order[0]]) > _STEP / 2))
    grouped = groups[labels]
    return [grouped == number for number in range(1, int(groups.max()) + 1)]


def draw(black: Mask, grey: Grey, fills: Fills, *, fine: bool) -> None:
    """Put frames, hatching and solid black onto the page."""
    for fill in fills.black:
        black[fill.place] |= fill.mask & (grey[fill.place] < (fill.tone + 255) // 2)
    for fill in fills.light_on_dark:
        black[fill.place] |= fill.mask & (grey[fill.place] > fill.white)  # letters too bold to be strokes
    for fill in (*fills.light_on_dark, *fills.dropped, *fills.hatched):
        black[fill.place] |= _frame(fill, fine=fine)
    for fill in fills.hatched:
        columns = np.arange(fill.mask.shape[1]) + fill.place[1].start
        black[fill.place] |= fill.mask & (columns % _HATCH < 2)[None, :]


def _areas(cores: Mask, low: Grey) -> list[tuple[slice, slice, Mask]]:
    """Areas in cells: grounds that hang together over the words on them, but not over paper, with what they enclose."""
    about = _about(cores)
    near = np.ascontiguousarray(cores[about])
    bridged = windows.closed(near.view(np.uint8), _BRIDGE, _BRIDGE).view(bool) & (low[about] < _TONED)
    labels, places = windows.parts(bridged)
    found = []
    for number, place in enumerate(places, 1):
        cells = _filled(labels[place] == number)
        if np.count_nonzero(cells) >= _LEAST:
            found.append((*_within(place, about), cells))
    return sorted(found, key=lambda area: (area[0].start, area[1].start, area[0].stop, area[1].stop))


def _about(cores: Mask) -> Place:
    """The part of a page that holds all of them, with so much around it that bridges come out as on the whole page."""
    rows, columns = (
        slice(max(0, int(found[0]) - _BRIDGE), min(size, int(found[-1]) + _BRIDGE + 1))
        for size, found in ((cores.shape[axis], np.flatnonzero(cores.any(axis=1 - axis))) for axis in (0, 1))
    )
    return rows, columns


def _filled(cells: Mask) -> Mask:
    """With its holes: what the area encloses."""
    if cells.all():
        return cells
    labels, _ = windows.pieces(np.pad(~cells, 1, constant_values=True))
    return np.asarray(labels[1:-1, 1:-1] != labels[0, 0])


def _behind(grey: Grey, cell: Cell) -> Grey:
    """The ground behind light strokes."""
    return windows.opened(grey, STROKE, STROKE if cell[0] == cell[1] else STROKE // 2 + 1)


def _fate(fill: Fill, grey: Grey, contrast: Grey, light_cells: Mask) -> str:
    size = np.count_nonzero(fill.mask)
    darks = np.count_nonzero(fill.mask & (contrast > _CONTRAST) & (grey < fill.ink)) / size
    if light_cells.any():
        strokes = (grey - fill.behind > _CONTRAST) & (grey > fill.paper)
        light = fill.mask & (strokes | (grey > fill.white))
        lights = np.count_nonzero(light) / size
        if lights > darks and lights > _FEW:
            _, things = windows.pieces(light_cells)
            words = things >= _LIGHT_THINGS and _is_ground(fill.mask) and _is_words(light, lights)
            return "light_on_dark" if words else "black"
    if darks > _FEW:
        return "dropped"
    return "black" if fill.tone < _DARK else "hatched"


def _is_ground(mask: Mask) -> bool:
    """Whether an area has the shape of a ground: the dark squares of a QR code do not."""
    return bool(min(mask.shape[0] * 2, mask.shape[1]) >= _NARROW and np.count_nonzero(mask) > _RECTANGLE * mask.size)


def _is_words(light: Mask, share: float) -> bool:
    """Whether light things on a ground are words: few, changing both across and down."""
    if share > _MOST_LIGHT:
        return False
    across = np.count_nonzero(light[:, 1:] != light[:, :-1])
    down = np.count_nonzero(light[1:] != light[:-1])
    return bool(down and across and 1 / _ONE_WAY < across / down < _ONE_WAY)


def _frame(fill: Fill, *, fine: bool) -> Mask:
    """The edge of an area, inside it. Half a cell is just as broad as a frame."""
    halves = windows.on_dots(fill.cells, (2, 2))
    inner = windows.darkest(np.pad(halves, 1).view(np.uint8), 3, 3).view(bool)[1:-1, 1:-1]
    tall, wide = fill.mask.shape
    frame = windows.on_dots(np.ascontiguousarray(halves & ~inner), (_FRAME if fine else _FRAME // 2, _FRAME))
    edge: Mask = frame[:tall, :wide]
    return edge
