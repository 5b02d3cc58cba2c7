"""Chores: forget what is too old to make a repetition."""

from __future__ import annotations

import asyncio
import logging

from gateway.errors import SpoolUnavailable
from gateway.spool import submissions
from gateway.work.workshop import Workshop

_log = logging.getLogger(__name__)
_EVERY = 3600.0  # seconds


async def keep_tidy(shop: Workshop) -> None:
    """Every hour, for ever."""
    while True:
        try:
            await shop.store.write(submissions.forget)
        except SpoolUnavailable as error:
            _log.warning("tidying put off: %s", error.text)
        await asyncio.sleep(_EVERY)
