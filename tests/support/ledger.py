"""What was sent, counted plainly: the oracle for windows after faults."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from random import Random

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import WIDTHS_S, Interaction, bucket_of
from backchannel.events.topics import EVENTS
from support.worker_process import Bot, Listener, RowKey

__all__ = ["Ledger", "conversations_of", "rows_of", "send_traffic", "traffic"]


class Ledger:
    """Every count, sum and bucket of every row that the events sent make."""

    def __init__(self) -> None:
        self.events = 0
        self.conversations: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        """What the turns of each tenant's conversations add up to."""
        self._sums: dict[RowKey, Counter[str]] = defaultdict(Counter)

    def note(self, events: Iterable[Interaction], origin: str = "live") -> None:
        """Counts events."""
        for event in events:
            self.events += 1
            if event.conversation_id:
                conversation = self.conversations[event.tenant_id, event.conversation_id]
                conversation["turns"] += 1
                conversation["input_tokens"] += event.input_tokens
                conversation["output_tokens"] += event.output_tokens
            finest = f"{event.tenant_id}|{event.endpoint}|{event.model}"
            series = (("", ""), ("tenant", event.tenant_id), ("tenant,endpoint,model", finest))
            second = event.ts_us // 1_000_000
            for grouping, dims in series:
                for width_s in WIDTHS_S:
                    start = second - second % width_s
                    self._count(self._sums[origin, grouping, dims, width_s, start], event)

    def _count(self, sums: Counter[str], event: Interaction) -> None:
        sums["count"] += 1
        sums["input_tokens"] += event.input_tokens
        sums["output_tokens"] += event.output_tokens
        sums["latency_sum_us"] += event.duration_us
        sums[f"bucket {bucket_of(event.duration_us)}"] += 1
        if event.status != "ok":
            sums["errors"] += 1
            sums[f"error {event.error_type or event.status}"] += 1

    def rows(self) -> dict[RowKey, dict[str, int]]:
        """Returns the sums of each row, in the form of ``rows_of``."""
        return {
            key: {name: value for name, value in sums.items() if value}
            for key, sums in self._sums.items()
        }


def rows_of(listener: Listener) -> dict[RowKey, dict[str, int]]:
    """Returns the sums of the newest revision of each row; what is 0 is left out."""
    return {
        key: {
            name: value
            for name, value in {
                "count": row.count,
                "input_tokens": row.input_tokens,
                "output_tokens": row.output_tokens,
                "latency_sum_us": row.latency_sum_us,
                "errors": row.errors,
                **{f"bucket {bucket}": n for bucket, n in row.latency_buckets.items()},
                **{f"error {kind}": n for kind, n in row.errors_by_type.items()},
            }.items()
            if value
        }
        for key, row in listener.rows.items()
    }


def conversations_of(listener: Listener) -> dict[tuple[str, str], Counter[str]]:
    """Returns the sums of all closed segments of each conversation."""
    sums: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for (tenant, conversation, _), closed in listener.conversations.items():
        conversation_sums = sums[tenant, conversation]
        conversation_sums["turns"] += closed.turns
        conversation_sums["input_tokens"] += closed.input_tokens
        conversation_sums["output_tokens"] += closed.output_tokens
    return sums


def traffic(chance: Random, most: int = 40) -> list[Interaction]:
    """Some interactions of now: of four tenants, three endpoints, two models."""
    return [
        Interaction(
            ts_us=SYSTEM_CLOCK.now_us(),
            tenant_id=f"tenant-{chance.randrange(4)}",
            endpoint=f"/{chance.randrange(3)}",
            model=chance.choice(("large", "small")),
            status=chance.choice(("ok",) * 40 + ("error", "timeout")),
            error_type=chance.choice(("", "upstream")),
            duration_us=chance.randrange(4_000_000),
            input_tokens=chance.randrange(4_000),
            output_tokens=chance.randrange(1, 500),
        )
        for _ in range(chance.randrange(1, most))
    ]


async def send_traffic(
    sender: Bot, ledger: Ledger, records: int, origin: str = "live", *, seed: int = 7
) -> None:
    """Sends records of turns to all partitions in turn, and notes them."""
    chance = Random(seed)
    for number in range(records):
        events = traffic(chance)
        ledger.note(events, origin)
        await sender.send(number % EVENTS.partitions, events)
    await sender.flush()
