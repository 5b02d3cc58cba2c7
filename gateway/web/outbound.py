"""Requests that we make for accounts, to URLs that they chose. Nothing of ours may be reached that way.

A URL is http or https, with a host and without a name and password in it. The host is looked up here, once; every address
it has must be public or in one of the networks that the configuration allows, and the connection goes to an address that was
looked at, with the host's own name in the Host header and in the TLS handshake: a name that points elsewhere a moment later
(DNS rebinding) changes nothing. Forms that carry an IPv4 address inside an IPv6 one (mapped, 6to4, Teredo, NAT64) are not
public. The environment (proxies, .netrc) is not read, and connections are not used twice.

A callback (`post`) follows no redirects, and of the answer only the status is kept. A file (`get`) follows some, each of
them judged like the first URL, and never from https to http; a name and password in the URL go to that host alone.

Limits: 60 seconds for everything, at most `_ADDRESSES` of a host are tried, `_REDIRECTS` followed, `_AT_ONCE` files fetched
at a time. The name server is the system's: a lookup that hangs ends after its time limit here, its thread later.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.message import Message
from functools import partial
from urllib.parse import unquote

import httpx

from gateway.errors import CallbackNotTaken, DownloadFailed

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Every address of a host, for a port. Raises OSError."""

_CONNECT, _SILENCE, _LOOKUP, _WHOLE = 10.0, 30.0, 10.0, 60.0  # seconds
_ADDRESSES = 3
_REDIRECTS, _AT_ONCE = 5, 4
_ANSWER = 65536  # bytes of an answer that are read before it is hung up on
_PORTS = {"http": 80, "https": 443}
#: What the library takes for public: IPv4 addresses inside IPv6 ones, protocol assignments, old site-local addresses.
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(text)
    for text in (
        "::/96",
        "::ffff:0:0/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2001::/32",
        "2002::/16",
        "192.0.0.0/24",
        "192.88.99.0/24",
        "fec0::/10",
    )
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A file from the web."""

    content: bytes
    content_type: str
    """As the server declared it, without parameters, in lower case; "" = it did not."""
    name: str
    """As the server or else the URL calls it; never a path, "" where neither says."""


class Outbound:
    """The one client for accounts' URLs.

    networks  CIDR: addresses that may be called though they are not public
    resolve   default: as the system does it
    trust     whose certificates count; None: those of the usual authorities
    """

    def __init__(
        self, networks: Sequence[str] = (), *, resolve: Resolve | None = None, trust: ssl.SSLContext | None = None
    ) -> None:
        self._networks = [ipaddress.ip_network(network) for network in networks]
        # Lookups that hang must not take the threads of the rest of the program.
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="lookup")
        self._resolve = resolve or self._system
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(_SILENCE, connect=_CONNECT),
            # A connection belongs to one name: the next one at the same address has a certificate of its own.
            limits=httpx.Limits(max_keepalive_connections=0),
            follow_redirects=False,
            trust_env=False,
            verify=trust or True,
            headers={"User-Agent": "Faxgate", "Accept-Encoding": "identity"},
        )

    async def close(self) -> None:
        await self._client.aclose()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _system(self, host: str, port: int) -> Sequence[str]:
        lookup = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, lookup)
        return list(dict.fromkeys(str(address[0]) for *_, address in found))

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """POST to a URL of an account; the status of the answer. Raises CallbackNotTaken, with words for the account."""
        try:
            async with asyncio.timeout(_WHOLE):
                return await self._post(_parsed(url), body, headers)
        except TimeoutError as error:
            raise CallbackNotTaken("did not answer in time") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise CallbackNotTaken(f"failed: {_in_words(error)}") from error

    async def get(self, url: str, most: int) -> Fetched:
        """The file at a URL of an account, of at most `most` bytes. Raises DownloadFailed, with words for the account."""
        try:
            async with asyncio.timeout(_WHOLE), self._turns:
                return await self._got(httpx.URL(url), most)
        except TimeoutError as error:
            raise DownloadFailed("The download did not end in time.") from error
        except CallbackNotTaken as error:
            raise DownloadFailed(f"The download {error.text}.") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise DownloadFailed(f"The download failed: {_in_words(error)}.") from error

    async def _got(self, url: httpx.URL, most: int) -> Fetched:
        for _ in range(_REDIRECTS + 1):
            target = _parsed(str(url.copy_with(userinfo=b"")))
            response = await self._opened("GET", target, b"", _authorization(url))
            try:
                if not response.has_redirect_location:
                    return Fetched(
                        content=await _content(response, most),
                        content_type=response.headers.get("content-type", "").partition(";")[0].strip().lower(),
                        name=_name(response, target),
                    )
            finally:
                await response.aclose()
            url = target.join(response.headers["location"])
            if target.scheme == "https" and url.scheme != "https":
                raise DownloadFailed("The download failed: it was sent on from https to http.")
        raise DownloadFailed("The download failed: it was sent on too often.")

    async def _post(self, url: httpx.URL, body: bytes, headers: Mapping[str, str]) -> int:
        response = await self._opened("POST", url, body, headers)
        try:
            read = 0
            async for piece in response.aiter_raw(4096):
                read += len(piece)
                if read > _ANSWER:
                    break
        except httpx.HTTPError as error:
            _log.debug("an answer broke off after its status: %s", type(error).__name__)
        finally:
            await response.aclose()
        return response.status_code

    async def _opened(self, method: str, url: httpx.URL, body: bytes, headers: Mapping[str, str]) -> httpx.Response:
        """The head of an answer. To be closed by the caller."""
        addresses = await self._addresses(url)
        for n, address in enumerate(addresses, 1):
            request = self._client.build_request(
                method,
                url.copy_with(host=address),
                content=body,
                headers={**headers, "Host": url.netloc.decode("ascii")},
                extensions={"sni_hostname": url.raw_host.decode("ascii").strip("[]")},
            )
            try:
                return await self._client.send(request, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout):  # nothing has been sent: the next address may answer
                if n == len(addresses):
                    raise
        raise CallbackNotTaken("failed: the host has no address")

    async def _addresses(self, url: httpx.URL) -> list[str]:
        """Where the connection may go. Raises CallbackNotTaken unless every address of the host is allowed."""
        host, port = url.raw_host.decode("ascii"), url.port or _PORTS[url.scheme]
        try:
            async with asyncio.timeout(_LOOKUP):
                found = await self._resolve(host.strip("[]"), port)
        except (OSError, UnicodeError) as error:  # a time-out is an OSError too
            raise CallbackNotTaken("failed: the host cannot be found") from error
        if not all(self._allowed(address) for address in found):
            raise CallbackNotTaken("was not made: the host is not a public one")
        return list(found[:_ADDRESSES])

    def _allowed(self, text: str) -> bool:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:  # one with a scope belongs to a link
            return False
        return is_public(address) or any(address in network for network in self._networks)


def _authorization(url: httpx.URL) -> dict[str, str]:
    """Basic, where the URL has a name and password in it."""
    if not url.userinfo:
        return {}
    said = f"{url.username}:{url.password}".encode()
    return {"Authorization": f"Basic {base64.b64encode(said).decode()}"}


async def _content(response: httpx.Response, most: int) -> bytes:
    """The whole body. Raises DownloadFailed."""
    if response.status_code != 200:
        raise DownloadFailed(f"The download failed: the server answered {response.status_code}.")
    if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise DownloadFailed("The download failed: the server packed the file, which was not asked for.")
    content = bytearray()
    async for piece in response.aiter_raw():
        content += piece
        if len(content) > most:
            raise DownloadFailed(f"The download failed: a file has at most {most // 1_000_000} MB.")
    return bytes(content)


def _name(response: httpx.Response, url: httpx.URL) -> str:
    header = Message()
    header["Content-Disposition"] = "".join(c for c in response.headers.get("content-disposition", "") if c.isprintable())
    written = header.get_filename() or unquote(url.path)
    return written.replace("\\", "/").rpartition("/")[2]


def is_public(address: Address) -> bool:
    """Whether anybody on the Internet could connect to it."""
    if any(address in network for network in _NOT_PUBLIC):
        return False
    ours = address.is_private or address.is_loopback or address.is_link_local or address.is_reserved or address.is_unspecified
    return address.is_global and not ours and not address.is_multicast


def shown(url: str) -> str:
    """Where a URL leads, for a fax's history: queries hold secrets, and paths do too, those of our own callbacks first."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return "a URL that makes no sense"
    return f"{parsed.scheme}://{parsed.netloc.decode('ascii')}/" + ("…" if parsed.raw_path != b"/" else "")


def _parsed(url: str) -> httpx.URL:
    """Raises CallbackNotTaken, httpx.InvalidURL."""
    parsed = httpx.URL(url)
    if parsed.scheme not in _PORTS or not parsed.host or parsed.userinfo or (parsed.port or 0) > 65535:
        raise CallbackNotTaken("was not made: the URL is not a plain http or https one")
    return parsed


def _in_words(error: Exception) -> str:
    if isinstance(error, httpx.ConnectError):
        return "its certificate cannot be trusted" if "CERTIFICATE_VERIFY" in str(error) else "no connection"
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    return "the URL makes no sense" if isinstance(error, httpx.InvalidURL) else "the connection broke"
