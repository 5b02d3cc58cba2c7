"""Builds the parts from the configuration, runs them, and drains them.

    Service(config)     nothing happens yet
    await start()       spool, accounts, carriers, doors, loop: in this order, so that what a door accepts has a home
    await stop()        doors first, then the work in hand, then the spool

`opened` gives the command line the same desk over a spool that nothing else is running on.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import hmac
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import sdnotify

from gateway import __version__, carriers, metrics
from gateway.carriers import http
from gateway.carriers.base import Announcement, Capabilities, Carrier, Event, Tools
from gateway.carriers.loopback import Loopback
from gateway.config import Config
from gateway.control import Control
from gateway.control_socket import ControlSocket
from gateway.desk.admission import Admission
from gateway.desk.applications import Applications
from gateway.desk.approval import Links
from gateway.desk.bounces import Bounces
from gateway.desk.commands import Commands
from gateway.desk.evidence import Evidence
from gateway.desk.identity import Identity
from gateway.desk.ledger import Ledger
from gateway.desk.limits import Limits
from gateway.desk.lines import Lines
from gateway.desk.notary import Notary
from gateway.desk.prices import Prices, read_rates
from gateway.desk.replies import Replies
from gateway.desk.statements import Statements
from gateway.desk.submit import Desk
from gateway.desk.throttle import Throttle
from gateway.desk.views import Views
from gateway.errors import ConfigError, SpoolUnavailable, Unavailable
from gateway.intake import imap as mailboxes
from gateway.intake import tls
from gateway.intake.door import MailDoor
from gateway.intake.imap import ImapDoor
from gateway.pages import barcodes, job
from gateway.pages.confine import WITHIN_REACH
from gateway.pages.fence import Fence
from gateway.report import samples
from gateway.report.compose import Composer, Sender
from gateway.sections import Http, PamFaxDoor
from gateway.spool import outbox, queries, steps
from gateway.spool.cabinet import Cabinet, FolderCabinet
from gateway.spool.documents import Documents
from gateway.spool.shelf import Folder
from gateway.spool.store import Store
from gateway.templates import Templates
from gateway.web.app import WebDoor
from gateway.web.approval import ApprovalPage
from gateway.web.callbacks import Callbacks
from gateway.web.hellofax_api import HelloFaxApi
from gateway.web.notify import Notifier
from gateway.web.outbound import Outbound
from gateway.web.pamfax.house import House
from gateway.web.pamfax.previews import Previews
from gateway.web.pamfax_api import PamFaxApi
from gateway.web.sandbox import SandboxPage
from gateway.web.site import Site
from gateway.web.view import ViewPage
from gateway.work import post
from gateway.work.loop import Loop
from gateway.work.post import Post
from gateway.work.workshop import Workshop

if TYPE_CHECKING:  # boto3 is an extra
    from gateway.spool.objects import Place

_log = logging.getLogger(__name__)
_SLACK = 10.0  # seconds of a lease beside the two calls of a hand-over
_LOOKED_LATELY = 30.0  # seconds: a loop that has not looked for so long hangs


def utc_now() -> datetime:
    return datetime.now(UTC)


def _elapsed() -> timedelta:
    return timedelta(seconds=steps.uptime())


class Service:
    """One `faxgate serve`. In a sandbox programs may give themselves credit."""

    def __init__(self, config: Config, *, sandbox: bool = False) -> None:
        self.config, self.sandbox = config, sandbox
        self.store = Store(config.spool, config.database, now=utc_now, elapsed=_elapsed)
        self.documents = documents_of(config)
        self.identity = Identity(self.store)
        self.carriers: dict[str, Carrier] = {}
        self.lines = Lines(self.identity, self.store, self.carriers, domains=config.domain)
        self.throttle = Throttle(self.identity)
        self._clients = contextlib.AsyncExitStack()
        self.fence = fence_of(config, config.spool / "documents" / "work")
        self.templates = Templates(config.templates)
        self.cabinet = cabinet_of(config)
        self.desk = desk_of(self.config, self.store, self.documents, self.identity)
        commands = Commands(self.store, self.desk, replies_of(config))
        self.mail = MailDoor(
            config,
            identity=self.identity,
            throttle=self.throttle,
            desk=self.desk,
            now=self.store.now,
            commands=commands,
        )
        self.imap = ImapDoor(
            config,
            identity=self.identity,
            throttle=self.throttle,
            desk=self.desk,
            store=self.store,
            documents=self.documents,
            commands=commands,
        )
        self._stops: list[Callable[[], object]] = []
        self.outbound = Outbound(config.http.callback_networks)
        self.loop: Loop | None = None
        self.web: WebDoor | None = None
        self.pamfax: PamFaxApi | None = None

    async def start(self) -> None:
        """Start everything; what was started is stopped again if something cannot be. Raises GatewayError, OSError."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        config = self.config
        self.store.open()
        self._stops.append(self.store.close)
        self.store.start()
        await open_documents(self.documents, alone=self.store.embedded)
        self._stops.append(self.documents.close)
        self._stops.append(self.identity.close)
        if self.cabinet is not None:
            self._stops.append(self.cabinet.close)
        if self.store.embedded:
            await self.store.write(steps.free_all)
        await self.identity.declare(config)
        self.applications = Applications(self.store, spool_key(config.spool))
        await self.applications.declare(config)
        self.evidence = evidence_of(config, self.store, self.documents)
        self._stops.append(self.fence.close)
        statements = Statements(self.store, self.documents)
        secrets = {name: callback_secret(config.spool, name) for name in config.carrier}
        await self._start_carriers(secrets)
        await self._start_web(statements, secrets)
        self.loop = Loop(self._workshop(statements))
        self.loop.start()
        self._stops.append(self.loop.stop)
        capabilities = {name: carrier.capabilities for name, carrier in self.carriers.items()}
        control = Control(
            config=config,
            store=self.store,
            identity=self.identity,
            desk=self.desk,
            documents=self.documents,
            capabilities=capabilities,
            lines=self.lines,
            applications=self.applications,
            evidence=self.evidence,
        )
        socket = ControlSocket(config.spool / "control.sock", control)
        await socket.start()
        self._stops.append(socket.stop)
        await self.mail.start()
        self._stops.append(self.mail.stop)
        await self.imap.start()
        self._stops.append(self.imap.stop)
        fence = await asyncio.to_thread(self.fence.describe)
        level = logging.WARNING if WITHIN_REACH in fence else logging.INFO
        _log.log(level, "converters: %s", fence, extra={"action": "fenced"})
        _log.info("faxgate %s serves %s", __version__, ", ".join(config.domain), extra={"action": "started"})

    async def stop(self) -> None:
        """Stop in the reverse order; a part that cannot be stopped does not keep the others running."""
        while self._stops:
            stopping = self._stops.pop()
            try:
                result = stopping()
                if asyncio.iscoroutine(result):
                    await result
            except (OSError, RuntimeError) as error:
                _log.error("while stopping: %s", error)
        await self._clients.aclose()
        await self.outbound.close()
        self.store.release()
        _log.info("stopped", extra={"action": "stopped"})

    async def _start_carriers(self, secrets: dict[str, str]) -> None:
        for name, section in self.config.carrier.items():
            tools = Tools(
                name=name,
                now=self.store.now,
                http=await self._clients.enter_async_context(http.client()),
                folder=self.config.spool / str(section["kind"]) / name,
                callback_url=f"{self.config.public_url}/callback/{name}/{secrets[name]}",
                lines=partial(self._lines, name),
                rasterise=self._rasterise,
            )
            carrier = carriers.build(name, section, self.config.file, tools)
            await carrier.start()
            self._stops.append(carrier.stop)
            self.carriers[name] = carrier

    async def _start_web(self, statements: Statements, secrets: dict[str, str]) -> None:
        async def keep(name: str, said: Sequence[Event | Announcement]) -> None:
            await statements.keep(name, said)

        http = self.config.http
        valid = {name: [secret] for name, secret in secrets.items()}
        callbacks = Callbacks(self.carriers, valid, keep, public_url=self.config.public_url)
        checks = {"spool": self._check_spool, "work": self._check_work}
        site = Site(
            store=self.store,
            documents=self.documents,
            throttle=self.throttle,
            templates=self.templates,
            name=self.config.domain[0],
            zone=self.config.zone,
        )
        routes = [*callbacks.routes(), *site.routes(), *self._approval_page().routes(), *self._view_page().routes()]
        if self.config.door.hellofax:
            routes += HelloFaxApi(
                self.config, self.identity, self.desk, self.store, self.lines, throttle=self.throttle
            ).routes()
        if self.config.door.pamfax:
            self.pamfax = self._pamfax()
            routes += self.pamfax.routes()
        network = next((carrier for carrier in self.carriers.values() if isinstance(carrier, Loopback)), None)
        if self.sandbox and network is not None:
            routes += SandboxPage(network, self.templates, name=self.config.domain[0]).routes()
        self.web = WebDoor(http, routes, checks=checks, refresh=self._refresh)
        try:
            await self.web.start()
        except OSError as error:
            raise ConfigError(self.config.file, "http.listen", f"{http.listen}: {error.strerror}") from error
        self._stops.append(self.web.stop)
        if self.pamfax and self.config.door.pamfax and self.config.door.pamfax.listen:
            await self._start_pamfax(self.pamfax, self.config.door.pamfax)

    def _approval_page(self) -> ApprovalPage:
        return ApprovalPage(
            store=self.store,
            documents=self.documents,
            identity=self.identity,
            limits=self.desk.limits,
            links=self._links(),
            templates=self.templates,
            name=self.config.domain[0],
            zone=self.config.zone,
        )

    def _view_page(self) -> ViewPage:
        return ViewPage(
            store=self.store,
            documents=self.documents,
            views=self._views(),
            templates=self.templates,
            name=self.config.domain[0],
            now=self.store.now,
        )

    def _views(self) -> Views:
        return Views(spool_key(self.config.spool), self.config.public_url)

    def _links(self) -> Links:
        return Links(spool_key(self.config.spool), self.config.public_url)

    def _pamfax(self) -> PamFaxApi:
        """The PamFax door."""
        previews = Previews(store=self.store, documents=self.documents, fence=self.fence)
        self._stops.append(previews.stop)
        house = House(
            config=self.config,
            identity=self.identity,
            desk=self.desk,
            store=self.store,
            documents=self.documents,
            lines=self.lines,
            throttle=self.throttle,
            prices=Prices(self.config),
            ledger=Ledger(self.store),
            templates=self.templates,
            previews=previews,
            outbound=self.outbound,
            sandbox=self.sandbox,
        )
        return PamFaxApi(house, self.applications)

    async def _start_pamfax(self, api: PamFaxApi, door: PamFaxDoor) -> None:
        """The listener where the API stands at the root."""
        tls = (door.tls_cert, door.tls_key) if door.tls_cert and door.tls_key else None
        web = WebDoor(Http(listen=str(door.listen), proxies=self.config.http.proxies), api.routes(""), house=False, tls=tls)
        try:
            await web.start()
        except OSError as error:
            raise ConfigError(self.config.file, "door.pamfax.listen", f"{door.listen}: {error.strerror}") from error
        self._stops.append(web.stop)

    async def _lines(self, carrier: str) -> Sequence[str]:
        return [line.number for line in await self.identity.lines() if line.carrier == carrier]

    async def _rasterise(self, pdf: bytes) -> bytes:
        with self.documents.scratch() as folder:
            source, out = folder / "in.pdf", folder / "out.pdf"
            await asyncio.to_thread(source.write_bytes, pdf)
            await self.fence.run("gateway.pages.printed:as_printed", source, out)
            return await asyncio.to_thread(out.read_bytes)

    def _workshop(self, statements: Statements) -> Workshop:
        config = self.config
        return Workshop(
            config=config,
            store=self.store,
            documents=self.documents,
            identity=self.identity,
            limits=self.desk.limits,
            links=self._links(),
            views=self._views(),
            notary=self.evidence.notary,
            replies=replies_of(config),
            statements=statements,
            carriers=self.carriers,
            fence=self.fence,
            composer=Composer(self.templates, Sender.of(config)),
            templates=self.templates,
            notifier=Notifier(self.outbound, self.store.now),
            retry=config.retry.schedule(),
            post=self._post(),
            bounces=self.desk.bounces,
            cabinet=self.cabinet,
        )

    def _post(self) -> Post:
        post = Post(self.config, self.config.secret(self.config.mail), self.store.now)
        self._stops.append(post.close)
        return post

    async def _check_spool(self) -> None:
        """The database answers, and the folder can be written."""
        await self.store.read(queries.unfinished)
        if not os.access(self.config.spool, os.W_OK):
            raise SpoolUnavailable("The spool folder cannot be written.")

    async def _check_work(self) -> None:
        if not self.alive():
            raise Unavailable("The work loop has stopped.")

    async def _refresh(self) -> None:
        unfinished = await self.store.read(queries.unfinished)
        metrics.QUEUE.clear()
        oldest = None
        for state, (count, since) in unfinished.items():
            metrics.QUEUE.labels(state).set(count)
            if state != "held":
                oldest = min(since, oldest or since)
        mails, owed_since = await self.store.read(outbox.waiting)
        metrics.OUTBOX.set(mails)
        metrics.OUTBOX_AGE.set((self.store.now() - owed_since).total_seconds() if owed_since else 0)
        metrics.QUEUE_AGE.set((self.store.now() - oldest).total_seconds() if oldest else 0)

    def failed(self) -> str:
        """The name of a task that died without which nothing is right; "" while all live."""
        if self.store.failed:
            return "committer"
        return self.loop.failed() if self.loop is not None else ""

    def alive(self) -> bool:
        """Whether the work loop looks at its lanes and none of the tasks has died."""
        if self.loop is None or self.failed():
            return False
        return asyncio.get_running_loop().time() - self.loop.looked_at < _LOOKED_LATELY


