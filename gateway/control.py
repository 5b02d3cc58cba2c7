"""The verbs of the command line: what an operator types, done over a spool.

The same `Control` serves the socket of the running service (`control_socket`), and a command line that has opened the spool
itself because nothing is running.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from gateway import __version__, log, number
from gateway.carriers.base import Capabilities
from gateway.config import Config
from gateway.desk.applications import Applications
from gateway.desk.evidence import Evidence
from gateway.desk.identity import Identity
from gateway.desk.ledger import Ledger
from gateway.desk.lines import Lines
from gateway.desk.notary import shown
from gateway.desk.steer import forward, mail_again, release_received, resend, steer
from gateway.desk.submit import Desk
from gateway.desk.trials import Trials
from gateway.errors import ConfigError, NotAdmitted, Refused, Unavailable
from gateway.faults import validated
from gateway.fax import (
    Account,
    AccountId,
    Door,
    Envelope,
    InboundId,
    Line,
    OutboxId,
    Recipient,
    TransmissionId,
    TransmissionState,
    new_id,
)
from gateway.receiving import caller_pattern
from gateway.sections import AccountSection
from gateway.spool import accounts, approvals, imap, inbounds, inspection, outbox, queries
from gateway.spool.blocks import EVERYBODY
from gateway.spool.documents import Documents
from gateway.spool.store import Store
from gateway.units import Mail, Zone

_SHORTEST = 6  # characters of an id: less is a slip of the hand
Json = dict[str, Any]
"""What json reads and writes; checked where it is used."""


class Control:
    """The verbs an operator types."""

    def __init__(
        self,
        *,
        config: Config,
        store: Store,
        identity: Identity,
        desk: Desk,
        documents: Documents,
        capabilities: Mapping[str, Capabilities],
        lines: Lines | None,
        applications: Applications,
        evidence: Evidence,
    ) -> None:
        self._config, self._store, self._identity, self._desk = config, store, identity, desk
        self._documents, self._capabilities = documents, capabilities
        self._applications, self._evidence = applications, evidence
        self._trials = Trials(desk=desk, identity=identity, store=store, documents=documents, capabilities=capabilities)
        self._running = lines  # None: no service is running, and no carrier can be asked
        self._patience = 10.0 if lines else 0.0
        self._verbs: Mapping[str, Callable[[Json], Awaitable[object]]] = {
            "status": self._status,
            "queue": self._queue,
            "show": self._show,
            "steer": self._steer,
            "resend": self._resend,
            "forward": self._forward,
            "send": self._send,
            "judge": self._judge,
            "blocks": self._blocks,
            "block": self._block,
            "unblock": self._unblock,
            "accounts": self._accounts,
            "account-save": self._account_save,
            "account-remove": self._account_remove,
            "account-credit": self._account_credit,
            "account-ledger": self._account_ledger,
            "lines": self._lines,
            "line-save": self._line_save,
            "line-remove": self._line_remove,
            "line-areas": self._line_areas,
            "line-buy": self._line_buy,
            "line-release": self._line_release,
            "line-test": self._line_test,
            "line-tested": self._line_tested,
            "applications": self._applications_list,
            "application-add": self._application_add,
            "application-remove": self._application_remove,
            "carriers": self._carriers,
            "received": self._received,
            "mails": self._mails,
            "fetch": self._fetch,
            "mailboxes": self._mailboxes,
            "mailbox-places": self._mailbox_places,
            "fsck": self._fsck,
            "evidence": self._bundle,
            "evidence-keys": self._evidence_keys,
            "evidence-rotate": self._evidence_rotate,
        }

    async def call(self, request: Json) -> object:
        """Do what a request asks. Raises GatewayError with the reason in words."""
        verb = self._verbs.get(str(request.get("verb")))
        if verb is None:
            raise NotAdmitted(f"The service does not know “{request.get('verb')}”; it is version {__version__}.")
        try:
            return await verb(request)
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise NotAdmitted(f"The request makes no sense: {type(error).__name__}: {error}") from error

    async def _status(self, _request: Json) -> object:
        unfinished = await self._store.read(queries.unfinished)
        return {"version": __version__, "unfinished": {str(state): count for state, (count, _) in unfinished.items()}}

    async def _queue(self, request: Json) -> object:
        states = [TransmissionState(state) for state in request.get("states", ())]
        before = None
        if last := str(request.get("before") or ""):
            before = await self._store.read(queries.place, await self._find(last))
        found = await self._store.read(queries.page, states=states, before=before, limit=int(request.get("limit", 50)))
        return [asdict(transmission) for transmission in found]

    async def _received(self, request: Json) -> object:
        before = None
        if last := str(request.get("before") or ""):
            before = await self._store.read(inbounds.place, await self._find_received(last))
        found = await self._store.read(inbounds.page, before=before, limit=int(request.get("limit", 50)))
        return [asdict(inbound) for inbound in found]

    async def _mailboxes(self, _request: Json) -> object:
        """How the mailboxes of the configuration go, wherever they are read."""
        found = {one["name"]: one for one in await self._store.read(imap.overview)}
        unread = {"state": imap.NEW, "detail": "", "since": None, "until": None, "read_by": "", "last": None, "to_mark": 0}
        return [
            {"name": section.name, "host": section.host, "username": section.username}
            | (found.get(section.name) or {**unread, "mails": {}, "folders": []})
            for section in self._config.imap
        ]

    async def _mailbox_places(self, request: Json) -> object:
        """How far the folders of a mailbox are dealt with, and which mails behind that are."""
        name = str(request["name"])
        return [
            {"folder": folder, **asdict(place), "done": sorted(await self._store.read(imap.known, name, folder, place))}
            for folder, place in (await self._store.read(imap.places, name)).items()
        ]

    async def _mails(self, request: Json) -> object:
        """Mails that are on their way or have not arrived."""
        return [asdict(mail) for mail in await self._store.read(outbox.mails, limit=int(request.get("limit", 1000)))]

    async def _fetch(self, request: Json) -> object:
        """A received fax, or with `report` what the carrier wrote about a sent one; PDF, in base64."""
        if request.get("report") is True:
            return await self._fetch_report(str(request["id"]))
        inbound = await self._store.read(inbounds.get, await self._find_received(str(request["id"])))
        assert inbound is not None
        if inbound.document is None:
            raise NotAdmitted(f"{inbound.id} is {inbound.state}; its document is not here.")
        return {"id": inbound.id, "pdf": base64.b64encode(await self._documents.get(inbound.document)).decode()}

    async def _fetch_report(self, beginning: str) -> object:
        """That of the last attempt which has one."""
        case = await self._store.read(queries.case, await self._find(beginning))
        assert case is not None
        kept = [attempt for attempt in case.attempts if attempt.report]
        if not kept:
            raise NotAdmitted(f"There is no transmission report of {case.transmission.id} here.")
        assert kept[-1].report is not None
        pdf = await self._documents.get(kept[-1].report)
        return {"id": case.transmission.id, "attempt": kept[-1].id, "pdf": base64.b64encode(pdf).decode()}

    async def _fsck(self, request: Json) -> object:
        """What is wrong with the spool, and put right if that is asked for."""
        repair = request.get("repair") is True
        return [asdict(finding) async for finding in inspection.inspect(self._store, self._documents, repair=repair)]

    async def _bundle(self, request: Json) -> object:
        """All about one fax, sealed: a zip, in base64."""
        beginning = str(request["id"])
        fax = await (self._find_received(beginning) if beginning.startswith("in_") else self._find(beginning))
        made = await self._evidence.of(fax, mail=request.get("mail") is True)
        return {"id": fax, "zip": base64.b64encode(made).decode()}

    async def _evidence_keys(self, _request: Json) -> object:
        return shown(await self._evidence.notary.keys())

    async def _evidence_rotate(self, _request: Json) -> object:
        return shown([await self._evidence.notary.rotate()])[0]

    async def _find(self, beginning: str) -> TransmissionId:
        """The one transmission whose id begins so: people shorten them."""
        return TransmissionId(self._one(beginning, await self._store.read(queries.find, beginning)))

    async def _find_received(self, beginning: str) -> InboundId:
        return InboundId(self._one(beginning, await self._store.read(inbounds.find, beginning)))

    async def _find_mail(self, beginning: str) -> OutboxId:
        return OutboxId(self._one(beginning, await self._store.read(outbox.find, beginning), "mail"))

    @staticmethod
    def _one(beginning: str, found: list[str], what: str = "fax") -> str:
        if len(beginning) < _SHORTEST:
            raise NotAdmitted(f"“{beginning}” is too short: write at least {_SHORTEST} characters of the id.")
        if not found:
            raise NotAdmitted(f"There is no {what} {beginning}.")
        if len(found) > 1 and beginning not in found:
            raise NotAdmitted(f"“{beginning}” begins more than one id: {', '.join(found)}")
        return beginning if beginning in found else found[0]

    async def _show(self, request: Json) -> object:
        if str(request["id"]).startswith("in_"):
            return await self._show_received(str(request["id"]))
        if str(request["id"]).startswith("out_"):
            mail = await self._store.read(outbox.get, await self._find_mail(str(request["id"])))
            assert mail is not None
            return {"mail": asdict(mail)}
        identity = await self._find(str(request["id"]))
        case = await self._store.read(queries.case, identity)
        assert case is not None
        history = await self._store.read(queries.history, identity)
        submission = asdict(case.submission)
        approval = await self._store.read(approvals.of, identity)
        return {
            "transmission": asdict(case.transmission),
            "submission": submission,
            "recipients": [asdict(recipient) for recipient in case.recipients],
            "attempts": [asdict(attempt) for attempt in case.attempts],
            "approval": asdict(approval) if approval else None,
            "history": [asdict(entry) for entry in history],
            "mails": [asdict(mail) for mail in await self._store.read(outbox.about, identity)],
        }

    async def _show_received(self, beginning: str) -> object:
        identity = await self._find_received(beginning)
        inbound = await self._store.read(inbounds.get, identity)
        assert inbound is not None
        names = {account.id: account.name for account in await self._identity.all()}
        history = await self._store.read(queries.history, identity)
        shown = {**asdict(inbound), "account": names.get(inbound.account or inbound.withheld_from, "")}
        mails = await self._store.read(outbox.about, identity)
        told = {"inbound": shown, "history": [asdict(entry) for entry in history]}
        return told | {"mails": [asdict(mail) for mail in mails]}

    async def _steer(self, request: Json) -> object:
        fax, verb, by = str(request["id"]), str(request["do"]), str(request.get("by", "operator"))
        choice = str(request.get("choice") or "")
        if fax.startswith("in_"):
            if verb != "release" or choice:
                raise NotAdmitted("A received fax that is held can be released, and nothing else.")
            mailbox = _texts(request, "to")
            self._check_mailboxes(mailbox)
            return await release_received(self._store, await self._find_received(fax), by, mailbox)
        if fax.startswith("out_"):
            if verb != "retry":
                raise NotAdmitted("A mail can be sent again (retry), and nothing else.")
            return await mail_again(self._store, await self._find_mail(fax), by)
        if request.get("to"):
            raise NotAdmitted("--to is for received faxes.")
        return await steer(self._store, await self._find(fax), verb, choice=choice, by=by, patience=self._patience)

    async def _resend(self, request: Json) -> object:
        """An ended fax once more, or `pages` of it: the first and the last one."""
        fax, by = await self._find(str(request["id"])), str(request.get("by", "operator"))
        first, last = request.get("pages") or (0, 0)
        pages = (int(first), int(last)) if first else None
        return await resend(self._store, self._desk, await self._payer(fax), fax, pages=pages, by=by)

    async def _forward(self, request: Json) -> object:
        fax, by = await self._find(str(request["id"])), str(request.get("by", "operator"))
        called = number.parse(str(request["number"]), self._config.region).e164
        return await forward(self._store, self._desk, await self._payer(fax), fax, number=called, by=by)

    async def _payer(self, fax: TransmissionId) -> Account:
        case = await self._store.read(queries.case, fax)
        account = await self._identity.by_id(case.transmission.account) if case else None
        if account is None:
            raise NotAdmitted("Its account has been removed: nobody pays for another one.")
        return account

    async def _send(self, request: Json) -> object:
        """A mail made by the command line, for one number."""
        account = await self._account(str(request.get("account", "")))
        called = number.parse(str(request["number"]), self._config.region)
        asked = (("PREVIEW", "yes"),) if request.get("preview") is True else ()
        recipient = Recipient(written=str(request["number"]), number=called.e164, options=asked)
        await self._desk.admit(account, recipient)
        envelope = Envelope(door=Door.COMMAND, sender=str(request["sender"]))
        content = base64.b64decode(request["mail"], validate=True)
        return await self._desk.submit(account, envelope, [recipient], trace=b"", content=content)

    async def _judge(self, request: Json) -> object:
        """Whether an account may fax a number now, and what becomes of a fax of so many pages (0: not known)."""
        account = await self._account(str(request["account"]))
        recipient = Recipient(written="", number=str(request["number"]), sub_address=str(request.get("sub_address") or ""))
        judged: Json = {"reply": "", "reason": "", "approval": "", "approver": ""}
        try:
            await self._desk.admit(account, recipient, int(request.get("earlier") or 0))
        except (Refused, Unavailable) as error:
            return judged | {"reply": error.reply, "reason": error.text}
        if not (pages := int(request.get("pages") or 0)):
            return judged
        toll = await self._desk.toll(account, recipient.number, pages)
        if toll.approver and (toll.reasons or toll.refused):
            return judged | {"approval": "; ".join(filter(None, (*toll.reasons, toll.refused))), "approver": toll.approver}
        return judged | ({"reply": NotAdmitted.reply, "reason": toll.refused} if toll.refused else {})

    async def _blocks(self, request: Json) -> object:
        if request.get("incoming"):
            return [asdict(block) for block in await self._desk.blocks.callers()]
        names = {account.id: account.name for account in await self._identity.all()}
        return [
            {**asdict(block), "account": names.get(block.account, block.account)} for block in await self._desk.blocks.every()
        ]

    async def _block(self, request: Json) -> object:
        by = str(request.get("by", "operator"))
        if request.get("incoming"):
            callers = _caller(request)
            await self._desk.blocks.add_caller(callers, reason=str(request.get("reason") or ""), by=by)
            return callers
        called, account = await self._blocked(request)
        await self._desk.blocks.add(called, account, reason=str(request.get("reason") or ""), by=by)
        return called

    async def _unblock(self, request: Json) -> object:
        if request.get("incoming"):
            callers = _caller(request)
            if not await self._desk.blocks.remove_caller(callers):
                raise NotAdmitted(f"{callers} is not blocked here; blocked_callers in the file is changed there.")
            return callers
        called, account = await self._blocked(request)
        if not await self._desk.blocks.remove(called, account):
            raise NotAdmitted(f"{called} is not blocked{' for this account' if account else ' for everybody'}.")
        return called

    async def _blocked(self, request: Json) -> tuple[str, AccountId]:
        """A number of the do-not-fax list, and for whom. Premium numbers need no entry."""
        name = str(request.get("account") or "")
        account = (await self._account(name)).id if name else EVERYBODY
        return number.parse(str(request["number"]), self._config.region).e164, account

    async def _account(self, name: str) -> Account:
        known = await self._identity.all()
        if not name and len(known) == 1:
            return known[0]
        found = next((account for account in known if account.name == name), None)
        if found is None:
            names = ", ".join(account.name for account in known) or "none yet: faxgate account add"
            raise NotAdmitted(f"Say which account pays: --account NAME ({names}).")
        return found

    async def _accounts(self, _request: Json) -> object:
        shown = [asdict(account) for account in await self._identity.all()]
        for account in shown:
            hashes = (account.pop("password_hash"), account.pop("digest_hash"))
            account["password"] = any(hashes)
            account["settings"]["callback_secret"] = bool(account["settings"]["callback_secret"])
        return shown

    async def _account_save(self, request: Json) -> object:
        """Add an account, or change one: only what is given changes."""
        old = await self._identity.by_name(str(request["name"]))
        if old is not None and request.get("new"):
            raise NotAdmitted(f"There is an account “{old.name}” already.")
        if old is None and not request.get("new"):
            raise NotAdmitted(f"There is no account “{request['name']}”.")
        account = old or Account(id=AccountId(new_id("acc")), name=str(request["name"]))
        account = replace(
            account,
            login=str(request.get("login") or account.login),
            senders=_texts(request, "senders") or account.senders,
            networks=_texts(request, "networks") or account.networks,
            countries=_texts(request, "countries") or account.countries,
            prepaid=bool(request.get("prepaid", account.prepaid)),
            dmarc=bool(request.get("dmarc", account.dmarc)),
            bulk=bool(request.get("bulk", account.bulk)),
        )
        self._check_account(account)
        if request.get("password"):
            account = await self._identity.with_password(
                account, str(request["password"]), digest=bool(self._config.door.pamfax)
            )
        if account.login and not (account.password_hash or account.digest_hash):
            raise NotAdmitted("An account that signs in needs a password.")
        await self._identity.save(account)
        return account.id

    async def _account_credit(self, request: Json) -> object:
        account = await self._account(str(request["name"]))
        about = str(request.get("about", ""))
        has = await Ledger(self._store).credit(account.id, int(request["amount"]), str(request["note"]), about=about)
        return {**asdict(has), "prepaid": account.prepaid}

    async def _account_ledger(self, request: Json) -> object:
        account = await self._account(str(request["name"]))
        ledger = Ledger(self._store)
        entries = await ledger.entries(account.id, int(request.get("limit", 100)))
        return {**asdict(await ledger.of(account.id)), "entries": [asdict(entry) for entry in entries]}

    async def _account_remove(self, request: Json) -> object:
        account = await self._identity.by_name(str(request["name"]))
        if account is None:
            raise NotAdmitted(f"There is no account “{request['name']}”.")
        if account.declared:
            raise NotAdmitted(f"“{account.name}” is declared in {self._config.file}: remove it there.")
        await self._store.write(accounts.remove_account, account.name)
        self._identity.forget()
        return account.id

    async def _lines(self, request: Json) -> object:
        """Our lines; with what the carriers say we hold, where that is asked for."""
        names = {account.id: account.name for account in await self._identity.all()}
        ours = [{**asdict(line), "account": names.get(line.account, "")} for line in await self._identity.lines()]
        if not request.get("at_carrier"):
            return ours
        there = await self._at_carriers().at_carriers()
        for line in ours:
            line["at_carrier"] = line["number"] in there[line["carrier"]] if line["carrier"] in there else None
        known = {(line["carrier"], line["number"]) for line in ours}
        nobody = {"account": "", "mailbox": (), "declared": False, "at_carrier": True}
        unknown = [(name, number) for name, numbers in there.items() for number in numbers if (name, number) not in known]
        return ours + [{"number": number, "carrier": name, **nobody} for name, number in unknown]

    def _at_carriers(self) -> Lines:
        if self._running is None:
            raise NotAdmitted("This needs the running service: start it with faxgate serve.")
        return self._running

    async def _line_areas(self, request: Json) -> object:
        return list(await self._at_carriers().areas(str(request["state"]), carrier=str(request.get("carrier") or "")))

    async def _line_buy(self, request: Json) -> object:
        lines, account = self._at_carriers(), await self._account(str(request.get("account", "")))
        return asdict(await lines.buy(account, str(request["area"]), carrier=str(request.get("carrier") or "")))

    async def _line_release(self, request: Json) -> object:
        lines, called = self._at_carriers(), number.parse(str(request["number"]), self._config.region).e164
        line = next((line for line in await self._identity.lines() if line.number == called), None)
        account = await self._identity.by_id(line.account) if line else None
        if account is None:
            raise NotAdmitted(f"There is no line {called}.")
        await lines.release(account, called)
        return called

    async def _line_test(self, request: Json) -> object:
        self._at_carriers()  # it is watched: nothing would happen without the service
        return await self._trials.begin(str(request["line"]), str(request.get("to") or ""))

    async def _line_tested(self, request: Json) -> object:
        return await self._trials.state(str(request["id"]))

    async def _line_save(self, request: Json) -> object:
        account = await self._account(str(request.get("account", "")))
        called = number.parse(str(request["number"]), self._config.region).e164
        carrier = str(request.get("carrier") or next(iter(self._config.carrier)))
        if carrier not in self._config.carrier:
            raise NotAdmitted(f"There is no [carrier.{carrier}] in {self._config.file}.")
        if any(line.number == called for line in await self._identity.lines()):
            raise NotAdmitted(f"There is a line {called} already.")
        mailbox = _texts(request, "mailbox")
        self._check_mailboxes(mailbox)
        await self._store.write(accounts.save_line, Line(number=called, account=account.id, carrier=carrier, mailbox=mailbox))
        self._identity.forget()
        return called

    def _check_account(self, account: Account) -> None:
        """The same rules as in the configuration file."""
        section = {"name": account.name, "senders": account.senders, "dmarc": account.dmarc}
        section |= {"networks": account.networks, "countries": account.countries}
        try:
            validated(AccountSection, section, self._config.file, "")
        except ConfigError as error:
            raise NotAdmitted(f"{error.key}: {error.problem}") from error
        if not account.countries:
            raise NotAdmitted("Say where it may fax: --country US")

    def _check_mailboxes(self, mailbox: tuple[str, ...]) -> None:
        """The same rules as in the configuration file."""
        for n, one in enumerate(mailbox, 1):
            try:
                TypeAdapter(Mail).validate_python(one)
            except ValidationError as error:
                raise NotAdmitted(f"mailbox[{n}]: is not a mail address like fax@example.com, in ASCII") from error
            if one.rpartition("@")[2].lower() in self._config.domain:
                raise NotAdmitted(f"mailbox[{n}]: {one} is at a domain that is faxed: its mail would come back here")

    async def _line_remove(self, request: Json) -> object:
        called = number.parse(str(request["number"]), self._config.region).e164
        line = next((line for line in await self._identity.lines() if line.number == called), None)
        if line is None:
            raise NotAdmitted(f"There is no line {called}.")
        if line.declared:
            raise NotAdmitted(f"{called} is declared in {self._config.file}: remove it there.")
        await self._store.write(accounts.remove_line, called)
        self._identity.forget()
        return called

    async def _applications_list(self, _request: Json) -> object:
        names = ("key", "name", "zone", "declared")
        return [{name: getattr(one, name) for name in names} for one in await self._applications.every()]

    async def _application_add(self, request: Json) -> object:
        """A new one, with its secret: nobody is told it again."""
        try:
            zone = TypeAdapter(Zone).validate_python(str(request.get("zone") or "UTC"))
        except ValidationError as error:
            raise NotAdmitted("A zone is a name like Europe/Berlin.") from error
        return asdict(await self._applications.add(log.printable(str(request["name"]), 80), zone))

    async def _application_remove(self, request: Json) -> object:
        await self._applications.remove(str(request["key"]))
        return request["key"]

    async def _carriers(self, _request: Json) -> object:
        """What they can do, and, while the service runs, how their modems are."""
        modems = await self._running.equipment() if self._running else {}
        return {name: asdict(able) | {"equipment": list(modems.get(name, ()))} for name, able in self._capabilities.items()}


def _caller(request: Json) -> str:
    """Callers as the list of those writes them."""
    try:
        return caller_pattern(str(request["number"]))
    except ValueError as error:
        raise NotAdmitted(f"Callers: {error}") from error


def _texts(request: Json, key: str) -> tuple[str, ...]:
    return tuple(str(value) for value in request.get(key) or ())
