"""Documents made to take a machine down: each ends in a clear refusal, in bounded time and memory, behind the real fence."""

from __future__ import annotations

import io
import time
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from PIL import Image

from gateway.errors import BadDocument, ConverterUnavailable
from gateway.pages.assemble import Job, Made
from gateway.pages.fence import Fence
from tests.pages import fax_files as make
from tests.pages import office_files as files

PATIENCE = 60.0  # seconds of wall time on a busy machine; alone they take a few
MEMORY = 600_000_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pen(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fence]:
    made = Fence(memory=MEMORY, time_limit=45, folder=tmp_path_factory.mktemp("scraps"))
    try:
        yield made
    finally:
        await made.close()


def zip_bomb() -> bytes:
    """270 MB in 270 kB."""
    return make.zipped({f"{n}.txt": b"x" * 90_000_000 for n in range(3)})


def lying_zip() -> bytes:
    """An archive whose directory claims ten bytes for what unpacks to 300 MB."""
    content = bytearray(make.zipped({"a.txt": bytes(300_000_000)}))
    at = content.index(b"PK\x01\x02")
    content[at + 24 : at + 28] = (10).to_bytes(4, "little")
    return bytes(content)


def many_files() -> bytes:
    return make.zipped({f"{n}.txt": b"x" for n in range(5000)})


def svg_bomb() -> bytes:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    return (
        f'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY e0 "laugh">{entities}]>'
        '<svg xmlns="http://www.w3.org/2000/svg"><text>&e9;</text></svg>'
    ).encode()


def office_bomb() -> bytes:
    """A document whose packed XML is 150 MB."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(files.docx("x"))) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(
                name, content.replace(b"<w:t>x", b"<w:t>" + b"x" * 150_000_000) if name.startswith("word/") else content
            )
    return out.getvalue()


def pdf_bomb() -> bytes:
    """A page whose content unpacks to 700 MB, packed twice."""
    packer = zlib.compressobj(9)
    pieces = [packer.compress(bytes(1 << 20)) for _ in range(700)]
    twice = zlib.compress(b"".join([*pieces, packer.flush()]), 9)
    whole = make.pdf("x", pageCompression=0)
    begin, end = whole.index(b"stream\n") + 7, whole.index(b"endstream")
    head = whole.rindex(b"<<", 0, begin)
    filters = b"<< /Filter [/FlateDecode /FlateDecode] /Length %d >>\nstream\n" % len(twice)
    return whole[:head] + filters + twice + b"\n" + whole[end:]


def pixel_bomb() -> bytes:
    out = io.BytesIO()
    Image.new("1", (30_000, 30_000), 1).save(out, "PNG")
    return out.getvalue()


def tiff_of_many_pages() -> bytes:
    return make.tiff(*[Image.new("1", (16, 16), 1)] * 2000)


BOMBS: dict[str, tuple[str, Callable[[], bytes], set[str]]] = {
    "zip.zip": ("application/zip", zip_bomb, {"554 5.3.4"}),
    "lying.zip": ("application/zip", lying_zip, {"554 5.3.4", "554 5.6.5"}),
    "many.zip": ("application/zip", many_files, {"554 5.3.4"}),
    "laughs.svg": ("image/svg+xml", svg_bomb, {"554 5.6.5"}),
    "pixels.png": ("image/png", pixel_bomb, {"554 5.3.4"}),
    "pages.tif": ("image/tiff", tiff_of_many_pages, {"554 5.3.4"}),
    "rows.csv": ("text/csv", lambda: b"a;b\n" * 1_000_000, {"554 5.3.4"}),
}


async def print_it(pen: Fence, folder: Path, name: str, content_type: str, content: bytes) -> Made:
    (folder / "mail").write_bytes(make.mail("see", (content_type, content, name)).as_bytes())
    job = Job(
        source=folder / "mail", content_type="message/rfc822", out=folder, cover=make.COVER, paper="letter", max_pages=200
    )
    made = await pen.run("gateway.pages.assemble:make", job)
    assert isinstance(made, Made)
    return made


async def outcome(pen: Fence, folder: Path, name: str, content_type: str, content: bytes) -> tuple[Made | None, str]:
    """What was made, or the part that is to blame: refused, or ended by its limits."""
    try:
        return await print_it(pen, folder, name, content_type, content), ""
    except (BadDocument, ConverterUnavailable) as ended:
        return None, ended.part


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", BOMBS)
async def test_cnt_16_a_bomb_is_refused_with_its_name_in_bounded_time(pen: Fence, tmp_path: Path, name: str) -> None:
    content_type, bomb, replies = BOMBS[name]
    content = bomb()
    began = time.monotonic()
    with pytest.raises(BadDocument) as error:
        await print_it(pen, tmp_path, name, content_type, content)
    assert time.monotonic() - began < PATIENCE
    assert error.value.reply in replies
    assert name in error.value.part


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("name", "content_type", "bomb"),
    [
        ("content.pdf", "application/pdf", pdf_bomb),
        pytest.param("words.docx", "application/msword", office_bomb, marks=pytest.mark.needs("soffice")),
    ],
)
async def test_cnt_16_a_decompression_bomb_ends_its_own_process_only(
    pen: Fence, tmp_path: Path, name: str, content_type: str, bomb: Callable[[], bytes]
) -> None:
    content = bomb()
    began = time.monotonic()
    made, blamed = await outcome(pen, tmp_path, name, content_type, content)
    assert blamed == name if made is None else made.pdf.stat().st_size < 20_000_000  # or nobody unpacked it
    assert time.monotonic() - began < PATIENCE
    (tmp_path / "next").mkdir()
    after = await print_it(pen, tmp_path / "next", "a.pdf", "application/pdf", make.pdf("still here"))
    assert "still here" in make.texts(after.pdf)[1]
