"""What is asked of the pages of a fax: the account's presentation, what the mail and the address wish, this recipient alone."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway import config
from gateway.errors import ConfigError
from gateway.fax import Recipient
from gateway.message import headers
from gateway.pages import job
from gateway.pages.assemble import Job


def settings(folder: Path = Path("/nowhere"), **account: Any) -> config.Config:
    section = {"name": "office", "countries": ["US"], **account}
    return config.parse(
        {
            "domain": "fax.example.com",
            "region": "US",
            "zone": "America/New_York",
            "spool": "spool",
            "mail": {"from": "fax@fax.example.com", "operator": "operator@example.com"},
            "account": [section],
        },
        str(folder / "gateway.toml"),
    )


def asked(settings: config.Config, mail: str = "", account: str = "office", *options: tuple[str, str]) -> Job:
    return job.of_mail(
        settings,
        headers(f"From: Ann Doe <ann@example.com>\nSubject: Offer\n{mail}\n\n".encode()),
        Recipient(written="+14155552671@fax.example.com", number="+14155552671", options=options),
        source=Path("mail"),
        out=Path("out"),
        templates=(),
        sender="ann@example.com",
        sent=datetime(2026, 11, 22, 20, 4, tzinfo=UTC),
        reference="tx_1",
        account=account,
    )


def cover(*arguments: Any, **account: Any) -> str:
    """The template that is taken; "" for none."""
    made = asked(settings(**account), *arguments).cover
    return made.template if made else ""


def test_an_account_that_says_nothing_gets_the_standard_cover_in_english() -> None:
    for name in ("office", "made by the command line", ""):
        made = asked(settings(), "", name)
        assert made.cover is not None
        assert (made.cover.template, made.languages, made.cover.only_with_message) == ("standard", ("en",), False)
        assert (made.cover.from_organisation, made.cover.from_phone, made.cover.logo) == ("", "", b"")
        assert f"{made.cover.date:%H:%M %Z}" == "15:04 EST"


def test_the_accounts_presentation_is_on_the_cover(tmp_path: Path) -> None:
    (tmp_path / "logo.png").write_bytes(b"a logo")
    known = settings(
        tmp_path, cover="formal", language="de", organisation="Doe Ltd", phone="+1 415", logo="logo.png", confidential="Secret"
    )
    made = asked(known).cover
    assert made is not None
    found = (made.template, made.from_organisation, made.from_phone, made.logo, made.confidential)
    assert found == ("formal", "Doe Ltd", "+1 415", b"a logo", "Secret")
    assert asked(known).languages == ("de", "en"), "its own, then the house's"
    other = asked(known, "", "somebody else").cover
    assert other is not None
    assert (other.template, other.logo) == ("standard", b"")


@pytest.mark.parametrize(
    ("policy", "mail", "taken"),
    [
        ("always", "", "compact"),
        ("always", "X-Faxgate-Cover: no", ""),
        ("always", "X-Faxgate-Cover: Formal", "formal"),
        ("asked", "", ""),
        ("asked", "X-Faxgate-Cover: yes", "compact"),
        ("asked", "X-Faxgate-Cover: simple", "simple"),
        ("never", "", ""),
        ("never", "X-Faxgate-Cover: yes", ""),
        ("message", "", "compact"),
    ],
)
def test_the_policy_and_the_mail_decide_about_a_cover(policy: str, mail: str, taken: str) -> None:
    assert cover(mail, cover="compact", cover_policy=policy) == taken


def test_with_a_message_only_unless_the_mail_asks_for_one() -> None:
    known = settings(cover_policy="message")
    for mail, only in (("", True), ("X-Faxgate-Cover: yes", False)):
        made = asked(known, mail).cover
        assert made is not None
        assert made.only_with_message is only


def test_the_address_wins_over_the_mails_field() -> None:
    known = settings()
    mail = "X-Faxgate-Cover: formal\nContent-Language: fr"
    made = asked(known, mail, "office", ("cover", "Flowers"), ("lang", "NL"))
    assert made.cover is not None
    assert made.cover.template == "flowers"
    assert made.languages == ("nl", "fr", "en")
    assert asked(known, mail, "office", ("COVER", "no")).cover is None


@pytest.mark.parametrize(
    ("field", "languages"),
    [
        ("de-AT, en;q=0.5", ("de", "en", "it", "en")),
        ("FR", ("fr", "it", "en")),
        ("../../etc, x, 12, deutsch", ("it", "en")),
        ("", ("it", "en")),
    ],
)
def test_the_content_language_of_the_mail_comes_first(field: str, languages: tuple[str, ...]) -> None:
    assert asked(settings(language="it"), f"Content-Language: {field}").languages == languages


@pytest.mark.parametrize(
    ("reply_to", "shown"),
    [("desk@example.com", "desk@example.com"), ("Ann <ANN@example.com>", ""), ("", "")],
)
def test_the_reply_address_is_said_where_it_is_another_one(reply_to: str, shown: str) -> None:
    made = asked(settings(), f"Reply-To: {reply_to}").cover
    assert made is not None
    assert made.reply_to == shown


def test_cnt_18_no_other_recipient_is_on_the_cover() -> None:
    made = asked(
        settings(), "To: +14155550199@fax.example.com, other@example.com\nCc: third@example.com\nBcc: fourth@example.com"
    )
    assert made.cover is not None
    everything = repr(made)
    assert "+1 415-555-2671" in everything
    for other in ("0199", "other@", "third@", "fourth@"):
        assert other not in everything


def test_what_becomes_of_the_text_is_the_accounts_to_say() -> None:
    plain = asked(settings())
    assert (plain.body, plain.cut_quotes) == ("always", False)
    chosen = asked(settings(body="alone", cut_quotes=True))
    assert (chosen.body, chosen.cut_quotes) == ("alone", True)
    with pytest.raises(ConfigError, match="body"):
        settings(body="sometimes")
