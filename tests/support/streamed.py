"""What the stream makes of records, without Kafka: the agents' own code."""

from collections.abc import Iterable, Iterator, Sequence

from clickhouse_connect.driver.client import Client

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import Event, encode_event, seal
from backchannel_processors.alerting import AlertBook
from backchannel_processors.counters import Counters
from backchannel_processors.groupings import Groupings
from backchannel_processors.merge_partition import MergePartition, MergeRules
from backchannel_processors.partials import Bundle
from backchannel_processors.rows import Row, seal_rows
from backchannel_processors.rules import Rules
from backchannel_processors.source_partition import Record, SourcePartition, WindowRules
from backchannel_sinks.block import Block
from backchannel_sinks.clickhouse.store import INSERT_SETTINGS
from backchannel_sinks.numbers import ProducerNumbers
from backchannel_sinks.records import Place
from backchannel_sinks.records import Record as SinkRecord
from backchannel_sinks.rows import event_rows, window_rows

__all__ = ["GROUPINGS", "Streamed"]

GROUPINGS = Groupings.parse(("", "tenant", "tenant,endpoint,model", "tenant,user"))
_DAY_US = 86_400_000_000


class Streamed:
    """Records of one producer in one partition, counted and stored as the pipeline does."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._source = SourcePartition(
            0, WindowRules(GROUPINGS), Counters(), next_offset=0, now_us=SYSTEM_CLOCK.now_us()
        )
        rules = Rules((), "")
        self._merge = MergePartition(
            MergeRules(sources=1, alerts=rules), AlertBook(rules), next_offset=0, now_us=0
        )
        self._offset = 0

    def publish(self, events: Sequence[Event], *, broker_us: int) -> None:
        """Has a record counted by the stream and stored by the sink."""
        sealed = seal(
            [encode_event(each) for each in events], producer_id="p", pseq=self._offset + 1
        )
        value, headers = sealed.value, sealed.headers
        self._source.take(Record(self._offset, broker_us, value, headers), broker_us)
        record = SinkRecord(self._offset, broker_us // 1_000, value, headers)
        rows = event_rows(Block(Place("chat.events", 0), 1, [record]), ProducerNumbers())
        self._insert("events", rows.body)
        self._offset += 1

    def close(self, now_us: int) -> None:
        """Has every window closed that ended long before ``now_us``, and stored."""
        self._source.declare_read(self._offset, now_us)
        partials = list(self._source.flush(fast_only=False))
        notice = self._source.notice()
        notices = [notice] if notice else []
        self._merge.take(self._merge.next_offset, Bundle(2, partials, notices), now_us)
        self.store(self._rows(now_us))

    def store(self, rows: Iterable[Row]) -> None:
        """Stores rows as the sink does."""
        sealed = seal_rows(list(rows))
        record = SinkRecord(0, 0, sealed.value, sealed.headers)
        built = window_rows(Block(Place("chat.metrics", 0), 1, [record]), ProducerNumbers())
        self._insert("metric_windows", built.body)

    def _rows(self, now_us: int) -> Iterator[Row]:
        for width_s in (10, 60, 300, 3_600, 86_400):
            yield from self._merge.rows(width_s, now_us)
        yield from self._merge.finals(now_us)

    def _insert(self, table: str, body: bytes) -> None:
        settings = dict(INSERT_SETTINGS)
        self._client.raw_insert(table, insert_block=body, settings=settings, fmt="JSONEachRow")
