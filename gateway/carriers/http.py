"""HTTP to carriers: the one client, its time limits, its error mapping, its redaction.

Adapters call `submit` for whatever may send a fax and `ask` for everything else; both return a whole, decoded answer or
raise one of the three kinds of error. They never see an httpx exception.

    what happened                                                    on submit          on ask and download
    connect failed, connect time-out, no free connection             Unavailable        Unavailable
    HTTP 429 (Retry-After in seconds or as a date)                   Busy               Unavailable
    write or read failed or timed out, broken HTTP, too long         Uncertain          Unavailable
    HTTP 408, 409, 425, every 5xx, 1xx and 3xx                       Uncertain          Unavailable
    an answer that cannot be decoded                                 Uncertain          Unavailable
    HTTP 401, 402, 403, 407: our account there, not this fax         Refused            Unavailable
    other 4xx                                                        Refused            Refused

A 5xx on a submit is uncertain because proxies answer 502, 503 and 504 after they have forwarded the request. An adapter
that knows better passes `judge` and cites its proof. A wrong key does not mean that a fax is gone, so on `ask` it is
Unavailable: an operator repairs it and the fax is still there.

Redirects are not followed, the environment (proxies, .netrc) is not read, nothing is repeated here. Texts of errors are
general: no URL, no header, no body. Limits: an answer is held in memory, hence the size caps.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import IO, TypedDict, TypeVar, Unpack

import httpx
from pydantic import BaseModel, TypeAdapter

from gateway.carriers.base import Tools
from gateway.errors import CarrierBusy, CarrierRefused, CarrierUnavailable, CarrierUncertain, GatewayError, Outcome

R = TypeVar("R")
M = TypeVar("M", bound=BaseModel)

_log = logging.getLogger(__name__)
_ANSWER_LIMIT = 2_000_000
_LONGEST_WAIT = 86_400.0

#: Raised by httpx before a byte of the request has left: no connection, or none free. A proxy's refusal is one of them.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)
#: 4xx that say "perhaps done" on a submit and "not now" otherwise.
_UNDECIDED = frozenset({408, 409, 425})
#: 4xx about our account at the carrier: a person must put it right. `no_credit` holds the fax and tells the operator.
_ACCOUNT = frozenset({401, 402, 403, 407})
#: What the other 4xx mean unless the adapter's `judge` knows more; the rest is carrier trouble.
_REFUSALS: Mapping[int, Outcome] = {
    **dict.fromkeys(_ACCOUNT, Outcome.NO_CREDIT),
    413: Outcome.DOCUMENT_REFUSED,
    415: Outcome.DOCUMENT_REFUSED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole HTTP answer."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case."""
    body: bytes = field(repr=False)
    """Decoded of any content encoding, at most as long as was allowed."""

    @property
    def text(self) -> str:
        """The body as UTF-8; what is not UTF-8 is replaced."""
        return self.body.decode("utf-8", "replace")


#: Reads an answer that is not 2xx; None = the mapping above decides.
Judge = Callable[[Answer], GatewayError | None]
File = tuple[str, IO[bytes] | bytes, str]
"""File name, content, content type."""


class Request(TypedDict, total=False):
    """Parts of a request, as httpx takes them."""

    params: Mapping[str, str | int]
    headers: Mapping[str, str]
    data: Mapping[str, str | list[str]]
    files: Mapping[str, File] | list[tuple[str, File]]
    json: object
    content: bytes
    auth: tuple[str, str]


