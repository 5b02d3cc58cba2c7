"""Seals: what happened, written down so that nothing can be changed, left out or moved without being noticed. Pure.

    link     one thing that happened to a fax, as a JSON object in canonical form
    chain    the links of one fax, each hashed together with the hash of those before it: its head
    tree     the heads of all faxes to which something has happened lately; a Merkle tree as in RFC 6962 section 2.1
    seal     a statement with the root of that tree and the hash of the seal before, signed by the gateway
    key      a statement with a public key and the hash of the key before, signed by both

SHA-256 and Ed25519 (RFC 8032). Each kind of hash and signature begins with a word of its own, so that none can be taken for
another. Hashes, keys and signatures are written as lower-case hex.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway.errors import Refused

Json = dict[str, Any]
"""What json reads and writes; checked where it is used."""
NOTHING = "0" * 64
"""The hash of what is before the first seal, and before the first key."""
_LEAF, _NODE, _LINK, _CHAIN = b"\0", b"\1", b"\2", b"\3"
_ENCODED = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode
_DEEPEST = 64  # levels of a tree


def canonical(value: object) -> bytes:
    """JSON as it is hashed: keys in order, nothing between, ASCII only."""
    return _ENCODED(value).encode()


def parsed(text: bytes) -> Json:
    """A JSON object in canonical form. Raises Refused."""
    try:
        value = json.loads(text)
        if isinstance(value, dict) and canonical(value) == text:
            return value
    except (ValueError, RecursionError):
        pass
    raise Refused("It is not a JSON object in canonical form.")


def digest(content: bytes) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(content).hexdigest()


def beginning(fax: str) -> str:
    """The head of a chain without links: no two faxes have the same."""
    return hashlib.sha256(_CHAIN + fax.encode()).hexdigest()


def extended(head: str, links: Iterable[bytes]) -> str:
    """The head of a chain after some more links."""
    for link in links:
        head = hashlib.sha256(_LINK + bytes.fromhex(head) + hashlib.sha256(link).digest()).hexdigest()
    return head


def leaf(fax: str, head: str, links: int) -> bytes:
    """What stands in the tree for a fax with so many links: 32 bytes."""
    return hashlib.sha256(_LEAF + canonical({"fax": fax, "head": head, "links": links})).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(_NODE + left + right).digest()


def _above(level: Sequence[bytes]) -> list[bytes]:
    """The next level of a tree; one that is left over goes up as it is."""
    pairs = [_node(level[n], level[n + 1]) for n in range(0, len(level) - 1, 2)]
    return pairs + list(level[-1:] if len(level) % 2 else ())


def root(leaves: Sequence[bytes]) -> str:
    """The root of a tree with at least one leaf."""
    level = list(leaves)
    while len(level) > 1:
        level = _above(level)
    return level[0].hex()


def path(leaves: Sequence[bytes], place: int) -> list[str]:
    """What a leaf is hashed with on the way to the root."""
    level, found = list(leaves), list[str]()
    while len(level) > 1:
        beside = place ^ 1
        if beside < len(level):
            found.append(level[beside].hex())
        level, place = _above(level), place // 2
    return found


def climbed(below: bytes, place: int, leaves: int, way: Sequence[str]) -> str:
    """The root that a path leads to from a leaf at a place of so many. Raises Refused where it does not fit such a tree."""
    if not 0 <= place < leaves or len(way) > _DEEPEST:
        raise Refused("The path does not fit the tree.")
    left = [hashed(one) for one in way]
    while leaves > 1:
        if place ^ 1 < leaves:
            if not left:
                raise Refused("The path is too short for the tree.")
            beside = bytes.fromhex(left.pop(0))
            below = _node(beside, below) if place % 2 else _node(below, beside)
        place, leaves = place // 2, (leaves + 1) // 2
    if left:
        raise Refused("The path is too long for the tree.")
    return below.hex()


def hashed(value: object, size: int = 32) -> str:
    """A value that is so many bytes in hex, written in the one way there is. Raises Refused."""
    try:
        if isinstance(value, str) and bytes.fromhex(value).hex() == value and len(value) == 2 * size:
            return value
    except ValueError:
        pass
    raise Refused("It is not a hash, key or signature.")


def named(statement: Mapping[str, Any]) -> str:
    """The hash by which a seal or a key names the one before it."""
    return hashlib.sha256(b"faxgate statement\0" + canonical(statement)).hexdigest()


def fingerprint(public: str) -> str:
    """By which people know a public key."""
    return digest(bytes.fromhex(public))


def public_of(private: Ed25519PrivateKey) -> str:
    return private.public_key().public_bytes_raw().hex()


def signed(private: Ed25519PrivateKey, kind: str, statement: Mapping[str, Any]) -> str:
    """The signature under a statement of a kind: seal, key or evidence."""
    return private.sign(_to_sign(kind, statement)).hex()


def is_signed(public: str, kind: str, statement: Mapping[str, Any], signature: object) -> bool:
    """Whether a signature is that of a key under a statement of this kind. Raises Refused where it is none at all."""
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(hashed(public)))
        key.verify(bytes.fromhex(hashed(signature, 64)), _to_sign(kind, statement))
    except InvalidSignature:
        return False
    return True


def _to_sign(kind: str, statement: Mapping[str, Any]) -> bytes:
    return f"faxgate {kind}\0".encode() + canonical(statement)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A public key of the gateway, as it was made known."""

    statement: Json
    """format, n (from 1), at, public, previous (the hash of the key before)."""
    signature: str
    """Its own, so that nobody names a key that they do not have."""
    by_previous: str
    """That of the key before; "" for the first."""

    @property
    def public(self) -> str:
        return hashed(self.statement.get("public"))

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.public)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """A signed root."""

    statement: Json
    """format, n (from 1), at, faxes (leaves of the tree), root, previous (the hash of the seal before), key (fingerprint)."""
    signature: str


