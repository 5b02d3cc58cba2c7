"""What is lightest or darkest around each dot, and which dots hang together: by OpenCV where it is installed, else by numpy.

Both give the same values, so the same page becomes the same bytes either way; OpenCV is several times faster.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Labels = NDArray[np.int32]
_Value = TypeVar("_Value", np.uint8, np.bool_)

_TOGETHER = {2: np.uint16, 4: np.uint32}  # dots that are one number: several times faster than one by one


@functools.cache
def opencv() -> Any | None:
    """OpenCV, or None. Any: it ships no types."""
    try:
        cv2 = importlib.import_module("cv2")
    except ImportError:
        return None
    cv2.setNumThreads(1)  # a conversion has one processor; its threads would not survive the fork into it either
    return cv2


def lightest(grey: Grey, wide: int, high: int) -> Grey:
    """The lightest tone in a window of odd sides around each dot."""
    cv2 = opencv()
    if cv2 is not None:
        widened: Grey = cv2.dilate(grey, cv2.getStructuringElement(cv2.MORPH_RECT, (wide, high)))
        return widened
    return _extreme(_extreme(grey, wide, 1, np.maximum), high, 0, np.maximum)


def darkest(grey: Grey, wide: int, high: int) -> Grey:
    """The darkest one."""
    cv2 = opencv()
    if cv2 is not None:
        narrowed: Grey = cv2.erode(grey, cv2.getStructuringElement(cv2.MORPH_RECT, (wide, high)))
        return narrowed
    return _extreme(_extreme(grey, wide, 1, np.minimum), high, 0, np.minimum)


def closed(grey: Grey, wide: int, high: int) -> Grey:
    """Without dark things that are narrower than the window: the ground behind strokes."""
    return darkest(lightest(grey, wide, high), wide, high)


def opened(grey: Grey, wide: int, high: int) -> Grey:
    """Without light things that are narrower than the window."""
    return lightest(darkest(grey, wide, high), wide, high)


def lightest_in_cells(grey: Grey, cell: tuple[int, int]) -> Grey:
    """The lightest tone of each cell of so many lines and dots; the last ones may be smaller."""
    rows = _of_rows(grey, cell[0], np.maximum)
    cv2 = opencv()
    if cv2 is not None:
        return _every(cv2.dilate(rows, np.ones((1, cell[1]), np.uint8), anchor=(0, 0)), cell[1])
    return np.ascontiguousarray(_of_rows(rows.T, cell[1], np.maximum).T)


def darkest_in_cells(grey: Grey, cell: tuple[int, int]) -> Grey:
    """The darkest one."""
    rows = _of_rows(grey, cell[0], np.minimum)
    cv2 = opencv()
    if cv2 is not None:
        return _every(cv2.erode(rows, np.ones((1, cell[1]), np.uint8), anchor=(0, 0)), cell[1])
    return np.ascontiguousarray(_of_rows(rows.T, cell[1], np.minimum).T)


def on_dots(cells: NDArray[_Value], cell: tuple[int, int]) -> NDArray[_Value]:
    """What is said of each cell, for each of its lines and dots."""
    whole = _TOGETHER.get(cell[1])
    if whole is None or sys.byteorder != "little":
        return cells.repeat(cell[1], axis=1).repeat(cell[0], axis=0)
    rows = cells.view(np.uint8).astype(whole) * whole(int.from_bytes(bytes([1]) * cell[1]))
    spread: NDArray[_Value] = rows.view(cells.dtype).repeat(cell[0], axis=0)
    return spread


def crowded(mask: Mask, least: int) -> Mask:
    """Dots of a mask that have at least so many dots of it, themselves included, in the square of nine around them."""
    cv2 = opencv()
    if cv2 is not None:
        count = cv2.boxFilter(mask.view(np.uint8), -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
    else:
        spread = np.pad(mask.view(np.uint8), 1)
        rows = spread[:-2] + spread[1:-1] + spread[2:]
        count = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    kept: Mask = mask & (count >= least)
    return kept


def parts(mask: Mask) -> tuple[Labels, list[tuple[slice, slice]]]:
    """The pieces that hang together by their sides: for each dot its piece from 1, 0 outside; the place of each piece.

    Which piece has which number is not said.
    """
    cv2 = opencv()
    if cv2 is not None:
        _, labels, about, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=4)
        return labels, [(slice(y, y + high), slice(x, x + wide)) for x, y, wide, high, _ in about[1:].tolist()]
    labels, count = _joined(mask)
    rows, columns = np.nonzero(labels)
    numbers = labels[rows, columns] - 1
    first, last = np.full((count, 2), mask.size), np.zeros((count, 2), dtype=int)
    for axis, where in enumerate((rows, columns)):
        np.minimum.at(first[:, axis], numbers, where)
        np.maximum.at(last[:, axis], numbers, where + 1)
    return labels, [(slice(*ends[0]), slice(*ends[1])) for ends in np.stack([first, last], axis=2).tolist()]


def pieces(mask: Mask) -> tuple[Labels, int]:
    """The same where their places do not matter, which takes a third of the time: how many there are."""
    cv2 = opencv()
    if cv2 is not None:
        count, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=4)
        return labels, count - 1
    return _joined(mask)


def _every(grey: Grey, count: int) -> Grey:
    """Every so manieth dot of each line, from the first."""
    whole = _TOGETHER.get(count)
    if whole is None or grey.shape[1] % count or sys.byteorder != "little":
        return np.ascontiguousarray(grey[:, ::count])
    return grey.view(whole).astype(np.uint8)  # the lowest byte is the first


def _of_rows(grey: Grey, count: int, choose: np.ufunc) -> Grey:
    """The extreme of every `count` rows; the last ones may be fewer."""
    found = grey[::count].copy()
    for n in range(1, count):
        part = grey[n::count]
        choose(found[: len(part)], part, out=found[: len(part)])
    return found


def _extreme(grey: Grey, size: int, axis: int, choose: Callable[..., Any]) -> Grey:
    """The extreme of `size` neighbours along an axis; the page goes on beyond its edges as it ends there."""
    half = size // 2
    spread = np.pad(grey, [(half, half) if n == axis else (0, 0) for n in range(2)], mode="edge")
    reach = 1
    while reach < size:  # windows of 1, 2, 4 … dots, the last step makes it exactly `size`
        step = min(reach, size - reach)
        one = spread[step:] if axis == 0 else spread[:, step:]
        other = spread[:-step] if axis == 0 else spread[:, :-step]
        spread = choose(one, other)
        reach += step
    result: Grey = np.ascontiguousarray(spread)
    return result


def _joined(mask: Mask) -> tuple[Labels, int]:
    """Every dot gets the lowest number in its row, then in its column, until nothing changes."""
    labels: Labels = np.where(mask, np.arange(1, mask.size + 1, dtype=np.int32).reshape(mask.shape), 0).astype(np.int32)
    while True:
        before = labels
        labels = _lowest_in_runs(labels, mask)
        labels = np.ascontiguousarray(_lowest_in_runs(np.ascontiguousarray(labels.T), np.ascontiguousarray(mask.T)).T)
        if np.array_equal(labels, before):
            break
    rows, columns = np.nonzero(labels)
    _, numbers = np.unique(labels[rows, columns], return_inverse=True)
    count = int(numbers.max(initial=-1)) + 1
    labels[rows, columns] = numbers + 1
    return labels, count


def _lowest_in_runs(labels: Labels, mask: Mask) -> Labels:
    begins = np.ones(mask.shape, dtype=bool)
    begins[:, 1:] = mask[:, 1:] != mask[:, :-1]
    starts = np.flatnonzero(begins)
    lengths = np.diff(np.append(starts, mask.size))
    return np.repeat(np.minimum.reduceat(labels.ravel(), starts), lengths).reshape(mask.shape).astype(np.int32)
