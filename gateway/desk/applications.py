"""Programs that may call the PamFax API: a key, and a secret word that is needed in clear to check a checksum.

The word is kept encrypted (AES-256-GCM, bound to its key) with a key made of the spool's: a copy of the database alone
tells nobody's secret.
"""

from __future__ import annotations

import base64
import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.config import Config
from gateway.errors import NotAdmitted, SpoolUnavailable
from gateway.spool import applications
from gateway.spool.applications import Stored
from gateway.spool.store import Store

_NONCE = 12
_KNOWN = 10.0  # seconds that an answer of the spool holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """A program that may call."""

    key: str
    secret: str = field(repr=False)
    name: str
    zone: str
    """IANA name: times are told in it to accounts that have none of their own."""


class Applications:
    """The applications of one spool; `key` is the spool's."""

    def __init__(self, store: Store, key: bytes) -> None:
        self._store = store
        self._cipher = AESGCM(HKDF(SHA256(), 32, salt=None, info=b"faxgate applications").derive(key))
        self._known: dict[str, Application] = {}
        self._read_at = 0.0

    async def declare(self, config: Config) -> None:
        """Make the applications of the configuration file part of the spool."""
        door = config.door.pamfax
        declared = [
            Stored(
                key=one.key,
                name=one.name,
                secret=self._sealed(one.key, one.secret_file.get_secret_value()),
                zone=one.zone,
                declared=True,
            )
            for one in (door.application if door else ())
        ]
        await self._store.write(applications.declare, declared)
        self._known.clear()

    async def add(self, name: str, zone: str = "UTC") -> Application:
        """A new one, with a key and a secret of its own."""
        made = Application(key=secrets.token_hex(10), secret=secrets.token_hex(20), name=name, zone=zone)
        stored = Stored(key=made.key, name=name, secret=self._sealed(made.key, made.secret), zone=zone)
        await self._store.write(applications.add, stored)
        return made

    async def remove(self, key: str) -> None:
        """Its program may not call any more, at other nodes within seconds. Raises NotAdmitted."""
        if not await self._store.write(applications.remove, key):
            raise NotAdmitted("There is no such application, or it is declared in the configuration file: remove it there.")
        self._known.clear()

    async def find(self, key: str) -> Application | None:
        """The one with this key. Raises SpoolUnavailable, also where the spool has another key than it was made with."""
        if key not in self._known or time.monotonic() - self._read_at > _KNOWN:
            self._read_at = time.monotonic()
            self._known = {one.key: self._opened(one) for one in await self._store.read(applications.every)}
        return self._known.get(key)

    async def every(self) -> Sequence[Stored]:
        """All, by key; their secrets stay encrypted."""
        return await self._store.read(applications.every)

    def _sealed(self, key: str, secret: str) -> str:
        nonce = os.urandom(_NONCE)
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, secret.encode(), key.encode())).decode()

    def _opened(self, stored: Stored) -> Application:
        sealed = base64.b64decode(stored.secret)
        try:
            secret = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], stored.key.encode()).decode()
        except InvalidTag as error:
            raise SpoolUnavailable("An application's secret cannot be read: the spool's key is not the one it had.") from error
        return Application(key=stored.key, secret=secret, name=stored.name, zone=stored.zone)
