"""An answer of ClickHouse as a table for a terminal."""

import json
from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from backchannel_deploy.cli.amounts import counted

__all__ = ["ROWS_MAX", "result_table"]

ROWS_MAX = 1_000
"""Rows that are shown; more are only counted. CSV and JSON have no such limit."""

_NUMBERS = ("Int", "UInt", "Float", "Decimal", "BFloat")


def result_table(
    columns: Sequence[Mapping[str, str]], rows: Sequence[Sequence[object]]
) -> RenderableType:
    """Returns the answer as a table; ``columns`` have a ``name`` and a ClickHouse ``type``."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(
            Text(column["name"]),
            justify="right" if _is_number(column["type"]) else "left",
            overflow="fold",
        )
    for row in rows[:ROWS_MAX]:
        table.add_row(*map(_cell, row))
    if len(rows) > ROWS_MAX:
        count = f"… and {len(rows) - ROWS_MAX:,} more rows (--format csv prints them all)"
    else:
        count = counted(len(rows), "row")
    return Group(table, Text(count, style="dim"))


def _is_number(column_type: str) -> bool:
    inner = column_type
    for wrapper in ("LowCardinality(", "Nullable("):
        inner = inner.removeprefix(wrapper)
    return inner.startswith(_NUMBERS)


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
