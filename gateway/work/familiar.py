"""Pictures that stand in most mails of a sender: logos and banners, which are left out of the next fax.

Kept in memory only, for the senders and mails that this process prepared last: after a restart the rule is learned anew.
"""

from __future__ import annotations

from collections import Counter, OrderedDict

_SENDERS = 2000
_MAILS = 8  # of each sender
_ENOUGH = 4  # mails before the rule holds


class Familiar:
    """What inline pictures each sender's last mails had, by their SHA-256."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, OrderedDict[str, frozenset[str]]] = OrderedDict()

    def of(self, sender: str, mail: str) -> frozenset[str]:
        """The pictures in more than half of this sender's other mails; none until enough of them were seen."""
        others = [pictures for one, pictures in self._seen.get(sender, {}).items() if one != mail]
        if len(others) < _ENOUGH:
            return frozenset()
        counts = Counter(picture for pictures in others for picture in pictures)
        return frozenset(picture for picture, count in counts.items() if count * 2 > len(others))

    def remember(self, sender: str, mail: str, pictures: frozenset[str]) -> None:
        """What this mail had; the same mail prepared again counts once."""
        mails = self._seen.setdefault(sender, OrderedDict())
        mails[mail] = pictures
        self._seen.move_to_end(sender)
        if len(mails) > _MAILS:
            mails.popitem(last=False)
        if len(self._seen) > _SENDERS:
            self._seen.popitem(last=False)
