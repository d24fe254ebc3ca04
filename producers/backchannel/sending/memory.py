"""A transport that keeps every record in memory: Kafka's twin, for tests of bots and of ours."""

from backchannel.errors import BrokenError, RefusedError, UnreachableError
from backchannel.events import Event, SealedBatch, judge, open_batch
from backchannel.events.topics import PARTITIONS
from backchannel.events.verdict import Accepted

__all__ = ["MemoryTransport"]

_POLL_S = 0.002


class MemoryTransport:
    """Keeps what is sent, and behaves as badly as it is told to; may be told from any thread."""

    def __init__(self, partitions: int = PARTITIONS) -> None:
        self.records: list[list[SealedBatch]] = [[] for _ in range(partitions)]
        """Every record as it was stored, by partition, repeats included."""
        self.away = False
        """Nobody answers: ``connect`` fails, ``send`` waits."""
        self.delay_s: float = 0.0
        """How long the answer to a ``send`` takes."""
        self.connections: int = 0
        """How often somebody connected."""
        self._breaks: list[bool] = []
        self._refusals = 0
        self._open = False

    def break_next(self, *, after_storing: bool = False) -> None:
        """Breaks the connection at the next batch, before or after the batch is stored."""
        self._breaks.append(after_storing)

    def refuse_next(self) -> None:
        """Refuses the next batch."""
        self._refusals += 1

    def events(self) -> list[Event]:
        """Returns the events as a reader sees them: in each partition's order, repeats left out."""
        found: list[Event] = []
        for records in self.records:
            last_pseq: dict[str, int] = {}
            for record in records:
                opened = open_batch(record.value, record.headers)
                if opened.pseq is None or opened.pseq <= last_pseq.get(opened.producer_id, 0):
                    continue
                last_pseq[opened.producer_id] = opened.pseq
                for line in opened.lines:
                    verdict = judge(line)
                    assert isinstance(verdict, Accepted), verdict
                    found.append(verdict.event)
        return found

    async def connect(self) -> int:
        if self.away:
            raise UnreachableError("it was told to be away")
        self.connections += 1
        self._open = True
        return len(self.records)

    async def send(self, partition: int, batch: SealedBatch) -> None:
        import asyncio  # here: see producer.py

        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        while self.away:  # noqa: ASYNC110  # told from any thread, so no event of this loop
            await asyncio.sleep(_POLL_S)
        if not self._open:
            raise BrokenError("not connected")
        if self._refusals:
            self._refusals -= 1
            raise RefusedError("it was told to refuse")
        if self._breaks:
            if self._breaks.pop(0):
                self.records[partition].append(batch)
            self._open = False
            raise BrokenError("it was told to break")
        self.records[partition].append(batch)

    async def close(self) -> None:
        self._open = False
