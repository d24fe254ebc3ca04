"""Rows as people read them: a table where it fits, else one record below the other."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import (
    Console,
    ConsoleOptions,
    Group,
    JustifyMethod,
    RenderableType,
    RenderResult,
)
from rich.table import Table
from rich.text import Text

from backchannel_deploy.cli.amounts import counted

__all__ = ["ROWS_MAX", "for_people", "result_table", "text_table"]

ROWS_MAX = 1_000
"""Rows that are shown; more are only counted. CSV and JSON have no such limit."""

_NUMBERS = ("Int", "UInt", "Float", "Decimal", "BFloat")
_WORDS = ("String", "FixedString", "Map", "Array", "Tuple", "JSON", "Enum")
_WORD_MIN, _WORD_MAX = 12, 24
"""Characters that a column of words keeps: as many as its longest word, within these bounds.
Numbers, instants and names of columns are never broken: rows that would need it are records."""
_GAP = 2
_UNBOUNDED = 100_000


def for_people(*, soft_wrap: bool = False) -> Console:
    """Returns the console of standard output. A line is as long as it is where that is no terminal:
    what reads a file or a pipe wants nothing folded or cut to 80 characters."""
    console = Console(highlight=False, soft_wrap=soft_wrap)
    if not console.is_terminal:
        console.width = _UNBOUNDED
    return console


def result_table(
    columns: Sequence[Mapping[str, str]], rows: Sequence[Sequence[object]]
) -> RenderableType:
    """Returns an answer of ClickHouse; ``columns`` have a ``name`` and a ClickHouse ``type``."""
    kinds = [_inner(column["type"]) for column in columns]
    shown = tuple(
        _Column(column["name"], kind.startswith(_NUMBERS), kind.startswith(_WORDS))
        for column, kind in zip(columns, kinds, strict=True)
    )
    if len(rows) > ROWS_MAX:
        count = f"… and {len(rows) - ROWS_MAX:,} more rows (--format csv prints them all)"
    else:
        count = counted(len(rows), "row")
    cells = tuple(tuple(map(_cell, row)) for row in rows[:ROWS_MAX])
    return Group(_Sheet(shown, cells), Text(count, style="dim"))


def text_table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> RenderableType:
    """Returns rows of words."""
    columns = tuple(_Column(name, is_number=False, folds=True) for name in names)
    return _Sheet(columns, tuple(tuple(map(Text, row)) for row in rows))


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    is_number: bool
    folds: bool


@dataclass(frozen=True, slots=True)
class _Sheet:
    columns: tuple[_Column, ...]
    rows: tuple[tuple[Text, ...], ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wants = [self._widest(number) for number in range(len(self.columns))]
        widths = [min(want, self._need(number)) for number, want in enumerate(wants)]
        spare = options.max_width - sum(widths) - _GAP * (len(widths) - 1)
        if self.rows and spare < 0:
            yield from self._records()
            return
        for number in sorted(range(len(wants)), key=lambda number: wants[number]):
            more = min(spare, wants[number] - widths[number])
            widths[number] += more
            spare -= more
        yield self._table(widths)

    def _widest(self, number: int) -> int:
        cells = (row[number].cell_len for row in self.rows)
        return max(len(self.columns[number].name), *cells, 0)

    def _need(self, number: int) -> int:
        column = self.columns[number]
        if not column.folds:
            return self._widest(number)
        words = (len(word) for row in self.rows for word in row[number].plain.split())
        return max(len(column.name), _WORD_MIN, min(_WORD_MAX, max(words, default=0)))

    def _table(self, widths: Sequence[int]) -> Table:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        for column, width in zip(self.columns, widths, strict=True):
            side: JustifyMethod = "right" if column.is_number else "left"
            table.add_column(Text(column.name), justify=side, overflow="fold", width=width)
        for row in self.rows:
            table.add_row(*row)
        return table

    def _records(self) -> RenderResult:
        for row in self.rows:
            record = Table(box=None, show_header=False, pad_edge=False)
            record.add_column(no_wrap=True, style="dim")
            record.add_column(overflow="fold")
            for column, cell in zip(self.columns, row, strict=True):
                record.add_row(Text(column.name), cell)
            yield record
            yield Text()


def _inner(column_type: str) -> str:
    for wrapper in ("LowCardinality(", "Nullable("):
        column_type = column_type.removeprefix(wrapper)
    return column_type


def _cell(value: object) -> Text:
    match value:
        case None:
            return Text("NULL", style="dim")
        case str():
            return Text(value)
        case bool():
            return Text("true" if value else "false")
        case int() | float():
            return Text(str(value))
    return Text(json.dumps(value, ensure_ascii=False))
