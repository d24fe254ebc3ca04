"""`backchannel sql`: one statement, one answer."""

import json
import shutil
import sys
from io import IOBase
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import Console

from backchannel_deploy.cli.clickhouse import connected
from backchannel_deploy.cli.tables import result_table

__all__ = ["sql"]

Format = Literal["table", "csv", "json", "jsonl"]

# What ClickHouse answers in when the statement names no format of its own.
_SERVER_FORMATS: dict[Format, str] = {
    "table": "JSONCompact",
    "csv": "CSVWithNames",
    "json": "JSONEachRow",
    "jsonl": "JSONEachRow",
}


def sql(
    # A statement may begin with a comment, which looks like an option.
    statement: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    format: Annotated[Format, Parameter(alias="-f")] = "table",  # noqa: A002 -- the option's name
) -> None:
    """Ask ClickHouse a question and print the answer.

    ClickHouse is the one of BACKCHANNEL_CLICKHOUSE, else of the `backchannel up` that runs here.

    Parameters
    ----------
    statement
        Any SQL, e.g. "SELECT count() FROM events". A FORMAT of its own wins over --format.
    format
        A table for people, CSV with a header, a JSON array of rows, or a JSON object a line.
    """
    headers = {"X-ClickHouse-Format": _SERVER_FORMATS[format]}
    settings = {"output_format_json_array_of_rows": int(format == "json")}
    with connected() as client:
        if format == "table":
            _print_table(client.raw_query(statement, transport_settings=headers))
            return
        answer = client.raw_stream(statement, settings=settings, transport_settings=headers)
        assert isinstance(answer, IOBase)
        shutil.copyfileobj(answer, sys.stdout.buffer)
        sys.stdout.buffer.flush()


def _print_table(answer: bytes) -> None:
    try:
        result = json.loads(answer)
        columns, rows = result["meta"], result["data"]
    except (ValueError, KeyError, TypeError):
        # Nothing to show (DDL, an insert), or the statement named a format of its own.
        sys.stdout.buffer.write(answer or b"Done.\n")
        sys.stdout.buffer.flush()
        return
    Console(highlight=False).print(result_table(columns, rows))
