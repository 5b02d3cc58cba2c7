"""Files named by their SHA-256: written once, never changed, durable when `put` returns.

    ROOT/ab/abcdef…         a document
    ROOT/incoming/…         being written; emptied at start
    ROOT/work/…             scratch folders of conversions; emptied at start

The order is: write a temporary file, fsync it, rename it, fsync the folder. A name of the sender's never becomes part
of a path.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from gateway.errors import SpoolUnavailable
from gateway.fax import Document, Sha256

T = TypeVar("T")
_CHUNK = 1 << 20


class Documents:
    """The documents of one spool."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._incoming, self._work = root / "incoming", root / "work"
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="documents")

    def open(self, *, alone: bool = True) -> None:
        """Make the folders; clear what a crash left half-written, unless other nodes are at work in them."""
        for folder in (self._incoming, self._work):
            if alone:
                shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for n in range(256):
            (self.root / f"{n:02x}").mkdir(exist_ok=True)
        _sync_folder(self.root)

    def close(self) -> None:
        self._threads.shutdown(wait=True)

    def path(self, sha256: Sha256) -> Path:
        """Where a document lies (or would lie)."""
        return self.root / sha256[:2] / sha256

    async def put(self, *chunks: bytes) -> Document:
        """Store the chunks as one document. On disk when this returns. Raises SpoolUnavailable."""
        return await self._run(self._put, chunks)

    async def put_file(self, source: Path) -> Document:
        """Store a copy of a file. On disk when this returns. Raises SpoolUnavailable."""
        return await self._run(self._put_file, source)

    async def get(self, sha256: Sha256) -> bytes:
        """The whole content. Raises SpoolUnavailable if it is not there."""
        return await self._run(self._get, sha256)

    async def head(self, sha256: Sha256, size: int) -> bytes:
        """The first `size` bytes. Raises SpoolUnavailable if it is not there."""
        return await self._run(self._get, sha256, size)

    def size(self, sha256: Sha256) -> int:
        """Bytes. Raises SpoolUnavailable if it is not there."""
        try:
            return self.path(sha256).stat().st_size
        except OSError as error:
            raise SpoolUnavailable(f"Document {sha256} cannot be read ({error.strerror}).") from error

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

    def _put(self, chunks: Iterable[bytes]) -> Document:
        digest, size = hashlib.sha256(), 0
        try:
            handle, name = tempfile.mkstemp(dir=self._incoming)
            temporary = Path(name)
            try:
                with open(handle, "wb", buffering=0) as file:
                    for chunk in chunks:
                        digest.update(chunk)
                        size += len(chunk)
                        _write_all(file.fileno(), chunk)
                    os.fsync(file.fileno())
                sha256 = Sha256(digest.hexdigest())
                final = self.path(sha256)
                # An existing file of that name is the same content; renaming over it changes nothing and keeps
                # one path for the case that another thread has renamed but not yet synced the folder.
                temporary.rename(final)
            finally:
                temporary.unlink(missing_ok=True)
            _sync_folder(final.parent)
        except OSError as error:
            raise SpoolUnavailable(f"The fax cannot be stored ({error.strerror}).") from error
        return Document(sha256=sha256, size=size)

    def _get(self, sha256: Sha256, size: int = -1) -> bytes:
        try:
            with self.path(sha256).open("rb") as file:
                return file.read(size)
        except OSError as error:
            raise SpoolUnavailable(f"Document {sha256} cannot be read ({error.strerror}).") from error


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
