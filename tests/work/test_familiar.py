"""Pictures that stand in most mails of a sender."""

from __future__ import annotations

from gateway.work.familiar import Familiar

LOGO, PHOTO = "a" * 64, "b" * 64


def test_a_picture_of_most_mails_is_familiar_once_there_were_enough_of_them() -> None:
    seen = Familiar()
    for n in range(4):
        assert seen.of("ann", "new") == frozenset()
        seen.remember("ann", f"mail {n}", frozenset({LOGO, PHOTO} if n == 0 else {LOGO}))
    assert seen.of("ann", "new") == {LOGO}
    assert seen.of("bob", "new") == frozenset()


def test_a_mail_prepared_again_is_no_second_mail() -> None:
    seen = Familiar()
    for _ in range(9):
        seen.remember("ann", "the same mail", frozenset({LOGO}))
    assert seen.of("ann", "the same mail") == seen.of("ann", "new") == frozenset()


def test_an_old_logo_is_forgotten() -> None:
    seen = Familiar()
    for n in range(20):
        seen.remember("ann", f"mail {n}", frozenset({LOGO if n < 12 else PHOTO}))
    assert seen.of("ann", "new") == {PHOTO}


def test_only_so_many_senders_are_kept() -> None:
    seen = Familiar()
    for n in range(2100):
        seen.remember(f"sender {n}", "x", frozenset({LOGO}))
    assert len(seen._seen) == 2000
