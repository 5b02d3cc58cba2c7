"""Rows become nouns, and nouns become rows."""

from __future__ import annotations

import dataclasses
import functools
import json
import secrets
from typing import Any

from sqlalchemy import Row

from gateway.errors import Outcome
from gateway.fax import (
    Account,
    Attempt,
    AttemptState,
    CoverPage,
    Door,
    Envelope,
    InboundFax,
    InboundState,
    Line,
    Recipient,
    Settings,
    Submission,
    Transmission,
    TransmissionState,
)

AnyRow = Row[Any]
_MAIL = CoverPage()
_KNOWN = 512  # different texts of one kind that are not read, or written, anew: most are like the last one


def _named(row: AnyRow) -> dict[str, Any]:
    """A dictionary is asked for twenty values in less time than a row for two."""
    return dict(zip(row._fields, row, strict=True))


def _outcome(value: str | None) -> Outcome | None:
    return Outcome(value) if value else None


def account(row: AnyRow) -> Account:
    return Account(
        id=row.id,
        name=row.name,
        login=row.login or "",
        password_hash=row.password_hash,
        senders=tuple(json.loads(row.senders)),
        networks=tuple(json.loads(row.networks)),
        countries=tuple(json.loads(row.countries)),
        declared=row.declared,
        guid=row.guid,
        settings=Settings(**json.loads(row.settings)),
        prepaid=row.prepaid,
        dmarc=row.dmarc,
        bulk=row.bulk,
        digest_hash=row.digest_hash,
    )


def account_values(account: Account) -> dict[str, Any]:
    return {
        "id": account.id,
        "name": account.name,
        "login": account.login.lower() or None,
        "password_hash": account.password_hash,
        "senders": json.dumps(account.senders),
        "networks": json.dumps(account.networks),
        "countries": json.dumps(account.countries),
        "declared": account.declared,
        "guid": account.guid or secrets.token_hex(20),
        "settings": json.dumps(dataclasses.asdict(account.settings)),
        "prepaid": account.prepaid,
        "dmarc": account.dmarc,
        "bulk": account.bulk,
        "digest_hash": account.digest_hash,
    }


def line(row: AnyRow) -> Line:
    return Line(
        number=row.number,
        account=row.account_id,
        carrier=row.carrier,
        mailbox=tuple(json.loads(row.mailbox)),
        declared=row.declared,
    )


def line_values(line: Line) -> dict[str, Any]:
    return {
        "number": line.number,
        "account_id": line.account,
        "carrier": line.carrier,
        "mailbox": json.dumps(line.mailbox),
        "declared": line.declared,
    }


@functools.lru_cache(_KNOWN)
def envelope(text: str) -> Envelope:
    values = json.loads(text)
    return Envelope(**{**values, "door": Door(values["door"])})


_ENVELOPE = tuple(field.name for field in dataclasses.fields(Envelope))


@functools.lru_cache(_KNOWN)
def _envelope_text(envelope: Envelope) -> str:
    return json.dumps({name: getattr(envelope, name) for name in _ENVELOPE})


@functools.lru_cache(_KNOWN)
def _options(text: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in json.loads(text))


