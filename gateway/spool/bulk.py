"""Many rows with one statement: what a batch writes, without the price of one statement for each row.

SQLite runs the statement once a row, which costs it nothing else. For PostgreSQL the rows travel as one array for each
column, and the statement becomes one over `unnest` of them: INSERT … SELECT, UPDATE … FROM, DELETE … USING. This is the
only place that hands SQL to the driver as text; the text is what SQLAlchemy makes of the statement, made once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import itemgetter
from typing import Any, cast

from sqlalchemy import ARRAY, BindParameter, Connection, Delete, Dialect, Insert, String, Text, Update, column, func, select
from sqlalchemy import bindparam as parameter
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import ColumnClause
from sqlalchemy.types import TypeDecorator, TypeEngine

Statement = Insert | Update | Delete
Row = Mapping[str, Any]
_Processor = Callable[[Any], Any] | None
_PARAMETER = re.compile(r"%\((\w+)\)s")


def run(db: Connection, statement: Statement, rows: Sequence[Row]) -> int:
    """Run a statement for all of the rows, which have the same names; the statement knows them, or they are columns of
    its table. How many rows it changed. On PostgreSQL two rows that meet the same stored row change it once.
    """
    plan = _planned(statement, tuple(rows[0]), db.dialect)
    return db.exec_driver_sql(plan.text, plan.arguments(rows)).rowcount


@dataclass(frozen=True, slots=True)
class _Plan:
    """A statement as text, and what becomes of the rows."""

    text: str
    names: tuple[str, ...]
    processors: tuple[_Processor, ...]
    constants: Mapping[str, Any]
    order: tuple[str, ...]
    """Of the parameters of one row; () = one array for each name."""

    def arguments(self, rows: Sequence[Row]) -> Any:
        columns: dict[str, Iterable[Any]] = {
            name: list(map(processor, values)) if processor else list(values)
            for name, processor, values in zip(self.names, self.processors, self._columns(rows), strict=True)
        }
        if not self.order:
            return {**columns, **self.constants}
        columns |= {name: repeat(value) for name, value in self.constants.items()}
        return list(zip(*(columns[name] for name in self.order), strict=False))  # a constant has no end

    def _columns(self, rows: Sequence[Row]) -> Iterable[Iterable[Any]]:
        if len(self.names) == 1:
            return [[row[self.names[0]] for row in rows]]
        return zip(*map(itemgetter(*self.names), rows), strict=True)


_PLANS: dict[tuple[str, Statement, tuple[str, ...]], _Plan] = {}


def _planned(statement: Statement, names: tuple[str, ...], dialect: Dialect) -> _Plan:
    """Statements are made once for each process, so that there are not many of these."""
    key = (dialect.name, statement, names)
    if key not in _PLANS:
        _PLANS[key] = (_over_arrays if dialect.name == "postgresql" else _row_by_row)(statement, names, dialect)
    return _PLANS[key]


def _row_by_row(statement: Statement, names: tuple[str, ...], dialect: Dialect) -> _Plan:
    compiled = statement.compile(dialect=dialect, column_keys=list(names))
    order = tuple(getattr(compiled, "positiontup", None) or ())
    processors = tuple(_processor(compiled.binds[name].type, dialect) for name in names)
    constants = {
        name: _processed(compiled.binds[name].effective_value, compiled.binds[name].type, dialect)
        for name in order
        if name not in names
    }
    return _Plan(str(compiled), names, processors, constants, order)


def _over_arrays(statement: Statement, names: tuple[str, ...], dialect: Dialect) -> _Plan:
    types = {name: bound.type for name, bound in statement.compile(dialect=dialect, column_keys=list(names)).binds.items()}
    arrays = [parameter(name, type_=ARRAY(_wide(types[name], dialect))) for name in names]
    columns = [column(name, _wide(types[name], dialect)) for name in names]
    given = func.unnest(*arrays).table_valued(*columns).render_derived()
    compiled = _joined(statement, names, given.c).compile(dialect=dialect)
    text = _PARAMETER.sub(lambda found: f"%({found[1]})b" if found[1] in names else found[0], str(compiled))
    constants = {name: value for name, value in compiled.params.items() if name not in names}
    return _Plan(text, names, (None,) * len(names), constants, ())


def _joined(statement: Statement, names: tuple[str, ...], given: Mapping[str, ColumnClause[Any]] | Any) -> Statement:
    """The statement over all given rows at once."""
    if isinstance(statement, Insert):
        return statement.from_select(list(names), select(*(given[name] for name in names)))
    own = set[str]()

    def replaced(element: Any, **_: Any) -> Any:
        if isinstance(element, BindParameter) and element.key in names:
            own.add(element.key)
            return given[element.key]
        return None

    joined = cast("Statement", visitors.replacement_traverse(statement, {}, replaced))
    values = {name: given[name] for name in names if name not in own}
    return joined.values(values) if values and isinstance(joined, Update) else joined


def _wide(kind: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    """The type of an array's elements: a text is not cut to its column's length on the way, but refused as too long."""
    there = kind.dialect_impl(dialect)
    inner = there.impl_instance if isinstance(there, TypeDecorator) else there
    return Text() if isinstance(inner, String) else inner


def _processor(kind: TypeEngine[Any], dialect: Dialect) -> _Processor:
    return kind.dialect_impl(dialect).bind_processor(dialect)


def _processed(value: Any, kind: TypeEngine[Any], dialect: Dialect) -> Any:
    processor = _processor(kind, dialect)
    return processor(value) if processor else value
