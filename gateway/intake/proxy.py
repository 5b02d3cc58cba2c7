"""The PROXY header: what a proxy in front says about the client, versions 1 and 2.

Read octet by octet where its length is not known, so that nothing behind it is taken. What is not exactly a header is no
header: the connection has to be closed. Source: the PROXY protocol of HAProxy; rows PRX-01, PRX-02.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_LONGEST = 107  # octets of a header in version 1
_EXTRAS = 2048  # octets behind the fixed part in version 2: addresses, and words between proxies
_UNNAMED = re.compile(rb"PROXY UNKNOWN(?: [ -~]*)?\r\n")
_NAMED = re.compile(rb"PROXY TCP([46]) ([0-9a-fA-F:.]+) ([0-9a-fA-F:.]+) ([0-9]{1,5}) ([0-9]{1,5})\r\n")
_LOCAL, _PROXIED = 0, 1
_UNSPECIFIED, _TCP4, _TCP6, _UNIX = 0x00, 0x11, 0x21, 0x31

#: At most so many octets of what comes next, b"" at the end.
Read = Callable[[int], Awaitable[bytes]]


async def client(read: Read) -> str:
    """The IP address of the client; "" where the proxy names none. Raises ValueError, EOFError, OSError."""
    start = await _exactly(read, len(_SIGNATURE))
    return await _second(read) if start == _SIGNATURE else await _first(read, start)


async def _first(read: Read, start: bytes) -> str:
    """`PROXY TCP4 192.0.2.1 192.0.2.2 56324 25`."""
    header = start
    if not header.startswith(b"PROXY "):
        raise ValueError("no PROXY header")
    while not header.endswith(b"\n"):
        if len(header) >= _LONGEST:
            raise ValueError("the PROXY header is too long")
        header += await _exactly(read, 1)
    if _UNNAMED.fullmatch(header):
        return ""
    match = _NAMED.fullmatch(header)
    if not match or max(int(match[4]), int(match[5])) > 65535:
        raise ValueError("this PROXY header makes no sense")
    kind = ipaddress.IPv4Address if match[1] == b"4" else ipaddress.IPv6Address
    kind(match[3].decode())
    return written(kind(match[2].decode()))


async def _second(read: Read) -> str:
    """Command, family, length, addresses, extras that we do not need."""
    fixed = await _exactly(read, 4)
    version, command, family, length = fixed[0] >> 4, fixed[0] & 15, fixed[1], int.from_bytes(fixed[2:])
    if version != 2 or command not in (_LOCAL, _PROXIED) or length > _EXTRAS:
        raise ValueError("this PROXY header makes no sense")
    rest = await _exactly(read, length)
    if command == _LOCAL or family in (_UNSPECIFIED, _UNIX):
        return ""
    if family == _TCP4 and length >= 12:
        return written(ipaddress.IPv4Address(rest[:4]))
    if family == _TCP6 and length >= 36:
        return written(ipaddress.IPv6Address(rest[:16]))
    raise ValueError("this PROXY header is not about TCP")


def written(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """An IPv4 address in IPv6 clothes is an IPv4 address."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


async def _exactly(read: Read, octets: int) -> bytes:
    data = b""
    while len(data) < octets:
        more = await read(octets - len(data))
        if not more:
            raise EOFError
        data += more
    return data
