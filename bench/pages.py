"""Fax pages judged: how long on the wire, what can be read again, what they cost; ours and others on the same corpus.

    python -m bench.pages              everything, about a quarter of an hour
    python -m bench.pages --quick      bytes, codes and time only
    python -m bench.pages --costs      time only

Everything is judged a second time on the corpus "held out": the same kinds of page with other texts, typefaces, sizes, colours
and noise, on which nothing was tuned.

Needs Ghostscript, Tesseract's English data, tesserocr and zxing-cpp (`pip install faxgate[bench]`). Bytes and errors are the
same on every machine; times are processor seconds, the best of seven, taken in turns. "ours base" is ours without OpenCV.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from pypdf import PdfReader, PdfWriter

from bench import corpus, rivals
from gateway.pages import confine, raster, windows, wire

_BEST_OF = 7
_RESOLUTIONS = {True: "fine", False: "standard"}


def ours(pdf: Path, fine: bool) -> list[Image.Image]:
    """As the gateway does it."""
    return raster.to_fax_pages(pdf, fine=fine)


def ours_base(pdf: Path, fine: bool) -> list[Image.Image]:
    """The same without OpenCV."""
    kept, windows.opencv = windows.opencv, lambda: None  # type: ignore[assignment]
    try:
        return ours(pdf, fine)
    finally:
        windows.opencv = kept


PIPELINES: dict[str, rivals.Pipeline] = {
    "gs (HylaFAX)": rivals.gs,
    "gs settransfer": rivals.gs_tuned,
    "pdfium Otsu": rivals.pdfium_otsu,
    "ours base": ours_base,
    "ours": ours,
}
CORPORA = {"": corpus.USUAL, "held out": corpus.HELD_OUT}
_JUDGED = {"": tuple(PIPELINES), "held out": ("gs (HylaFAX)", "gs settransfer", "ours")}


@dataclass(frozen=True, slots=True)
class Result:
    """One page by one pipeline."""

    pipeline: str
    fine: bool
    name: str
    kind: str
    mmr: int
    mh: int
    wrong: int
    letters: int
    found: int
    codes: int


def judge(which: str, pipeline: str, fine: bool, name: str, *, read: bool) -> Result:
    """One page."""
    page = next(page for page in corpus.pages(CORPORA[which]) if page.name == name)
    with tempfile.TemporaryDirectory() as folder:
        pdf = Path(folder) / "page.pdf"
        pdf.write_bytes(page.pdf)
        (picture,) = PIPELINES[pipeline](pdf, fine)
    bitmap = wire.Bitmap.of(picture, 196 if fine else 98)
    wrong = letters = found = 0
    if read or page.codes:
        from bench import legibility

        found = legibility.codes_found(picture, page)
        if read:
            wrong, letters = legibility.Reader.shared().errors(picture, page)
    mmr, mh = len(wire.mmr(bitmap)), len(wire.mh(bitmap))
    return Result(pipeline, fine, name, page.kind, mmr, mh, wrong, letters, found, len(page.codes))


def document(kinds: Iterable[tuple[str, int]]) -> bytes:
    """So many pages of each kind in one PDF; pages repeat where there are too few."""
    writer = PdfWriter()
    for kind, count in kinds:
        known = [page for page in corpus.pages() if page.kind == kind]
        for n in range(count):
            writer.append(PdfReader(io.BytesIO(known[n % len(known)].pdf)))
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def cost(job: Callable[[], object]) -> tuple[float, float]:
    """Processor seconds and megabytes of a job in a process forked from this one, as the fence forks its jobs."""
    pid = os.fork()
    if pid == 0:
        confine.keep_memory()
        job()
        os._exit(0)
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise RuntimeError("the job failed")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def program_cost(command: list[str]) -> tuple[float, float]:
    """The same of a program of its own; what `wait4` says of memory would be this process's."""
    memory, ended = 0.0, 0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while not ended:
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())
        memory = max(memory, int(found[1]) / 1024 if found else 0)
        time.sleep(0.005)
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
    process.returncode = status
    if status:
        raise RuntimeError(f"{command[0]} failed")
    return usage.ru_utime + usage.ru_stime, memory


def compare_costs(folder: Path) -> list[tuple[str, float, float, float, float, float, float]]:
    """Name, target; then processor seconds and megabytes of Ghostscript, of ours, and the ratio."""
    jobs = (
        ("1 text page", 0.5, [("text", 1)]),
        ("30 text pages", 1.5, [("text", 30)]),
        ("30 mixed pages", 1.25, [("text", 9), ("mixed", 17), ("photo", 4)]),
    )
    rows = []
    for name, target, kinds in jobs:
        pdf = folder / "document.pdf"
        pdf.write_bytes(document(kinds))

        def convert(pdf: Path = pdf) -> None:
            for page in raster.fax_pages(pdf):
                wire.mmr(page.bitmap)

        convert()  # warm
        command = rivals.gs_command(pdf, folder / "out.tif", fine=True)
        turns = [(program_cost(command), cost(convert)) for _ in range(_BEST_OF)]  # by turns: other work comes and goes
        theirs, own = (min(costs) for costs in zip(*turns, strict=True))
        rows.append((name, target, *theirs, *own, own[0] / theirs[0]))
    return rows


