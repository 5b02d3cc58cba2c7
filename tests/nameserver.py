"""A name server on loopback for the tests: real sockets, UDP and TCP, and the ways in which the DNS fails."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset


class NameServer:
    """Answers from `zone`: records by name and type, e.g. `zone["corp.example", "TXT"] = ['"v=spf1 -all"']`."""

    def __init__(self) -> None:
        self.zone: dict[tuple[str, str], list[str]] = {}
        self.silent: set[str] = set()
        """Names about which nothing is answered; "*": none."""
        self.failing: set[str] = set()
        """Names that are answered with SERVFAIL."""
        self.cut: set[str] = set()
        """Names whose answers do not fit into a UDP packet."""
        self.asked: list[tuple[str, str, str]] = []
        """Every question: name, type, and "udp" or "tcp"."""
        self._tcp, self._udp = _pair()
        self.port = int(self._tcp.getsockname()[1])
        self._threads = [threading.Thread(target=serve, daemon=True) for serve in (self._serve_udp, self._serve_tcp)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):  # wakes each thread, which then sees that the port is closed
            with socket.socket(socket.AF_INET, kind) as bell:
                self._closing = True
                bell.connect(("127.0.0.1", self.port))
                bell.send(b"bye")
        for thread in self._threads:
            thread.join(10)
        self._tcp.close()
        self._udp.close()

    _closing = False

    def txt(self, name: str, text: str) -> None:
        """One TXT record, in strings of at most 255 octets."""
        pieces = [text[n : n + 255] for n in range(0, len(text), 255)]
        self.zone[name, "TXT"] = [" ".join(f'"{piece}"' for piece in pieces)]

    def answer(self, question: bytes, way: str) -> bytes | None:
        query = dns.message.from_wire(question)
        (asked,) = query.question
        name, kind = asked.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(asked.rdtype)
        self.asked.append((name, kind, way))
        if name in self.silent or "*" in self.silent:
            return None
        reply = dns.message.make_response(query, recursion_available=True)
        if name in self.failing:
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif name in self.cut and way == "udp":
            reply.flags |= dns.flags.TC
        elif records := self.zone.get((name, kind)):
            reply.answer.append(dns.rrset.from_text(asked.name, 60, "IN", kind, *records))
        elif not any(known == name for known, _ in self.zone):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        return reply.to_wire()

    def _serve_udp(self) -> None:
        while True:
            question, client = self._udp.recvfrom(65535)
            if self._closing:
                return
            if (reply := self._tried(question, "udp")) is not None:
                self._udp.sendto(reply, client)

    def _serve_tcp(self) -> None:
        while True:
            connection, _ = self._tcp.accept()
            with connection:
                if self._closing:
                    return
                connection.settimeout(5)
                (length,) = struct.unpack("!H", _exactly(connection.recv, 2))
                if (reply := self._tried(_exactly(connection.recv, length), "tcp")) is not None:
                    connection.sendall(struct.pack("!H", len(reply)) + reply)

    def _tried(self, question: bytes, way: str) -> bytes | None:
        try:
            return self.answer(question, way)
        except (dns.exception.DNSException, ValueError):
            return None


def _exactly(receive: Callable[[int], bytes], octets: int) -> bytes:
    data = b""
    while len(data) < octets:
        more = receive(octets - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def _pair() -> tuple[socket.socket, socket.socket]:
    """A listening TCP socket and a UDP socket on the same port."""
    while True:
        tcp, udp = socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        tcp.bind(("127.0.0.1", 0))
        tcp.listen(16)
        try:
            udp.bind(tcp.getsockname())
        except OSError:
            tcp.close()
            udp.close()
        else:
            return tcp, udp
