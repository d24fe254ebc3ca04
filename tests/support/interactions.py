"""Interactions and records for tests of the processors, and what plain counting makes of them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from backchannel.events import LIVE, Interaction, encode_event, seal
from backchannel_processors.counters import Counters
from backchannel_processors.groupings import Groupings
from backchannel_processors.measures import Measures
from backchannel_processors.partials import Partial, open_measures
from backchannel_processors.source_partition import Record, SourcePartition, WindowRules
from backchannel_processors.states import Entry

NOON_US = 1_700_000_000_000_000
"""Some instant at a multiple of 10 s."""

GROUPINGS = Groupings.parse(("", "tenant", "tenant,endpoint,model"))
RULES = WindowRules(groupings=GROUPINGS)


def interaction(at_s: float = 0, **fields: object) -> Interaction:
    """An interaction ``at_s`` seconds after noon."""
    values: dict[str, object] = {"ts_us": NOON_US + round(at_s * 1_000_000), "duration_us": 1_000}
    return Interaction.model_validate(values | fields)


def record(
    offset: int,
    events: Iterable[Interaction],
    *,
    producer: str = "bot",
    pseq: int | None = None,
    origin: str = LIVE,
    broker_s: float | None = None,
) -> Record:
    """A stamped record. The broker has it when its newest event happens, unless told otherwise."""
    batch = list(events)
    sealed = seal(
        [encode_event(event) for event in batch],
        producer_id=producer,
        pseq=offset + 1 if pseq is None else pseq,
        origin=origin,
    )
    newest_us = max((event.ts_us for event in batch), default=NOON_US)
    broker_us = newest_us if broker_s is None else NOON_US + round(broker_s * 1_000_000)
    return Record(offset, broker_us, sealed.value, sealed.headers)


def source(rules: WindowRules = RULES, counters: Counters | None = None) -> SourcePartition:
    """An empty source partition."""
    return SourcePartition(0, rules, counters or Counters(), next_offset=0, now_us=NOON_US)


@dataclass
class Changelog:
    """What checkpoints write, in memory. May be cut short, as a crash would."""

    entries: list[Entry] = field(default_factory=list)

    def write(self, part: SourcePartition, *, steps: int = 3, states: int | None = None) -> None:
        """Takes a checkpoint; only its first ``steps``, and of the first only ``states``."""
        first, meta, gone = part.checkpoint()
        self.entries += list(first)[:states]
        if states is None and steps > 1:
            self.entries.append(meta)
            if steps > 2:
                self.entries += gone


Told = dict[tuple[str, int, str, tuple[str, ...]], tuple[int, Measures]]
"""The newest state of each series and window: last offset and measures."""


def tell(told: Told, partials: Iterable[Partial]) -> Told:
    """Takes partials in as the merge agent does: the higher offset counts."""
    for partial in partials:
        key = (partial.origin, partial.window_start, partial.grouping, partial.dims)
        known = told.get(key)
        if known is None or partial.last_offset > known[0]:
            told[key] = (partial.last_offset, open_measures(partial.sealed))
    return told


def counted(told: Told) -> Counter[tuple[str, int, str, tuple[str, ...]]]:
    """How many interactions each series has in each window."""
    return Counter({key: measures.count for key, (_, measures) in told.items()})


def by_hand(events: Sequence[Interaction]) -> Counter[tuple[str, int, str, tuple[str, ...]]]:
    """The same, by plain counting."""
    counts: Counter[tuple[str, int, str, tuple[str, ...]]] = Counter()
    for event in events:
        start = event.ts_us // 10_000_000 * 10
        finest = (event.tenant_id, event.endpoint, event.model)
        for grouping, dims in (("", ()), ("tenant", finest[:1]), ("tenant,endpoint,model", finest)):
            counts[LIVE, start, grouping, dims] += event.sample_weight
    return counts
