"""The tables as they are stored: what a statement that changes them has to name."""

from typing import TYPE_CHECKING

from backchannel_sinks.clickhouse.cluster import part_of

if TYPE_CHECKING:  # every command line loads this file
    from clickhouse_connect.driver.client import Client

__all__ = ["stored"]


def stored(client: "Client", table: str) -> str:
    """Returns how such a statement names a table: where it is spread over shards, its part on every
    one of them. Blocks."""
    engines = client.query(
        "SELECT engine_full FROM system.tables WHERE database = currentDatabase()"
        " AND name = {table:String}",
        parameters={"table": table},
    ).result_rows
    return part_of(table, str(engines[0][0])) if engines else table
