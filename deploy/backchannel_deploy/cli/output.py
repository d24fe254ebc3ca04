"""Answers of ClickHouse on standard output, in the format that was asked for."""

import json
import shutil
import sys
from collections.abc import Mapping
from io import IOBase
from typing import TYPE_CHECKING, Any, Literal

from rich.console import RenderableType

from backchannel_deploy.cli.tables import for_people, result_table
from backchannel_deploy.errors import UserError

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

__all__ = ["BINARY", "Format", "answer_table", "ask_and_print"]

Format = Literal["table", "csv", "json", "jsonl", "parquet", "arrow"]
"""How an answer is printed."""

BINARY: frozenset[Format] = frozenset({"parquet", "arrow"})
"""Formats that no terminal should see."""

# What ClickHouse answers in when the statement names no format of its own.
_SERVER_FORMATS: dict[Format, str] = {
    "table": "JSONCompact",
    "csv": "CSVWithNames",
    "json": "JSONEachRow",
    "jsonl": "JSONEachRow",
    "parquet": "Parquet",
    "arrow": "ArrowStream",
}


def ask_and_print(
    client: "Client",
    statement: str,
    format: Format,  # noqa: A002 -- the option's name
    parameters: Mapping[str, Any] | None = None,
) -> None:
    """Asks and prints the answer; all formats but the table as a stream, of any size.

    Raises:
        UserError: bytes that are no text would go to a terminal.
    """
    if format == "table":
        shown = answer_table(client, statement, parameters)
        if isinstance(shown, bytes):
            if not shown and sys.stdout.isatty():  # a program takes it for a row
                shown = b"Done.\n"
            sys.stdout.buffer.write(shown)
            sys.stdout.buffer.flush()
        else:
            for_people().print(shown)
        return
    if format in BINARY and sys.stdout.isatty():
        raise UserError(f"{format} is not for a terminal: send it to a file (> answer.{format}).")
    answer = client.raw_stream(
        statement,
        parameters=dict(parameters or {}),
        settings={
            "output_format_json_array_of_rows": int(format == "json"),
            # Text, not bytes: what pandas and others expect.
            "output_format_arrow_string_as_string": 1,
            "output_format_parquet_string_as_string": 1,
        },
        transport_settings={"X-ClickHouse-Format": _SERVER_FORMATS[format]},
    )
    assert isinstance(answer, IOBase)
    shutil.copyfileobj(answer, sys.stdout.buffer)
    sys.stdout.buffer.flush()


def answer_table(
    client: "Client", statement: str, parameters: Mapping[str, Any] | None = None
) -> RenderableType | bytes:
    """Asks, and returns a table; bytes as they are when there is none to show: of DDL and inserts
    there are none, of a statement that names a format of its own it is the answer."""
    answer = client.raw_query(
        statement,
        parameters=dict(parameters or {}),
        transport_settings={"X-ClickHouse-Format": _SERVER_FORMATS["table"]},
    )
    try:
        result = json.loads(answer)
        return result_table(result["meta"], result["data"])
    except (ValueError, KeyError, TypeError):
        return answer
