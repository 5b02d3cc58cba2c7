"""What the crash tests have counted, as tables for whoever reads the run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the end of a run reads this without starting anything
    from tests.flows.nodes import Client, Place

STEP, TROUBLE = "at this step", "while this happens"
PROPERTY = "crash matrix"
_FIRST, _WIDTH = 31, 27


@dataclass(slots=True)
class Matrix:
    """One test's entries. They go with its report, from whichever process it runs in."""

    record: Callable[[str, object], None]

    def enter(self, table: str, row: str, column: str, place: Place, client: Client) -> None:
        """How many faxes were under way, how many of them were called never, how many twice."""
        called = client.called(place)
        lost, twice = called[0], sum(faxes for times, faxes in called.items() if times > 1)
        self.note(table, row, column, f"{len(client.mails)} faxes, {lost} lost, {twice} twice")

    def note(self, table: str, row: str, column: str, text: str) -> None:
        self.record(PROPERTY, (table, row, column, text))


def text(entries: Iterable[tuple[str, str, str, str]]) -> str:
    """The tables of a run."""
    cells = {(table, row, column): said for table, row, column, said in entries}
    return "\n\n".join(_table(name, cells) for name in (STEP, TROUBLE) if any(cell[0] == name for cell in cells))


def _table(name: str, cells: dict[tuple[str, str, str], str]) -> str:
    rows = dict.fromkeys(row for table, row, _ in cells if table == name)
    columns = dict.fromkeys(column for table, _, column in cells if table == name)
    lines = [[name, *columns], *([row, *(cells.get((name, row, column), "") for column in columns)] for row in rows)]
    return "\n".join(" | ".join(cell.ljust(_WIDTH if n else _FIRST) for n, cell in enumerate(line)).rstrip() for line in lines)