class _Redaction(logging.Filter):
    """httpx logs whole URLs, and carriers have us put keys and fax numbers in them."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(_origin(value) if isinstance(value, httpx.URL) else value for value in record.args)
        return True


_redaction = _Redaction()


def client(*, connect: float = 10.0, read: float = 45.0, connections: int = 20, verify: bool = True) -> httpx.AsyncClient:
    """The client a carrier gets in `Tools.http`. Seconds; `read` is between two pieces of an answer.

    Idle connections are dropped early: a request on a connection that the carrier has just closed would be uncertain.
    """
    logging.getLogger("httpx").addFilter(_redaction)  # adding the same filter again does nothing
    logging.getLogger("httpcore").setLevel(logging.WARNING)  # at debug it writes header lines
    return httpx.AsyncClient(
        timeout=httpx.Timeout(read, connect=connect, pool=connect),
        limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=3.0),
        follow_redirects=False,
        trust_env=False,
        verify=verify,
        headers={"User-Agent": "Faxgate", "Accept-Encoding": "identity"},  # so that a small answer stays small
    )


async def submit(
    tools: Tools,
    method: str,
    url: str,
    *,
    decode: Callable[[Answer], R],
    judge: Judge | None = None,
    limit: float = 55.0,
    in_time: Callable[[], bool] = lambda: True,
    **request: Unpack[Request],
) -> R:
    """Make a request that may send a fax.

    decode   what the 2xx answer says; a ValueError, KeyError or TypeError in it means a broken answer
    judge    reads any other answer first
    limit    seconds for everything; less than the adapter's `Capabilities.submit_limit`
    in_time  `Order.in_time`: asked right before the request goes out
    Raises   CarrierRefused, CarrierUnavailable (certainly not sent), CarrierUncertain (perhaps sent)
    """
    if not in_time():
        raise CarrierUnavailable("The time for this call had run out.")
    try:
        async with asyncio.timeout(limit):
            answer = await _exchange(tools, method, url, _ANSWER_LIMIT, request)
    except _NOT_SENT as error:
        raise CarrierUnavailable from error
    except httpx.InvalidURL as error:
        raise CarrierUnavailable("The carrier's address is wrong.") from error
    except (httpx.HTTPError, TimeoutError, _TooLong) as error:
        raise CarrierUncertain from error
    if not 200 <= answer.status < 300:
        raise (judge(answer) if judge else None) or _submit_error(answer, tools.now())
    try:
        return decode(answer)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise CarrierUncertain("The carrier's answer makes no sense.") from error


async def ask(
    tools: Tools,
    method: str,
    url: str,
    *,
    decode: Callable[[Answer], R],
    judge: Judge | None = None,
    limit: float = 60.0,
    size: int = _ANSWER_LIMIT,
    **request: Unpack[Request],
) -> R:
    """Make a request that sends no fax: poll, list, cancel, sign in.

    size     most bytes of the answer
    Raises   CarrierRefused (4xx: it knows no such thing), CarrierUnavailable (everything else)
    """
    try:
        return decode(await _asked(tools, method, url, judge, limit, size, request))
    except _TooLong as error:
        raise CarrierUnavailable("The carrier's answer is too long.") from error
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise CarrierUnavailable("The carrier's answer makes no sense.") from error


async def download(
    tools: Tools, url: str, *, origins: Collection[str], size: int, limit: float = 300.0, **request: Unpack[Request]
) -> bytes:
    """Fetch a document, at most `size` bytes, from one of `origins` (like "https://api.example.com").

    A callback names URLs, and a callback may be forged: only listed origins are asked, and only with the credentials
    given here. Storage hosts get none.
    Raises CarrierRefused (no longer there, or too long), CarrierUnavailable (not now, or not from there).
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise CarrierUnavailable("The carrier named an address that makes no sense.") from error
    if _origin(parsed) not in origins or parsed.userinfo:
        _log.warning("a carrier named a document outside its own hosts; it was not fetched")
        raise CarrierUnavailable("The carrier named a document outside its own hosts.")
    try:
        answer = await _asked(tools, "GET", url, None, limit, size, request)
    except _TooLong as error:
        raise CarrierRefused("The document is too long.", outcome=Outcome.DOCUMENT_REFUSED) from error
    return answer.body


