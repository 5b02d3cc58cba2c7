"""Numbers bought and given back: what the carrier sold is stored, and what nobody can be sure of is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from gateway.carriers.base import Capabilities, Carrier, CarrierConfig
from gateway.carriers.loopback import Loopback
from gateway.desk.identity import Identity
from gateway.desk.lines import Lines
from gateway.errors import CarrierRefused, CarrierUnavailable, CarrierUncertain, NotAdmitted, Unavailable, Unsupported
from gateway.fax import Account, Line
from gateway.spool import accounts, schema
from gateway.spool.store import Store
from tests.carriers.tools import Clock, running, tools_for
from tests.desk.conftest import ACCOUNT, LINE, configured


class Shop(Carrier):
    """Sells one number, and may lose its answers."""

    capabilities = Capabilities(sells=True)
    number = "+13055550100"
    lost = False

    def __init__(self, folder: Path, client: httpx.AsyncClient) -> None:
        super().__init__(tools_for(folder, http=client), CarrierConfig(kind="shop"))
        self.held: list[str] = []

    async def own_lines(self) -> Sequence[str]:
        return self.held

    async def buy_line(self, area: str) -> str:
        self.held.append(self.number)
        if self.lost:
            raise CarrierUncertain
        return self.number

    async def release_line(self, number: str) -> None:
        if number not in self.held:
            raise CarrierRefused("There is no such line.")
        self.held.remove(number)
        if self.lost:
            raise CarrierUncertain


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with httpx.AsyncClient(trust_env=False) as client:
        yield Shop(tmp_path, client)


@pytest.fixture
async def office(identity: Identity) -> Account:
    await identity.declare(configured(ACCOUNT, lines=(LINE,)))
    found = await identity.by_name("office")
    assert found is not None
    return found


async def numbers(store: Store) -> list[str]:
    return [line.number for line in await store.read(accounts.lines)]


async def alarms(store: Store) -> list[str]:
    query = select(schema.outbox.c.text).where(schema.outbox.c.kind == "alarm")
    return list(await store.read(lambda db: db.scalars(query).all()))


async def test_a_number_is_bought_for_an_account_and_given_back(
    store: Store, identity: Identity, office: Account, tmp_path: Path, clock: Clock
) -> None:
    async with running(tmp_path, clock) as loopback:
        assert isinstance(loopback, Loopback)
        lines = Lines(identity, store, {"main": loopback})
        assert "415" in await lines.areas(" ca ")
        bought = await lines.buy(office, "415")
        assert bought == Line(number=bought.number, account=office.id, carrier="main", mailbox=("office@example.com",))
        assert bought in await identity.lines()
        assert bought.number in (await lines.at_carriers())["main"]
        await lines.release(office, bought.number)
        assert bought.number not in await numbers(store)
        assert bought.number not in (await lines.at_carriers())["main"]


async def test_a_login_at_a_faxed_domain_is_no_mailbox(store: Store, identity: Identity, office: Account, shop: Shop) -> None:
    lines = Lines(identity, store, {"main": shop}, domains=["example.com"])
    assert (await lines.buy(office, "305")).mailbox == ()


async def test_the_first_carrier_that_sells_is_asked(
    store: Store, identity: Identity, office: Account, shop: Shop, tmp_path: Path
) -> None:
    plain = Carrier(shop.tools, CarrierConfig(kind="plain"))
    lines = Lines(identity, store, {"plain": plain, "shop": shop})
    assert (await lines.buy(office, "305")).carrier == "shop"
    with pytest.raises(Unsupported, match="plain sells no numbers"):
        await lines.areas("CA", carrier="plain")
    with pytest.raises(NotAdmitted, match="no carrier “other”"):
        await lines.areas("CA", carrier="other")
    with pytest.raises(Unsupported, match="No carrier here sells numbers"):
        await Lines(identity, store, {"plain": plain}).areas("CA")


async def test_a_lost_answer_is_uncertain_and_the_operator_is_told(
    store: Store, identity: Identity, office: Account, shop: Shop
) -> None:
    shop.lost = True
    lines = Lines(identity, store, {"shop": shop})
    with pytest.raises(CarrierUncertain, match="may have been bought"):
        await lines.buy(office, "305")
    assert shop.held == [shop.number], "and it is not bought again"
    (text,) = await alarms(store)
    assert "office" in text
    assert "305" in text


async def test_a_number_that_is_a_line_already_is_not_taken_from_its_account(
    store: Store, identity: Identity, office: Account, shop: Shop
) -> None:
    shop.number = str(LINE["number"])
    stranger = Account(id=office.id.__class__("acc_stranger"), name="stranger")
    with pytest.raises(CarrierUncertain, match="line here already"):
        await Lines(identity, store, {"shop": shop}).buy(stranger, "415")
    (line,) = await identity.lines()
    assert line.account == office.id


async def test_only_its_own_lines_that_the_file_does_not_declare_are_given_back(
    store: Store, identity: Identity, office: Account, shop: Shop
) -> None:
    lines = Lines(identity, store, {"shop": shop})
    bought = await lines.buy(office, "305")
    charlie = Account(id=office.id.__class__("acc_charlie"), name="charlie")
    for account, number in ((charlie, bought.number), (office, "+13055550199"), (office, str(LINE["number"]))):
        with pytest.raises(NotAdmitted):
            await lines.release(account, number)
    assert shop.held == [bought.number]
    with pytest.raises(Unavailable):
        await Lines(identity, store, {}).release(office, bought.number)


async def test_giving_back_is_asked_again_after_a_lost_answer(
    store: Store, identity: Identity, office: Account, shop: Shop
) -> None:
    lines = Lines(identity, store, {"shop": shop})
    bought = await lines.buy(office, "305")
    shop.lost = True
    with pytest.raises(CarrierUncertain):
        await lines.release(office, bought.number)
    assert bought.number in await numbers(store), "nobody knows yet"
    await lines.release(office, bought.number)
    assert bought.number not in await numbers(store)


async def test_a_line_that_the_carrier_does_not_take_back_stays(
    store: Store, identity: Identity, office: Account, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = Lines(identity, store, {"shop": shop})
    bought = await lines.buy(office, "305")

    async def refuses(number: str) -> None:
        raise CarrierRefused("Not in the first month.")

    monkeypatch.setattr(shop, "release_line", refuses)
    with pytest.raises(CarrierRefused, match="first month"):
        await lines.release(office, bought.number)
    assert bought.number in await numbers(store)

    async def unreachable(number: str) -> None:
        raise CarrierUnavailable

    monkeypatch.setattr(shop, "release_line", unreachable)
    with pytest.raises(CarrierUnavailable):
        await lines.release(office, bought.number)
    assert bought.number in await numbers(store)
