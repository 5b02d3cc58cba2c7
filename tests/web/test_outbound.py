"""Requests to URLs that accounts chose: where they may go, and what they give away."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from gateway.certificate import self_signed
from gateway.errors import CallbackNotTaken, DownloadFailed
from gateway.web import outbound
from gateway.web.outbound import Outbound, is_public, shown

PUBLIC = "198.51.100.7"
LOCAL = ("127.0.0.0/8", "::1/128")


class Far:
    """An HTTP server that answers every request with `answer` and keeps what it was sent."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.hung_up = asyncio.Event()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length")), 0)
        self.writers.append(writer)
        self.requests.append(head + await reader.readexactly(length))
        try:
            writer.write(self.answer)
            await writer.drain()
            await reader.read()
        except OSError:
            pass
        self.hung_up.set()
        writer.close()

    async def start(self, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> asyncio.Server:
        server = await asyncio.start_server(self.serve, host, 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        return server


@pytest.fixture
async def far() -> AsyncIterator[Far]:
    made = Far()
    server = await made.start()
    yield made
    server.close()


@pytest.fixture
async def allowed() -> AsyncIterator[Outbound]:
    """One that may call this machine."""
    made = Outbound(LOCAL)
    yield made
    await made.close()


def pointing(*answers: Sequence[str]) -> tuple[outbound.Resolve, list[str]]:
    """A name server that gives these answers one after the other, and what it was asked."""
    asked: list[str] = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return answers[min(len(asked), len(answers)) - 1]

    return resolve, asked


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.1.2.3", "169.254.169.254", "172.16.0.1",
        "192.0.0.8", "192.0.2.1", "192.168.1.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
        "::", "::1", "::127.0.0.1", "::ffff:10.0.0.1", "::ffff:8.8.8.8", "64:ff9b::a00:1", "64:ff9b::808:808",
        "64:ff9b:1::1", "2001::1", "2001:db8::1", "2002:a00:1::1", "fc00::1", "fe80::1", "fec0::1", "ff02::1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111"])
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "2130706433", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0", "[fe80::1]"]
)
async def test_this_machine_is_not_called_in_any_spelling(far: Far, host: str) -> None:
    client = Outbound()
    with pytest.raises(CallbackNotTaken, match=r"not a public one|cannot be found"):
        await client.post(f"http://{host}:{far.port}/", b"x", {})
    await client.close()
    assert far.requests == []


async def test_a_host_with_one_private_address_is_not_called_at_all(far: Far) -> None:
    resolve, _ = pointing(["8.8.8.8", "127.0.0.1"])
    client = Outbound(resolve=resolve)
    with pytest.raises(CallbackNotTaken, match="not a public one"):
        await client.post(f"http://program.example:{far.port}/", b"x", {})
    await client.close()


async def test_the_address_that_was_looked_at_is_the_one_that_is_called(far: Far) -> None:
    """DNS rebinding: a name that points elsewhere when it is asked again."""
    resolve, asked = pointing(["127.0.0.1"], ["127.0.0.2"])
    client = Outbound(["127.0.0.1/32"], resolve=resolve)
    assert await client.post(f"http://program.example:{far.port}/fax?key=1", b"body", {"X-More": "1"}) == 200
    await client.close()
    assert asked == ["program.example"]
    (request,) = far.requests
    assert request.startswith(b"POST /fax?key=1 HTTP/1.1\r\n")
    assert f"\r\nHost: program.example:{far.port}\r\n".lower().encode() in request.lower()
    assert request.endswith(b"\r\n\r\nbody")


async def test_a_second_lookup_is_judged_anew(far: Far) -> None:
    resolve, asked = pointing(["127.0.0.1"], ["127.0.0.2"])
    client = Outbound(["127.0.0.1/32"], resolve=resolve)
    url = f"http://program.example:{far.port}/"
    assert await client.post(url, b"x", {}) == 200
    with pytest.raises(CallbackNotTaken, match="not a public one"):
        await client.post(url, b"x", {})
    await client.close()
    assert len(asked) == 2
    assert len(far.requests) == 1


@pytest.mark.parametrize(
    "url",
    [
        "ftp://program.example/", "file:///etc/passwd", "gopher://program.example/", "https://ann:secret@program.example/",
        "https://@/", "https:///path", "//program.example/", "http://program.example:99999/", "", "http://[::1/", "http://a\x00b/",
    ],
)  # fmt: skip
async def test_what_is_no_plain_web_address_is_not_called(url: str) -> None:
    resolve, asked = pointing(["8.8.8.8"])
    client = Outbound(resolve=resolve)
    with pytest.raises(CallbackNotTaken):
        await client.post(url, b"x", {})
    await client.close()
    assert asked == []


async def test_a_redirect_is_an_answer_like_any_other(far: Far, allowed: Outbound) -> None:
    far.answer = (
        b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:%d/other\r\nContent-Length: 0\r\n\r\n" % far.port
    )
    assert await allowed.post(f"http://127.0.0.1:{far.port}/", b"x", {}) == 307
    assert len(far.requests) == 1


