"""The fence: what a converter cannot do there, and what the gateway learns when it dies."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from gateway.errors import BadDocument, ConverterUnavailable
from gateway.pages import child, fence, landlock, office
from gateway.pages.assemble import Job, Made
from gateway.pages.fence import Fence
from tests.pages import fax_files as make

# What the tests run inside the fence. The server takes functions of gateway.pages only, so these are planted there.
TRICKS = Path(__file__).with_name("fence_tricks.py")
ROOT = Path(__file__).parents[2]


@pytest_asyncio.fixture
async def pen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fence]:
    folder = tmp_path / "planted"
    folder.mkdir()
    (folder / "fence_tricks.py").write_bytes(TRICKS.read_bytes())
    monkeypatch.setattr(
        fence, "_PROGRAM", f"import gateway.pages; gateway.pages.__path__.append({str(folder)!r}); " + fence._PROGRAM
    )
    made = Fence(memory=300_000_000, time_limit=5, folder=tmp_path / "scraps")
    try:
        yield made
    finally:
        await made.close()


def job(folder: Path, mail: bytes, name: str = "out") -> Job:
    out = folder / name
    out.mkdir()
    (out / "mail").write_bytes(mail)
    return Job(source=out / "mail", content_type="message/rfc822", out=out, cover=make.COVER, paper="letter", max_pages=50)


async def test_a_mail_becomes_pages_behind_the_fence(tmp_path: Path, pen: Fence) -> None:
    mail = make.mail("Hello", ("application/pdf", make.pdf("x"), "x.pdf")).as_bytes()
    made = await pen.run("gateway.pages.assemble:make", job(tmp_path, mail))
    assert isinstance(made, Made)
    assert made.pages == len(make.texts(made.pdf)) == 2
    assert made.manifest[1].title == "x.pdf"


async def test_a_refusal_comes_out_as_it_was_raised(tmp_path: Path, pen: Fence) -> None:
    mail = make.mail("Hello", ("application/pdf", make.locked(), "Vertrag-Müller.pdf")).as_bytes()
    with pytest.raises(BadDocument, match="password") as error:
        await pen.run("gateway.pages.assemble:make", job(tmp_path, mail))
    assert (error.value.reply, error.value.part) == ("554 5.6.5", "Vertrag-Müller.pdf")


async def test_several_jobs_run_at_once_and_do_not_mix(tmp_path: Path, pen: Fence) -> None:
    jobs = [job(tmp_path, make.mail(f"number-{n}.").as_bytes(), str(n)) for n in range(12)]
    made = await asyncio.gather(*(pen.run("gateway.pages.assemble:make", one) for one in jobs))
    for n, one in enumerate(made):
        assert isinstance(one, Made)
        assert f"number-{n}." in make.texts(one.pdf)[0]


async def test_bytes_of_any_size_go_in_and_out(pen: Fence) -> None:
    content = make.tiff(*[make.fax_page(1143)] * 3)
    answer = await pen.run("gateway.pages.received:to_pdf", content + bytes(5_000_000))
    assert isinstance(answer, tuple)
    assert (len(make.sizes(answer[0])), answer[1]) == (3, 3)


async def test_layouts_and_threads_work_behind_the_fence_while_processes_do_not(tmp_path: Path, pen: Fence) -> None:
    mail = make.mail("你好 مرحبا", ("text/csv", b"a;b\n1;2\n", "a.csv"), ("text/markdown", b"# Head", "a.md"))
    made = await pen.run("gateway.pages.assemble:make", job(tmp_path, mail.as_bytes()))
    assert isinstance(made, Made)
    pages = make.texts(made.pdf)
    assert (len(pages), pages[2:]) == (4, ["a b 1 2", "Head"])
    assert "你好" in pages[1]
    assert await pen.run("gateway.pages.fence_tricks:second_thread") == "made"


@pytest.mark.parametrize("trick", ["internet", "local_socket", "program", "trace"])
async def test_cnt_12_a_job_has_no_network_and_starts_no_program(pen: Fence, trick: str) -> None:
    assert "network" in pen.describe()
    if trick != "internet" and "seccomp" not in pen.describe():
        pytest.skip("no system call filter on this machine")
    said = await pen.run(f"gateway.pages.fence_tricks:{trick}")
    assert isinstance(said, str)
    assert said.startswith("refused"), said


@pytest.mark.skipif(sys.platform != "linux", reason="the protections are Linux's")
async def test_a_job_reaches_no_other_process(pen: Fence) -> None:
    assert await pen.run("gateway.pages.fence_tricks:signal_to", os.getpid()) == "refused"
    assert await pen.run("gateway.pages.fence_tricks:limits_of", os.getpid()) == "refused"
    assert await pen.run("gateway.pages.fence_tricks:memory_of_the_server") == "refused"
    assert await pen.run("gateway.pages.fence_tricks:second_process") == "refused"


needs_landlock = pytest.mark.skipif(not landlock.version(), reason="the kernel has no Landlock")


@needs_landlock
async def test_a_job_opens_its_own_files_and_no_others(pen: Fence, tmp_path: Path) -> None:
    secret, own = tmp_path / "gateway.toml", tmp_path / "own"
    secret.write_text("the secret")
    own.write_text("its own")
    others = [str(secret), "/etc/passwd", "/proc/self/environ", "/proc/1/status", str(tmp_path)]
    said = await pen.run("gateway.pages.fence_tricks:read_other", others)
    assert isinstance(said, list)
    assert [words.partition(":")[0] for words in said] == ["refused"] * 5, said
    assert await pen.run("gateway.pages.fence_tricks:read", own) == "its own"
    assert await pen.run("gateway.pages.fence_tricks:write_other", [str(tmp_path / "new")]) == "refused: Permission denied"
    assert "own files only" in pen.describe()


@needs_landlock
async def test_a_document_of_another_fax_is_out_of_reach(pen: Fence, tmp_path: Path) -> None:
    mine, other = job(tmp_path, b"mine", "mine"), job(tmp_path, b"of somebody else", "other")
    said = await pen.run("gateway.pages.fence_tricks:neighbour", mine, [str(other.source)])
    assert said == "refused: Permission denied"


@pytest.mark.needs("bwrap")
async def test_without_landlock_the_converters_run_in_bubblewrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not office.bubblewrap():
        pytest.skip("bubblewrap does not work here")
    documents, planted, secret = tmp_path / "documents", tmp_path / "planted", tmp_path / "gateway.toml"
    planted.mkdir()
    (planted / "fence_tricks.py").write_bytes(TRICKS.read_bytes())
    (documents / "work").mkdir(parents=True)
    (documents / "mail").write_text("its own")
    secret.write_text("the secret")
    monkeypatch.setattr(landlock, "version", lambda: 0)
    plant = f"from gateway.pages import landlock; landlock.version = lambda: 0; gateway.pages.__path__.append({str(planted)!r})"
    monkeypatch.setattr(fence, "_PROGRAM", f"import gateway.pages; {plant}; {fence._PROGRAM}")
    pen = Fence(300_000_000, 20, documents / "work", reads=(documents, planted))
    try:
        told = pen.describe()
        paths = [documents / "mail", secret, Path("/etc/passwd"), Path(f"/proc/{os.getpid()}/environ")]
        said = await pen.run("gateway.pages.fence_tricks:read_other", [str(path) for path in paths])
        assert isinstance(said, list)
        assert [words.partition(":")[0] for words in said] == ["its own", "refused", "refused", "refused"], said
        assert str(await pen.run("gateway.pages.fence_tricks:internet")).startswith("refused")
        written = await pen.run("gateway.pages.fence_tricks:write_other", [str(documents / "new")])
        assert written == "refused: Read-only file system"
        mail = make.mail("Hello", ("application/pdf", make.pdf("x"), "x.pdf")).as_bytes()
        made = await pen.run("gateway.pages.assemble:make", job(documents / "work", mail))
        assert isinstance(made, Made)
        assert (made.pages, pen.describe()) == (2, told)
    finally:
        await pen.close()
    assert told.startswith("no network")
    assert told.endswith("documents only by bubblewrap")


@pytest.mark.skipif(sys.platform != "linux", reason="the protections are Linux's")
def test_a_process_that_has_no_landlock_says_so() -> None:
    program = (
        "from gateway.pages import child, landlock\nlandlock.version = lambda: 0\n"
        "print(landlock.only([], []), child._protection())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.startswith("False ")
    assert "every file of this user within reach" in done.stdout


async def test_a_job_that_dies_names_its_part(pen: Fence) -> None:
    with pytest.raises(ConverterUnavailable) as error:
        await pen.run("gateway.pages.fence_tricks:crash", "Plan Müller.pdf")
    assert error.value.part == "Plan Müller.pdf"


async def test_a_job_that_takes_too_long_is_ended_and_names_its_part(pen: Fence, tmp_path: Path) -> None:
    quick = Fence(memory=300_000_000, time_limit=0.3, folder=tmp_path / "quick")
    try:
        await quick.run("gateway.pages.fence_tricks:pid")
        began = time.monotonic()
        with pytest.raises(ConverterUnavailable) as error:
            await quick.run("gateway.pages.fence_tricks:sleep", "slow.pdf")
        assert error.value.part == "slow.pdf"
        assert time.monotonic() - began < 2
    finally:
        await quick.close()


async def test_a_job_that_takes_too_much_memory_is_ended_and_names_its_part(pen: Fence) -> None:
    with pytest.raises(ConverterUnavailable, match="memory") as error:
        await pen.run("gateway.pages.fence_tricks:hog", "big.pdf", 400_000_000)
    assert error.value.part == "big.pdf"
    assert await pen.run("gateway.pages.fence_tricks:hog", "small.pdf", 100_000_000) == 100_000_000


async def test_a_job_writes_no_endless_file(pen: Fence, tmp_path: Path) -> None:
    with pytest.raises(ConverterUnavailable):
        await pen.run("gateway.pages.fence_tricks:fill", tmp_path / "endless")
    assert (tmp_path / "endless").stat().st_size <= 512 * 1024 * 1024


async def test_an_error_of_ours_is_logged_and_not_told_to_strangers(pen: Fence, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConverterUnavailable) as error:
        await pen.run("gateway.pages.fence_tricks:bug")
    assert "detail for the operator" not in error.value.text
    assert "detail for the operator" in caplog.text


async def test_a_job_cannot_answer_with_a_type_that_acts_when_read(pen: Fence, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    with pytest.raises(ConverterUnavailable):
        await pen.run("gateway.pages.fence_tricks:trap", str(trap))
    assert not trap.exists()


async def test_only_functions_of_the_pages_are_run(pen: Fence) -> None:
    with pytest.raises(ConverterUnavailable):
        await pen.run("os:getpid")


async def test_a_cancelled_job_is_ended(pen: Fence, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    running = asyncio.create_task(pen.run("gateway.pages.fence_tricks:tell_and_sleep", path))
    async with asyncio.timeout(10):
        while not path.exists() or not path.read_text():
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        while psutil.pid_exists(int(path.read_text())):
            await asyncio.sleep(0.01)


async def test_no_zombie_stays_behind(pen: Fence) -> None:
    before = len(psutil.Process().children(recursive=True))
    for _ in range(3):
        await pen.run("gateway.pages.fence_tricks:pid")
    async with asyncio.timeout(5):
        while [one for one in psutil.Process().children(recursive=True) if one.status() == psutil.STATUS_ZOMBIE]:
            await asyncio.sleep(0.01)
    assert len(psutil.Process().children(recursive=True)) <= before + 2  # the server and the fork it keeps ready


async def test_a_dead_server_is_started_again(pen: Fence) -> None:
    await pen.run("gateway.pages.fence_tricks:pid")
    assert pen._server is not None
    first = pen._server.pid
    os.kill(first, signal.SIGKILL)
    pen._server.wait()
    assert isinstance(await pen.run("gateway.pages.fence_tricks:pid"), int)
    assert pen._server.pid != first


async def test_everything_ends_with_the_gateway(tmp_path: Path) -> None:
    program = (
        "import asyncio, os, sys\nfrom pathlib import Path\nfrom gateway.pages.fence import Fence\n"
        "async def main():\n"
        f"    fence = Fence(10**9, 60, Path({str(tmp_path)!r}))\n"
        "    await fence.run('gateway.pages.received:to_pdf', Path(sys.argv[1]).read_bytes())\n"
        "    print(fence._server.pid, flush=True)\n    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    (tmp_path / "a.pdf").write_bytes(make.pdf("x"))
    gateway = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(tmp_path / "a.pdf"), stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    assert gateway.stdout is not None
    server = int(await gateway.stdout.readline())
    assert psutil.pid_exists(server)
    gateway.kill()
    await gateway.wait()
    async with asyncio.timeout(10):
        while psutil.pid_exists(server) and psutil.Process(server).status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.02)


async def test_two_fences_live_side_by_side(tmp_path: Path, pen: Fence) -> None:
    other = Fence(memory=300_000_000, time_limit=5, folder=tmp_path / "other")
    try:
        pids = await asyncio.gather(other.run("gateway.pages.fence_tricks:pid"), pen.run("gateway.pages.fence_tricks:pid"))
        assert pids[0] != pids[1]
    finally:
        await other.close()


@pytest.mark.parametrize(
    ("without", "said"),
    [
        ("_new_namespaces", "no network and no programs by seccomp, limits"),
        ("_refuse_system_calls", "no network by user namespace, limits"),
        ("_new_namespaces = confine._refuse_system_calls", "limits only: the network stays within reach of converters"),
    ],
)
def test_each_protection_holds_alone_and_what_is_missing_is_said(without: str, said: str) -> None:
    program = (
        f"from gateway.pages import confine\nconfine.{without} = lambda *_: False\nprint(confine.no_network())\n"
        "import socket\n"
        "try:\n    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('127.0.0.1', 9))\n    print('reached')\n"
        "except OSError as error:\n    print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    words, reached = done.stdout.splitlines()
    if words != said:
        pytest.skip(f"this machine offers less: {words}")
    assert reached == ("reached" if said.startswith("limits") else "refused")


ELSEWHERE = """
import asyncio, sys
from pathlib import Path
from gateway.pages import confine, fence, office
assert confine._refuse_system_calls({{"x86_64": {x86}, "aarch64": {arm}}})
folder = Path(sys.argv[1])
from tests.pages import office_files
from gateway.pages import landlock
async def main():
    pen = fence.Fence(memory=300_000_000, time_limit=30, folder=folder)
    assert await pen.run("gateway.pages.html:to_text", "<p>words") == "words"
    print(pen.describe())
    print(office.walls())
    print(repr(office.bubblewrap()))
    limits = {{"most_pages": 9, "folder": folder, "memory": 1_000_000_000, "seconds": 60}}
    print((await office.convert("rtf", office_files.rtf("words"), **limits))[:4])
    await pen.close()
