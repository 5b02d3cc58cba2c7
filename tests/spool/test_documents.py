"""Documents: named by their content, durable, and untouched by what senders call them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.errors import SpoolUnavailable
from gateway.fax import Sha256
from gateway.spool.documents import Documents

CONTENT = b"%PDF-1.7\n" + bytes(range(256)) * 5000


@pytest.fixture
def documents(tmp_path: Path) -> Iterator[Documents]:
    made = Documents(tmp_path / "documents")
    made.open()
    yield made
    made.close()


def files(documents: Documents) -> list[Path]:
    return sorted(path.relative_to(documents.root) for path in documents.root.rglob("*") if path.is_file())


async def test_a_document_is_named_by_its_content(documents: Documents) -> None:
    stored = await documents.put(b"trace: x\r\n", CONTENT)
    whole = b"trace: x\r\n" + CONTENT
    assert stored.sha256 == hashlib.sha256(whole).hexdigest()
    assert stored.size == len(whole) == await documents.size(stored.sha256)
    assert await documents.get(stored.sha256) == whole
    assert await documents.head(stored.sha256, 9) == whole[:9]
    assert files(documents) == [Path(stored.sha256[:2]) / stored.sha256]


async def test_the_same_content_twice_is_one_file(documents: Documents, tmp_path: Path) -> None:
    (tmp_path / "fax.pdf").write_bytes(CONTENT)
    first, second = await documents.put(CONTENT), await documents.put_file(tmp_path / "fax.pdf")
    assert first == second
    assert len(files(documents)) == 1


async def test_an_empty_document_is_one_too(documents: Documents) -> None:
    assert await documents.get((await documents.put()).sha256) == b""


async def test_que_01_content_survives_and_leftovers_are_cleared_at_open(documents: Documents) -> None:
    stored = await documents.put(CONTENT)
    (documents.root / "incoming" / "half").write_bytes(b"half")
    (documents.root / "work" / "scratch").mkdir()
    (documents.root / "work" / "scratch" / "page").write_bytes(b"x")
    again = Documents(documents.root)
    again.open()
    assert await again.get(stored.sha256) == CONTENT
    assert len(files(documents)) == 1
    again.close()


def test_what_another_node_is_writing_is_left_alone(documents: Documents) -> None:
    half = documents.root / "incoming" / "half"
    half.write_bytes(b"half")
    Documents(documents.root).open(alone=False)
    assert half.exists()


def test_a_scratch_folder_is_gone_afterwards_whatever_is_in_it(documents: Documents) -> None:
    with pytest.raises(KeyError), documents.scratch() as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "page").write_bytes(b"x")
        raise KeyError
    assert not folder.exists()
    assert files(documents) == []


async def test_nobody_else_may_read_a_document(documents: Documents) -> None:
    stored = await documents.put(CONTENT)
    assert (documents.root / stored.sha256[:2] / stored.sha256).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", ["../../etc/nowhere", "x" * 64, "x" * 300, "\N{SNOWMAN}"])
async def test_what_is_not_there_is_unavailable(documents: Documents, name: str) -> None:
    with pytest.raises(SpoolUnavailable):
        await documents.get(Sha256(name))


async def test_a_source_that_is_gone_is_unavailable(documents: Documents, tmp_path: Path) -> None:
    with pytest.raises(SpoolUnavailable):
        await documents.put_file(tmp_path / "nowhere")
    assert files(documents) == []


async def test_a_spool_that_is_gone_is_unavailable(documents: Documents, tmp_path: Path) -> None:
    documents.root.rename(tmp_path / "moved")
    with pytest.raises(SpoolUnavailable):
        await documents.put(CONTENT)
    with pytest.raises(SpoolUnavailable), documents.scratch():
        pass


_FULL = """
import asyncio, resource, signal, sys
from pathlib import Path
from gateway.errors import SpoolUnavailable
from gateway.spool.documents import Documents

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
documents = Documents(Path(sys.argv[1]))
documents.open()
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))

async def main():
    small = await documents.put(b"x" * 50_000)
    try:
        await documents.put(b"x" * 60_000, b"y" * 60_000)
    except SpoolUnavailable as error:
        assert len(await documents.get(small.sha256)) == 50_000
        return error.text
    return "stored"

print(asyncio.run(main()))
documents.close()
"""


def test_smt_13_a_disk_that_takes_no_more_is_unavailable_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(tmp_path / "documents")],
        capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "The fax cannot be stored (File too large)."
    left = [path.stat().st_size for path in (tmp_path / "documents").rglob("*") if path.is_file()]
    assert left == [50_000]