async def test_proxies_of_the_environment_are_not_used(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    client = Outbound(LOCAL)
    assert await client.post(f"http://127.0.0.1:{far.port}/", b"x", {}) == 200
    await client.close()


async def test_a_long_answer_is_hung_up_on(far: Far, allowed: Outbound) -> None:
    far.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 10_000_000
    assert await allowed.post(f"http://127.0.0.1:{far.port}/", b"x", {}) == 200
    await asyncio.wait_for(far.hung_up.wait(), 5)


async def test_a_server_that_says_nothing_is_not_waited_for(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbound, "_WHOLE", 0.3)
    far.answer = b""
    client = Outbound(LOCAL)
    with pytest.raises(CallbackNotTaken, match="did not answer in time"):
        await client.post(f"http://127.0.0.1:{far.port}/", b"x", {})
    await client.close()


async def test_the_next_address_is_tried_where_one_takes_no_connection(far: Far) -> None:
    resolve, _ = pointing(["127.0.0.9", "127.0.0.1"])
    client = Outbound(LOCAL, resolve=resolve)
    assert await client.post(f"http://program.example:{far.port}/", b"x", {}) == 200
    await client.close()


async def test_a_closed_port_and_a_broken_answer_are_said_in_words(far: Far, allowed: Outbound, free_port: int) -> None:
    with pytest.raises(CallbackNotTaken, match="failed: no connection"):
        await allowed.post(f"http://127.0.0.1:{free_port}/", b"x", {})
    far.answer = b"SSH-2.0-OpenSSH\r\n\r\n"
    with pytest.raises(CallbackNotTaken, match="failed: the connection broke"):
        await allowed.post(f"http://127.0.0.1:{far.port}/", b"x", {})


async def test_the_certificate_is_that_of_the_name_not_of_the_address(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    names: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    far = Far()
    server = await far.start(tls=context)
    resolve, _ = pointing(["127.0.0.1"])
    client = Outbound(LOCAL, resolve=resolve, trust=ssl.create_default_context(cafile=str(certificate)))
    assert await client.post(f"https://localhost:{far.port}/", b"x", {}) == 200
    for url, trusting in (
        (f"https://program.example:{far.port}/", client),
        (f"https://localhost:{far.port}/", Outbound(LOCAL)),
    ):
        with pytest.raises(CallbackNotTaken, match="its certificate cannot be trusted"):
            await trusting.post(url, b"x", {})
        await trusting.close()
    server.close()
    assert names == ["localhost", "program.example", "localhost"]
    assert len(far.requests) == 1


def test_what_is_shown_of_a_url_has_neither_path_nor_query() -> None:
    assert shown("https://program.example:8443/callback/main/s3cret/in?secret=1#x") == "https://program.example:8443/…"
    assert shown("https://ann:pw@program.example") == "https://program.example/"


def answer(status: str, *header: str, body: bytes = b"") -> bytes:
    return "\r\n".join((f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *header, "", "")).encode() + body


async def test_a_file_is_fetched_with_its_type_and_name(far: Far, allowed: Outbound) -> None:
    far.answer = answer("200 OK", "Content-Type: Application/PDF; x=y", body=b"%PDF")
    fetched = await allowed.get(f"http://127.0.0.1:{far.port}/a%20folder/A%20letter.pdf?key=1", 100)
    assert (fetched.content, fetched.content_type, fetched.name) == (b"%PDF", "application/pdf", "A letter.pdf")
    far.answer = answer("200 OK", 'Content-Disposition: attachment; filename="..\\\\x/report.tif"', body=b"II*")
    assert (await allowed.get(f"http://127.0.0.1:{far.port}/get", 100)).name == "report.tif"


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "localhost", "[::ffff:127.0.0.1]"])
async def test_no_file_is_fetched_from_this_machine(far: Far, host: str) -> None:
    client = Outbound()
    with pytest.raises(DownloadFailed, match=r"not a public one|cannot be found"):
        await client.get(f"http://{host}:{far.port}/", 100)
    await client.close()
    assert far.requests == []


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "/etc/passwd", "http://", "gopher://127.0.0.1", ""])
async def test_only_http_is_fetched(allowed: Outbound, url: str) -> None:
    with pytest.raises(DownloadFailed):
        await allowed.get(url, 100)


async def test_each_redirect_is_judged_like_the_first_url(far: Far) -> None:
    resolve, asked = pointing(["127.0.0.1"], ["127.0.0.2"])
    client = Outbound(["127.0.0.1/32"], resolve=resolve)
    far.answer = answer("302 Found", f"Location: http://inner.example:{far.port}/secret")
    with pytest.raises(DownloadFailed, match="not a public one"):
        await client.get(f"http://program.example:{far.port}/", 100)
    await client.close()
    assert asked == ["program.example", "inner.example"]
    assert len(far.requests) == 1


async def test_a_redirect_is_followed_a_few_times(far: Far, allowed: Outbound) -> None:
    far.answer = answer("301 Moved", "Location: /again")
    with pytest.raises(DownloadFailed, match="too often"):
        await allowed.get(f"http://127.0.0.1:{far.port}/", 100)
    assert [request.split()[1] for request in far.requests] == [b"/", *[b"/again"] * 5]


async def test_a_name_and_password_go_to_their_host_alone(far: Far, allowed: Outbound) -> None:
    far.answer = answer("302 Found", "Location: /other")
    with pytest.raises(DownloadFailed):
        await allowed.get(f"http://ann:p%40ss@127.0.0.1:{far.port}/", 100)
    assert b"authorization: basic yw5uonbac3m=" in far.requests[0].lower()
    assert b"authorization" not in far.requests[1].lower()


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (answer("404 Not Found", body=b"x"), "answered 404"),
        (answer("200 OK", body=b"x" * 101), "at most"),
        (answer("200 OK", "Content-Encoding: gzip", body=b"x"), "packed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf", "broke"),
    ],
)
async def test_what_is_not_the_whole_file_is_none(far: Far, allowed: Outbound, said: bytes, why: str) -> None:
    far.answer = said
    fetch = asyncio.create_task(allowed.get(f"http://127.0.0.1:{far.port}/", 100))
    if why == "broke":
        while not far.requests:
            await asyncio.sleep(0.01)
        for writer in far.writers:
            writer.close()
    with pytest.raises(DownloadFailed, match=why):
        await fetch