def json_of(model: type[M]) -> Callable[[Answer], M]:
    """A decoder: the answer is JSON of this model."""

    def decode(answer: Answer) -> M:
        return model.model_validate_json(answer.body)

    return decode


def list_of(model: type[M]) -> Callable[[Answer], list[M]]:
    """A decoder: the answer is a JSON array of this model."""
    adapter = TypeAdapter(list[model])  # type: ignore[valid-type]  # a type made at run time, as TypeAdapter wants it

    def decode(answer: Answer) -> list[M]:
        return adapter.validate_json(answer.body)

    return decode


def nothing(answer: Answer) -> None:
    """A decoder: only the status matters."""


def any_json(answer: Answer) -> object:
    """A decoder: some JSON, for the adapter to look at."""
    parsed: object = json.loads(answer.body)
    return parsed


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds to wait, from Retry-After as seconds or as a date; None where it names none (RFC 9110 section 10.2.3)."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,3})?", value):
        seconds = float(value)
    else:
        try:
            date = parsedate_to_datetime(value)
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
        seconds = ((date if date.tzinfo else date.replace(tzinfo=UTC)) - now).total_seconds()
    return min(max(seconds, 0.0), _LONGEST_WAIT) if math.isfinite(seconds) else None


def within(base: str, uri: str) -> str:
    """The address a carrier named, resolved against `base` (RFC 3986). Raises ValueError where it leads to another origin,
    or carries a sign-in of its own: ours is sent along."""
    try:
        target = httpx.URL(base + "/").join(uri)
    except httpx.InvalidURL as error:
        raise ValueError("makes no sense") from error
    if target.userinfo or _origin(target) != _origin(httpx.URL(base)):
        raise ValueError("leads elsewhere")
    return str(target)


class _TooLong(Exception):
    """The answer is longer than allowed."""


async def _exchange(tools: Tools, method: str, url: str, size: int, request: Request) -> Answer:
    target = httpx.URL(url)
    if (target.port or 0) > 65535:
        raise httpx.InvalidURL("no such port")  # asyncio would answer with a bare OverflowError
    async with tools.http.stream(method, target, **request) as response:
        body = bytearray()
        async for piece in response.aiter_bytes(65536):
            body += piece
            if len(body) > size:
                raise _TooLong
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(status=response.status_code, headers=headers, body=bytes(body))


async def _asked(tools: Tools, method: str, url: str, judge: Judge | None, limit: float, size: int, request: Request) -> Answer:
    try:
        async with asyncio.timeout(limit):
            answer = await _exchange(tools, method, url, size, request)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        raise CarrierUnavailable from error
    if not 200 <= answer.status < 300:
        raise (judge(answer) if judge else None) or _ask_error(answer, tools.now())
    return answer


def _submit_error(answer: Answer, now: datetime) -> GatewayError:
    if answer.status == 429:
        return CarrierBusy(retry_after=retry_after(answer.headers, now))
    if answer.status in _UNDECIDED or not 400 <= answer.status < 500:
        return CarrierUncertain(f"The carrier's answer to the fax was HTTP {answer.status}.")
    return _refusal(answer)


def _ask_error(answer: Answer, now: datetime) -> GatewayError:
    if 400 <= answer.status < 500 and answer.status not in _UNDECIDED | _ACCOUNT | {429}:
        return _refusal(answer)
    return CarrierUnavailable(
        f"The carrier cannot answer now (HTTP {answer.status}).", retry_after=retry_after(answer.headers, now)
    )


def _refusal(answer: Answer) -> CarrierRefused:
    outcome = _REFUSALS.get(answer.status, Outcome.CARRIER_TROUBLE)
    return CarrierRefused(outcome=outcome, carrier_code=f"HTTP {answer.status}")


def _origin(url: httpx.URL) -> str:
    """`https://host` or `https://host:port`, where the port is not the scheme's own."""
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"{url.scheme}://{host}" + (f":{url.port}" if url.port is not None else "")
