"""The merge agent: partials in; rows and alerts out; its state on a changelog and on the alerts."""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from pydantic import ValidationError

from backchannel.events import ALERT_SCHEMA, Alert, control_key, partition_of
from backchannel.events.topics import ALERTS, CONTROL, METRICS, PARTIALS
from backchannel.probes.agent import AgentState, Lag, held
from backchannel_processors.alerting import AlertBook, ErasedAlerts
from backchannel_processors.counters import MergeCounters
from backchannel_processors.erasures import Erasures
from backchannel_processors.errors import StateError
from backchannel_processors.faust_app import Received
from backchannel_processors.groupings import series_key
from backchannel_processors.merge_partition import MergePartition, MergeRules
from backchannel_processors.outbox_kafka import Message
from backchannel_processors.partials import decode_bundle
from backchannel_processors.rows import Row, seal_rows_in_parts
from backchannel_processors.rules import Rules
from backchannel_processors.settings import WorkerSettings
from backchannel_processors.shell import (
    Checkpoint,
    Pace,
    Tools,
    admits,
    begin,
    write_checkpoints,
)
from backchannel_processors.source_partition import BASE_S
from backchannel_processors.topics import MERGE_CHANGELOG
from backchannel_processors.turn import Turn
from backchannel_processors.watch import ProgressWatch

__all__ = ["MergeAgent"]

_ROWS_PER_RECORD = 100
_ROWS_EVERY_S = {10: 1.0, 60: 5.0, 300: 10.0, 3_600: 60.0, 86_400: 300.0}
"""How long a change of a window of each width is collected before its row is told. With every
second for all of them, 100,000 series would be 500,000 rows a second."""
_EVALUATE_S = 0.01
_EVALUATE_S_MAX = 0.1
"""How long what changes is collected at most when deciding costs much."""