async def serve(config: Config) -> str:
    """Run until a signal says stop; "" then, else the reason why it could not go on."""
    service, stop = Service(config), asyncio.Event()
    running = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        running.add_signal_handler(sign, stop.set)
    running.add_signal_handler(signal.SIGHUP, service.mail.certificate.renew)  # before mail comes: without it we would end
    await service.start()
    sys.setswitchinterval(0.001)  # threads that store a mail need the interpreter often, and never for long
    gc.freeze()  # what is there now stays: looking through all of it again and again makes everybody wait
    systemd = sdnotify.SystemdNotifier()
    systemd.notify("READY=1")
    reason = ""
    while not stop.is_set() and not reason:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 5.0)
        if service.alive():
            systemd.notify("WATCHDOG=1")
        elif dead := service.failed():
            reason = f"“{dead}” has died"
    systemd.notify("STOPPING=1")
    await service.stop()
    return reason


@contextlib.asynccontextmanager
async def opened(config: Config) -> AsyncIterator[Control]:
    """The control verbs over a spool that no service runs on. Raises SpoolBusy, SpoolUnavailable."""
    store = Store(config.spool, config.database, now=utc_now, node="command line")
    documents, identity = documents_of(config), Identity(store)
    store.open()
    store.start()
    try:
        await open_documents(documents, alone=store.embedded)
        await identity.declare(config)
        applications = Applications(store, spool_key(config.spool))
        await applications.declare(config)
        desk = desk_of(config, store, documents, identity)
        yield Control(
            config=config,
            store=store,
            identity=identity,
            desk=desk,
            documents=documents,
            capabilities=capabilities_of(config),
            lines=None,
            applications=applications,
            evidence=evidence_of(config, store, documents),
        )
    finally:
        identity.close()
        documents.close()
        await store.close()


