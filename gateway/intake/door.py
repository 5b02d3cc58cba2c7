"""The mail doors: every listener of `[smtp]` and `[lmtp]`, what their connections share, and how they come to an end."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable
from datetime import datetime

from gateway.config import Config
from gateway.errors import ConfigError
from gateway.intake.authentication import Accounts
from gateway.intake.connection import Connection, Hall
from gateway.intake.content import Room
from gateway.intake.crowd import Crowd, Visit
from gateway.intake.listener import Listener
from gateway.intake.lmtp import GatewayLMTP
from gateway.intake.reception import Commands, Desk, Reception, Throttle
from gateway.intake.smtp import GatewaySMTP
from gateway.intake.tls import Certificate
from gateway.listeners import Purpose

_ROOM, _STRANGERS_ROOM = 10, 2  # mails of the largest size that may be in hand at once


class MailDoor:
    """Listens on every address of `[smtp]` and `[lmtp]`, in the running loop."""

    def __init__(
        self,
        config: Config,
        *,
        identity: Accounts,
        throttle: Throttle,
        desk: Desk,
        now: Callable[[], datetime],
        commands: Commands | None = None,
    ) -> None:
        """`commands`: None where our mails cannot be answered. Raises ConfigError when the certificate cannot be used."""
        self.config = config
        self.certificate = Certificate(config)
        self._reception = Reception(config, identity=identity, throttle=throttle, desk=desk, now=now, commands=commands)
        self.hall = Hall(
            host=config.host,
            settings=config.smtp,
            reception=self._reception,
            crowd=Crowd(config.smtp),
            room=Room(_ROOM * config.smtp.max_size),
            strangers_room=Room(_STRANGERS_ROOM * config.smtp.max_size),
        )
        self._listeners: list[Listener] = []

    def addresses(self, purpose: Purpose = Purpose.RELAY) -> list[tuple[str, int]]:
        """Where it listens, once started; Unix sockets are not listed."""
        return [address for one in self._listeners if one.purpose is purpose for address in one.addresses]

    async def start(self) -> None:
        """Open the sockets. Raises ConfigError naming the address that cannot be had."""
        smtp = self.config.smtp
        proxies = tuple(ipaddress.ip_network(network) for network in smtp.proxies)
        for purpose, endpoint in [*smtp.endpoints(), *((Purpose.LMTP, endpoint) for endpoint in self.config.lmtp.listen)]:
            one = Listener(
                purpose,
                endpoint,
                crowd=self.hall.crowd,
                make=self._connection,
                tls=self.certificate.context,
                proxies=proxies if purpose is not Purpose.LMTP and endpoint in smtp.proxied else (),
            )
            try:
                one.open()
            except OSError as error:
                await self.stop()
                key = "smtp.listen" if purpose is Purpose.RELAY else f"smtp.{purpose}"
                key = "lmtp.listen" if purpose is Purpose.LMTP else key
                raise ConfigError(self.config.file, key, f"{endpoint}: {error.strerror}") from error
            self._listeners.append(one)

    async def stop(self) -> None:
        """Close: silent clients at once, busy ones after their command, all of them when `[work] drain` is over."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        connections = list(self.hall.connections)
        for connection in connections:
            connection.leave()
        last = [asyncio.ensure_future(connection.finished()) for connection in connections]
        if last:
            _, late = await asyncio.wait(last, timeout=self.config.work.drain.total_seconds())
            for task in late:
                task.cancel()
        await asyncio.gather(*[connection.break_off() for connection in self.hall.connections])
        await self._reception.drained()

    def _connection(self, visit: Visit, address: str) -> Connection:
        tls = None if visit.purpose is Purpose.LMTP else self.certificate.context()
        kind = GatewayLMTP if visit.purpose is Purpose.LMTP else GatewaySMTP
        return kind(self.hall, visit, "" if visit.purpose is Purpose.LMTP else address, tls)
