"""The octets after DATA, up to the lone dot: taken in pieces, checked, unstuffed.

Promises that only CRLF `.` CRLF ends a mail and that a mail with a bare CR or LF is refused, so that no server before
or behind us can be made to see two mails where we see one (SMTP smuggling). Holds at most two copies of the mail, for
the moment in which the pieces are joined, and one afterwards; a mail at fault is not kept at all. All mails together
have a `Room`: without it a few hundred strangers writing to postmaster could fill the memory.
Sources: RFC 5321 §2.3.8, §4.1.1.4, §4.5.2, §4.5.3.1; rows SMT-01 to SMT-03, SMT-25.
"""

from __future__ import annotations

from gateway.errors import Refused

_END = b"\r\n.\r\n"
_LINE = 998  # octets without CRLF, RFC 5321 §4.5.3.1.6


class Room:
    """How many octets of mail may be in hand at once, over all connections: what memory costs at most."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.used = 0

    def take(self, octets: int) -> bool:
        """Whether there was room for them."""
        if self.used + octets > self._limit:
            return False
        self.used += octets
        return True


class Content:
    """One mail on its way in. `close` it when it is in hand no more."""

    def __init__(self, limit: int, room: Room) -> None:
        self._limit, self._room, self._held = limit, room, 0
        self._pieces: list[bytes] = []
        # Begins with the CRLF of the last finished line, so that an end and a stuffed dot are found across pieces;
        # at first that is the CRLF of the DATA command.
        self._tail = b"\r\n"
        self._fault: Refused | None = None
        self.received = 0
        """Octets so far, dots and all."""

    def feed(self, data: bytes) -> bytes | None:
        """Take the next piece; returns what follows the end of the mail, None while there is no end."""
        window = self._tail + data
        end = window.find(_END)
        self.received += len(data) if end < 0 else end + len(_END) - len(self._tail)
        if self.received > self._limit:
            self._refuse(Refused(f"This mail is larger than {self._limit} octets.", reply="552 5.3.4"))
        if end >= 0:
            self._keep(window[:end])
            return window[end + len(_END) :]
        cut = window.rfind(b"\r\n")
        if len(window) - cut > 2 * _LINE:
            self._refuse(_too_long())
        if self._fault:
            self._tail = window[-len(_END) + 1 :]
        else:
            self._keep(window[:cut])
            self._tail = window[cut:]
        return None

    def taken(self) -> bytes:
        """The mail, lines ending in CRLF. Raises Refused: bare CR or LF, a line over 1000 octets, too large."""
        if self._fault:
            raise self._fault
        if self._pieces:  # none: the dot came at once
            self._pieces.append(b"\r\n")
        mail = b"".join(self._pieces)
        self._pieces.clear()
        return mail

    def close(self) -> None:
        """Give the room back."""
        self._room.used -= self._held
        self._held = 0

    def _keep(self, block: bytes) -> None:
        """Check and keep whole lines; `block` begins with a CRLF and lacks its last one."""
        if self._fault or not block:
            return
        lines = block.splitlines()  # at CR and at LF, too; where each end has two octets, all of them are CR and LF
        ends = len(lines) - (not block.endswith((b"\r", b"\n")))
        if len(block) - sum(map(len, lines)) != 2 * ends:
            self._refuse(Refused("This mail has a line that does not end in CR and LF together.", reply="550 5.6.0"))
        elif max(map(len, lines)) > _LINE and any(len(line) - line.startswith(b".") > _LINE for line in lines):
            self._refuse(_too_long())
        else:
            block = block.replace(b"\r\n.", b"\r\n")
            if not self._room.take(len(block)):
                self._refuse(Refused("Too much mail is coming in at once; try again later.", reply="452 4.3.1"))
                return
            self._held += len(block)
            self._pieces.append(block if self._pieces else block[2:])

    def _refuse(self, fault: Refused) -> None:
        self._fault = self._fault or fault
        self._pieces.clear()
        self.close()


def _too_long() -> Refused:
    return Refused("This mail has a line of more than 1000 octets.", reply="554 5.6.0")