def desk_of(config: Config, store: Store, documents: Documents, identity: Identity) -> Desk:
    """The desk over a store."""
    prices = Prices(config)
    return Desk(
        store=store,
        documents=documents,
        identity=identity,
        admission=Admission(capabilities_of(config)),
        prices=prices,
        limits=Limits(config, prices),
        default_carrier=next(iter(config.carrier)),
        bounces=Bounces(partial(spool_key, config.spool), config.domain[0]),
        waiting=config.smtp.hold_quota,
        duplicates=config.duplicates,
    )


def cabinet_of(config: Config) -> Cabinet | None:
    """The archive of received faxes, if there is one. Raises ConfigError."""
    if config.archive is None:
        return None
    if not config.archive.folder.startswith("s3://"):
        return FolderCabinet(config.archive_folder)
    try:
        from gateway.spool.objects import BucketCabinet

        return BucketCabinet(_place(config, config.archive.folder))
    except ImportError as error:
        raise ConfigError(config.file, "archive.folder", 'needs the extra "s3": pip install "faxgate[s3]"') from error
    except ValueError as error:
        raise ConfigError(config.file, "archive.folder", str(error)) from error


def _place(config: Config, url: str) -> Place:
    """A bucket at the object store of `[s3]`."""
    from gateway.spool.objects import Place

    s3 = config.s3
    secret = config.s3_secret()
    return Place(url=url, endpoint=s3.endpoint, region=s3.region, access_key=s3.access_key, secret_key=secret)


