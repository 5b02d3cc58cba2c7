"""Documents of word processors, spreadsheets and slides: LibreOffice, started anew for each document.

A job in the fence starts no programs; it asks the gateway (`child.ask`), which runs LibreOffice here: with bubblewrap
where that works, else behind our own walls (`main`: no network, own files only), with a fresh profile, within time and
memory. What comes back is a PDF, and is treated like any stranger's.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from gateway.errors import BadDocument, ConverterUnavailable
from gateway.pages import confine
from gateway.pages.manifest import BROKEN, MISSING

_FILTERS = {"xlsx": "calc", "ods": "calc", "xls": "calc", "pptx": "impress", "odp": "impress", "ppt": "impress"}
_LARGEST_RESULT = 200_000_000
_MEMORY = 4  # times what a conversion may have: the program maps far more than it uses
_READ = (
    "/usr",
    "/etc/fonts",
    "/etc/ld.so.cache",
    "/etc/libreoffice",
    "/opt/libreoffice",
    "/var/lib/libreoffice",
    "/var/spool/libreoffice",
    "/var/cache/fontconfig",
)
_PIPES = Path("/tmp")  # noqa: S108 - where LibreOffice makes a socket that says it is running, whatever TMPDIR says
_PROGRAM = "from gateway.pages.office import main; main()"


def program() -> str:
    """Where LibreOffice is; "" when it is not installed."""
    return shutil.which("soffice") or shutil.which("libreoffice") or ""


@functools.cache
def bubblewrap() -> str:
    """Where bubblewrap is, if it works for this user on this machine; else ""."""
    found = shutil.which("bwrap")
    if not found:
        return ""
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            [*walled(found), "--", "/usr/bin/true"], capture_output=True, timeout=10, check=False, env={}
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found if done.returncode == 0 else ""


def describe() -> str:
    """What becomes of office documents on this machine, in words."""
    if not program():
        return "refused: LibreOffice is not installed"
    if bubblewrap():
        return "LibreOffice in bubblewrap"
    return f"LibreOffice without bubblewrap, {walls()}"


def walls() -> str:
    """Our own protection of a program, as a short-lived process finds it, in words."""
    done = subprocess.run(  # noqa: S603 - our own interpreter and program
        [*_launcher(), "describe"], capture_output=True, timeout=30, check=False, env=_environment(Path("/"))
    )
    return done.stdout.decode() or "which cannot be started"


async def convert(kind: str, content: bytes, *, most_pages: int, folder: Path, memory: int, seconds: float) -> bytes:
    """The document as PDF, at most `most_pages` pages of it; scraps in `folder`, `memory` in bytes.

    Raises BadDocument (broken, or LibreOffice is missing), ConverterUnavailable (too slow, killed).
    """
    if not program():
        raise BadDocument("office documents cannot be faxed here: LibreOffice is not installed", reply=MISSING)
    with tempfile.TemporaryDirectory(prefix="office-", dir=os.path.realpath(folder)) as name:  # noqa: ASYNC240 - at once
        work = Path(name)
        source = work / f"document.{kind}"
        await asyncio.to_thread(source.write_bytes, content)
        await _run(_command(work, source, most_pages), work, memory, seconds)
        made = work / "document.pdf"
        if not made.is_file() or not 0 < made.stat().st_size <= _LARGEST_RESULT:
            raise BadDocument("it cannot be read", reply=BROKEN)
        return await asyncio.to_thread(made.read_bytes)


async def _run(command: list[str], work: Path, memory: int, seconds: float) -> None:
    limits = [str(memory * _MEMORY), str(seconds), str(work)]
    process = await asyncio.create_subprocess_exec(
        *_launcher(),
        *limits,
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env=_environment(work),
        cwd=work,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(seconds):
            status = await process.wait()
    except TimeoutError:
        raise ConverterUnavailable("the conversion took too long") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # the whole session: LibreOffice is a starter and a worker
        await process.wait()
    if status < 0:
        raise ConverterUnavailable("the converter died")


def _command(work: Path, source: Path, most_pages: int) -> list[str]:
    kind = _FILTERS.get(source.suffix[1:], "writer")
    pages = f'{{"PageRange":{{"type":"string","value":"1-{most_pages}"}}}}'
    command = [program(), "--headless", "--norestore", "--nolockcheck", "--nodefault", "--nologo", "--nofirststartwizard"]
    command += [f"-env:UserInstallation=file://{work}/profile", "--convert-to", f"pdf:{kind}_pdf_Export:{pages}"]
    command += ["--outdir", str(work), str(source)]
    wrapped = bubblewrap()
    if not wrapped:
        return command
    bound = [
        "--bind",
        str(work),
        str(work),
        "--chdir",
        str(work),
        "--setenv",
        "HOME",
        str(work),
        "--setenv",
        "TMPDIR",
        str(work),
    ]
    return [*walled(wrapped), *bound, "--", *command]


def walled(bubblewrap: str) -> list[str]:
    """The command that starts a program in bubblewrap, up to what else it may see and do: the system to read, nothing to write,
    no network, no other process, no environment."""
    arguments = [bubblewrap, "--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"]
    for path in _READ:
        arguments += ["--ro-bind-try", path, path]
    for path in ("/bin", "/lib", "/lib32", "/lib64", "/sbin"):
        if Path(path).is_symlink():
            arguments += ["--symlink", os.readlink(path), path]
        else:
            arguments += ["--ro-bind-try", path, path]
    return [*arguments, "--proc", "/proc", "--dev", "/dev", "--setenv", "PATH", "/usr/bin:/bin", "--setenv", "LANG", "C.UTF-8"]


def _launcher() -> list[str]:
    return [sys.executable, "-P", "-c", _PROGRAM]


def _environment(work: Path) -> dict[str, str]:
    here = str(Path(__file__).resolve().parents[2])
    return {
        "PYTHONPATH": here,
        "PATH": "/usr/bin:/bin",
        "HOME": str(work),
        "TMPDIR": str(work),
        "LANG": "C.UTF-8",
        "SAL_USE_VCLPLUGIN": "svp",
    }


def main() -> None:
    """Entry point of the launcher: memory, seconds, folder, program with its arguments; or `describe`."""
    if sys.argv[1] == "describe":
        os.write(1, confine.walls([], []).encode())
        return
    memory, seconds, work, command = int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:]
    confine.limit_program(memory, seconds)
    if Path(command[0]).name != "bwrap":
        confine.walls([work], [_PIPES])
    os.execv(command[0], command)  # noqa: S606 - what this is for