class MergeAgent:
    """Owns the merge partitions of this worker. Everything runs on one event loop."""

    topic = PARTIALS.name

    def __init__(self, tools: Tools, rules: MergeRules, settings: WorkerSettings) -> None:
        self._tools = tools
        self._rules = rules
        self._idle_check_s = settings.idle_check_s
        self._parts: dict[int, MergePartition] = {}
        self._open = False
        self._watched = asyncio.Event()
        """Something came that alert rules may watch."""
        self._news = asyncio.Event()
        self._deciding = asyncio.Lock()
        """Held while alerts are decided and on their way."""
        self._writing = asyncio.Lock()
        self._assignments = 0
        self._evaluated = Pace(_EVALUATE_S, tools.clock, tools.backlog, seconds_max=_EVALUATE_S_MAX)
        self._rows = {
            width_s: Pace(
                max(settings.flush_s, min(every_s, settings.rows_s_max)),
                tools.clock,
                tools.backlog,
            )
            for width_s, every_s in _ROWS_EVERY_S.items()
        }
        self._saved = Pace(settings.checkpoint_s, tools.clock, tools.backlog)
        self._watch = ProgressWatch(self.topic)
        self._counters = MergeCounters()
        self._lag = Lag()

    async def open(self, partitions: set[int]) -> None:
        """Takes over partitions: restores their states and alerts, commits where they go on.

        Raises:
            StateError: a state or alert cannot be read here, or belongs to another log.
        """
        assignment = self._assignments
        tools, now_us = self._tools, self._tools.clock.now_us()
        entries = await tools.reader.read(MERGE_CHANGELOG.name, partitions)
        alerts = await tools.reader.read(ALERTS.name, partitions)
        begins = await tools.reader.begins(self.topic, partitions)
        parts: dict[int, MergePartition] = {}
        for partition in sorted(partitions):
            first = partition_of(series_key("", ()), self._rules.partitions)
            book = AlertBook(
                self._rules.alerts, is_first=partition == first, counters=self._counters
            )
            book.restore(_read_alert(value) for _, value in alerts[partition] if value is not None)
            part = parts[partition] = MergePartition(
                self._rules,
                book,
                next_offset=begins[partition],
                now_us=now_us,
                counters=self._counters,
            )
            part.restore(
                ((key, value) for key, value in entries[partition] if key is not None), now_us
            )
        offsets = await begin(tools, self.topic, dict(parts))
        self._lag.looked(await tools.reader.ends(self.topic, partitions))
        await tools.commit(self.topic, offsets)
        if assignment != self._assignments:
            return  # they were given back meanwhile
        await self._post_alerts(
            (partition, alert)
            for partition, part in parts.items()
            for alert in part.restored_alerts(now_us)
        )
        self._parts = parts
        self._open = True
        self._wake()

    @property
    def is_open(self) -> bool:
        """It has the partitions that the group gave it, with their states."""
        return self._open

    def state(self) -> AgentState:
        """Returns how it is now."""
        counted, now_us = self._counters, self._now_us()
        return AgentState(
            "merge",
            counted.received,
            counted.counted,
            {
                "repeated": counted.repeated,
                "forgotten": counted.forgotten,
                "brief_without_room": counted.brief_without_room,
                "erased": counted.erased,
            },
            further={
                "rows": counted.rows,
                "alerts": counted.alerts,
                "long_windows_without_room": counted.long_windows_without_room,
                "history_without_room": counted.history_without_room,
                "silence_without_room": counted.silence_without_room,
            },
            sizes=held(part.sizes() for part in self._parts.values()),
            partitions=tuple(
                self._lag.of(self.topic, number, part.next_offset, now_us)
                for number, part in self._parts.items()
            ),
        )

    def use(self, rules: Rules) -> None:
        """Goes on with other rules; what fires under one that is gone is over."""
        self._rules = replace(self._rules, alerts=rules)
        for part in self._parts.values():
            part.use(rules)
        self._wake()

    async def erase(self, erasures: Erasures) -> list[int]:
        """Lets go of those who were erased; returns the partitions of which that is durable."""
        async with self._writing:
            if not self._open:
                return []
            turn = Turn(self._tools.clock, patient=True)
            async with self._deciding:
                erased: list[tuple[int, ErasedAlerts]] = []
                for partition, part in self._parts.items():
                    erased.append((partition, part.erase(erasures)))
                    await turn.share()
                # What is told of them is durable before the states are gone that it follows from.
                await self._post_alerts((n, alert) for n, each in erased for alert in each.ended)
                await self._tools.express.post(
                    Message(ALERTS.name, n, None, alert_id.encode())
                    for n, each in erased
                    for alert_id in each.ids
                )
            await self._write(turn)
            return list(self._parts)

    async def close(self) -> None:
        """Gives the partitions back, with everything written; nothing is written afterwards."""
        self._open = False
        self._assignments += 1
        async with self._writing:
            if self._parts:
                await self._write(Turn(self._tools.clock, patient=True))
            async with self._deciding:
                self._parts = {}

    async def take(self, many: Sequence[Received]) -> None:
        """Takes the next records of its partitions."""
        turn, assignment = Turn(self._tools.clock), self._assignments
        for received in many:
            if not self._open or assignment != self._assignments:
                return  # the rest is read again, from where the states are then
            await self._take_one(received)
            await turn.share()

    async def _take_one(self, received: Received) -> None:
        part = self._parts.get(received.partition)
        if part is None or not await admits(
            self._tools, self.topic, received.partition, part, received.offset
        ):
            return
        if not self._open or self._parts.get(received.partition) is not part:
            return  # the partition was given back meanwhile
        part.take(received.offset, decode_bundle(received.value or b""), self._now_us())
        broker_time_us = received.timestamp * 1_000
        self._lag.took(received.partition, broker_time_us)
        self._tools.backlog.took(broker_time_us)
        self._wake()

    def _wake(self) -> None:
        self._watched.set()
        self._news.set()

    async def run(self) -> None:
        """Tells what changes, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._decide())
            tasks.create_task(self._tell())
            tasks.create_task(self._follow_silence())

    async def _decide(self) -> None:
        """Tells alerts, whatever is being told or written beside it."""
        while True:
            await self._watched.wait()
            await self._evaluated.due()
            self._watched.clear()
            async with self._deciding:
                if not self._open:
                    continue
                started_us = self._tools.clock.monotonic_us()
                turn = Turn(self._tools.clock, urgent=True)
                for partition, part in self._parts.items():
                    decided = [(partition, each) for each in part.alerts(self._now_us())]
                    if decided:
                        await turn.until(self._post_alerts(decided))
                    await turn.share()
                self._evaluated.done(started_us, cost_us=turn.spent_us)

    async def _tell(self) -> None:
        """Tells rows, and writes the states whenever it is time."""
        while True:
            await self._news.wait()
            await self._rows[BASE_S].due()
            self._news.clear()
            async with self._writing:
                if self._open:
                    await self._tell_rows()
            if any(self._waits(part) for part in self._parts.values()):
                self._news.set()

    @staticmethod
    def _waits(part: MergePartition) -> bool:
        """Says that something is still to be told or written, whenever it is time."""
        return part.has_news or any(part.has_rows(width_s) for width_s in _ROWS_EVERY_S)

    async def _tell_rows(self) -> None:
        started_us, turn = self._tools.clock.monotonic_us(), Turn(self._tools.clock, patient=True)
        due = self._due()
        await self._post_budgets()
        if self._saved.wait_s > 0:
            await self._tools.outbox.post(await self._row_messages(turn, due), turn)
        else:
            await self._write(turn)
            self._saved.done(started_us, cost_us=turn.spent_us)
        for width_s in due:
            self._rows[width_s].done(started_us, cost_us=turn.spent_us)

    def _due(self) -> list[int]:
        """Returns the widths whose rows are to be told."""
        return [width_s for width_s, pace in self._rows.items() if pace.wait_s <= 0]

    async def _follow_silence(self) -> None:
        """Closes windows that wait for nobody, and sees that records keep coming."""
        while True:
            await asyncio.sleep(self._idle_check_s)
            parts = self._parts
            ends = await self._tools.reader.ends(self.topic, parts)
            self._lag.looked(ends)
            if parts is self._parts and self._open:
                self._watch.look({n: (p.next_offset, ends[n]) for n, p in parts.items()})
                self._wake()

    async def _write(self, turn: Turn) -> None:
        """Tells everything and writes a checkpoint of every partition that has news.

        Records are taken and alerts decided meanwhile. What holds for each partition:

        - an alert is durable before any state that remembers it: a state alone would keep it from
          being told again after a crash. So a checkpoint is begun while none is on its way,
        - rows are durable before what they are made of is forgotten, and states before the offset
          (``write_checkpoints``).
        """
        due = self._due() if self._open else list(self._rows)
        news = await self._row_messages(turn, due)
        checkpoints: dict[int, tuple[Checkpoint, int]] = {}
        for partition, part in self._parts.items():
            if part.has_news:
                async with self._deciding:
                    checkpoints[partition] = (part.checkpoint(), part.next_offset)
                await turn.share()
        await write_checkpoints(
            self._tools, turn, self.topic, MERGE_CHANGELOG.name, news, checkpoints
        )

    async def _post_budgets(self) -> None:
        """Tells bots how much is spent: at the pace of rows, for what a hundredth more is spent."""
        await self._tools.outbox.post(
            Message(CONTROL.name, 0, state.model_dump_json().encode(), control_key(state))
            for part in self._parts.values()
            for state in part.budgets()
        )

    async def _row_messages(self, turn: Turn, widths_s: Collection[int]) -> list[Message]:
        now_us = self._now_us()
        messages: list[Message] = []
        for partition, part in self._parts.items():
            chunk: list[Row] = []
            for row in _told(part, now_us, widths_s):
                chunk.append(row)
                if len(chunk) == _ROWS_PER_RECORD:
                    messages += self._sealed(partition, chunk)
                    chunk = []
                await turn.share()
            messages += self._sealed(partition, chunk)
        return messages

    def _sealed(self, partition: int, rows: Sequence[Row]) -> list[Message]:
        self._counters.rows += len(rows)
        return [
            Message(METRICS.name, partition, sealed.value, None, sealed.headers)
            for sealed in seal_rows_in_parts(rows)
        ]

    async def _post_alerts(self, alerts: Iterable[tuple[int, Alert]]) -> None:
        decided = list(alerts)
        await self._tools.express.post(
            Message(
                ALERTS.name,
                partition,
                alert.model_dump_json().encode(),
                alert.alert_id.encode(),
                (("schema", ALERT_SCHEMA.encode()),),
            )
            for partition, alert in decided
        )
        self._counters.alerts += len(decided)
        for _, alert in decided:
            self._tools.log.info(
                f"alert_{'fired' if alert.state == 'firing' else 'resolved'}",
                rule=alert.rule,
                alert_id=alert.alert_id,
                transition=alert.transition,
                delay_ms=(alert.evaluated_at_us - alert.trigger_event_at_us) // 1_000,
            )

    def _now_us(self) -> int:
        return self._tools.clock.now_us()


def _told(part: MergePartition, now_us: int, widths_s: Collection[int]) -> Iterator[Row]:
    for width_s in widths_s:
        yield from part.rows(width_s, now_us)
    yield from part.finals(now_us)


def _read_alert(value: bytes) -> Alert:
    try:
        return Alert.model_validate_json(value)
    except ValidationError as error:
        raise StateError(
            "a record on chat.alerts is not of this pipeline: only workers may write there"
        ) from error