def evidence_of(config: Config, store: Store, documents: Documents) -> Evidence:
    """What makes bundles of evidence, and seals."""
    return Evidence(store, documents, Notary(store, spool_key(config.spool)), config.domain[0])


def replies_of(config: Config) -> Replies:
    """The addresses that our mails ask answers to."""
    return Replies(lambda: spool_key(config.spool), config.domain[0], config.mail.replies)


def documents_of(config: Config) -> Documents:
    """The documents of a spool, wherever they are kept. Scratch files stay in the spool. Raises ConfigError."""
    home = config.spool / "documents"
    if not config.documents.startswith("s3://"):
        return Documents(home, Folder(config.documents_folder))
    try:
        from gateway.spool.objects import Bucket
    except ImportError as error:
        raise ConfigError(config.file, "documents", 'needs the extra "s3": pip install "faxgate[s3]"') from error
    try:
        return Documents(home, Bucket(_place(config, config.documents), home / "incoming"))
    except ValueError as error:
        raise ConfigError(config.file, "documents", str(error)) from error


def fence_of(config: Config, folder: Path) -> Fence:
    """The converters' fence, with its scratch files in `folder`."""
    return Fence(
        memory=config.pages.memory,
        time_limit=config.pages.time_limit.total_seconds(),
        folder=folder,
        reads=(config.spool / "documents", config.documents_folder, *Templates(config.templates).folders),
    )


