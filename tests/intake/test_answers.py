"""What IMAP servers say, read."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.intake import answers
from gateway.intake.answers import Answer, Literal


def test_a_status_has_a_code_values_and_a_text() -> None:
    assert answers.read(b"* OK [UIDVALIDITY 17] UIDs valid") == Answer(
        b"*", b"OK", code=b"UIDVALIDITY", values=b"17", text="UIDs valid"
    )
    flags = answers.read(rb"* OK [PERMANENTFLAGS (\Answered \*)] Flags permitted.")
    assert (flags.code, flags.values) == (b"PERMANENTFLAGS", rb"(\Answered \*)")
    assert answers.read(b"A3 NO [TRYCREATE] no such\x1b folder").text == "no such? folder"
    assert answers.read(b"+ idling").tag == b"+"


def test_a_fetch_has_pairs_and_literals() -> None:
    said = answers.read(b"* 12 FETCH (UID 7 FLAGS (\\Seen $Faxed) BODY[]<0> ", [Literal(b"a)\r\n"), b")"])
    assert (said.kind, said.number) == (b"FETCH", 12)
    assert answers.pairs(said.words) == {b"UID": b"7", b"FLAGS": [b"\\Seen", b"$Faxed"], b"BODY[]": b"a)\r\n"}
    assert answers.pairs(answers.read(b"* 1 FETCH (BODY[]<9> NIL UID 7)").words) == {b"BODY[]": None, b"UID": b"7"}


def test_a_listed_folder_has_flags_and_a_name() -> None:
    assert answers.read(rb'* LIST (\HasNoChildren) "/" "a \"b\""').words == [[b"\\HasNoChildren"], b"/", b'a "b"']
    assert answers.numbers(answers.read(b"* SEARCH 1 22 (MODSEQ 9)").words) == [1, 22]
    with pytest.raises(ValueError, match="number"):
        answers.numbers(answers.read(b"* SEARCH x").words)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40))
def test_a_folders_name_comes_back_from_its_coding(name: str) -> None:
    coded = answers.encoded(name)
    assert coded.isascii()
    assert answers.decoded(coded) == name


def test_folder_names_are_coded_as_servers_do() -> None:
    assert answers.encoded("Entwürfe & mehr") == b"Entw&APw-rfe &- mehr"
    assert answers.decoded(b"&U,BTFw-/&ZeVnLIqe-") == "台北/日本語"  # RFC 3501 §5.1.3


@given(
    st.binary(max_size=80), st.lists(st.one_of(st.binary(max_size=40), st.builds(Literal, st.binary(max_size=20))), max_size=4)
)
def test_any_octets_are_an_answer_or_make_no_sense(head: bytes, pieces: list[bytes | Literal]) -> None:
    with contextlib.suppress(ValueError):
        said = answers.read(head, pieces)
        answers.pairs(said.words)
        answers.numbers(said.words)


def test_parentheses_without_end_are_no_recursion() -> None:
    with pytest.raises(ValueError, match="deep"):
        answers.read(b"* 1 FETCH " + b"(" * 100_000)
