"""The tables, over ClickHouse's HTTP interface."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError

from backchannel.clock import Clock
from backchannel_sinks.errors import RowsRefusedError, StoreAwayError

__all__ = ["INSERT_SETTINGS", "ClickHouseStore"]

_T = TypeVar("_T")

_LOOK_BACK_US = 8 * 86_400 * 1_000_000
"""Events that Kafka may still hold are not older than this: its retention is 7 days."""

INSERT_SETTINGS = {
    # One body is one block: the token names all of it or none.
    "async_insert": 0,
    "input_format_parallel_parsing": 0,
    # A block is read by one thread anyway; preparing the others for it is a quarter of the CPU time
    # that a small block costs. Blocks side by side are what keeps cores busy.
    "max_threads": 1,
    "max_insert_block_size": 10_000_000,
    "min_insert_block_size_rows": 10_000_000,
    "min_insert_block_size_bytes": 0,
    "max_partitions_per_insert_block": 1_000,
    "input_format_skip_unknown_fields": 1,
    "input_format_null_as_default": 0,
    "input_format_defaults_for_omitted_fields": 1,
    "date_time_input_format": "basic",
    # Of a table that is spread over shards: durable there before it is answered, and always through
    # the same replica, which knows what it has stored.
    "distributed_foreground_insert": 1,
    "load_balancing": "in_order",
}

_NO_SUCH_COLUMN = 16

_UNREADABLE = frozenset(
    # Codes with which ClickHouse says that a row, not the server, is at fault.
    (6, 25, 26, 27, 38, 41, 43, 53, 69, 70, 72, 117, 131, 349, 376, 407, 441, 469, 652, 675, 676)
)


class ClickHouseStore:
    """A few clients, each in use by one thread at a time: a client is synchronous, and not for
    sharing.

    ``connect`` is called in those threads: at first use, and again after an error that may have
    been the connection's.
    """

    def __init__(self, connect: Callable[[], Client], clock: Clock, at_once: int = 2) -> None:
        self._connect = connect
        self._clock = clock
        self._idle: deque[Client] = deque()
        self._closed = False
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="sink-clickhouse")

    async def insert(
        self, table: str, body: bytes, token: str, columns: Sequence[str] = ()
    ) -> None:
        settings = {**INSERT_SETTINGS, "insert_deduplication_token": token}

        def insert(client: Client) -> None:
            try:
                client.raw_insert(table, columns or None, body, settings, fmt="JSONEachRow")
            except DatabaseError as error:
                if not columns or error.code != _NO_SUCH_COLUMN:
                    raise
                # The tables are older than this sink: what they have no column for is left out.
                client.raw_insert(table, None, body, settings, fmt="JSONEachRow")

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
        """Lets go of the connections. A statement under way is not waited for: it may still be
        carried out, and the block is settled by whoever owns it then."""
        self._closed = True
        self._threads.submit(self._disconnect)
        self._threads.shutdown(wait=False)

    async def _select(self, statement: str, parameters: dict[str, int]) -> Sequence[Sequence[Any]]:
        since = self._clock.now_us() - _LOOK_BACK_US

        def select(client: Client) -> Sequence[Sequence[Any]]:
            answer = client.query(
                statement,
                parameters={**parameters, "since": since},
                settings={"load_balancing": "in_order"},
            )
            return answer.result_rows

        return await self._in_thread(select)

    async def _in_thread(self, statement: Callable[[Client], _T]) -> _T:
        def run() -> _T:
            client: Client | None = None
            try:
                client = self._taken() or self._connect()
                answer = statement(client)
            except DatabaseError as error:
                self._keep(client)
                if error.code in _UNREADABLE:
                    raise RowsRefusedError(f"ClickHouse error {error.code}") from None
                # The text may quote a row: its number says enough.
                raise StoreAwayError(f"ClickHouse error {error.code}") from None
            except (ClickHouseError, OSError) as error:
                if client is not None:
                    client.close()
                self._disconnect()  # the others lead to the same place
                raise StoreAwayError(type(error).__name__) from None
            self._keep(client)
            return answer

        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    def _taken(self) -> Client | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _keep(self, client: Client | None) -> None:
        if client is not None:
            self._idle.append(client)
        if self._closed:
            self._disconnect()

    def _disconnect(self) -> None:
        while self._idle:
            with suppress(IndexError):  # two threads may empty it
                self._idle.pop().close()
