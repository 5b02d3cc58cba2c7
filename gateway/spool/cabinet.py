"""The archive of received faxes: a folder, or a bucket of an object store, that belongs to the operator.

Faxgate only writes there. A file is under its name only when it is whole and on disk: written beside it, fsynced, renamed, the
folders fsynced up to the archive's own. Writing the same file again leaves one file. Faults are OSError.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from gateway.spool.shelf import sync_folder

_LONGEST = 60  # characters that a value may take of a name
_PARTIAL = re.compile(r"\.[0-9a-f]{16}\.part")


class Cabinet(Protocol):
    """What keeps copies. Calls may take a while: they belong into a thread."""

    def put(self, name: str, content: bytes, content_type: str) -> None:
        """Keep a file as `name`, a path with `/`; durable when it returns. One of that name is replaced."""

    def close(self) -> None:
        """Let go of connections."""


def name_of(template: str, values: Mapping[str, str]) -> str:
    """The path of a fax: values come from outside, and none of them can lead out of its place in it.

    Letters, digits, `+`, `-` and `_` stay, a dot inside; everything else is `_`; "" is `unknown`.
    """
    return template.format_map({key: _safe(value) for key, value in values.items()})


def _safe(value: str) -> str:
    kept = re.sub(r"[^A-Za-z0-9+_.-]+", "_", value)
    return re.sub(r"\.{2,}", ".", kept)[:_LONGEST].strip("._-") or "unknown"


class FolderCabinet:
    """A folder, which has to be there: a disk that is not mounted is not written beside."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, name: str, content: bytes, content_type: str) -> None:
        final = self._root.joinpath(*name.split("/"))
        _make(self._root, final.parent)
        partial = final.with_name(f".{final.name}.{secrets.token_hex(8)}.part")
        try:
            with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o640), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.rename(final)
        except BaseException:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise
        sync_folder(final.parent)
        _clear(final)

    def close(self) -> None:
        """Nothing is open."""


def _make(root: Path, folder: Path) -> None:
    """Folders down from the root, each durable in the one above it."""
    if folder == root or folder.is_dir():
        return
    _make(root, folder.parent)
    folder.mkdir(mode=0o750, exist_ok=True)
    sync_folder(folder.parent)


def _clear(final: Path) -> None:
    """What a process that died has left of this file."""
    for left in final.parent.glob(f".{_escaped(final.name)}.*.part"):
        if _PARTIAL.fullmatch(left.name.removeprefix(f".{final.name}")):
            left.unlink(missing_ok=True)


def _escaped(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)