def report(which: str, results: list[Result]) -> None:
    """The tables of one corpus, and what the figures are to be compared with."""
    for fine, resolution in _RESOLUTIONS.items():
        count = len(corpus.pages())
        print(f"\n{resolution}, mean of {count} pages{which and ', '}{which}")
        heads = (
            ("MMR bytes", 10),
            ("s", 6),
            ("MH bytes", 10),
            ("s", 6),
            ("text", 8),
            ("mixed", 8),
            ("photo", 8),
            ("CER %", 8),
            ("codes", 8),
        )
        print(" " * 16 + "".join(head.rjust(width) for head, width in heads))
        for name in _JUDGED[which]:
            mine = [result for result in results if result.pipeline == name and result.fine == fine]
            mmr, mh = sum(r.mmr for r in mine) / count, sum(r.mh for r in mine) / count
            line = f"{name:16}{mmr:10.0f}{wire.seconds(round(mmr)):6.1f}{mh:10.0f}{wire.seconds(round(mh)):6.1f}"
            for kind in ("text", "mixed", "photo"):
                of_kind = [r.mmr for r in mine if r.kind == kind]
                line += f"{sum(of_kind) / len(of_kind):8.0f}"
            codes = f"{sum(r.found for r in mine)}/{sum(r.codes for r in mine)}"
            print(line + f"{_error_rate(mine):8.2f}{codes:>8}")
        _targets(results, fine=fine)


def _targets(results: list[Result], *, fine: bool) -> None:
    def of(name: str, kind: str = "") -> list[Result]:
        return [r for r in results if r.pipeline == name and r.fine == fine and kind in ("", r.kind)]

    def bytes_of(name: str, kind: str = "", *, mh: bool = False) -> int:
        return sum(r.mh if mh else r.mmr for r in of(name, kind))

    error, tuned = _error_rate(of("ours")), _error_rate(of("gs settransfer"))
    rows = [
        ("MMR bytes, share of gs", bytes_of("ours") / bytes_of("gs (HylaFAX)"), 0.32 if fine else 0.34),
        ("MH bytes, share of gs", bytes_of("ours", mh=True) / bytes_of("gs (HylaFAX)", mh=True), 0.52 if fine else 0.58),
        ("MMR of text, share of gs", bytes_of("ours", "text") / bytes_of("gs (HylaFAX)", "text"), 0.95 if fine else 1.05),
        ("MMR of mixed, share of tuned gs", bytes_of("ours", "mixed") / bytes_of("gs settransfer", "mixed"), 1.03),
        ("MMR of photos, share of gs", bytes_of("ours", "photo") / bytes_of("gs (HylaFAX)", "photo"), 0.6 if fine else 0.5),
        ("codes not decoded", float(sum(r.codes - r.found for r in of("ours"))), 0.0),
    ]
    if tuned:
        rows += [
            ("CER %", error, 0.5 if fine else 2.5),
            ("CER, share of tuned gs", error / tuned, 0.1 if fine else 1 / 3),
        ]
    worst = sorted((r for r in of("ours") if r.wrong), key=lambda r: r.wrong / r.letters)[-3:]
    lost = [r for r in of("ours") if r.found < r.codes]
    if worst or lost:
        print("  worst:", ", ".join(f"{r.name} {_error_rate([r]):.2f} %" for r in reversed(worst)), *(r.name for r in lost))
    for name, value, target in rows:
        print(f"  {name:34}{value:8.3f}  target {target:5.2f}  {'reached' if value <= target else 'MISSED'}")


def _error_rate(results: list[Result]) -> float:
    """Percent."""
    return 100 * sum(r.wrong for r in results) / max(1, sum(r.letters for r in results))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="do not read the words")
    options.add_argument("--costs", action="store_true", help="time only")
    options.add_argument("--processes", type=int, default=2)
    given = options.parse_args()
    os.environ["OMP_THREAD_LIMIT"] = "1"
    with ProcessPoolExecutor(given.processes) as pool:
        for which in () if given.costs else CORPORA:
            names = [page.name for page in corpus.pages()]
            orders = [(which, by, fine, name) for by in _JUDGED[which] for fine in _RESOLUTIONS for name in names]
            waiting = [pool.submit(judge, *order, read=not given.quick) for order in orders]
            report(which, [one.result() for one in waiting])
            sys.stdout.flush()
    with tempfile.TemporaryDirectory() as folder:
        print(f"\n{'processor time, fine, MMR':28}{'gs s':>8}{'MB':>6}{'ours s':>8}{'MB':>6}{'ratio':>8}")
        for name, target, gs_s, gs_mb, our_s, our_mb, ratio in compare_costs(Path(folder)):
            said = "reached" if ratio <= target else "MISSED"
            print(f"{name:28}{gs_s:8.3f}{gs_mb:6.0f}{our_s:8.3f}{our_mb:6.0f}{ratio:8.2f}  target {target:.2f}  {said}")


if __name__ == "__main__":
    main()
