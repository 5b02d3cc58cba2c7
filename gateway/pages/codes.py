"""Fax codings read line by line (MH, MR, MMR: ITU-T T.4 and T.6), for pages that a general decoder gives up on.

A damaged line keeps what stands before the damage and is white behind it; MH and MR go on at the next end-of-line code, MR at
the next line that needs no other. Nothing is made up: no line is copied from another one. Slow (some 0.1 s a page); pages that
are in order are read by libtiff.
Limits: uncompressed mode is damage.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_WHITE_SHORT = """00110101 000111 0111 1000 1011 1100 1110 1111 10011 10100 00111 01000 001000 000011 110100 110101 101010
101011 0100111 0001100 0001000 0010111 0000011 0000100 0101000 0101011 0010011 0100100 0011000 00000010 00000011 00011010
00011011 00010010 00010011 00010100 00010101 00010110 00010111 00101000 00101001 00101010 00101011 00101100 00101101 00000100
00000101 00001010 00001011 01010010 01010011 01010100 01010101 00100100 00100101 01011000 01011001 01011010 01011011
01001010 01001011 00110010 00110011 00110100"""
_WHITE_LONG = """11011 10010 010111 0110111 00110110 00110111 01100100 01100101 01101000 01100111 011001100 011001101 011010010
011010011 011010100 011010101 011010110 011010111 011011000 011011001 011011010 011011011 010011000 010011001 010011010 011000
010011011"""
_BLACK_SHORT = """0000110111 010 11 10 011 0011 0010 00011 000101 000100 0000100 0000101 0000111 00000100 00000111 000011000
0000010111 0000011000 0000001000 00001100111 00001101000 00001101100 00000110111 00000101000 00000010111 00000011000
000011001010 000011001011 000011001100 000011001101 000001101000 000001101001 000001101010 000001101011 000011010010
000011010011 000011010100 000011010101 000011010110 000011010111 000001101100 000001101101 000011011010 000011011011
000001010100 000001010101 000001010110 000001010111 000001100100 000001100101 000001010010 000001010011 000000100100
000000110111 000000111000 000000100111 000000101000 000001011000 000001011001 000000101011 000000101100 000001011010
000001100110 000001100111"""
_BLACK_LONG = """0000001111 000011001000 000011001001 000001011011 000000110011 000000110100 000000110101 0000001101100
0000001101101 0000001001010 0000001001011 0000001001100 0000001001101 0000001110010 0000001110011 0000001110100 0000001110101
0000001110110 0000001110111 0000001010010 0000001010011 0000001010100 0000001010101 0000001011010 0000001011011 0000001100100
0000001100101"""
_LONGER = """00000001000 00000001100 00000001101 000000010010 000000010011 000000010100 000000010101 000000010110 000000010111
000000011100 000000011101 000000011110 000000011111"""


def _table(short: str, long: str) -> dict[str, int]:
    return {code: run for run, code in enumerate(short.split())} | {
        code: 64 * n for n, code in enumerate((long + " " + _LONGER).split(), 1)
    }


_RUNS = (_table(_WHITE_SHORT, _WHITE_LONG), _table(_BLACK_SHORT, _BLACK_LONG))  # by colour: white, black
_PASS, _HORIZONTAL = 100, 101
_MODES = {
    "1": 0, "011": 1, "000011": 2, "0000011": 3, "010": -1, "000010": -2, "0000010": -3, "0001": _PASS, "001": _HORIZONTAL,
}  # fmt: skip
_TAIL = "0" * 12  # zeros that end the last code of a line are split off with the end-of-line code
_EOL = re.compile("0{11,}1")
_END_OF_PAGE = re.compile("(000000000001){2}0*$")
_TAGGED_EOL = re.compile("0{11,}1([01])")


class _Damage(Exception):
    """The bits are no code; `changes` is the line up to here."""

    def __init__(self, changes: list[int]) -> None:
        super().__init__("no code")
        self.changes = changes


@dataclass(slots=True)
class Lines:
    """A page read."""

    width: int
    paper: int = 0
    """1 where the coder's black is paper."""
    rows: list[bytes] = field(default_factory=list)
    """Packed; a bit is 1 where the coder saw black."""
    bad: int = 0
    """Damaged lines among them."""

    def add(self, changes: list[int], *, damaged: bool = False) -> None:
        if damaged and len(changes) % 2 != self.paper:  # behind the damage there is paper, whatever colour it had begun
            changes = changes[:-1] if changes else [0]
        line = 0
        for start, end in zip(changes[::2], [*changes[1::2], self.width], strict=False):
            line |= ((1 << (end - start)) - 1) << (self.width - end)
        padded = -self.width % 8
        self.rows.append((line << padded).to_bytes((self.width + padded) // 8, "big"))
        self.bad += damaged


def read(data: bytes, coding: str, width: int, most: int, paper: int = 0) -> Lines:
    """`most` lines of `data` (most significant bit first); `coding` is "mh", "mh-bytes", "mr" or "mmr".

    `paper` is the bit that stands for paper; lines that are not there are paper, and bad.
    "mh-bytes" has no end-of-line codes, and lines begin at whole bytes (Compression 2 of TIFF). Never raises.
    """
    bits = _bits(data)
    lines = Lines(width, paper)
    reader = {"mh": _mh, "mh-bytes": _mh_bytes, "mr": _mr, "mmr": _mmr}[coding]
    for changes, damaged in reader(bits, width):
        if len(lines.rows) >= most:
            break
        lines.add(changes, damaged=damaged)
    while len(lines.rows) < most:
        lines.add([], damaged=True)
    return lines


def same(data: bytes, again: bytes, coding: str) -> bool:
    """Whether two codings of a page say the same: filling, end-of-line codes and what follows the end do not count."""
    if coding in ("mh", "mr"):
        return _without_filling(data) == _without_filling(again)
    if coding == "mmr":
        return _bits(data).startswith(_END_OF_PAGE.sub("", _bits(again)))
    return data.startswith(again)


def _without_filling(data: bytes) -> list[str]:
    return [line for line in (part.rstrip("0") for part in _EOL.split(_bits(data))) if line]


def _bits(data: bytes) -> str:
    return f"{int.from_bytes(bytes([1]) + data, 'big'):b}"[1:]


def _mh(bits: str, width: int) -> Iterator[tuple[list[int], bool]]:
    for part in _EOL.split(bits):
        end, at = len(part.rstrip("0")), 0
        part += _TAIL
        while at < end:  # more than one line where an end-of-line code is missing
            try:
                changes, at = _line(part, at, width)
            except _Damage as damage:
                yield damage.changes, True
                break
            yield changes, False


def _mh_bytes(bits: str, width: int) -> Iterator[tuple[list[int], bool]]:
    at = 0
    while at < len(bits):
        try:
            changes, at = _line(bits, at, width)
        except _Damage as damage:
            yield damage.changes, True
            return
        yield changes, False
        at += -at % 8


def _mr(bits: str, width: int) -> Iterator[tuple[list[int], bool]]:
    parts = _TAGGED_EOL.split(bits)
    reference: list[int] | None = None
    for tag, part in zip(parts[1::2], parts[2::2], strict=True):
        if not part.strip("0"):
            continue
        part += _TAIL
        try:
            if tag == "1":
                reference, _ = _line(part, 0, width)
            elif reference is None:
                raise _Damage([])
            else:
                reference, _ = _line_by_reference(part, 0, width, reference)
            yield reference, False
        except _Damage as damage:
            reference = None
            yield damage.changes, True


def _mmr(bits: str, width: int) -> Iterator[tuple[list[int], bool]]:
    reference: list[int] = []
    at = 0
    while at < len(bits) and not bits.startswith("000000000001", at):
        try:
            reference, at = _line_by_reference(bits, at, width, reference)
        except _Damage as damage:
            yield damage.changes, True
            return
        yield reference, False


def _line(bits: str, at: int, width: int) -> tuple[list[int], int]:
    """One line coded by itself: where it changes colour, white first, and where the next one begins."""
    changes: list[int] = []
    x = colour = 0
    while x < width:
        run, at = _run(bits, at, colour, changes)
        x += run
        if x > width:
            raise _Damage(changes)
        if x < width:
            changes.append(x)
        colour ^= 1
    return _merged(changes), at


def _line_by_reference(bits: str, at: int, width: int, reference: list[int]) -> tuple[list[int], int]:
    """One line coded by its differences from the line above (T.4 section 4.2, T.6 section 2)."""
    changes: list[int] = []
    x, colour, n = -1, 0, 0
    while x < width:
        mode, at = _mode(bits, at, changes)
        n = _after(reference, x, colour, n)
        first = reference[n] if n < len(reference) else width
        if mode == _PASS:
            x = reference[n + 1] if n + 1 < len(reference) else width
        elif mode == _HORIZONTAL:
            x = max(x, 0)
            for c in (colour, colour ^ 1):
                run, at = _run(bits, at, c, changes)
                x += run
                if x > width:
                    raise _Damage(changes)
                changes.append(x)
        else:
            if not max(x, 0) <= first + mode <= width or (first + mode == x and x >= width):
                raise _Damage(changes)
            x = first + mode
            changes.append(x)
            colour ^= 1
    return _merged([change for change in changes if change < width]), at


def _after(reference: list[int], x: int, colour: int, n: int) -> int:
    """Number of the first change of the line above right of `x` that turns to the opposite of `colour`; `n` is near it."""
    while n > 0 and reference[n - 1] > x:
        n -= 1
    while n < len(reference) and (reference[n] <= x or n % 2 != colour):
        n += 1
    return n


def _merged(changes: list[int]) -> list[int]:
    """Without runs of no length: two changes at one place are none."""
    out: list[int] = []
    for change in changes:
        if out and out[-1] == change:
            out.pop()
        else:
            out.append(change)
    return out


def _run(bits: str, at: int, colour: int, changes: list[int]) -> tuple[int, int]:
    table, length = _RUNS[colour], 0
    while True:
        for size in range(2, 14):
            run = table.get(bits[at : at + size])
            if run is not None:
                break
        else:
            raise _Damage(changes)
        at += size
        length += run
        if run < 64:
            return length, at


def _mode(bits: str, at: int, changes: list[int]) -> tuple[int, int]:
    for size in range(1, 8):
        mode = _MODES.get(bits[at : at + size])
        if mode is not None:
            return mode, at + size
    raise _Damage(changes)
