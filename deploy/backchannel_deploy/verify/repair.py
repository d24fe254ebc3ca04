"""Corrects: windows on ``chat.metrics``, lost records into the table again, doubled rows out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TypeVar

from clickhouse_connect.driver.client import Client

from backchannel.clock import Clock
from backchannel.events.partitioning import partition_of
from backchannel.events.topics import DEAD, EVENTS, METRICS
from backchannel_deploy.parts import stored
from backchannel_deploy.verify.compare import Mismatch
from backchannel_deploy.verify.log import Log
from backchannel_deploy.verify.stored import repeats_by_month
from backchannel_processors.groupings import series_key
from backchannel_processors.rows import Row, seal_rows_in_parts
from backchannel_sinks.block import Block
from backchannel_sinks.clickhouse.store import ClickHouseStore
from backchannel_sinks.numbers import ProducerNumbers
from backchannel_sinks.records import Place, Record
from backchannel_sinks.rows import event_rows
from backchannel_sinks.tombstones import Tombstones

__all__ = ["remove_repeats", "send_corrections", "store_lost"]

_T = TypeVar("_T")

_ROWS_PER_RECORD = 100
_RECORDS_PER_BLOCK = 500


async def send_corrections(log: Log, mismatches: Iterable[Mismatch]) -> int:
    """Sends each window as it should be, with a revision above any of the stream; returns how many.
    The sink stores them like any other; sent again they change nothing."""
    partitions = len(await log.partitions(METRICS))
    by_partition: dict[int, list[Row]] = {}
    for each in mismatches:
        if each.correction is not None:
            series = series_key(each.identity.grouping, each.identity.dims)
            partition = partition_of(series, partitions)
            by_partition.setdefault(partition, []).append(each.correction)
    sealed = [
        (partition, each)
        for partition, rows in by_partition.items()
        for chunk in _chunks(rows, _ROWS_PER_RECORD)
        for each in seal_rows_in_parts(chunk)
    ]
    await log.send(
        (METRICS.name, partition, each.value, each.headers) for partition, each in sealed
    )
    return sum(map(len, by_partition.values()))


async def store_lost(
    log: Log,
    store: ClickHouseStore,
    lost: Mapping[int, Sequence[Record]],
    tombstones: Tombstones,
    clock: Clock,
) -> int:
    """Stores records that the sink has passed by and that are not there; returns how many rows.

    The sink stores none of them a second time: they are below what it has committed. Lines that
    are no events go to ``chat.dead`` first, and who was erased is left out, as the sink has it.
    """
    count, epoch = 0, await log.epoch()
    for partition, records in lost.items():
        numbers = ProducerNumbers()
        for chunk in _chunks(sorted(records, key=lambda each: each.offset), _RECORDS_PER_BLOCK):
            block = Block(Place(EVENTS.name, partition), epoch, chunk)
            rows = event_rows(block, numbers)
            numbers.update(rows.numbers.items())
            rows.leave_out(tombstones)
            await log.send((DEAD.name, None, each.value, each.headers()) for each in rows.dead)
            # A token of its own: ClickHouse may remember that of a block that it has lost.
            token = f"repair-{clock.now_us()}-{block.token}"
            for table, body in rows.bodies("events"):
                await store.insert(table, body, token)
            count += rows.stored
    return count


def remove_repeats(client: Client, since_s: int) -> int:
    """Takes out of ``events`` what stands there more than once; returns how many rows. Rewrites the
    months in which there is any, one after the other. Blocks, for minutes where they are large."""
    repeats, table = repeats_by_month(client, since_s), stored(client, "events")
    for month in repeats:
        # The columns of the sorting and the partition key have to be named, too.
        client.command(
            f"OPTIMIZE TABLE {table} PARTITION ID '{month}' FINAL DEDUPLICATE BY event_type,"
            " tenant_id, ts, _broker_time, _epoch, _partition, _offset, _line"
        )
    return sum(repeats.values())


def _chunks(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