@functools.lru_cache(_KNOWN)
def _notify(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


@functools.lru_cache(_KNOWN)
def cover(text: str) -> CoverPage:
    return CoverPage(**json.loads(text)) if text else _MAIL


_dumped = functools.lru_cache(_KNOWN)(json.dumps)


def submission(row: AnyRow) -> Submission:
    of = _named(row)
    return Submission(
        id=of["id"],
        account=of["account_id"],
        envelope=envelope(of["envelope"]),
        message_id=of["message_id"],
        resent_message_id=of["resent_message_id"],
        content_hash=of["content_hash"],
        subject=of["subject"],
        from_header=of["from_header"],
        references=of["thread"],
        auto_submitted=of["auto_submitted"],
        document=of["document"],
        content_type=of["content_type"],
        accepted_at=of["accepted_at"],
        cover=cover(of["cover"]),
        redial=of["redial"],
    )


def submission_values(submission: Submission) -> dict[str, Any]:
    return {
        "id": submission.id,
        "account_id": submission.account,
        "envelope": _envelope_text(submission.envelope),
        "message_id": submission.message_id,
        "resent_message_id": submission.resent_message_id,
        "content_hash": submission.content_hash,
        "subject": submission.subject,
        "from_header": submission.from_header,
        "thread": submission.references,
        "auto_submitted": submission.auto_submitted,
        "document": submission.document,
        "content_type": submission.content_type,
        "accepted_at": submission.accepted_at,
        "cover": json.dumps(dataclasses.asdict(submission.cover)) if submission.cover != _MAIL else "",
        "redial": submission.redial,
    }


def recipient(row: AnyRow) -> Recipient:
    of = _named(row)
    return Recipient(
        written=of["written"],
        number=of["number"],
        sub_address=of["sub_address"],
        cover_name=of["cover_name"],
        organisation=of["organisation"],
        tag=of["tag"],
        options=_options(of["options"]),
        notify=_notify(of["notify"]),
        original_recipient=of["original_recipient"],
    )


def recipient_values(recipient: Recipient) -> dict[str, Any]:
    return {
        "written": recipient.written,
        "number": recipient.number,
        "sub_address": recipient.sub_address,
        "cover_name": recipient.cover_name,
        "organisation": recipient.organisation,
        "tag": recipient.tag,
        "options": _dumped(recipient.options),
        "notify": _dumped(recipient.notify),
        "original_recipient": recipient.original_recipient,
    }


def transmission(row: AnyRow) -> Transmission:
    of = _named(row)
    return Transmission(
        id=of["id"],
        submission=of["submission_id"],
        account=of["account_id"],
        number=of["number"],
        sub_address=of["sub_address"],
        carrier=of["carrier"],
        caller=of["caller"],
        state=TransmissionState(of["state"]),
        outcome=_outcome(of["outcome"]),
        reason=of["reason"],
        document=of["document"],
        pages=of["pages"],
        pages_sent=of["pages_sent"],
        attempts=of["attempts"],
        manifest=of["manifest"],
        accepted_at=of["accepted_at"],
        updated_at=of["updated_at"],
        finished_at=of["finished_at"],
        due_at=of["due_at"],
        status=of["status"] or "",
        price=of["price"],
        held=of["held"],
        cost=of["cost"],
    )


def attempt(row: AnyRow) -> Attempt:
    of = _named(row)
    return Attempt(
        id=of["id"],
        transmission=of["transmission_id"],
        n=of["n"],
        carrier=of["carrier"],
        reference=of["reference"],
        carrier_ref=of["carrier_ref"] or "",
        state=AttemptState(of["state"]),
        outcome=_outcome(of["outcome"]),
        carrier_code=of["carrier_code"],
        text=of["text"],
        pages_sent=of["pages_sent"],
        station_id=of["station_id"],
        seconds=of["seconds"],
        opened_at=of["opened_at"],
        submitted_at=of["submitted_at"],
        finished_at=of["finished_at"],
        planned_at=of["planned_at"],
        speed=of["speed"],
        resolution=of["resolution"],
        report=of["report"] or None,
    )


def inbound(row: AnyRow) -> InboundFax:
    return InboundFax(
        id=row.id,
        carrier=row.carrier,
        carrier_ref=row.carrier_ref,
        line=row.line,
        caller=row.caller,
        station_id=row.station_id,
        sub_address=row.sub_address,
        state=InboundState(row.state),
        document=row.document,
        original=row.original,
        pages=row.pages,
        complete=row.complete,
        seconds=row.seconds,
        received_at=row.received_at,
        reason=row.reason,
        account=row.account_id,
        route=row.route,
        released=row.released,
        mailbox=tuple(json.loads(row.mailbox)),
        withheld_from=row.withheld_from,
        resolution=row.resolution,
        damaged=row.damaged,
    )
