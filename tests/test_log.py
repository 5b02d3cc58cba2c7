"""The two logs: what is masked, what cannot be forged, which words programs may rely on."""

from __future__ import annotations

import ast
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import log

SOURCES = Path(log.__file__).parent
NUMBER = "+14155550123"
AT = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """What went to stderr; the logging of the test run comes back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield lambda: capsys.readouterr().err
    root.handlers[:] = handlers
    root.setLevel(level)
    log._Masking.full = False


def used_actions() -> Counter[str]:
    """Every `"action": …` in the sources."""
    found: Counter[str] = Counter()
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == "action" and isinstance(value, ast.Constant):
                        found[str(value.value)] += 1
    return found


def test_every_action_is_listed_once_and_used_once() -> None:
    assert dict(used_actions()) == dict.fromkeys(log.ACTIONS, 1)


def attempt(sender: str = "ann@example.com", text: str = "fine", ref: str = "r 1") -> None:
    log.attempt(
        transmission="tx_1",
        attempt_id="at_1",
        sender=sender,
        called=NUMBER,
        tags=["inv 7", "x"],
        carrier="main",
        carrier_ref=ref,
        pages=2,
        pages_sent=1,
        accepted_at=AT,
        opened_at=AT + timedelta(seconds=1.5),
        ended_at=AT + timedelta(seconds=4),
        seconds=2.0,
        outcome="busy",
        code="user_busy",
        text=text,
    )


def test_log_01_one_line_for_each_attempt_identity_first_then_times_then_outcome(written: Callable[[], str]) -> None:
    log.setup("info", full_numbers=False)
    attempt()
    head, _, record = written().partition(": ")
    assert head == "INFO faxgate.fax"
    assert list(json.loads(record).items()) == [
        ("event", "attempt"),
        ("id", "tx_1"),
        ("attempt", "at_1"),
        ("from", "ann@example.com"),
        ("to", "+*******0123"),
        ("tags", ["inv 7", "x"]),
        ("carrier", "main"),
        ("ref", "r 1"),
        ("pages", 2),
        ("pages_sent", 1),
        ("accepted", "2026-01-31T09:30:00.000+00:00"),
        ("started", "2026-01-31T09:30:01.500+00:00"),
        ("ended", "2026-01-31T09:30:04.000+00:00"),
        ("wait", 1.5),
        ("carrier_s", 2.5),
        ("call_s", 2.0),
        ("outcome", "busy"),
        ("code", "user_busy"),
        ("text", "fine"),
    ]


def test_a_sender_cannot_forge_fields_or_lines(written: Callable[[], str]) -> None:
    log.setup("info", full_numbers=False)
    attempt(sender='"x","outcome":"delivered"@example.com\r\nINFO', text='a\nb"}', ref='y","outcome":"delivered')
    line = written()
    assert line.count("\n") == 1
    record = json.loads(line.partition(": ")[2])
    assert (record["outcome"], record["text"]) == ("busy", 'a?b"}')


@pytest.mark.parametrize(("full", "shown"), [(False, "+*******0123"), (True, NUMBER)])
def test_numbers_are_masked_unless_wanted(written: Callable[[], str], full: bool, shown: str) -> None:
    log.setup("info", full_numbers=full)
    assert written() == ""
    assert log.shown(NUMBER) == shown


@given(st.text(), st.integers(0, 50))
def test_smt_26_text_from_outside_is_one_line_of_printable_ascii(text: str, limit: int) -> None:
    shown = log.printable(text, limit)
    assert len(shown) <= limit
    assert shown.isascii()
    assert shown == "" or shown.isprintable()


def test_libraries_do_not_write_what_they_carry(written: Callable[[], str]) -> None:
    log.setup("debug", full_numbers=False)
    logging.getLogger("mail.log").debug("DATA line")
    logging.getLogger("httpx").info("GET https://example.com/?token=x")
    logging.getLogger("uvicorn.access").info("GET /callback/main/secret")
    assert written() == ""


def test_adr_21_what_is_dialled_after_the_answer_never_reaches_the_log() -> None:
    said = "TO:<FAX=+14155550123/POSTD=w334422p1234/ATTN=Jo@fax.example>"
    for full in (False, True):
        log.setup("info", full_numbers=full)
        assert "1234" not in log.shown(said).replace("+1415555012", "").replace("0123", "")
        assert "/ATTN=Jo@fax.example>" in log.shown(said)
    log.setup("info", full_numbers=False)
