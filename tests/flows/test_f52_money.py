"""F52: an account that pays in advance, and kill -9 at any moment, on both databases: no call is made without its money,
nothing is paid twice, and the book balances."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import smtplib
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from gateway.spool import ledger, schema
from gateway.spool.store import Store
from tests.flows.house import House, addresses, as_bytes, fresh, letter
from tests.spool import postgres

PRICE = 90_000  # micro-EUR a page, where the file names none
MAILS = 12
ENDINGS = itertools.cycle(["23", "23", "14", "17", "23", "15"])


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.needs("postgres"))])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    with contextlib.ExitStack() as stack:
        made = stack.enter_context(contextlib.closing(House(tmp_path)))
        if request.param == "postgres":
            made.settings["database"] = postgres.database(stack.enter_context(postgres.server()), "money")
        made.settings["account"][0]["prepaid"] = True
        yield made


def read(house: House) -> tuple[list[tuple[str, str]], list[Any], list[Any]]:
    """What does not add up, the faxes, and the book; Any: rows of a query."""
    store = Store(house.spool, house.settings.get("database", ""), now=lambda: datetime.now(UTC))
    try:
        faxes = asyncio.run(store.read(lambda db: list(db.execute(select(schema.transmission)))))
        entries = asyncio.run(store.read(lambda db: list(db.execute(select(schema.entry)))))
        return asyncio.run(store.read(ledger.imbalances)), faxes, entries
    finally:
        store.release()


def hand_in(house: House, numbers: list[str], taken: set[str]) -> None:
    """One mail after the other, each again until it was taken or refused, as a mail server does."""
    for number in numbers:
        mail = as_bytes(letter(f"Fax to {number}"))
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                with house.smtp(5) as client:
                    client.sendmail("ann@example.com", addresses(number), mail)
                taken.add(number)
                break
            except smtplib.SMTPRecipientsRefused:
                break  # there is no credit any more
            except (OSError, smtplib.SMTPException):
                time.sleep(0.1)


def test_no_fax_goes_out_unpaid_and_the_book_balances_whenever_it_is_killed(house: House) -> None:
    house.start()
    house.cli("account", "credit", "office", "0.75", "--about", "cash 1")
    numbers = [fresh(next(ENDINGS)) for _ in range(MAILS)]
    taken = set[str]()
    feeder = threading.Thread(target=hand_in, args=(house, numbers, taken))
    feeder.start()
    for seconds in (0.5, 0.9, 1.4):
        time.sleep(seconds)
        house.kill()
        house.start()
    feeder.join(60)
    if house.settings.get("database"):  # what a dead node had in hand waits for the end of its lease
        house.wait(house.calls, 30, "a call")
    else:
        settled = {"delivered", "failed", "cancelled", "held"}
        house.wait(lambda: all(fax["state"] in settled for fax in house.faxes()), 40, "every fax to end")
    house.kill()
    wrong, faxes, entries = read(house)
    assert wrong == []
    assert {fax.number for fax in faxes} >= taken
    by_number = {fax.number: fax for fax in faxes}
    called = {call.number for call in house.calls()}
    assert called, "something was sent"
    for number in called:
        fax = by_number[number]
        assert fax.held is not None, f"{number} was called without its money"
        assert fax.held >= fax.price * fax.pages
    spent = sum(fax.cost or 0 for fax in faxes)
    delivered = [fax for fax in faxes if fax.state == "delivered"]
    assert spent == sum(PRICE * fax.pages_sent for fax in delivered)
    assert spent <= 750_000
    assert sum(entry.amount for entry in entries) == 750_000 - spent - sum(
        fax.held for fax in faxes if fax.held and not fax.finished_at
    )
    holds = [entry.about for entry in entries if entry.kind == "hold"]
    assert len(holds) == len(set(holds)), "nothing is held twice"
