"""HylaFAX's record of its calls (xferfaxlog): what a call negotiated, who answered, on which line one came in.

Only an administrator may read it. The whole file comes each time, for hfaxd 6.0.7 accepts REST and begins at the start all
the same; one that nobody rotates is left alone. Sources: xferfaxlog(5); the packing of the parameters is that of
HylaFAX 6 (bit 21 set), which differs from the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.carriers.hylafax_wire import Broken, Wire, text_of

_FILES = ("log/xferfaxlog", "etc/xferfaxlog")  # by Debian, by the source
_LARGEST = 8_000_000  # bytes
_FIELDS = 13
_RESOLUTIONS = {0: "standard", 1: "fine", 2: "superfine"}
_CODINGS = ("MH", "MR", "MR", "MMR")


@dataclass(frozen=True, slots=True)
class Call:
    """One call that was made or came in."""

    kind: str = ""
    """SEND or RECV."""
    about: str = ""
    """The job's number, or the received file."""
    tag: str = ""
    modem: str = ""
    number: str = ""
    """Called: the other's, or that of the modem on which it came in."""
    station: str = ""
    pages: int = 0
    """That were confirmed; a job whose call broke off may not count them itself."""
    seconds: float | None = None
    """On the telephone."""
    speed: int | None = None
    """Bits a second."""
    resolution: str = ""
    """"standard", "fine" or "superfine"."""
    words: str = ""
    """How the pages went over."""
    raw: bytes = b""


def calls(content: bytes) -> Iterator[Call]:
    """Those in a record that are of fax pages, in order."""
    for line in content.split(b"\n"):
        fields = [field.strip('"') for field in text_of(line).rstrip("\r").split("\t")]
        if len(fields) >= _FIELDS and fields[1] in ("SEND", "RECV"):
            speed, resolution, words = _negotiated(fields[9])
            yield Call(
                kind=fields[1],
                about=fields[4].removeprefix("recvq/"),
                tag=fields[5],
                modem=fields[3],
                number=fields[7],
                station=fields[8],
                pages=int(fields[10]) if re.fullmatch("[0-9]{1,6}", fields[10]) else 0,
                seconds=duration(fields[12]),
                speed=speed,
                resolution=resolution,
                words=words,
                raw=line,
            )


def duration(written: str) -> float | None:
    """`0:20` or `1:02:03`."""
    if not re.fullmatch(r"[0-9]{1,6}(:[0-9]{2}){0,2}", written):
        return None
    return float(sum(int(part) * 60**n for n, part in enumerate(reversed(written.split(":")))))


def _negotiated(packed: str) -> tuple[int | None, str, str]:
    """Speed, resolution, and the rest in words."""
    value = int(packed) if re.fullmatch("[0-9]{1,9}", packed) else 0
    if value >> 21 != 1:
        return None, "", ""
    correction = "error correction" if value >> 16 & 1 else "no error correction"
    return 2400 * ((value >> 3 & 15) + 1), _RESOLUTIONS.get(value & 7, ""), f"{correction}, {_CODINGS[value >> 14 & 3]}"


async def recorded(wire: Wire) -> list[Call]:
    """The record, as an administrator's session sees it; none where it is not there or not ours to read. Raises Broken."""
    for file in _FILES:
        size = await wire.ask(f"SIZE {file}")
        if not size.good:
            continue
        if not size.text.isdigit() or int(size.text) > _LARGEST:
            return []
        if not (await wire.ask("TYPE I")).good:
            raise Broken("no type I")
        reply, content = await wire.download(f"RETR {file}", 2 * _LARGEST)
        return list(calls(content)) if reply.good else []
    return []
