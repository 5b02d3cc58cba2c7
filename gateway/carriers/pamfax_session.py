"""Calls of the PamFax API: signing in, the checksum, what each error code means for the caller.

Every call is a POST with `apicheck`; the secret is never sent, and the password at sign-in only (wire reference, 2). A
session is a token, and the job at work on it is the server's state, so a token is used for one job and for nothing else.
Questions share another one, which is begun again when it has ended (5 or 10 minutes without a call, 2).

HTTP 200 says nothing: `result.code` does. Codes nobody documented, and 500, are `CarrierUncertain` on `Send`, and
`CarrierUnavailable` on everything else, which sends nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeVar

from gateway.carriers import http
from gateway.carriers.base import Tools
from gateway.carriers.pamfax_codes import CODES
from gateway.carriers.pamfax_shapes import Currency, Token, User, one
from gateway.carriers.pamfax_wire import Answer, apicheck, pairs, parse
from gateway.errors import (
    CarrierBusy,
    CarrierRefused,
    CarrierUnavailable,
    CarrierUncertain,
    GatewayError,
    Outcome,
    SessionEnded,
)
from gateway.log import printable

R = TypeVar("R")

#: Codes after which one signs in again. None is documented (5): a missing, an ended and a foreign token.
_ENDED = frozenset(
    {"no_user_logged_in", "user_not_logged_in", "session_not_found", "session_not_extended", "invalid_user", "403"}
)
#: Codes that say: certainly not done, and worth asking again. `enough_credit`: credit has come since the job was looked at.
_NOT_YET = frozenset({"fax_not_ready", "creating_preview", "no_fax", "enough_credit"})
#: Codes that say: there is no such fax, or no such file (5; `not_found` is seen in a client, without a number).
_GONE = frozenset({"fax_not_found", "fax_removed", "file_not_found", "not_found", "404"})
_STILL = 60.0  # seconds a session may have been silent before it is asked whether it lives


@dataclass(slots=True, kw_only=True)
class Session:
    """One sign-in."""

    token: str = field(repr=False)
    credit: Decimal | None
    """In the account's currency; None = it does not say."""
    currency: str
    used_at: float
    """Loop time of its last call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """Who we are there."""

    url: str
    api: str
    secret: str = field(repr=False)
    username: str
    password: str = field(repr=False)
    format: str


#: What an error code means: for a job that nothing has been sent of, for a question, for `Send`.
Meaning = Callable[[str], GatewayError]


class Calls:
    """The API, method by method name."""

    def __init__(self, tools: Tools, key: Key, limit: float) -> None:
        self._tools, self._key, self._limit = tools, key, limit
        self._shared: Session | None = None
        self._signing_in = asyncio.Lock()

    async def sign_in(self) -> Session:
        """A new session. Raises CarrierRefused (our account there), CarrierUnavailable."""
        arguments = {"username": self._key.username, "password": self._key.password}
        return await self._call("Session/VerifyUser", arguments, "", _signed_in, _of_job)

    async def on(self, session: Session, method: str, decode: Callable[[Answer], R], /, **arguments: Any) -> R:
        """A call on one session, never `Send`. Raises CarrierRefused, CarrierUnavailable."""
        found = await self._call(method, arguments, session.token, decode, _of_job)
        session.used_at = _loop_time()
        return found

    async def add_file(self, session: Session, content: bytes, name: str, content_type: str) -> None:
        """`FaxJob/AddFile` with what the carrier is to check. Raises CarrierRefused, CarrierUnavailable."""
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        arguments = {"filename": name, "origin": "", "file_size": len(content), "file_contentmd5": digest}
        files: dict[str, http.File] = {"file": (name, content, content_type)}
        await self._call("FaxJob/AddFile", arguments, session.token, nothing, _of_job, files=files)
        session.used_at = _loop_time()

    async def ask(self, method: str, decode: Callable[[Answer], R], /, **arguments: Any) -> R:
        """A question, on the session that all questions share. Raises CarrierRefused only where what is asked about is not
        there: whatever is wrong with our account does not mean that a fax is gone."""
        return await self._shared_by(lambda token: self._call(method, arguments, token, decode, _of_question))

    async def file(self, method: str, size: int, /, **arguments: Any) -> bytes:
        """The bytes that a method answers, or an answer where it fails (4.3). Raises as `ask`."""

        async def get(token: str) -> bytes:
            url, request = self._request(method, arguments, token)
            judge = self._judge(_of_question)
            return await http.ask(
                self._tools, "POST", url, decode=_document, judge=judge, size=size, limit=self._limit, **request
            )

        return await self._shared_by(get)

    async def send(self, method: str, session: Session, in_time: Callable[[], bool], /, **arguments: Any) -> None:
        """`FaxJob/Send` or `FaxJob/SendLater`. Raises CarrierRefused, CarrierUnavailable (certainly not sent), CarrierUncertain
        (perhaps sent)."""
        if _loop_time() - session.used_at > _STILL:
            await self.on(session, "Session/KeepAlive", nothing)
        url, request = self._request(method, arguments, session.token)
        decode, judge = _decoder(nothing, _of_send), self._judge(_of_send)
        await http.submit(self._tools, "POST", url, decode=decode, judge=judge, limit=self._limit, in_time=in_time, **request)

    async def _call(
        self,
        method: str,
        arguments: Mapping[str, Any],
        token: str,
        decode: Callable[[Answer], R],
        meaning: Meaning,
        files: Mapping[str, http.File] | None = None,
    ) -> R:
        url, request = self._request(method, arguments, token)
        if files:
            request["files"] = files
        judge = self._judge(meaning)
        return await http.ask(
            self._tools, "POST", url, decode=_decoder(decode, meaning), judge=judge, limit=self._limit, **request
        )

    def _request(self, method: str, arguments: Mapping[str, Any], token: str) -> tuple[str, http.Request]:
        whole = {**arguments, "apioutputformat": self._key.format}
        proof = {"apikey": self._key.api, "apicheck": apicheck(whole, self._key.secret)}
        if token:
            proof["usertoken"] = token
        headers = {"Accept-Language": "en"}  # the reasons of failures are localised (8)
        return f"{self._key.url}/{method}", {"data": {**dict(pairs(whole)), **proof}, "headers": headers}

    async def _shared_by(self, call: Callable[[str], Awaitable[R]]) -> R:
        session = await self._session(None)
        try:
            return await call(session.token)
        except SessionEnded:
            return await call((await self._session(session)).token)

    async def _session(self, ended: Session | None) -> Session:
        """The shared one; a new one where there is none, or where that one has ended."""
        async with self._signing_in:
            if self._shared is None or self._shared is ended:
                try:
                    self._shared = await self.sign_in()
                except CarrierRefused as error:
                    raise CarrierUnavailable("The carrier does not let us sign in.") from error
            return self._shared

    def _judge(self, meaning: Meaning) -> http.Judge:
        """An HTTP error with an answer in it says what the answer says (4.4: not known whether there are any)."""

        def judge(answer: http.Answer) -> GatewayError | None:
            if answer.status == 429:
                return CarrierBusy(retry_after=http.retry_after(answer.headers, self._tools.now()))
            try:
                said = parse(answer.body)
            except ValueError:
                return None
            return None if said.ok else meaning(said.code)

        return judge


def _decoder(decode: Callable[[Answer], R], meaning: Meaning) -> Callable[[http.Answer], R]:
    def read(answer: http.Answer) -> R:
        said = parse(answer.body, answer.headers.get("content-type", ""))
        if not said.ok:
            raise meaning(said.code)
        return decode(said)

    return read


def _document(answer: http.Answer) -> bytes:
    """Binary answers are raw, whatever was asked for; only a failure is an answer (4.3)."""
    try:
        said = parse(answer.body)
    except ValueError:
        return answer.body
    raise ValueError("an answer where a document should be") if said.ok else _of_question(said.code)


def nothing(answer: Answer) -> None:
    """Only the code matters."""


def _signed_in(answer: Answer) -> Session:
    return Session(
        token=one(answer, "UserToken", Token).token,
        credit=one(answer, "User", User).credit,
        currency=one(answer, "Currency", Currency).code,
        used_at=_loop_time(),
    )


def _of_job(code: str) -> GatewayError:
    """Nothing has been sent: a refusal ends the attempt, everything else may be tried again."""
    if code == "too_many_requests":
        return CarrierBusy()
    if code in _ENDED and CODES[code][1] is not Outcome.NO_CREDIT:
        return SessionEnded()
    if code in _NOT_YET or code not in CODES or code == "500":
        return CarrierUnavailable(f"The carrier says: {printable(code, 80)}.")
    return CarrierRefused(f"The carrier says: {code}.", outcome=CODES[code][1], carrier_code=code)


def _of_send(code: str) -> GatewayError:
    if code not in CODES or code == "500":
        return CarrierUncertain(f"The carrier says of the fax: {printable(code, 80)}.")
    return _of_job(code)


def _of_question(code: str) -> GatewayError:
    if code in _GONE:
        return CarrierRefused("The carrier knows no such fax.", carrier_code=code)
    if code in _ENDED:
        return SessionEnded()
    return CarrierBusy() if code == "too_many_requests" else CarrierUnavailable(f"The carrier says: {printable(code, 80)}.")


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