KEY, SEAL = "faxgate-key-1", "faxgate-seal-1"


def new_key(private: Ed25519PrivateKey, at: str, before: Key | None, with_before: Ed25519PrivateKey | None) -> Key:
    """The statement about a key, vouched for by the one before it."""
    statement = {
        "format": KEY,
        "n": before.statement["n"] + 1 if before else 1,
        "at": at,
        "public": public_of(private),
        "previous": named(before.statement) if before else NOTHING,
    }
    vouched = signed(with_before, "key", statement) if with_before else ""
    return Key(statement=statement, signature=signed(private, "key", statement), by_previous=vouched)


def new_seal(private: Ed25519PrivateKey, at: str, before: Seal | None, leaves: Sequence[bytes]) -> Seal:
    """The next seal, over at least one leaf."""
    statement = {
        "format": SEAL,
        "n": before.statement["n"] + 1 if before else 1,
        "at": at,
        "faxes": len(leaves),
        "root": root(leaves),
        "previous": named(before.statement) if before else NOTHING,
        "key": fingerprint(public_of(private)),
    }
    return Seal(statement=statement, signature=signed(private, "seal", statement))


def check_keys(keys: Sequence[Key]) -> None:
    """All keys from the first on: each is signed by itself and by the one before. Raises Refused."""
    before: Key | None = None
    for n, key in enumerate(keys, 1):
        said = key.statement
        if said.get("format") != KEY or said.get("n") != n or said.get("previous") != (
            named(before.statement) if before else NOTHING
        ):  # fmt: skip
            raise Refused(f"Key {n} does not follow the one before it.")
        if not is_signed(key.public, "key", said, key.signature):
            raise Refused(f"Key {n} is not signed by itself.")
        if before and not is_signed(before.public, "key", said, key.by_previous):
            raise Refused(f"Key {n} is not signed by the one before it.")
        if not before and key.by_previous:
            raise Refused("The first key is signed by another one.")
        before = key
    if before is None:
        raise Refused("There is no key.")


def check_seals(seals: Sequence[Seal], keys: Sequence[Key], before: Seal | None = None) -> None:
    """Seals that follow each other, each signed by a key that was in use then. Raises Refused."""
    numbers = {key.fingerprint: n for n, key in enumerate(keys)}
    key = numbers.get(str(before.statement.get("key")), 0) if before else 0
    for seal in seals:
        said = seal.statement
        n = said.get("n")
        if said.get("format") != SEAL or not isinstance(n, int) or n < 1:
            raise Refused("It is not a seal.")
        if before and (n != before.statement["n"] + 1 or said.get("previous") != named(before.statement)):
            raise Refused(f"Seal {n} does not follow the one before it.")
        if (n == 1) != (said.get("previous") == NOTHING):
            raise Refused(f"Seal {n} does not name the one before it.")
        used = numbers.get(str(said.get("key")), -1)
        if used < key:
            raise Refused(f"Seal {n} is of a key that was not in use then.")
        if not is_signed(keys[used].public, "seal", said, seal.signature):
            raise Refused(f"The signature of seal {n} is not that of its key.")
        before, key = seal, used