asyncio.run(main())
"""
MOUNTS = {"x86": "(165, 166, 155)", "arm": "(40, 39, 41)"}  # mount, umount2, pivot_root: not in @system-service
DOCKER = {"x86": "(165, 166, 155, 272, 308)", "arm": "(40, 39, 41, 97, 268)"}  # and unshare, setns


@needs_landlock
@pytest.mark.needs("soffice")
@pytest.mark.parametrize(("refused", "by_namespace"), [(MOUNTS, True), (DOCKER, False)], ids=["systemd unit", "image"])
def test_the_fence_and_libreoffice_work_with_the_rights_of_the_unit_and_of_the_image(
    tmp_path: Path, refused: dict[str, str], by_namespace: bool
) -> None:
    program = ELSEWHERE.format(**refused)
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, cwd=ROOT, check=True)
    fence_words, program_words, bubblewrap, pdf_begins = done.stdout.splitlines()
    assert ("user namespace" in fence_words) == by_namespace
    assert "no network and no programs by seccomp" in fence_words
    assert "no network by seccomp" in program_words
    assert "own files only by Landlock" in fence_words
    assert "own files only by Landlock" in program_words
    assert (bubblewrap, pdf_begins) == ("''", "b'%PDF'")


def test_check_config_can_say_what_there_is_to_convert_with() -> None:
    said = fence.equipment()
    assert said["HTML mail, SVG"] == "laid out by WeasyPrint"
    assert said["HEIC pictures"] == "pi-heif"
    assert said["broken PDF"] == "pypdf, pikepdf, pdfium"
    assert set(said) == {
        "office documents",
        "HTML mail, SVG",
        "scripts",
        "broken PDF",
        "HEIC pictures",
        "fax pages",
        "bar codes",
    }


def test_the_protection_is_described_without_a_running_server() -> None:
    assert "limits" in fence.describe()


def test_telling_the_part_outside_the_fence_does_nothing() -> None:
    child.note("x")
    assert child._job is None
