"""OAuth 2 tokens with which a program signs in to a mailbox: from a command, or for the program's own credentials.

A token is a secret: it is kept in memory only, and no error says it. Source: RFC 6749 §4.4, §5.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Protocol

import httpx

from gateway.errors import MailboxRefused, MailboxUnavailable
from gateway.mailboxes import Oauth

_PATIENCE = 30.0  # seconds for a token
_EARLY = 60.0  # seconds before its end a token is not used any more
_LONGEST = 20_000  # characters


class Tokens(Protocol):
    """Where tokens come from."""

    async def get(self) -> str:
        """A token that is good now. Raises MailboxRefused, MailboxUnavailable."""
        ...

    def forget(self) -> None:
        """The last one was not taken: get another one."""
        ...


class CommandTokens:
    """The first line that a program prints. Asked anew for each connection: it knows best whether it has one."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command

    async def get(self) -> str:
        process = None
        try:
            async with asyncio.timeout(_PATIENCE):
                process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.DEVNULL,
                )
                said, _ = await process.communicate()
        except TimeoutError as error:
            raise MailboxUnavailable(f"token_command has not ended for {_PATIENCE:.0f} s.") from error
        except OSError as error:
            raise MailboxUnavailable(f"token_command cannot be run ({error.strerror}).") from error
        finally:
            if process is not None and process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        token = said.decode("ascii", "replace").strip().split("\n", 1)[0].strip()
        if process.returncode or not _is_token(token):
            raise MailboxUnavailable(f"token_command gave no token (it ended with {process.returncode}).")
        return token

    def forget(self) -> None:
        """Nothing is kept."""


class ClientTokens:
    """Client credentials: the program asks in its own name, and keeps the token until shortly before its end."""

    def __init__(self, section: Oauth) -> None:
        self._section = section
        self._token, self._until = "", 0.0

    async def get(self) -> str:
        if not self._token or time.monotonic() >= self._until:
            self._token, lasts = await self._ask()
            self._until = time.monotonic() + max(lasts - _EARLY, lasts / 2)
        return self._token

    def forget(self) -> None:
        self._token = ""

    async def _ask(self) -> tuple[str, float]:
        """A new token, and its seconds."""
        section = self._section
        fields = {
            "grant_type": "client_credentials",
            "client_id": section.client_id,
            "client_secret": section.client_secret_file.get_secret_value(),
            **({"scope": section.scope} if section.scope else {}),
        }
        try:
            async with httpx.AsyncClient(timeout=_PATIENCE, follow_redirects=False, trust_env=False) as client:
                answer = await client.post(section.token_url, data=fields, headers={"Accept": "application/json"})
        except httpx.HTTPError as error:
            raise MailboxUnavailable(f"The token server cannot be reached ({type(error).__name__}).") from error
        if answer.status_code in (400, 401, 403):
            raise MailboxRefused(f"The token server gives us no token (HTTP {answer.status_code}).")
        try:
            said = answer.json()
            token, lasts = str(said["access_token"]), float(said.get("expires_in") or 300)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise MailboxUnavailable(f"The token server makes no sense (HTTP {answer.status_code}).") from error
        if answer.status_code != 200 or not _is_token(token):
            raise MailboxUnavailable(f"The token server makes no sense (HTTP {answer.status_code}).")
        return token, lasts


def _is_token(text: str) -> bool:
    return 0 < len(text) <= _LONGEST and all("!" <= character <= "~" for character in text)
