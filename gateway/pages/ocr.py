"""A searchable text layer for received faxes: Tesseract reads each page, and its words lie unseen over the scan.

Pictures are made and PDF is read in the fence (`layer`); Tesseract itself runs outside the jobs, behind the same walls as other
programs (`office.main`), at the lowest priority, one thread, page by page. What it does not manage in time stays without
text: the scan is whole in any case. Pages that have text already are left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Protocol

_PAGE_LIMIT = 60.0  # seconds
_LIMIT = 300.0  # seconds for all pages: the fax is waiting
_MEMORY = 1_500_000_000
_HERE = str(Path(__file__).resolve().parents[2])
_LAUNCHER = "from gateway.pages.office import main; main()"


class Runs(Protocol):
    """The part of the fence that is needed here."""

    async def run(self, function: str, *args: object) -> object: ...


def program() -> str:
    """Where Tesseract is; "" when it is not installed."""
    return shutil.which("tesseract") or ""


def lacking(languages: str) -> str:
    """What is missing to read `languages` ("deu+eng"), in words; "" for nothing."""
    if not program():
        return "Tesseract is not installed"
    done = subprocess.run([program(), "--list-langs"], capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
    known = set(done.stdout.split("\n")[1:])
    absent = [language for language in languages.split("+") if language not in known]
    return f"Tesseract has no data for {', '.join(absent)}" if absent else ""


async def with_text(fence: Runs, pdf: bytes, pages: int, languages: str, folder: Path) -> tuple[bytes, str]:
    """The PDF with words over its scans, and what was not managed ("" = all). Scraps in `folder`.

    Raises what `fence.run` raises; the caller keeps the PDF it has.
    """
    ends, layers, trouble = time.monotonic() + _LIMIT, dict[int, bytes](), ""
    with tempfile.TemporaryDirectory(prefix="ocr-", dir=folder) as name:
        work = Path.cwd() / name
        for number in range(pages):
            left = min(_PAGE_LIMIT, ends - time.monotonic())
            if left <= 1:
                trouble = f"there was no time for page {number + 1} and those behind it"
                break
            picture = await fence.run("gateway.pages.layer:picture", pdf, number)
            if not picture:
                continue
            assert isinstance(picture, bytes)
            layer = await _read(picture, work, languages, left)
            if layer:
                layers[number] = layer
            else:
                trouble = f"page {number + 1} could not be read"
    if not layers:
        return pdf, trouble
    made = await fence.run("gateway.pages.layer:laid_over", pdf, layers)
    assert isinstance(made, bytes)
    return made, trouble


async def _read(picture: bytes, work: Path, languages: str, seconds: float) -> bytes:
    """Tesseract's text of a picture as a PDF with nothing else on it; b"" when it failed."""
    source, made = work / "page.png", work / "text.pdf"
    made.unlink(missing_ok=True)
    await asyncio.to_thread(source.write_bytes, picture)
    command = ["/usr/bin/nice", "-n", "19", program(), str(source), str(work / "text"), "-l", languages, "--psm", "1"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-c", _LAUNCHER, str(_MEMORY), str(seconds), str(work)),
        *command,
        *("-c", "textonly_pdf=1", "pdf"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={
            "PYTHONPATH": _HERE,
            "PATH": "/usr/bin:/bin",
            "HOME": str(work),
            "TMPDIR": str(work),
            "LANG": "C.UTF-8",
            "OMP_THREAD_LIMIT": "1",
        },
        cwd=work,
        start_new_session=True,
    )
    status = -1
    try:
        async with asyncio.timeout(seconds):
            status = await process.wait()
    except TimeoutError:
        return b""
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    return await asyncio.to_thread(_content, made) if status == 0 else b""


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""
