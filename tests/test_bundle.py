"""A bundle of evidence: whole, or refused with the name of the part; what a forger can do who signs anew."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import bundle, seal
from gateway.seal import Json, Key, Seal, canonical, digest

FAX = "tx_00000000000000000000000001"
PDF, MAIL, RAW = b"%PDF-1.7 pages", b"From: ann\r\n\r\nHello\r\n", b'{"status":"ok"}'
LINKS: list[Json] = [
    {"key": "accepted", "what": "accepted", "fax": FAX, "mail": digest(MAIL)},
    {"key": "pages:2", "what": "pages", "document": digest(PDF), "manifest": "[]", "pages": 1},
    {"key": "said:ev_1", "what": "carrier's statement", "event": "ev_1", "raw": digest(RAW)},
    {"key": "noted:7", "what": "noted", "note": "report kept", "detail": f"of at_1: {digest(b'report')}"},
]
FIRST, SECOND = Ed25519PrivateKey.from_private_bytes(b"1" * 32), Ed25519PrivateKey.from_private_bytes(b"2" * 32)
STRANGER = Ed25519PrivateKey.from_private_bytes(b"3" * 32)


def made(
    links: list[Json] = LINKS,
    sealed: list[Json] = LINKS,
    private: tuple[Ed25519PrivateKey, Ed25519PrivateKey] = (FIRST, SECOND),
    documents: dict[str, bytes] | None = None,
) -> dict[str, bytes]:
    """The files of a bundle: two links sealed with the first key, the others after its rotation, with a seal between that
    has nothing of this fax."""
    keys = [seal.new_key(private[0], "2026-11-01T00:00:00Z", None, None)]
    keys.append(seal.new_key(private[1], "2026-11-02T00:00:00Z", keys[0], private[0]))
    chain = [canonical(link) for link in sealed]
    seals, proofs, head, strangers = list[Seal](), list[Json](), seal.beginning(FAX), [b"x" * 32, b"y" * 32]
    for n, count, key in ((1, 2, 0), (2, 2, 0), (3, len(chain), 1)):
        done = proofs[-1]["links"] if proofs else 0
        head = seal.extended(head, chain[done:count])
        leaves = [strangers[0], seal.leaf(FAX, head, count), strangers[1]] if count > done else strangers
        seals.append(seal.new_seal(private[key], f"2026-11-0{n}T10:00:00Z", seals[-1] if seals else None, leaves))
        if count > done:
            proofs.append({"seal": n, "links": count, "place": 1, "path": seal.path(leaves, 1)})
    files = {
        bundle.SUMMARY: b"Evidence\n",
        bundle.LINKS: bundle.lines(links),
        bundle.PROOFS: canonical({"proofs": proofs}),
        bundle.SEALS: bundle.lines([dataclasses.asdict(one) for one in seals]),
        bundle.KEYS: bundle.lines([dataclasses.asdict(key) for key in keys]),
        **({"mail.eml": MAIL, "pages.pdf": PDF, "statements/ev_1.raw": RAW} if documents is None else documents),
    }
    return signed(files, private[1], keys[-1])


def signed(files: dict[str, bytes], private: Ed25519PrivateKey, key: Key, **changed: object) -> dict[str, bytes]:
    manifest = {
        "format": bundle.FORMAT,
        "fax": FAX,
        "made_at": "2026-11-20T00:00:00Z",
        "files": {name: {"sha256": digest(content), "bytes": len(content)} for name, content in files.items()},
        "absent": [{"file": "reports/at_1.pdf", "sha256": digest(b"report"), "why": "removed after its time"}],
        **changed,
    }
    by = {"key": key.fingerprint, "signature": seal.signed(private, "evidence", manifest)}
    return {bundle.MANIFEST: canonical(manifest), bundle.SIGNATURE: canonical(by), **files}


def key_of(private: Ed25519PrivateKey) -> str:
    return seal.fingerprint(seal.public_of(private))


WHOLE = made()


@pytest.mark.parametrize("private", [FIRST, SECOND])
def test_a_whole_bundle_is_proven_by_any_key_of_the_chain(private: Ed25519PrivateKey) -> None:
    verdict = bundle.verify(bundle.pack(WHOLE), key_of(private))
    assert (verdict.whole, verdict.trusted, verdict.problem) == (True, True, "")
    assert (verdict.fax, verdict.links, verdict.seals) == (FAX, 4, (1, 3))
    assert "the gateway whose key you trust" in bundle.proven(verdict)[0]
    assert any("reports/at_1.pdf" in one for one in bundle.claimed(verdict))


def test_without_a_trusted_key_only_its_wholeness_is_said() -> None:
    verdict = bundle.verify(bundle.pack(WHOLE))
    assert (verdict.whole, verdict.trusted) == (True, False)
    assert "whoever has the key" in bundle.proven(verdict)[0]
    assert "compare its fingerprint" in bundle.claimed(verdict)[0]


def test_what_a_stranger_made_all_by_himself_is_whole_and_not_the_gateways() -> None:
    forged = bundle.pack(made(private=(STRANGER, Ed25519PrivateKey.from_private_bytes(b"4" * 32))))
    assert bundle.verify(forged).whole
    verdict = bundle.verify(forged, key_of(FIRST))
    assert (verdict.part, verdict.trusted) == ("keys.jsonl", False)


@settings(max_examples=300)
@given(st.data())
def test_any_byte_changed_in_any_file_is_refused(data: st.DataObject) -> None:
    """Also by somebody who knows how to write the zip anew."""
    name = data.draw(st.sampled_from(sorted(WHOLE)))
    place = data.draw(st.integers(0, len(WHOLE[name]) - 1))
    content = bytearray(WHOLE[name])
    content[place] ^= data.draw(st.integers(1, 255))
    verdict = bundle.verify(bundle.pack({**WHOLE, name: bytes(content)}))
    assert verdict.part in (name, bundle.MANIFEST if name == bundle.SIGNATURE else name)
    assert verdict.problem


@settings(max_examples=300)
@given(st.data())
def test_any_byte_changed_in_the_zip_itself_is_refused(data: st.DataObject) -> None:
    packed = bytearray(bundle.pack(WHOLE))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    assert not bundle.verify(bytes(packed)).whole


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_a_file_left_out_is_named(name: str) -> None:
    verdict = bundle.verify(bundle.pack({one: content for one, content in WHOLE.items() if one != name}))
    assert verdict.part == name


def test_a_file_put_in_is_named() -> None:
    assert bundle.verify(bundle.pack({**WHOLE, "more.txt": b"x"})).part == "more.txt"


@pytest.mark.parametrize(
    "data", [b"", b"PK", b"no zip", bundle.pack({}), bundle.pack(WHOLE) + b"\n", b"x" + bundle.pack(WHOLE)]
)
def test_what_is_no_bundle_is_refused(data: bytes) -> None:
    assert not bundle.verify(data).whole


@given(st.permutations(range(4)), st.integers(0, 4))
def test_entries_removed_or_moved_are_refused_even_where_all_else_is_signed_anew(order: list[int], count: int) -> None:
    """By somebody who has the key of today, and cannot change what was sealed."""
    links = [LINKS[n] for n in order][:count]
    verdict = bundle.verify(bundle.pack(made(links=links)))
    assert verdict.whole == (links == LINKS)
    assert verdict.whole or verdict.part in (bundle.LINKS, bundle.PROOFS)


def _other(name: str, content: bytes) -> Callable[[], dict[str, bytes]]:
    documents = {"mail.eml": MAIL, "pages.pdf": PDF, "statements/ev_1.raw": RAW, name: content}
    return lambda: made(documents=documents)


@pytest.mark.parametrize(
    ("forged", "part"),
    [
        (_other("pages.pdf", b"%PDF-1.7 other pages"), "pages.pdf"),
        (_other("mail.eml", b"another mail"), "mail.eml"),
        (_other("statements/ev_1.raw", b"failed"), "statements/ev_1.raw"),
        (_other("statements/ev_2.raw", b"delivered"), "statements/ev_2.raw"),
        (lambda: made(documents={"pages.pdf": PDF, "mail.eml": MAIL}), "statements/ev_1.raw"),
        (lambda: made(links=[{**LINKS[0], "number": "+1"}, *LINKS[1:]]), bundle.PROOFS),
        (lambda: made(links=[*LINKS, LINKS[0]]), bundle.LINKS),
    ],
)
def test_what_does_not_fit_what_was_sealed_is_refused(forged: Callable[[], dict[str, bytes]], part: str) -> None:
    verdict = bundle.verify(bundle.pack(forged()), key_of(FIRST))
    assert verdict.part == part


@pytest.mark.parametrize("odd", [None, [], "x", {"proofs": 7}, {"proofs": [{}]}, {"proofs": [{"links": "1", "seal": 1}]}])
def test_proofs_of_another_shape_are_refused(odd: object) -> None:
    files = {name: content for name, content in WHOLE.items() if name not in (bundle.MANIFEST, bundle.SIGNATURE)}
    keys = [Key(**json.loads(line)) for line in files[bundle.KEYS].splitlines()]
    files[bundle.PROOFS] = canonical(odd)
    assert bundle.verify(bundle.pack(signed(files, SECOND, keys[-1]))).part == bundle.PROOFS


def test_other_programs_can_open_it() -> None:
    with zipfile.ZipFile(io.BytesIO(bundle.pack(WHOLE))) as opened:
        assert opened.testzip() is None
        assert {name: opened.read(name) for name in opened.namelist()} == WHOLE
        assert {info.external_attr >> 16 & 0o777 for info in opened.infolist()} == {0o600}
