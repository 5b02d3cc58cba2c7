"""Where documents are kept: the shelf of a folder, and what every shelf promises. `objects` has the one of a bucket.

A document that is taken away may be put again at the same moment. The folder moves it aside first and then looks at
what it has got: a younger file than was judged goes back. A file left aside by a process that died goes back when
the documents are listed next, and is judged anew.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from gateway.fax import Sha256

_CHUNK = 1 << 20
_NAME = re.compile(r"[0-9a-f]{64}")
_ASIDE = ".aside"
_ABANDONED = 600.0  # seconds after which nobody is at work on a file that was moved aside


@dataclass(frozen=True, slots=True)
class Kept:
    """One document on a shelf."""

    sha256: Sha256
    size: int
    """Bytes."""
    put_at: datetime
    """When it was put last, UTC."""


class Damaged(OSError):
    """The content is not what its name says."""


class Shelf(Protocol):
    """What keeps documents. Every call may take a while: it belongs into a thread. Errors are OSError."""

    incoming: Path
    """Folder for what is being written."""

    def open(self) -> None:
        """Make sure that it can be used."""

    def close(self) -> None:
        """Let go of connections."""

    def put(self, temporary: Path, sha256: Sha256) -> None:
        """Keep a file that is on disk; durable when it returns. The file is gone then: moved, or removed."""

    def read(self, sha256: Sha256, size: int = -1) -> bytes:
        """The content, or its first `size` bytes."""

    def path(self, sha256: Sha256) -> Path | None:
        """Where it lies on this machine; None: it has to be copied here."""

    def copy(self, sha256: Sha256, to: Path) -> None:
        """Write the content to a file."""

    def size(self, sha256: Sha256) -> int:
        """Bytes."""

    def remove(self, sha256: Sha256, before: datetime) -> bool:
        """Take it away for good, unless it was put at `before` or later. True: it is gone."""

    def all(self) -> Iterator[Kept]:
        """Every document; those that come or go meanwhile may be missing."""


class Folder:
    """Documents in a folder of a local or shared file system: ROOT/ab/abcdef…"""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.incoming = root / "incoming"

    def open(self) -> None:
        for n in range(256):
            (self.root / f"{n:02x}").mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(self.root)

    def close(self) -> None:
        """Nothing is open."""

    def path(self, sha256: Sha256) -> Path:
        return self.root / sha256[:2] / sha256

    def put(self, temporary: Path, sha256: Sha256) -> None:
        # An existing file of that name is the same content; renaming over it changes nothing and keeps one path for
        # the case that another thread has renamed but not yet synced the folder.
        final = self.path(sha256)
        temporary.rename(final)
        sync_folder(final.parent)

    def read(self, sha256: Sha256, size: int = -1) -> bytes:
        with self.path(sha256).open("rb") as file:
            return file.read(size)

    def copy(self, sha256: Sha256, to: Path) -> None:
        shutil.copyfile(self.path(sha256), to)

    def size(self, sha256: Sha256) -> int:
        return self.path(sha256).stat().st_size

    def remove(self, sha256: Sha256, before: datetime) -> bool:
        final = self.path(sha256)
        aside = final.with_name(sha256 + _ASIDE)
        if not final.exists() or _put_at(final.stat()) >= before:
            return False
        final.rename(aside)
        if _put_at(aside.stat()) >= before:  # put again between the two looks
            aside.rename(final)
            sync_folder(final.parent)
            return False
        _shred(aside)
        sync_folder(final.parent)
        return True

    def all(self) -> Iterator[Kept]:
        for n in range(256):
            with os.scandir(self.root / f"{n:02x}") as entries:
                for entry in entries:
                    name = entry.name.removesuffix(_ASIDE)
                    if not _NAME.fullmatch(name):
                        continue
                    try:
                        about = entry.stat(follow_symlinks=False)
                        if name != entry.name and not self._left(Path(entry.path), about):
                            continue
                    except FileNotFoundError:  # taken away meanwhile
                        continue
                    yield Kept(Sha256(name), about.st_size, _put_at(about))

    def _left(self, aside: Path, about: os.stat_result) -> bool:
        """Bring back what a process that died had moved aside: it is judged anew. False: it is in somebody's hands."""
        if time.time() - about.st_ctime < _ABANDONED:
            return False
        final = aside.with_name(aside.name.removesuffix(_ASIDE))
        if final.exists():
            _shred(aside)
            return False
        aside.rename(final)
        sync_folder(final.parent)
        return True


def _put_at(about: os.stat_result) -> datetime:
    return datetime.fromtimestamp(about.st_mtime, UTC)


def _shred(path: Path) -> None:
    """Overwrite, then unlink. What the file system or the disk keeps of older blocks is out of our hands."""
    left = path.stat().st_size
    with path.open("r+b", buffering=0) as file:
        while left > 0:
            left -= file.write(bytes(min(left, _CHUNK)))
        os.fsync(file.fileno())
    path.unlink()


def sync_folder(folder: Path) -> None:
    """fsync a folder, so that a name in it is durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
