"""What is lightest or darkest around each dot, and which dots hang together: by OpenCV where it is installed, else by numpy.

Both give the same values, so the same page becomes the same bytes either way; OpenCV is several times faster.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
Mask = NDArray[np.bool_]


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


def parts(mask: Mask) -> tuple[int, NDArray[np.int32]]:
    """The pieces that hang together by their sides: how many, and for each dot its piece from 1; 0 outside.

    Pieces are numbered in the order of their first dots, line by line.
    """
    cv2 = opencv()
    if cv2 is not None:
        found, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
        return _renumbered(labels.astype(np.int32)) if found > 1 else (0, labels.astype(np.int32))
    return _renumbered(_joined(mask))


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


def _joined(mask: Mask) -> NDArray[np.int32]:
    """Every dot gets the lowest number in its row, then in its column, until nothing changes."""
    labels = np.where(mask, np.arange(1, mask.size + 1, dtype=np.int32).reshape(mask.shape), 0).astype(np.int32)
    while True:
        before = labels
        labels = _lowest_in_runs(labels, mask)
        labels = np.ascontiguousarray(_lowest_in_runs(np.ascontiguousarray(labels.T), np.ascontiguousarray(mask.T)).T)
        if np.array_equal(labels, before):
            return labels


def _lowest_in_runs(labels: NDArray[np.int32], mask: Mask) -> NDArray[np.int32]:
    begins = np.ones(mask.shape, dtype=bool)
    begins[:, 1:] = mask[:, 1:] != mask[:, :-1]
    starts = np.flatnonzero(begins)
    lengths = np.diff(np.append(starts, mask.size))
    return np.repeat(np.minimum.reduceat(labels.ravel(), starts), lengths).reshape(mask.shape).astype(np.int32)


def _renumbered(labels: NDArray[np.int32]) -> tuple[int, NDArray[np.int32]]:
    """By first appearance: libraries number differently."""
    flat = labels.ravel()
    numbers, first, inverse = np.unique(flat, return_index=True, return_inverse=True)
    order = np.argsort(np.where(numbers == 0, -1, first))
    rank = np.empty(len(numbers), dtype=np.int32)
    rank[order] = np.arange(len(numbers), dtype=np.int32) + (0 if (numbers == 0).any() else 1)
    return int((numbers != 0).sum()), rank[inverse].reshape(labels.shape)
