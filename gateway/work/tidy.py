"""Chores: forget what is too old to make a repetition."""

from __future__ import annotations

from gateway.spool import submissions
from gateway.work.workshop import Workshop


async def tidy(shop: Workshop) -> None:
    """One round."""
    await shop.store.write(submissions.forget)
