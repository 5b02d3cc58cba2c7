"""Documents named by their SHA-256: written once, never changed, durable when `put` returns.

    HOME/ab/abcdef…         a document, where the shelf is the spool's own folder
    HOME/incoming/…         being written; emptied at start
    HOME/work/…             scratch folders of conversions and local copies; emptied at start

They are kept on a shelf: the spool's folder, a folder shared by several nodes, or a bucket. The order is: write a
temporary file, fsync it, rename it, fsync the folder. A name of the sender's never becomes part of a path.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import mmap
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TypeVar

from gateway.errors import SpoolUnavailable
from gateway.fax import Document, Sha256
from gateway.spool.shelf import Damaged, Folder, Kept, Shelf

T = TypeVar("T")
_CHUNK = 1 << 20
_PAGE = 500  # documents listed at a time


class Documents:
    """The documents of one spool."""

    def __init__(self, root: Path, shelf: Shelf | None = None) -> None:
        """`root` is a folder of this node's own; `shelf` is where the documents are kept, by default there too."""
        self.root = root
        self.shelf: Shelf = shelf or Folder(root)
        self._incoming, self._work = self.shelf.incoming, root / "work"
        self._threads = ThreadPoolExecutor(16, thread_name_prefix="documents")

    def open(self, *, alone: bool = True) -> None:
        """Make the folders; clear what a crash left half-written, unless other nodes are at work in them."""
        for folder in (self._incoming, self._work):
            if alone:
                shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.shelf.open()

    def close(self) -> None:
        self._threads.shutdown(wait=True)
        self.shelf.close()

    async def put(self, *chunks: bytes | mmap.mmap) -> Document:
        """Store the chunks as one document. Durable when this returns. Raises SpoolUnavailable."""
        return await self._run(self._put, chunks)

    async def put_file(self, source: Path) -> Document:
        """Store a copy of a file. Durable when this returns. Raises SpoolUnavailable."""
        return await self._run(self._put_file, source)

    async def get(self, sha256: Sha256) -> bytes:
        """The whole content. Raises SpoolUnavailable if it is not there."""
        return await self._run(_readable, self.shelf.read, sha256)

    async def head(self, sha256: Sha256, size: int) -> bytes:
        """The first `size` bytes. Raises SpoolUnavailable if it is not there."""
        return await self._run(_readable, self.shelf.read, sha256, size)

    async def size(self, sha256: Sha256) -> int:
        """Bytes. Raises SpoolUnavailable if it is not there."""
        return await self._run(_readable, self.shelf.size, sha256)

    @contextlib.asynccontextmanager
    async def local(self, sha256: Sha256) -> AsyncIterator[Path]:
        """The document as a file of this machine, to be read only while this lasts. Raises SpoolUnavailable."""
        if (path := self.shelf.path(sha256)) is not None:
            await self.size(sha256)  # a missing one is noticed here, not by whoever gets the path
            yield path
            return
        with self.scratch() as folder:
            await self._run(_readable, self.shelf.copy, sha256, folder / "document")
            yield folder / "document"

    async def intact(self, sha256: Sha256) -> bool | None:
        """Whether the content is what the name says; None: it is not there. Raises SpoolUnavailable."""
        return await self._run(self._intact, sha256)

    async def remove(self, sha256: Sha256, before: datetime) -> bool:
        """Take a document away for good, unless it was put at `before` or later. Raises SpoolUnavailable."""
        return await self._run(self._remove, sha256, before)

    async def pages(self) -> AsyncIterator[list[Kept]]:
        """Everything on the shelf, some hundred at a time. Raises SpoolUnavailable."""
        every = self.shelf.all()
        while page := await self._run(self._page, every):
            yield page

    async def clear(self, before: datetime) -> int:
        """Remove what a crash left half-written before a time; how many files."""
        return await self._run(self._clear, before)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder for one conversion, removed afterwards."""
        try:
            folder = Path(tempfile.mkdtemp(dir=self._work))
        except OSError as error:
            raise SpoolUnavailable(f"The spool cannot be written ({error.strerror}).") from error
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def _run(self, work: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)

    def _put_file(self, source: Path) -> Document:
        try:
            with source.open("rb") as file:
                return self._put(iter(lambda: file.read(_CHUNK), b""))
        except OSError as error:
            raise SpoolUnavailable(f"The fax cannot be stored ({error.strerror}).") from error

    def _put(self, chunks: Iterable[bytes | mmap.mmap]) -> Document:
        digest, size = hashlib.sha256(), 0
        temporary = self._incoming / secrets.token_hex(16)
        try:
            try:
                handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                with open(handle, "wb", buffering=0):
                    for chunk in chunks:
                        digest.update(chunk)
                        size += len(chunk)
                        _write_all(handle, chunk)
                    os.fsync(handle)
                sha256 = Sha256(digest.hexdigest())
                self.shelf.put(temporary, sha256)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise SpoolUnavailable(f"The fax cannot be stored ({error.strerror or error}).") from error
        return Document(sha256=sha256, size=size)

    def _intact(self, sha256: Sha256) -> bool | None:
        try:
            if (path := self.shelf.path(sha256)) is not None:
                return _is(path, sha256)
            with self.scratch() as folder:
                self.shelf.copy(sha256, folder / "document")
                return _is(folder / "document", sha256)
        except FileNotFoundError:
            return None
        except Damaged:
            return False
        except OSError as error:
            raise SpoolUnavailable(f"Document {sha256} cannot be read ({error.strerror or error}).") from error

    def _remove(self, sha256: Sha256, before: datetime) -> bool:
        try:
            return self.shelf.remove(sha256, before)
        except OSError as error:
            raise SpoolUnavailable(f"Document {sha256} cannot be removed ({error.strerror or error}).") from error

    def _page(self, every: Iterator[Kept]) -> list[Kept]:
        try:
            return list(islice(every, _PAGE))
        except OSError as error:
            raise SpoolUnavailable(f"The documents cannot be listed ({error.strerror or error}).") from error

    def _clear(self, before: datetime) -> int:
        removed = 0
        for path in self._incoming.iterdir():
            with contextlib.suppress(FileNotFoundError):  # it was finished meanwhile, and has its own name now
                if path.stat().st_mtime < before.timestamp():
                    path.unlink()
                    removed += 1
        return removed


def _readable(look: Callable[..., T], sha256: Sha256, *args: object) -> T:
    try:
        return look(sha256, *args)
    except OSError as error:
        raise SpoolUnavailable(f"Document {sha256} cannot be read ({error.strerror or error}).") from error


def _is(path: Path, sha256: Sha256) -> bool:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def _write_all(handle: int, data: bytes | mmap.mmap) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
