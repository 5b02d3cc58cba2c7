"""The IMAP door: every mailbox of `[[imap]]` is read by a task of its own, on one node at a time.

A mailbox that fails disturbs no other one: it is tried again, after longer and longer waits, and the operator is told once. In
the spool stands how each of them goes, for all nodes.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import ssl
import time
from collections.abc import Callable, Coroutine
from datetime import datetime
from functools import partial
from typing import Any

from gateway import log, metrics
from gateway.config import Config
from gateway.desk.commands import Commands
from gateway.errors import ConfigError, GatewayError, LeaseLost, Refused, Unavailable
from gateway.intake.authentication import Accounts
from gateway.intake.mailbox import Mailbox, Means
from gateway.intake.oauth import ClientTokens, CommandTokens, Tokens
from gateway.intake.pickup import Pickup
from gateway.intake.reception import Desk, Reception, Throttle
from gateway.mailboxes import ImapSection
from gateway.spool import imap, outbox
from gateway.spool.documents import Documents
from gateway.spool.imap import Lease
from gateway.spool.store import Store

_log = logging.getLogger(__name__)
_FIRST, _LONGEST = 1.0, 300.0  # seconds before a mailbox that failed is tried again
_AFTER_FAULT = 60.0  # the same where the fault was ours


class ImapDoor:
    """Reads the mailboxes of the configuration, in the running loop."""

    def __init__(
        self,
        config: Config,
        *,
        identity: Accounts,
        throttle: Throttle,
        desk: Desk,
        store: Store,
        documents: Documents,
        commands: Commands,
    ) -> None:
        """Raises ConfigError."""
        self._store, self._lease = store, config.work.lease.total_seconds()
        self._reception = Reception(config, identity=identity, throttle=throttle, desk=desk, now=store.now, commands=commands)
        self._all = [self._means(config, n, documents) for n in range(len(config.imap))]
        self._tasks: set[asyncio.Task[None]] = set()
        self._leases: list[Lease] = []
        self._stopping = False

    def _means(self, config: Config, n: int, documents: Documents) -> Means:
        section = config.imap[n]
        return Means(
            section=section,
            store=self._store,
            documents=documents,
            pickup=Pickup(config, section, reception=self._reception, store=self._store),
            context=context(config, n),
            password=config.secret(section),
            tokens=tokens(section),
        )

    async def start(self) -> None:
        """Begin to read. Raises SpoolUnavailable."""
        if self._store.embedded and self._all:
            await self._store.write(imap.release_all)
        for means in self._all:
            lease = Lease(means.section.name, secrets.token_hex(16))
            self._leases.append(lease)
            self._run(means, lease)

    async def stop(self) -> None:
        """Stop reading; what is being stored is stored. Whoever reads next need not wait for the leases to end."""
        self._stopping = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._reception.drained()
        for lease in self._leases:
            try:
                await self._store.write(imap.release, lease)
            except Unavailable as error:
                _log.warning("the mailbox %s is not free yet: %s", lease.mailbox, error.text)

    def _run(self, means: Means, lease: Lease) -> None:
        task = asyncio.create_task(self._always(means, lease), name=f"mailbox {means.section.name}")
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, means, lease))

    def _ended(self, means: Means, lease: Lease, task: asyncio.Task[None]) -> None:
        """A reader ends only when it is told to, or by a fault of ours: then it begins anew after a while."""
        self._tasks.discard(task)
        if task.cancelled() or self._stopping:
            return
        metrics.MAILBOXES.labels(means.section.name).set(0)
        text = "the reader of the mailbox %s has died and begins anew in %.0f s"
        error = task.exception()
        _log.error(text, means.section.name, _AFTER_FAULT, exc_info=error, extra={"action": "mailbox_reader_died"})
        asyncio.get_running_loop().call_later(_AFTER_FAULT, self._again, means, lease)
        fault = Unavailable("The gateway stumbled over something in it: its log says more.")
        telling = asyncio.create_task(self._tell(lease, fault, means.section.alarm.total_seconds()))
        self._tasks.add(telling)
        telling.add_done_callback(self._tasks.discard)

    def _again(self, means: Means, lease: Lease) -> None:
        if not self._stopping:
            self._run(means, lease)

    async def _always(self, means: Means, lease: Lease) -> None:
        """Read one mailbox, whatever happens to it."""
        name, wait, alarm = means.section.name, _FIRST, means.section.alarm
        heard_at = [float("-inf")]

        def heard() -> None:
            heard_at[0] = time.monotonic()
            metrics.MAILBOXES.labels(name).set(1)
            metrics.LOOKED.labels(name).set(self._store.now().timestamp())

        mailbox = Mailbox(means, lease, heard)
        while True:
            began = time.monotonic()
            try:
                if not await self._store.write(imap.claim, lease, self._lease):
                    metrics.MAILBOXES.labels(name).set(0)
                    await asyncio.sleep(self._lease / 6)  # another node reads it
                    continue
                await self._while_ours(lease, mailbox.read)
            except (Refused, Unavailable) as error:
                metrics.MAILBOXES.labels(name).set(0)
                wait = _FIRST if heard_at[0] > began else min(2 * wait, _LONGEST)
                _log.warning(
                    "the mailbox %s cannot be read: %s", name, log.printable(error.text), extra={"action": "mailbox_failed"}
                )
                await self._tell(lease, error, alarm.total_seconds())
            await asyncio.sleep(wait)

    async def _while_ours(self, lease: Lease, read: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Read, and keep the lease meanwhile. Raises LeaseLost, and what `read` raises."""
        both = [asyncio.create_task(read()), asyncio.create_task(self._keep(lease))]
        try:
            done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
        for task in done:
            task.result()

    async def _keep(self, lease: Lease) -> None:
        while True:
            await asyncio.sleep(self._lease / 3)
            if not await self._store.write(imap.claim, lease, self._lease):
                raise LeaseLost

    async def _tell(self, lease: Lease, error: GatewayError, patience: float) -> None:
        """Write down that a mailbox fails; the operator is told once, when that has lasted."""
        if isinstance(error, LeaseLost):
            return  # whoever has it knows how it goes
        try:
            since: datetime = await self._store.write(imap.say, lease, imap.FAILING, error.text)
            if (self._store.now() - since).total_seconds() < patience:
                return
            text = f"The mailbox {lease.mailbox} has not been read since {since:%Y-%m-%d %H:%M %Z}. {error.text}"
            about = f"imap:{lease.mailbox[:15]}:{since:%Y%m%dT%H%M%S}"
            await self._store.write(outbox.alarm, about=about, what="a mailbox cannot be read", text=text)
        except Unavailable as other:
            _log.info("that cannot be written down: %s", other.text)


def context(config: Config, n: int) -> ssl.SSLContext:
    """TLS to the server of a mailbox. Raises ConfigError."""
    section = config.imap[n]
    try:
        made = ssl.create_default_context(cafile=str(section.tls_ca) if section.tls_ca else None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            config.file, f"imap[{n + 1}].tls_ca", f"{section.tls_ca} cannot be used ({error.strerror or error})"
        ) from error
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    return made


def tokens(section: ImapSection) -> Tokens | None:
    """Where the tokens of a mailbox come from; None: it signs in by password."""
    if section.oauth is not None:
        return ClientTokens(section.oauth)
    return CommandTokens(section.token_command) if section.token_command else None
