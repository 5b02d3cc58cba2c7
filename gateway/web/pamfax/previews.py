"""The pages of a job before it is sent: made beforehand, so that their number and price can be told, and shown as pictures.

They are made in the fence, as those that will be sent are, for the first recipient. Making goes on while nobody waits; what
a restart interrupts is begun again when the program asks for the state.

Limits: two jobs at a time in one process, pictures at most 2000 pixels wide.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from gateway.errors import BadDocument, ConverterUnavailable, SpoolUnavailable, Unavailable
from gateway.fax import Recipient, Sha256, new_id
from gateway.message import headers
from gateway.pages import job as pages
from gateway.pages.assemble import Made
from gateway.pages.fence import Fence
from gateway.spool import pamfax as records
from gateway.spool.documents import Documents
from gateway.spool.store import Store

Body = records.Body
_NOBODY = "+14155550100"  # stands on a cover that is made before there is a recipient
_AT_ONCE = 2
_WIDEST = 2000  # pixels
_WIDTH = 864
_log = logging.getLogger(__name__)


class Previews:
    """Makes pages and pictures for the door."""

    def __init__(self, *, store: Store, documents: Documents, fence: Fence) -> None:
        self._store, self._documents, self._fence = store, documents, fence
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._making: dict[str, asyncio.Task[None]] = {}

    async def stop(self) -> None:
        """What is being made is not finished."""
        tasks = list(self._making.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def ask(self, body: Body, mail: bytes, asked: pages.Asked, patience: float = 0.0) -> None:
        """Have the pages of a job made; returns when they are, or after `patience` seconds. They stand in its record."""
        key = body["id"]
        if key not in self._making:
            task = asyncio.create_task(self._make(body, mail, asked), name=f"pages {key}")
            self._making[key] = task
            task.add_done_callback(lambda _: self._making.pop(key, None))
        if patience:
            await asyncio.wait({self._making[key]}, timeout=patience)

    async def _make(self, body: Body, mail: bytes, asked: pages.Asked) -> None:
        made: dict[str, Any] = {"of": fingerprint(body)}
        fresh: dict[str, Sha256] = {}
        try:
            async with self._turns:
                made["pages"], document = await self._pages(mail, asked)
            made["id"] = new_id("pg")[3:]
            fresh[made["id"]] = document
        except BadDocument as error:
            made["error"] = error.text
        except ConverterUnavailable as error:
            made["error"] = f"could not be converted: {error.text}"
        except SpoolUnavailable as error:  # asked again, it is made again
            _log.warning("%s: %s", body["id"], error.text, extra={"action": "pages_not_made"})
            return

        def change(now: Body) -> None:
            now["made"] = made
            now["documents"] = [*(file["id"] for file in now["files"]), *fresh]

        await self._store.write(records.change_job, body["id"], change, fresh)

    async def printed(self, mail: bytes, asked: pages.Asked) -> Sha256:
        """The pages of a mail, for once: nobody keeps them. Raises BadDocument, Unavailable."""
        async with self._turns:
            return (await self._pages(mail, asked))[1]

    async def _pages(self, mail: bytes, asked: pages.Asked) -> tuple[int, Sha256]:
        with self._documents.scratch() as folder:
            source = folder / "mail"
            await asyncio.to_thread(source.write_bytes, mail)
            job = asked(headers(mail), source, folder)
            made = await self._fence.run("gateway.pages.assemble:make", job)
            assert isinstance(made, Made)
            return made.pages, (await self._documents.put_file(made.pdf)).sha256

    async def picture(self, document: Sha256, page: int, width: int) -> bytes | None:
        """A page, from 1, as PNG; None: there is no such page. Raises Unavailable."""
        async with self._turns, self._documents.local(document) as path:
            return await self._drawn(path, page, width)

    async def _drawn(self, pdf: Path, page: int, width: int) -> bytes | None:
        try:
            found = await self._fence.run("gateway.pages.raster:page_png", pdf, page, min(width or _WIDTH, _WIDEST))
        except BadDocument as error:
            raise Unavailable(error.text) from error
        assert found is None or isinstance(found, bytes)
        return found


def fingerprint(body: Body) -> str:
    """Of all that the pages are made of."""
    said = [[file["id"] for file in body["files"]], body["cover"], body["sender"]]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def recipient(body: Body) -> Recipient:
    """Whom the pages are made for."""
    first = body["recipients"][0] if body["recipients"] else {"number": _NOBODY, "name": ""}
    return Recipient(written=first["number"], number=first["number"], cover_name=first["name"])
