"""What the crash tests have counted, as tables for whoever reads the run."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.flows.nodes import Client, Place

STEP, TROUBLE = "at this step", "while this happens"
_FIRST, _WIDTH = 31, 27


@dataclass
class Matrix:
    """(table, row, column) -> how many faxes were under way, how many of them were called never, how many twice."""

    cells: dict[tuple[str, str, str], str] = field(default_factory=dict)

    def enter(self, table: str, row: str, column: str, place: Place, client: Client) -> None:
        called = client.called(place)
        lost, twice = called[0], sum(faxes for times, faxes in called.items() if times > 1)
        self.cells[table, row, column] = f"{len(client.mails)} faxes, {lost} lost, {twice} twice"

    def text(self) -> str:
        return "\n\n".join(self._table(name) for name in (STEP, TROUBLE) if any(cell[0] == name for cell in self.cells))

    def _table(self, name: str) -> str:
        rows = dict.fromkeys(row for table, row, _ in self.cells if table == name)
        columns = dict.fromkeys(column for table, _, column in self.cells if table == name)
        lines = [[name, *columns], *([row, *(self.cells.get((name, row, column), "") for column in columns)] for row in rows)]
        return "\n".join(
            " | ".join(cell.ljust(_WIDTH if n else _FIRST) for n, cell in enumerate(line)).rstrip() for line in lines
        )
