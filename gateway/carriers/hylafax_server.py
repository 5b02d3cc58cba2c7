"""A session at hfaxd: signed in, times in GMT. What can go wrong, in our words.

Nothing that is asked here sends a fax: whatever breaks is `CarrierUnavailable`. The one command that does is `submit`'s.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator

from gateway.carriers.hylafax_config import HylaFaxConfig
from gateway.carriers.hylafax_wire import Broken, Reply, Wire, quoted
from gateway.errors import CarrierBusy, CarrierRefused, CarrierUnavailable
from gateway.log import printable

_log = logging.getLogger(__name__)


class Server:
    """Where hfaxd is, and who we are there."""

    def __init__(self, name: str, config: HylaFaxConfig) -> None:
        self._name, self._config = name, config
        self.limit = config.time_limit.total_seconds()

    @contextlib.asynccontextmanager
    async def session(self, *, admin: bool = False) -> AsyncIterator[Wire]:
        """For some questions. Raises CarrierUnavailable, where the connection breaks too."""
        try:
            wire = await self.signed_in(admin=admin)
            try:
                yield wire
                with contextlib.suppress(Broken):
                    await wire.ask("QUIT")
            finally:
                await wire.ended()
        except Broken as error:
            raise self.gone(error) from error

    async def signed_in(self, *, admin: bool = False) -> Wire:
        """A session that its owner closes. Raises CarrierUnavailable."""
        config = self._config
        try:
            wire = await Wire.opened(config.host, config.port, self.limit)
        except (OSError, TimeoutError) as error:
            raise CarrierUnavailable("The fax server cannot be reached.") from error
        try:
            self.check(await wire.greeting())
            reply = await wire.ask(f"USER {quoted(config.username)}")
            if reply.code == 331:
                reply = await wire.ask(f"PASS {quoted(config.secret)}")
            self._let_in(reply)
            if admin:
                self._let_in(await wire.ask(f"ADMIN {quoted(config.admin)}"))
            self.check(await wire.ask("TZONE GMT"))
        except Broken as error:
            raise self.gone(error) from error
        except BaseException:
            wire.close()
            raise
        return wire

    def gone(self, error: Broken) -> CarrierUnavailable:
        """A broken connection, where nothing was to be sent."""
        _log.info("%s: the connection broke: %s", self._name, printable(str(error), 120))
        return CarrierUnavailable("The fax server does not answer as it should.")

    def check(self, reply: Reply) -> Reply:
        """An answer to something that sends nothing. Raises CarrierBusy, CarrierUnavailable, CarrierRefused."""
        if reply.good:
            return reply
        said = printable(reply.text, 200)
        if reply.code == 421:
            raise CarrierBusy("The fax server takes nothing just now.", retry_after=self._config.busy_wait.total_seconds())
        if reply.code < 500:
            raise CarrierUnavailable(f"The fax server cannot do it just now: {said}")
        raise CarrierRefused(f"The fax server refused: {said}", carrier_code=str(reply.code))

    def _let_in(self, reply: Reply) -> None:
        if reply.code == 530:  # a wrong word in the configuration must not fail every fax of the day
            _log.error("%s: the fax server does not let us in; look at username, password and its hosts.hfaxd", self._name)
            raise CarrierUnavailable("The fax server does not let us in.")
        self.check(reply)
