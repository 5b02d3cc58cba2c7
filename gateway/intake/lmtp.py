"""LMTP: the mail server beside us hands over, and hears of each recipient what became of the mail.

It has no queue to fear for: what is put off for one recipient is kept by that server. Its address proves nothing, because it
passes on the mail of many. Source: RFC 2033; rows LMT-01 to LMT-06.
"""

from __future__ import annotations

from gateway.errors import Refused, Unavailable
from gateway.fax import Door
from gateway.intake import reception
from gateway.intake.content import Content
from gateway.intake.reception import Answer
from gateway.intake.smtp import GatewaySMTP
from gateway.intake.transaction import Transaction


class GatewayLMTP(GatewaySMTP):
    """One connection."""

    protocol = "LMTP"
    door = Door.LMTP

    async def smtp_LHLO(self, hostname: str) -> None:
        await super().smtp_EHLO(hostname)

    async def smtp_HELO(self, hostname: str) -> None:
        raise Refused("This is LMTP: say LHLO.", reply="500 5.5.1")

    async def smtp_EHLO(self, hostname: str) -> None:
        raise Refused("This is LMTP: say LHLO.", reply="500 5.5.1")

    async def _take_mail(self, transaction: Transaction, content: Content) -> None:
        """Receive one mail and answer for each recipient, in the order in which they were named."""
        answers: list[Answer]
        try:
            mail = await self._received(content)
            with self._our_turn():
                answers = await self._reception.each(self._client, transaction, mail)
            self._was_taken(transaction)
        except (Refused, Unavailable) as error:
            answers = [error] * len(transaction.accepted)
        except EOFError:
            raise
        except Exception as error:  # noqa: BLE001  # a border: here too each recipient has an answer
            self._say(*[await self.handle_exception(error)] * len(transaction.accepted))
            return
        for one, answer in zip(transaction.accepted, answers, strict=True):
            if isinstance(answer, Refused):
                self._log_refusal("DATA", f"for {one.written}", answer)
        self._say(*map(_reply, answers))
        await self._flush()


def _reply(one: Answer) -> str:
    return f"250 2.0.0 {one}" if isinstance(one, str) else reception.answer(one)
