"""Whatever a mail holds, `explain` gives a verdict: pages, or a refusal in words; never a fault of ours."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from gateway import config, daemon, explain
from gateway.config import Config
from gateway.pages.fence import Fence
from tests.pages import fax_files as make

MINIMAL = """
domain = "fax.example"
region = "US"
spool = "spool"
[mail]
from = "fax@fax.example"
operator = "operator@example.com"
"""
BOB = explain.From(sender="bob@sender.example")
OFFICE = {"id": "acc_1", "name": "office", "senders": ["bob@sender.example"], "networks": [], "countries": ["US"]}
ODD_FIELDS = rb"""Content-Type: multipart/mixed; boundary=""
Content-Type: text/html; charset="utf-7"
Content-Type: text/plain; charset=hex
Content-Type: text/plain; charset=rot13
Content-Type: application/ms-tnef
Content-Type: message/rfc822
Content-Type: ;;;
Content-Transfer-Encoding: uuencode
Content-Disposition: attachment; filename*=utf-8''%ff%fe
Content-ID: <<>>
Date: Mon, 1 Jan 0001 00:00:00 +2359
Date: Mon, 31 Dec 9999 23:59:59 -2359
Subject: =?x?b?!!!!?=
Reply-To: =?utf-8?q?=00?= <x@y>
Content-Language: =?utf-8?q?=ff?=
To: undisclosed-recipients:;""".splitlines()


class Kept(Fence):
    """One fence for all mails: to start it takes longer than to judge one."""

    async def close(self) -> None:
        """At the end of the test."""


@pytest_asyncio.fixture
async def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Config]:
    (tmp_path / "gateway.toml").write_text(MINIMAL)
    fence = Kept(1_000_000_000, 60, tmp_path / "work")
    monkeypatch.setattr(daemon, "fence_of", lambda *_: fence)
    yield config.load(tmp_path / "gateway.toml")
    await Fence.close(fence)


def examples() -> list[bytes]:
    within = make.mail("inner words", ("application/pdf", make.pdf("y"), "y.pdf"))
    forwarded = make.mail("see below")
    forwarded.add_attachment(within)
    both = make.mail("plain words")
    both.add_alternative("<p>plain words<table><tr><td>1</table><img src='cid:q@x'>", subtype="html")
    archive = make.zipped({"a.pdf": make.pdf("x"), "b.txt": b"words"})
    mails = [
        make.mail("Hello", ("application/pdf", make.pdf("a", "b"), "a.pdf")),
        make.mail("see", ("image/tiff", make.tiff(make.fax_page(1143)), "f.tif"), ("application/zip", archive, "z.zip")),
        make.mail("see", ("text/csv", b"a;b\n1;2\n", "t.csv"), ("image/png", make.picture("PNG", (300, 200)), "p.png")),
        forwarded,
        both,
    ]
    return [mail.as_bytes() for mail in mails]


def damaged(mail: bytes, dice: random.Random) -> bytes:
    """Bytes changed, an end missing, lines gone, a strange field among them."""
    for _ in range(dice.randint(1, 3)):
        lines = mail.split(b"\n")
        match dice.randrange(4):
            case 0:
                changed = bytearray(mail)
                for _ in range(dice.randint(1, 30)):
                    changed[dice.randrange(len(changed))] = dice.randrange(256)
                mail = bytes(changed)
            case 1:
                mail = mail[: dice.randint(len(mail) // 3, len(mail))]
            case 2:
                lines.pop(dice.randrange(len(lines)))
                mail = b"\n".join(lines)
            case _:
                lines.insert(dice.randrange(min(len(lines), 30)), dice.choice(ODD_FIELDS))
                mail = b"\n".join(lines)
    return mail


async def test_a_damaged_mail_gets_a_verdict_in_words(settings: Config) -> None:
    dice, made = random.Random(6), examples()
    faxed = 0
    for n in range(50):
        mail = made[n] if n < len(made) else damaged(dice.choice(made), dice)
        verdict = await explain.explain(settings, mail, to=["+14155552671"], accounts=[OFFICE], origin=BOB)
        json.dumps(verdict, ensure_ascii=False).encode()
        assert verdict["faxed"] is not bool(verdict["reason"])
        assert verdict["faxed"] or str(verdict["reply"]).startswith("5"), (n, verdict["reply"], verdict["reason"])
        faxed += bool(verdict["faxed"])
    assert len(made) <= faxed < 50


async def test_what_is_no_mail_at_all_is_refused(settings: Config) -> None:
    for mail in (b"", b"\0" * 200, b"\r\n", b"%PDF-1.7", b"\xff" * 50):
        verdict = await explain.explain(settings, mail, to=["+14155552671"], accounts=[OFFICE], origin=BOB)
        assert not verdict["faxed"], mail
        assert str(verdict["reply"]).startswith("55")


async def test_explain_says_what_the_door_says(settings: Config) -> None:
    mail, two = examples()[0], ["14155552671/COVER=none@fax.example", "+1-415-555-2671@fax.example"]
    account = {**OFFICE, "login": "Bob"}
    signed_in = explain.From(sender="bob@sender.example", login="bOB")
    verdict = await explain.explain(settings, mail, to=two[:1], accounts=[account], origin=signed_in)
    assert (verdict["proof"], verdict["reply"]) == ("login", "")
    assert verdict["recipients"][0]["faxed"]
    verdict = await explain.explain(settings, mail, to=two, accounts=[account], origin=signed_in)
    assert [(one["faxed"], one["reply"]) for one in verdict["recipients"]] == [(False, "550 5.6.0")] * 2
    assert not verdict["faxed"]
