"""The tables, over ClickHouse's HTTP interface."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError

from backchannel.clock import Clock
from backchannel_sinks.errors import RowsRefusedError, StoreAwayError

__all__ = ["ClickHouseStore"]

_T = TypeVar("_T")

_LOOK_BACK_US = 8 * 86_400 * 1_000_000
"""Events that Kafka may still hold are not older than this: its retention is 7 days."""

_INSERT_SETTINGS = {
    # One body is one block: the token names all of it or none.
    "async_insert": 0,
    "input_format_parallel_parsing": 0,
    "max_insert_block_size": 10_000_000,
    "min_insert_block_size_rows": 10_000_000,
    "min_insert_block_size_bytes": 0,
    "max_partitions_per_insert_block": 1_000,
    "input_format_skip_unknown_fields": 1,
    "input_format_null_as_default": 0,
    "input_format_defaults_for_omitted_fields": 1,
    "date_time_input_format": "basic",
}

_UNREADABLE = frozenset(
    # Codes with which ClickHouse says that a row, not the server, is at fault.
    (6, 25, 26, 27, 38, 41, 43, 53, 69, 70, 72, 117, 131, 349, 376, 407, 441, 469, 652, 675, 676)
)


class ClickHouseStore:
    """A client of its own in a thread of its own: the client is synchronous and not for sharing.

    ``connect`` is called in that thread, at first use and again after an error that may have been
    the connection's.
    """

    def __init__(self, connect: Callable[[], Client], clock: Clock) -> None:
        self._connect = connect
        self._clock = clock
        self._client: Client | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sink-clickhouse")

    async def insert(self, table: str, body: bytes, token: str) -> None:
        settings = {**_INSERT_SETTINGS, "insert_deduplication_token": token}

        def insert(client: Client) -> None:
            client.raw_insert(table, insert_block=body, settings=settings, fmt="JSONEachRow")

        await self._in_thread(insert)

    async def producer_numbers(
        self, partition: int, epoch: int, before_offset: int
    ) -> Sequence[tuple[str, int]]:
        rows = await self._select(
            "SELECT _producer, max(_pseq) FROM events WHERE _partition = {partition:UInt16}"
            " AND _epoch = {epoch:UInt64} AND _offset < {offset:UInt64} AND _pseq > 0"
            " AND _broker_time >= fromUnixTimestamp64Micro({since:Int64})"
            " GROUP BY _producer ORDER BY max(_offset)",
            {"partition": partition, "epoch": epoch, "offset": before_offset},
        )
        return [(str(producer_id), int(pseq)) for producer_id, pseq in rows]

    async def stored_offset(self, partition: int, epoch: int) -> int:
        rows = await self._select(
            "SELECT if(count() = 0, -1, toInt64(max(_offset))) FROM events"
            " WHERE _partition = {partition:UInt16} AND _epoch = {epoch:UInt64}"
            " AND _broker_time >= fromUnixTimestamp64Micro({since:Int64})",
            {"partition": partition, "epoch": epoch},
        )
        return int(rows[0][0])

    def close(self) -> None:
        """Lets go of the connection. A statement under way is not waited for: it may still be
        carried out, and the block is settled by whoever owns it then."""
        self._thread.submit(self._disconnect)
        self._thread.shutdown(wait=False)

    async def _select(self, statement: str, parameters: dict[str, int]) -> Sequence[Sequence[Any]]:
        since = self._clock.now_us() - _LOOK_BACK_US

        def select(client: Client) -> Sequence[Sequence[Any]]:
            answer = client.query(statement, parameters={**parameters, "since": since})
            return answer.result_rows

        return await self._in_thread(select)

    async def _in_thread(self, statement: Callable[[Client], _T]) -> _T:
        def run() -> _T:
            try:
                if self._client is None:
                    self._client = self._connect()
                return statement(self._client)
            except DatabaseError as error:
                if error.code in _UNREADABLE:
                    raise RowsRefusedError(f"ClickHouse error {error.code}") from None
                # The text may quote a row: its number says enough.
                raise StoreAwayError(f"ClickHouse error {error.code}") from None
            except (ClickHouseError, OSError) as error:
                self._disconnect()
                raise StoreAwayError(type(error).__name__) from None

        return await asyncio.get_running_loop().run_in_executor(self._thread, run)

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()
