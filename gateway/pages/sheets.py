"""A PDF of scanned pages, written as small as it gets: each page is one picture over the whole sheet.

The pictures are stored as they are given; everything else goes into one compressed object stream (ISO 32000-1 section
7.5.7), some 60 bytes a page. The same pages give the same bytes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

_SIZE = 9.0  # of the words below a picture
_STRIP = 18.0  # height of the strip they stand in


@dataclass(frozen=True, slots=True)
class Scan:
    """One picture."""

    data: bytes = field(repr=False)
    about: Mapping[str, str]
    """Entries of its dictionary beside type and length, e.g. {"/Width": "1728"}."""
    width: float
    """Points."""
    height: float
    note: str = ""
    """Printed in a strip of its own below the picture, which it does not touch. ASCII."""


@dataclass(slots=True)
class Sheets:
    """Pages in the order they are added; then `pdf`."""

    _loose: list[tuple[int, bytes]] = field(default_factory=list)
    """Objects that must stand alone: streams."""
    _packed: list[tuple[int, bytes]] = field(default_factory=list)
    _pages: list[int] = field(default_factory=list)
    _shown: dict[bytes, int] = field(default_factory=dict)
    """Contents that were written already: most pages of a fax have one size."""
    _next: int = 4  # 1 catalogue, 2 page tree, 3 typeface

    def __len__(self) -> int:
        return len(self._pages)

    def add(self, scan: Scan) -> None:
        """Append a page."""
        entries = "".join(f"{key} {value}" for key, value in scan.about.items())
        picture = self._stream(f"/Type/XObject/Subtype/Image{entries}", scan.data)
        self._page(scan.width, scan.height, scan.note, f"/XObject<</I {picture} 0 R>>", "q {w} 0 0 {h} 0 {y} cm /I Do Q")

    def say(self, width: float, height: float, words: list[str]) -> None:
        """Append a page with nothing but words on it, a line each. ASCII."""
        lines = "".join(f"({_escaped(line)}) ' " for line in words)
        self._page(width, height, "", "", f"BT /F 14 Tf 20 TL 72 {height - 100:.1f} Td {lines}ET")

    def pdf(self) -> bytes:
        """The file."""
        kids = " ".join(f"{page} 0 R" for page in self._pages)
        packed = [
            (1, b"<</Type/Catalog/Pages 2 0 R>>"),
            (2, f"<</Type/Pages/Kids[{kids}]/Count {len(self._pages)}>>".encode()),
            (3, b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"),
            *self._packed,
        ]
        holder, index = self._next, self._next + 1
        out = bytearray(b"%PDF-1.5\n%\xe2\xe3\xcf\xd3\n")
        places: dict[int, tuple[int, int, int]] = {0: (0, 0, 65535)}
        for number, body in [*self._loose, (holder, _object_stream(packed))]:
            places[number] = (1, len(out), 0)
            out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
        for n, (number, _) in enumerate(packed):
            places[number] = (2, holder, n)
        start = len(out)
        places[index] = (1, start, 0)
        table = zlib.compress(b"".join(struct.pack(">BIH", *places[n]) for n in range(index + 1)), 9)
        about = f"/Type/XRef/Size {index + 1}/W[1 4 2]/Root 1 0 R/Filter/FlateDecode/Length {len(table)}"
        out += b"%d 0 obj\n<<%s>>stream\n%s\nendstream\nendobj\n" % (index, about.encode(), table)
        return bytes(out + b"startxref\n%d\n%%%%EOF\n" % start)

    def _page(self, width: float, height: float, note: str, resources: str, content: str) -> None:
        strip = _STRIP if note else 0.0
        shown = content.format(w=f"{width:.7g}", h=f"{height:.7g}", y=f"{strip:.7g}") if "{w}" in content else content
        if note:
            shown += f" BT /F {_SIZE:g} Tf 24 5 Td ({_escaped(note)}) Tj ET"
        stream = shown.encode("ascii", "replace")
        if stream not in self._shown:
            self._shown[stream] = self._stream("", stream)
        box = f"[0 0 {width:.7g} {height + strip:.7g}]"
        faces = "/Font<</F 3 0 R>>" if "/F " in shown else ""
        about = f"/Parent 2 0 R/MediaBox{box}/Contents {self._shown[stream]} 0 R/Resources<<{resources}{faces}>>"
        self._packed.append((self._next, f"<</Type/Page{about}>>".encode()))
        self._pages.append(self._next)
        self._next += 1

    def _stream(self, about: str, data: bytes) -> int:
        number = self._next
        self._next += 1
        self._loose.append((number, b"<<%s/Length %d>>stream\n%s\nendstream" % (about.encode(), len(data), data)))
        return number


def _object_stream(objects: list[tuple[int, bytes]]) -> bytes:
    index, body = b"", b""
    for number, content in objects:
        index += b"%d %d " % (number, len(body))
        body += content + b"\n"
    data = zlib.compress(index + body, 9)
    about = b"/Type/ObjStm/N %d/First %d/Filter/FlateDecode/Length %d" % (len(objects), len(index), len(data))
    return b"<<%s>>stream\n%s\nendstream" % (about, data)


def _escaped(words: str) -> str:
    return words.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
