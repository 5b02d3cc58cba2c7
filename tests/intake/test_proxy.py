"""PROXY headers: what is read, and that nothing behind them is taken."""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.intake import proxy

SECOND = b"\r\n\r\n\0\r\nQUIT\n"
BEHIND = b"EHLO x\r\n"


def wire(said: bytes) -> tuple[Callable[[int], Awaitable[bytes]], bytearray]:
    """A reader over `said`, one octet more or less at a time, and what is left of it."""
    left = bytearray(said)

    async def read(octets: int) -> bytes:
        piece = bytes(left[: max(1, octets // 2)])
        del left[: len(piece)]
        return piece

    return read, left


def client(said: bytes) -> str:
    read, left = wire(said + BEHIND)
    found = asyncio.run(proxy.client(read))
    assert bytes(left) == BEHIND, "what follows belongs to the client"
    return found


def second(command: int, family: int, rest: bytes) -> bytes:
    return SECOND + struct.pack("!BBH", command, family, len(rest)) + rest


@pytest.mark.parametrize(
    ("header", "address"),
    [
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 25\r\n", "192.0.2.1"),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", "2001:db8::1"),
        (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "192.0.2.1"),
        (b"PROXY UNKNOWN\r\n", ""),
        (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", ""),
        (second(0x20, 0x11, b"\0" * 12), ""),
        (second(0x21, 0x00, b""), ""),
        (second(0x21, 0x31, b"/" * 216), ""),
        (second(0x21, 0x11, bytes([192, 0, 2, 1, 192, 0, 2, 2, 0, 1, 0, 25]) + b"\x04\0\x02xx"), "192.0.2.1"),
    ],
)
def test_prx_02_the_client_is_who_the_header_names(header: bytes, address: str) -> None:
    assert client(header) == address


@pytest.mark.parametrize(
    "header",
    [
        b"EHLO client.example\r\n",
        b"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
        b"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
        b"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 2001:db8::1 192.0.2.2 1 2\r\n",
        b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
        b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY UNKNOWN \x1b\r\n",
        b"PROXY UNKNOWN " + b"x" * 94 + b"\r\n",
        b"PROXY " + b"1" * 500,
        second(0x11, 0x11, b"\0" * 12),
        second(0x22, 0x11, b"\0" * 12),
        second(0x21, 0x12, b"\0" * 12),
        second(0x21, 0x11, b"\0" * 11),
        second(0x21, 0x21, b"\0" * 35),
        second(0x21, 0x11, b"\0" * 2049),
    ],
)
def test_prx_01_what_is_not_exactly_a_header_is_none(header: bytes) -> None:
    read, left = wire(header + b"\r\n" * 10)
    with pytest.raises(ValueError, match=r"."):
        asyncio.run(proxy.client(read))
    assert len(header) + 20 - len(left) <= max(107, 16 + 2048), "no more is read than a header may be long"


@given(
    st.one_of(
        st.binary(max_size=300), st.binary(max_size=60).map(lambda rest: SECOND + rest), st.binary().map(b"PROXY ".__add__)
    )
)
def test_any_octets_are_a_header_or_an_error(said: bytes) -> None:
    read, _ = wire(said)
    try:
        found = asyncio.run(proxy.client(read))
    except (ValueError, EOFError):
        return
    assert found == "" or ipaddress.ip_address(found)


@given(st.ip_addresses(), st.integers(0, 65535))
def test_both_versions_name_the_same_client(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> None:
    number = address.version
    first = f"PROXY TCP{number} {address} {address} {port} 25\r\n".encode()
    packed = address.packed * 2 + struct.pack("!HH", port, 25)
    assert client(first) == client(second(0x21, 0x11 if number == 4 else 0x21, packed)) == proxy.written(address)
