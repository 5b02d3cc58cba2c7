"""The directories of a TIFF file, read by ourselves: one broken page must not hide the pages behind it (IMG-15).

Both byte orders, directories anywhere and in any order of tags, numbers as SHORT or LONG. Missing fax tags get the
defaults of RFC 3949. Source: TIFF 6.0; RFC 3949 sections 3 and 4.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

MH_BYTES, T4, T6 = 2, 3, 4  #: Compression
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_NUMBERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
_MOST_VALUES = 100_000


class BadTiff(ValueError):
    """This is no TIFF file, or a directory is not whole."""


@dataclass(frozen=True, slots=True)
class Directory:
    """One page of a file."""

    at: int
    """Where it stands in the file."""
    content: bytes = field(repr=False)
    """The whole file."""
    values: dict[int, tuple[float, ...]] = field(repr=False)

    def number(self, tag: int, default: int = 0) -> int:
        return int(self.values.get(tag, (default,))[0])

    @property
    def width(self) -> int:
        return self.number(256)

    @property
    def height(self) -> int:
        return self.number(257)

    @property
    def compression(self) -> int:
        return self.number(259, 1)

    @property
    def is_fax(self) -> bool:
        """Whether it is one of the codings of T.4 and T.6, in black and white."""
        plain = self.number(258, 1) == 1 and self.number(277, 1) == 1
        return plain and self.compression in (MH_BYTES, T4, T6) and self.width > 0 and self.height > 0

    @property
    def coding(self) -> str:
        """As `codes.read` calls it."""
        if self.compression == T4:
            return "mr" if self.number(292) & 1 else "mh"
        return "mmr" if self.compression == T6 else "mh-bytes"

    @property
    def white_is_zero(self) -> bool:
        """Whether the coder's black is ink."""
        return self.number(262) != 1

    @property
    def bad_lines(self) -> int:
        """Lines that the receiving machine says were damaged on the way (IMG-13)."""
        return self.number(327)

    @property
    def dots(self) -> tuple[float, float]:
        """Dots an inch across and down; zeros where the file does not say."""
        across, down = self.values.get(282, (0.0,))[0], self.values.get(283, (0.0,))[0]
        unit = {1: 0.0, 2: 1.0, 3: 2.54}.get(self.number(296, 2), 0.0)
        return across * unit, down * unit

    def strips(self) -> Iterator[tuple[bytes, int]]:
        """The data of each strip, most significant bit first (IMG-04), and its lines. Less data than said: what there is."""
        offsets, sizes = self.values.get(273, ()), self.values.get(279, ())
        each = min(self.number(278) or self.height, self.height)
        turn = _TURNED if self.number(266, 1) == 2 else None
        for n, start in enumerate(offsets):
            lines = min(each, self.height - n * each)
            if lines <= 0:
                return
            size = int(sizes[n]) if n < len(sizes) and sizes[n] else len(self.content)
            data = self.content[int(start) : int(start) + size]
            yield (data.translate(turn) if turn else data), lines


_TURNED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def alone(page: Directory) -> bytes:
    """The file as if it had this page only, for readers that stumble over another one."""
    little = page.content[:2] == b"II"
    count = _unpack(page.content, page.at, "H", little)
    after = page.at + 2 + 12 * count
    order = "<I" if little else ">I"
    content = bytearray(page.content)
    content[4:8] = struct.pack(order, page.at)
    content[after : after + 4] = struct.pack(order, 0)
    return bytes(content)


def directories(content: bytes) -> Iterator[Directory]:
    """The pages of a file in their order. Raises BadTiff where the next one cannot be found."""
    if content[:4] not in (b"II*\x00", b"MM\x00*"):
        raise BadTiff("not a TIFF file")
    little = content[:2] == b"II"
    at = _unpack(content, 4, "I", little)
    seen = set[int]()
    while at:
        if at in seen:
            raise BadTiff("its pages go in a circle")
        seen.add(at)
        count = _unpack(content, at, "H", little)
        values = {}
        for n in range(count):
            tag, read = _field(content, at + 2 + 12 * n, little)
            if read:
                values[tag] = read
        yield Directory(at, content, values)
        at = _unpack(content, at + 2 + 12 * count, "I", little)


def _field(content: bytes, at: int, little: bool) -> tuple[int, tuple[float, ...]]:
    """One tag and its numbers; none for text and for what lies outside the file."""
    tag, kind = _unpack(content, at, "H", little), _unpack(content, at + 2, "H", little)
    count = min(_unpack(content, at + 4, "I", little), _MOST_VALUES)
    size = _SIZES.get(kind, 0) * count
    where = at + 8 if size <= 4 else _unpack(content, at + 8, "I", little)
    order = "<" if little else ">"
    if not size or where + size > len(content):
        return tag, ()
    if kind in _NUMBERS:
        return tag, struct.unpack_from(f"{order}{count}{_NUMBERS[kind]}", content, where)
    if kind in (5, 10):
        parts = struct.unpack_from(f"{order}{2 * count}{'I' if kind == 5 else 'i'}", content, where)
        return tag, tuple(above / below if below else 0.0 for above, below in zip(parts[::2], parts[1::2], strict=True))
    return tag, ()


def _unpack(content: bytes, at: int, kind: str, little: bool) -> int:
    try:
        return int(struct.unpack_from(("<" if little else ">") + kind, content, at)[0])
    except struct.error as error:
        raise BadTiff("a page lies outside the file") from error
