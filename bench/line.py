"""Fax pages on a real line: seconds on the wire, ours and HylaFAX's own.

    python -m bench.line               both documents, four calls: about six minutes
    python -m bench.line --bytes       only how large the pages are, which is the same on every machine

Two modems call one another (tests/line/exchange.py; root, the Debian packages of tests/debian-packages.txt). Each page goes
over twice, by the same modem: as a TIFF that the gateway made, and as the PDF itself, which HylaFAX prepares by its own
pdf2fax. Both are fine, 14400 bit/s, error correction, MMR. "page" is from its first octet to its confirmation, by HylaFAX's
log of the session; "call" is what HylaFAX counts (xferfaxlog).
"""

from __future__ import annotations

import argparse
import ftplib
import re
import socket
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bench import corpus, rivals
from gateway.carriers.hylafax_calls import Call, calls
from gateway.pages import raster, wire
from tests.line import exchange
from tests.line.exchange import Exchange

#: Of the corpus: a letter, and photo and text on one page.
PAGES = {"text": "letter_11pt", "mixed": "newsletter"}
TARGETS = {"text": "", "mixed": "0.50"}
_PATIENCE = 300  # seconds for a call
_CONFIRMED = re.compile(r"^\w+ +\d+ ([0-9:.]+): .*SEND FAX.*\(page \d+ of \d+", re.MULTILINE)
_BEGUN = re.compile(r"^\w+ +\d+ ([0-9:.]+): .*SEND begin page", re.MULTILINE)
_CLOCK = "%H:%M:%S.%f"
_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Sent:
    """One page that went over."""

    page: float
    """Seconds."""
    call: Call


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--bytes", action="store_true", help="call nobody")
    known = {page.name: page.pdf for page in corpus.pages()}
    print(f"{'bytes, MMR, fine':<24}{'ours':>10}{'HylaFAX':>10}{'ratio':>8}{'target':>8}")
    for kind, name in PAGES.items():
        with tempfile.TemporaryDirectory() as folder:
            pdf = Path(folder) / "page.pdf"
            pdf.write_bytes(known[name])
            (theirs,) = rivals.gs(pdf, True)
        row(kind, name, len(wire.mmr(ours(known[name]))), len(wire.mmr(wire.Bitmap.of(theirs, 196))))
    if arguments.parse_args().bytes:
        return
    if why := exchange.missing():
        raise SystemExit(why)
    with exchange.running() as line:
        print(f"\n{'seconds on the wire':<24}{'ours':>10}{'HylaFAX':>10}{'ratio':>8}{'target':>8}")
        for kind, name in PAGES.items():
            mine = sent(line, "TIFF", wire.profile_f([ours(known[name])]))
            theirs_sent = sent(line, "PDF", known[name])
            row(kind, f"{name}, page", mine.page, theirs_sent.page)
            row(kind, f"{name}, call", mine.call.seconds or 0.0, theirs_sent.call.seconds or 0.0)
            assert (mine.call.speed, mine.call.words) == (theirs_sent.call.speed, theirs_sent.call.words), "not the same line"
        print(f"{mine.call.speed} bit/s, {mine.call.resolution}, {mine.call.words}")


def ours(pdf: bytes) -> wire.Bitmap:
    """The page as the gateway draws it."""
    return next(raster.fax_pages(pdf, fine=True)).bitmap


def row(kind: str, what: str, own: float, other: float) -> None:
    """One comparison."""
    target = TARGETS[kind]
    shown = [f"{value:,}" if isinstance(value, int) else f"{value:.1f}" for value in (own, other)]
    print(f"{kind:<7}{what:<17}{shown[0]:>10}{shown[1]:>10}{own / other:>8.2f}{target:>8}", flush=True)


def sent(line: Exchange, form: str, content: bytes) -> Sent:
    """One document over the line, from the first modem to the second. `form` is HylaFAX's word for what it is."""
    line.wait_idle()
    before, known = line.sessions(), len(recorded(line))
    submit(line, form, content)
    until = time.monotonic() + _PATIENCE
    while len(found := recorded(line)) == known:
        if time.monotonic() > until:
            raise SystemExit(f"the call does not end: {line.logged()}")
        time.sleep(0.5)
    said = line.said_since(before)
    begun, confirmed = _BEGUN.findall(said), _CONFIRMED.findall(said)
    if not begun or not confirmed:
        raise SystemExit(f"the page was not confirmed: {line.logged()}")
    took = datetime.strptime(confirmed[-1], _CLOCK) - datetime.strptime(begun[0], _CLOCK)  # noqa: DTZ007  # a clock, no date
    return Sent(took.total_seconds() % _DAY, found[-1])


def recorded(line: Exchange) -> list[Call]:
    """The calls that were made."""
    log = line.folder / "etc" / "xferfaxlog"
    for place in (line.spool / "log" / "xferfaxlog", log):
        if place.is_file():
            return [call for call in calls(place.read_bytes()) if call.kind == "SEND"]
    return []


def submit(line: Exchange, form: str, content: bytes) -> None:
    """As sendfax does: hfaxd speaks FTP with some words more."""
    with ftplib.FTP() as server:
        server.connect("127.0.0.1", line.port, 20)
        server.login(exchange.LOGIN, exchange.PASSWORD)
        for command in (f"FORM {form}", "TYPE I", "MODE S"):
            server.voidcmd(command)
        document = uploaded(server, content)
        server.voidcmd("JNEW")
        for key, value in parameters(line):
            server.voidcmd(f"JPARM {key} {value}")
        server.voidcmd(f"JPARM DOCUMENT {document}")
        server.voidcmd("JSUBM")


def uploaded(server: ftplib.FTP, content: bytes) -> str:
    """What the document is called there."""
    with socket.create_connection(server.makepasv(), 20) as data:
        begun = server.sendcmd("STOT")
        data.sendall(content)
    server.voidresp()
    return begun.split("FILE: ")[1].split()[0]


def parameters(line: Exchange) -> list[tuple[str, str]]:
    """The same for everybody: letter paper, fine, one call, no tag line."""
    return [
        ("FROMUSER", '"bench"'), ("NOTIFYADDR", '"bench"'), ("NOTIFY", "NONE"), ("DIALSTRING", f'"{exchange.NUMBERS[1]}"'),
        ("MAXDIALS", "1"), ("MAXTRIES", "1"), ("SENDTIME", "NOW"), ("LASTTIME", "000100"), ("VRES", "196"),
        ("PAGEWIDTH", "216"), ("PAGELENGTH", "279"), ("PAGECHOP", "NONE"), ("USETAGLINE", "YES"), ("TAGLINE", '""'),
        ("MODEM", f'"{line.modems[0]}"'),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
