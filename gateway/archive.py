"""A backup of a whole spool, and a spool made of one: database, documents, and the files beside them."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from gateway.config import Config
from gateway.daemon import documents_of, open_documents, utc_now
from gateway.errors import SpoolUnavailable
from gateway.spool import backup
from gateway.spool.backup import Manifest
from gateway.spool.store import Store


async def export(config: Config, out: BinaryIO) -> Manifest:
    """A backup of the spool, whether a service runs on it or not. Raises SpoolUnavailable, OSError."""
    if not config.database and not Store.exists(config.spool):
        raise SpoolUnavailable(f"There is no spool in {config.spool}.")
    store, documents = Store(config.spool, config.database, now=utc_now), documents_of(config)
    try:
        await open_documents(documents, alone=False)
        return await backup.export(store, documents, _own_files(config), out)
    finally:
        documents.close()
        await store.close()


async def restore(config: Config, source: BinaryIO, *, resume: bool) -> Manifest:
    """Fill an empty spool from a backup. Raises Refused, SpoolBusy, SpoolUnavailable, OSError."""
    store, documents = Store(config.spool, config.database, now=utc_now, node="import"), documents_of(config)
    try:
        store.open()
        store.start()
        await open_documents(documents, alone=store.embedded)
        return await backup.restore(store, documents, config.spool, source, resume=resume)
    finally:
        documents.close()
        await store.close()


def _own_files(config: Config) -> dict[str, Path]:
    """What is kept in the spool beside database and documents: the key, and what carriers keep."""
    folders = [config.spool / str(section["kind"]) / name for name, section in config.carrier.items()]
    kept = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]
    paths = [path for path in (config.spool / "key", *kept) if path.is_file() and not path.is_symlink()]
    return {str(path.relative_to(config.spool)): path for path in paths}
