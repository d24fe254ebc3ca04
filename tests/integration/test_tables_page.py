"""``docs/tables.md`` says of tables and columns what the database says.

``BACKCHANNEL_WRITE_DOCS=1 pytest tests/integration/test_tables_page.py`` writes the page anew.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from backchannel_sinks.clickhouse.connection import connect
from backchannel_sinks.clickhouse.migrate import migrate
from support.endpoint import ClickHouse

pytestmark = pytest.mark.integration

PAGE = Path(__file__).parents[2] / "docs" / "tables.md"
MARK = "<!-- generated: tests/integration/test_tables_page.py -->\n"


_COLUMN = re.compile(r"`(\w+)` (.+?) COMMENT '((?:[^'\\]|\\.)*)'")


def reference(client: Client) -> str:
    """Returns the generated part of the page: views first, each with its columns."""
    tables = client.query(
        "SELECT name, comment, create_table_query, parameterized_view_parameters"
        " FROM system.tables WHERE database = currentDatabase() ORDER BY engine != 'View', name"
    ).result_rows
    return "".join(_section(client, *table) for table in tables)


def _section(
    client: Client, table: str, comment: str, made_by: str, parameters: Sequence[Mapping[str, str]]
) -> str:
    columns: Sequence[Sequence[str]]
    if parameters:
        # Of these the system knows no columns: they stand in the statement alone.
        head = made_by.partition(") AS ")[0]
        columns = [(n, kind, text.replace("\\'", "'")) for n, kind, text in _COLUMN.findall(head)]
        asked = ", ".join(sorted(" ".join(each.values()) for each in parameters))
        comment += f"\n\nParameters: `{asked}`."
    else:
        columns = client.query(
            "SELECT name, type, comment FROM system.columns"
            " WHERE database = currentDatabase() AND table = {table:String} ORDER BY position",
            parameters={"table": table},
        ).result_rows
    assert columns, table
    rows = [f"| `{name}` | `{kind}` | {_cell(text)} |" for name, kind, text in columns]
    top = ["", f"### `{table}`", "", comment, "", "| column | type | |", "|---|---|---|"]
    return "\n".join([*top, *rows, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def test_the_page_is_what_the_database_says(clickhouse: ClickHouse) -> None:
    client = connect(clickhouse.url, clickhouse.database)
    migrate(client)
    written, _, found = PAGE.read_text("utf-8").partition(MARK)
    expected = reference(client)
    if os.environ.get("BACKCHANNEL_WRITE_DOCS"):
        PAGE.write_text(written + MARK + expected, "utf-8")
        return

    assert found == expected
