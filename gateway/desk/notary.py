"""Signs what happened: the gateway's own key, its rotation, and the seals made with it.

The private key lies in the database, encrypted (AES-256-GCM, bound to its public key) with a key made of the spool's, which is
a file of its owner's. So every node of a spool can seal, a rotation is one transaction, and a copy of the database alone signs
nothing. Whichever node is first writes the next seal; another one's is then not written, and what it was over is in the first.
"""

from __future__ import annotations

import base64
import logging
import os
from collections.abc import Sequence
from datetime import UTC

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway import seal
from gateway.errors import SpoolUnavailable
from gateway.seal import Json, Key
from gateway.spool import seals
from gateway.spool.seals import Due, StoredKey
from gateway.spool.store import Store

_log = logging.getLogger(__name__)
_NONCE = 12
_TRIES = 5  # where other nodes are faster


class Notary:
    """The sealer of one spool; `key` is the spool's."""

    def __init__(self, store: Store, key: bytes) -> None:
        self._store = store
        self._cipher = AESGCM(HKDF(SHA256(), 32, salt=None, info=b"faxgate seals").derive(key))

    async def seal(self) -> int:
        """Seal everything that has happened since the last time; how many seals were written. Raises SpoolUnavailable."""
        made, scanned = 0, None
        while True:
            due = await self._store.read(seals.due, scanned, self._store.now())
            if due.segments:
                if not await self._write(due):
                    return made  # another node seals
                made += 1
            if due.whole:
                return made
            scanned = due.scanned

    async def seal_fax(self, fax: str) -> None:
        """Seal what has happened to one fax up to now. Raises SpoolUnavailable."""
        for _ in range(_TRIES):
            due = await self._store.read(seals.due_of, fax)
            if not due.segments or await self._write(due):
                return
        raise SpoolUnavailable("Other nodes seal all the time: try again.")

    async def keys(self) -> Sequence[Key]:
        """All public keys, the first one first; there is always one."""
        await self._in_use()
        return [stored.key for stored in await self._store.read(seals.keys)]

    async def rotate(self) -> Key:
        """A new key, signed by the one in use, whose private part is then forgotten. Raises SpoolUnavailable."""
        before, with_before = await self._in_use()
        return await self._new(before, with_before)

    async def signed(self, statement: Json) -> Json:
        """A statement about evidence, signed with the key in use: `{"key", "signature"}`."""
        key, private = await self._in_use()
        return {"key": key.fingerprint, "signature": seal.signed(private, "evidence", statement)}

    async def _write(self, due: Due) -> bool:
        key, private = await self._in_use()
        leaves = [seal.leaf(one.fax, one.head, one.links) for one in due.segments]
        made = seal.new_seal(private, self._now(), due.before, leaves)
        if not await self._store.write(seals.append, made, key, due):
            return False
        _log.info(
            "seal %d of %d faxes: %s", made.statement["n"], len(leaves), seal.named(made.statement), extra={"action": "sealed"}
        )
        return True

    async def _in_use(self) -> tuple[Key, Ed25519PrivateKey]:
        """The newest key; the first one is made when it is needed."""
        stored = await self._store.read(seals.keys)
        if not stored:
            await self._new(None, None)
            stored = await self._store.read(seals.keys)
        return stored[-1].key, self._opened(stored[-1])

    async def _new(self, before: Key | None, with_before: Ed25519PrivateKey | None) -> Key:
        private = Ed25519PrivateKey.generate()
        key = seal.new_key(private, self._now(), before, with_before)
        nonce = os.urandom(_NONCE)
        secret = nonce + self._cipher.encrypt(nonce, private.private_bytes_raw(), key.public.encode())
        stored = StoredKey(key=key, secret=base64.b64encode(secret).decode())
        if not await self._store.write(seals.add_key, stored) and before is not None:
            raise SpoolUnavailable("Somebody else has just changed the key.")
        return key

    def _opened(self, stored: StoredKey) -> Ed25519PrivateKey:
        secret = base64.b64decode(stored.secret)
        try:
            private = self._cipher.decrypt(secret[:_NONCE], secret[_NONCE:], stored.key.public.encode())
        except (InvalidTag, ValueError) as error:
            raise SpoolUnavailable("The sealing key cannot be read: the spool's key is not the one it had.") from error
        return Ed25519PrivateKey.from_private_bytes(private)

    def _now(self) -> str:
        return self._store.now().astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def shown(keys: Sequence[Key]) -> list[Json]:
    """Public keys as people and programs are told them."""
    return [
        {"n": key.statement["n"], "fingerprint": key.fingerprint, "at": key.statement["at"], "public": key.public}
        for key in keys
    ]
