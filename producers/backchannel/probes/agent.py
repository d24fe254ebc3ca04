"""An agent at one moment: what it has taken in, what became of it, and how far behind it is.

Whatever reads a topic is an agent: windows, merge, sink. They are told alike, so that one board,
one alert and one query are for all of them.
"""

import os
import socket
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from backchannel.events import AgentReport
from backchannel.events.agent_report import REFUSAL_CHARS_MAX

__all__ = [
    "REPORT_S",
    "AgentState",
    "Lag",
    "PartitionState",
    "held",
    "process_name",
]

REPORT_S = 15.0
"""How often an agent says how it is, on ``chat.metrics``."""

_US = 1_000_000


@dataclass(frozen=True, slots=True)
class PartitionState:
    """How far one partition is read."""

    topic: str
    partition: int
    lag_records: int
    """Records in the log that nothing has been done with yet."""
    lag_us: int
    """How long they wait, about; 0 when there are none."""
    watermark_us: int | None = None
    """How far event time has come, where the agent has such a thing. 0: no event yet."""


@dataclass(frozen=True, slots=True)
class AgentState:
    """``received`` is ``processed`` and ``late`` and everything ``skipped``, at every moment."""

    agent: str
    received: int
    processed: int
    skipped: Mapping[str, int]
    """By reason."""
    late: int = 0
    further: Mapping[str, int] = field(default_factory=dict)
    """What else the agent counts since it was started, by name."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """How many of each kind it holds in memory."""
    partitions: tuple[PartitionState, ...] = ()
    configuration: str = ""
    """Version of the rules or the file that it follows, where there is one."""
    refused: str = ""
    """Why it did not take a newer version."""

    def report(self, process: str, now_us: int) -> AgentReport:
        """Returns it as an event: of the partitions the sum, or the worst."""
        watermarks = [each.watermark_us for each in self.partitions if each.watermark_us]
        return AgentReport(
            agent=self.agent,
            process=process,
            at_us=now_us,
            received=self.received,
            processed=self.processed,
            late=self.late,
            skipped=dict(self.skipped),
            further=dict(self.further),
            held=dict(self.sizes),
            partitions=len(self.partitions),
            lag_records=sum(each.lag_records for each in self.partitions),
            lag_us=max((each.lag_us for each in self.partitions), default=0),
            watermark_us=min(watermarks, default=0),
            configuration=self.configuration,
            refused=self.refused[:REFUSAL_CHARS_MAX],
        )

    def facts(self) -> dict[str, object]:
        """Returns all of it in one line of a log: of the partitions the sum, or the worst."""
        watermarks = [each.watermark_us for each in self.partitions if each.watermark_us]
        return {
            "agent": self.agent,
            "received": self.received,
            "processed": self.processed,
            "late": self.late,
            "skipped": dict(self.skipped),
            **self.further,
            "held": dict(self.sizes),
            "partitions": len(self.partitions),
            "lag_records": sum(each.lag_records for each in self.partitions),
            "lag_s": max((each.lag_us for each in self.partitions), default=0) / _US,
            "watermark_us": min(watermarks, default=0),
        }


def process_name(slot: str) -> str:
    """Returns what a process is called in its reports: its slot, else host and process id."""
    return slot or f"{socket.gethostname()[:200]}:{os.getpid()}"


class Lag:
    """Remembers what it takes to say how far an agent is behind."""

    def __init__(self) -> None:
        self._ends: dict[int, int] = {}
        self._taken_us: dict[int, int] = {}

    def took(self, partition: int, broker_us: int) -> None:
        """Notes when the broker had the record that is taken."""
        self._taken_us[partition] = broker_us

    def looked(self, ends: Mapping[int, int]) -> None:
        """Notes where the logs end now."""
        self._ends.update(ends)

    def of(
        self,
        topic: str,
        partition: int,
        next_offset: int,
        now_us: int,
        watermark_us: int | None = None,
    ) -> PartitionState:
        """Returns how far a partition is read, as of the last look at its end. What waits came
        after the newest record that was taken, so that one's age stands for its own."""
        records = max(0, self._ends.get(partition, 0) - next_offset)
        taken_us = self._taken_us.get(partition, now_us)
        return PartitionState(
            topic, partition, records, max(0, now_us - taken_us) if records else 0, watermark_us
        )


def held(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Returns the sizes of all parts together."""
    total: Counter[str] = Counter()
    for sizes in parts:
        total.update(sizes)
    return dict(total)