def check(config: Config, *, whole: bool = False) -> dict[str, Capabilities]:
    """What would stop a start and can be seen without one; what each carrier can do. Raises ConfigError.

    whole  try every mail, also where all templates are built in, which the tests have tried
    """
    tls.context(config)
    for n in range(len(config.imap)):
        mailboxes.context(config, n)
    if config.rates is not None:
        try:
            read_rates(config.rates)
        except (OSError, ValueError) as error:
            raise ConfigError(config.file, "rates", str(error)) from error
    if config.templates is not None and not config.templates.is_dir():
        raise ConfigError(config.file, "templates", f"{config.templates} is not a folder")
    templates = Templates(config.templates)
    if problem := templates.problem():
        raise ConfigError(config.file, "templates", problem)
    if problem := samples.lacks(templates, config.mail.language):
        raise ConfigError(config.file, "mail.language", problem)
    if (whole or config.templates is not None) and (problem := samples.problem(templates, Sender.of(config))):
        raise ConfigError(config.file, "templates", problem)
    job.check(config, templates.folders)
    documents_of(config)
    post.check(config, utc_now())
    _check_received(config)
    return capabilities_of(config)


def _check_received(config: Config) -> None:
    """What the rules and the archive of received faxes need is here. Raises ConfigError."""
    for n, route in enumerate(config.route, 1):
        if route.code and (problem := barcodes.lacking()):
            raise ConfigError(config.file, f"route[{n}].code", problem)
    if (archive := cabinet_of(config)) is not None:
        archive.close()
        if isinstance(archive, FolderCabinet) and not os.access(config.archive_folder, os.W_OK | os.X_OK):
            raise ConfigError(config.file, "archive.folder", f"{config.archive_folder} is no folder that can be written")


def capabilities_of(config: Config) -> dict[str, Capabilities]:
    """What each configured carrier can do. Raises ConfigError for a section that is wrong."""
    able = {}
    for name, section in config.carrier.items():
        checked = carriers.check(name, section, config.file)
        able[name] = carriers.adapter(str(section["kind"])).able(checked)
    for name, one in able.items():
        least = 2 * one.submit_limit + _SLACK
        if config.work.lease.total_seconds() < least:  # no hand-over would ever begin
            raise ConfigError(config.file, "work.lease", f'must be at least "{least:.0f}s" for the carrier {name}')
    return able


async def open_documents(documents: Documents, *, alone: bool) -> None:
    """Make the folders. Raises SpoolUnavailable."""
    try:
        await asyncio.to_thread(documents.open, alone=alone)
    except OSError as error:
        raise SpoolUnavailable(f"The documents cannot be used ({error.strerror or error}).") from error


def callback_secret(spool: Path, carrier: str) -> str:
    """The secret in a carrier's callback URLs: made of the spool's key, so that it stays the same."""
    return hmac.digest(spool_key(spool), f"callback {carrier}".encode(), hashlib.sha256).hex()[:40]


def spool_key(spool: Path) -> bytes:
    """32 random bytes, made once for each spool, readable by its owner only."""
    path = spool / "key"
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        key = path.read_bytes()
        if len(key) != 32:
            raise SpoolUnavailable(f"{path} is damaged; restore it from the backup, or remove it.") from None
        return key
    with open(handle, "wb") as file:
        file.write(os.urandom(32))
        file.flush()
        os.fsync(file.fileno())
    return path.read_bytes()
