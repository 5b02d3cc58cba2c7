"""Money at the counter: what an account has, what it paid, what waits for credit. The book itself is `spool.ledger`."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gateway.errors import NotAdmitted
from gateway.fax import AccountId, TransmissionId, new_id
from gateway.spool import ledger, steering
from gateway.spool.commit import Transaction
from gateway.spool.ledger import Credit, Entry, Kind
from gateway.spool.store import Store

#: What nobody pays in or takes out at once; a slip of the decimal point is more.
MOST = 1_000_000 * 1_000_000


class Ledger:
    """The purses of one spool."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def of(self, account: AccountId) -> Credit:
        """What an account can spend, and what is set aside for its faxes."""
        return await self._store.read(ledger.of, account)

    async def entries(self, account: AccountId, limit: int = 100, skip: int = 0) -> Sequence[Entry]:
        """Its ledger, newest first."""
        return await self._store.read(ledger.entries, account, limit, skip)

    async def credit(self, account: AccountId, amount: int, note: str, *, about: str = "") -> Credit:
        """Book a payment, or with a negative amount a debit; what the account has then. Faxes of the last two hours that
        wait for credit go on.

        amount  micro-EUR
        about   what the payment is called elsewhere: the same one is booked once; "" = it is one of its own
        Raises NotAdmitted where it has been booked already, or more would be taken out than there is.
        """
        if not amount or abs(amount) > MOST:
            raise NotAdmitted("An amount is more than nothing, and at most a million EUR.")
        kind = Kind.CREDIT if amount > 0 else Kind.DEBIT
        booked = await self._store.write(ledger.credit, account, amount, about or new_id("pay"), kind=kind, note=note)
        if not booked:
            raise NotAdmitted("Not booked: it was booked before, or the account does not have so much.")
        return await self.of(account)

    async def redeem(self, account: AccountId, code: str, amount: int) -> bool:
        """Book a voucher for an account; each account can use one `code` once. False: it did so before."""
        about = f"{code} {account}"
        return await self._store.write(ledger.credit, account, amount, about, kind=Kind.VOUCHER, note=code)

    async def unpaid(self, account: AccountId) -> Sequence[TransmissionId]:
        """Its faxes that wait for credit, oldest first."""
        return await self._store.read(ledger.unpaid, account)

    async def send_unpaid(self, account: AccountId, faxes: Collection[TransmissionId]) -> Sequence[TransmissionId]:
        """Send those of some faxes that wait for credit and can be paid now, in their order; these are told."""

        def released(t: Transaction) -> list[TransmissionId]:
            sent = ledger.affordable(t.db, account, set(faxes))
            for fax in sent:
                steering.ask(t, fax, "release", "", "its account")
            return sent

        return await self._store.write(released)
