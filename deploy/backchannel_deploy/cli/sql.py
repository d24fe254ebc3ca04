"""`backchannel sql`: one statement, one answer, once or again and again."""

import sys
import time
from collections.abc import Callable
from typing import Annotated

from cyclopts import Parameter
from rich.console import RenderableType
from rich.live import Live

from backchannel_deploy.cli.clickhouse import connected
from backchannel_deploy.cli.output import Format, answer_table, ask_and_print
from backchannel_deploy.cli.tables import for_people
from backchannel_deploy.errors import UserError

__all__ = ["sql"]

_EVERY_S = 2.0


def sql(
    # A statement may begin with a comment, which looks like an option.
    statement: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    format: Annotated[Format, Parameter(alias="-f")] = "table",  # noqa: A002 -- the option's name
    watch: Annotated[bool, Parameter(alias="-w")] = False,
    every: float = _EVERY_S,
) -> None:
    """Ask ClickHouse a question and print the answer.

    ClickHouse is the one of BACKCHANNEL_CLICKHOUSE, else of the `backchannel up` that runs here.

    Parameters
    ----------
    statement
        Any SQL, e.g. "SELECT count() FROM events"; - reads it from standard input. A FORMAT of its
        own wins over --format.
    format
        A table for people, CSV with a header, a JSON array of rows, a JSON object a line, Parquet
        or an Arrow stream.
    watch
        Ask again and again, and show the newest answer, until Ctrl-C. Tables only.
    every
        Seconds between two questions of --watch.
    """
    if statement == "-":
        statement = sys.stdin.read()
    if not statement.strip():
        raise UserError("There is no statement to ask.")
    if watch and format != "table":
        raise UserError("--watch shows tables: leave --format out.")
    if watch and every <= 0:
        raise UserError("--every must be more than 0 seconds.")
    with connected() as client:
        if not watch:
            ask_and_print(client, statement, format)
            return
        _watch(lambda: answer_table(client, statement), every)


def _watch(ask: Callable[[], RenderableType | bytes], every_s: float) -> None:
    with Live(console=for_people(), auto_refresh=False) as live:
        while True:
            answer = ask()
            shown = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
            live.update(shown, refresh=True)
            time.sleep(every_s)
