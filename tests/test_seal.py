"""Chains, trees, seals and keys: nothing can be changed, left out or moved."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import seal
from gateway.errors import Refused
from gateway.seal import Key, Seal

LEAVES = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=40)
LINKS = st.lists(st.binary(max_size=20), min_size=1, max_size=12)


def rotated(keys: int) -> tuple[list[Key], list[Ed25519PrivateKey]]:
    made, private = list[Key](), [Ed25519PrivateKey.generate() for _ in range(keys)]
    for n, one in enumerate(private):
        made.append(seal.new_key(one, f"2026-11-0{n + 1}", made[-1] if made else None, private[n - 1] if n else None))
    return made, private


def sealed(private: Sequence[Ed25519PrivateKey]) -> list[Seal]:
    """One seal by each key."""
    made = list[Seal]()
    for n, one in enumerate(private):
        made.append(seal.new_seal(one, "2026-11-20", made[-1] if made else None, [bytes([n]) * 32]))
    return made


def test_the_tree_is_that_of_rfc_6962() -> None:
    """Section 2.1: split at the largest power of two; worked out by hand for five leaves."""
    a, b, c, d, e = (bytes([n]) * 32 for n in range(5))
    pair = seal._node
    assert seal.root([a, b, c, d, e]) == pair(pair(pair(a, b), pair(c, d)), e).hex()
    assert seal.path([a, b, c, d, e], 4) == [pair(pair(a, b), pair(c, d)).hex()]
    assert seal.path([a, b, c, d, e], 2) == [d.hex(), pair(a, b).hex(), e.hex()]


@given(LEAVES, st.data())
def test_every_leaf_leads_to_the_root_and_from_no_other_place(leaves: list[bytes], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(leaves) - 1))
    way, root = seal.path(leaves, place), seal.root(leaves)
    assert seal.climbed(leaves[place], place, len(leaves), way) == root
    other = data.draw(st.integers(0, len(leaves) - 1))
    if leaves[other] != leaves[place]:
        assert not leads(leaves[other], place, len(leaves), way, root)
    if way:
        broken = data.draw(st.integers(0, len(way) - 1))
        assert not leads(leaves[place], place, len(leaves), [*way[:broken], "00" * 32, *way[broken + 1 :]], root) or (
            way[broken] == "00" * 32
        )
        assert not leads(leaves[place], place, len(leaves), way[:-1], root)
    assert not leads(leaves[place], place, len(leaves), [*way, "11" * 32], root)


def leads(leaf: bytes, place: int, leaves: int, way: list[str], root: str) -> bool:
    try:
        return seal.climbed(leaf, place, leaves, way) == root
    except Refused:
        return False


@given(LINKS, st.data())
def test_a_link_removed_moved_or_changed_gives_another_head(links: list[bytes], data: st.DataObject) -> None:
    begin = seal.beginning("tx_1")
    head = seal.extended(begin, links)
    place = data.draw(st.integers(0, len(links) - 1))
    assert seal.extended(begin, links[:place] + links[place + 1 :]) != head
    assert seal.extended(begin, [*links[:place], links[place] + b"x", *links[place + 1 :]]) != head
    moved = data.draw(st.permutations(links))
    assert (seal.extended(begin, moved) == head) == (list(moved) == links)
    assert seal.extended(seal.beginning("tx_2"), links) != head
    assert seal.extended(seal.extended(begin, links[:place]), links[place:]) == head


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=2, max_size=20, unique=True), st.data())
def test_a_leaf_removed_or_moved_gives_another_root(leaves: list[bytes], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(leaves) - 1))
    assert seal.root(leaves[:place] + leaves[place + 1 :]) != seal.root(leaves)
    moved = data.draw(st.permutations(leaves))
    assert (seal.root(moved) == seal.root(leaves)) == (list(moved) == leaves)


@settings(max_examples=25)
@given(st.integers(1, 4), st.data())
def test_keys_and_seals_follow_each_other(count: int, data: st.DataObject) -> None:
    keys, private = rotated(count)
    seals = sealed(private)
    seal.check_keys(keys)
    seal.check_seals(seals, keys)
    if count > 1:
        gone = data.draw(st.integers(0, count - 2))
        with pytest.raises(Refused):
            seal.check_keys(keys[:gone] + keys[gone + 1 :])
    if count > 2:
        with pytest.raises(Refused):
            seal.check_seals([seals[0], *seals[2:]], keys)
        with pytest.raises(Refused):
            seal.check_seals([seals[1], seals[0], *seals[2:]], keys)


@pytest.mark.parametrize("what", ["at", "public", "previous", "n", "format"])
def test_a_key_that_says_something_else_is_refused(what: str) -> None:
    keys, _ = rotated(2)
    keys[1] = dataclasses.replace(keys[1], statement={**keys[1].statement, what: keys[0].public})
    with pytest.raises(Refused):
        seal.check_keys(keys)


def test_a_key_that_the_one_before_does_not_vouch_for_is_refused() -> None:
    keys, _ = rotated(1)
    stranger = Ed25519PrivateKey.generate()
    forged = seal.new_key(stranger, "2026-11-02", keys[0], stranger)
    with pytest.raises(Refused, match="not signed by the one before"):
        seal.check_keys([*keys, forged])
    keys, _ = rotated(2)
    with pytest.raises(Refused, match="not signed by itself"):
        seal.check_keys([keys[0], dataclasses.replace(keys[1], signature=keys[1].by_previous)])


def test_a_key_that_was_rotated_out_seals_nothing_more() -> None:
    keys, private = rotated(2)
    seals = sealed(private)
    late = seal.new_seal(private[0], "2026-11-21", seals[-1], [b"x" * 32])
    with pytest.raises(Refused, match="not in use"):
        seal.check_seals([*seals, late], keys)


def test_a_signature_of_one_kind_is_none_of_another() -> None:
    private = Ed25519PrivateKey.generate()
    public, said = seal.public_of(private), {"a": 1}
    signature = seal.signed(private, "seal", said)
    assert seal.is_signed(public, "seal", said, signature)
    assert not seal.is_signed(public, "key", said, signature)
    assert not seal.is_signed(public, "seal", {"a": 2}, signature)
    for odd in (signature.upper(), signature[:-2], signature + "00", 7, None):
        with pytest.raises(Refused):
            seal.is_signed(public, "seal", said, odd)


@pytest.mark.parametrize("text", [b'{"b":1,"a":2}', b'{"a": 1}', b'{"a":1}\n', b"[1]", b'{"a":1,"a":1}', b"\xff", b'{"a":NaN}'])
def test_what_is_written_in_another_way_is_not_taken(text: bytes) -> None:
    with pytest.raises(Refused):
        seal.parsed(text)
