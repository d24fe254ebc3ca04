"""The law of counts, whatever happens in whatever order, and that nothing ever raises."""

import asyncio
import os
import tempfile
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from backchannel import DropReason, MemoryTransport, Producer, ProducerStats
from backchannel.events import EVENT_TYPES, Interaction, Retrieval
from backchannel.events.turns import Document
from backchannel.settings import SettingsArguments

STEPS = st.lists(
    st.sampled_from(
        [
            *("track",) * 5,
            "burst",
            "garbage",
            "too_large",
            "flush",
            "wait",
            "away",
            "back",
            "break_before",
            "break_after",
            "refuse",
            "slow",
            "fast",
        ]
    ),
    max_size=40,
)
TOO_LARGE = Retrieval(documents=(Document(id="🙂" * 256, source="🙂" * 256),) * 256)
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.characters(categories=["Cs"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=5,
)
FIELD_NAMES = st.sampled_from(sorted(Interaction.model_fields)) | st.text()

LOST_LATER: tuple[DropReason, ...] = ("displaced", "refused", "spill_damaged", "unsent")


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not reached():  # noqa: ASYNC110  # counts, which nobody announces
            await asyncio.sleep(0.002)


def check(stats: ProducerStats) -> None:
    assert stats.offered == stats.acked + stats.held + sum(stats.dropped.values())
    assert stats.accepted + stats.refused == stats.offered
    assert min(stats.held, stats.held_bytes) >= 0
    assert stats.held_bytes <= 64 * 1024


async def run(steps: list[str], on_full: str, directory: str) -> None:
    transport = MemoryTransport()
    told: Counter[str] = Counter()
    settings: SettingsArguments = {
        "linger_ms": 1,
        "buffer_bytes_max": 64 * 1024,
        "on_full": on_full,
        "spill_directory": directory,
    }
    producer = Producer(
        transport=transport, on_drop=lambda why, count: told.update({why: count}), **settings
    )
    unusable: Any = {"event_type": "interaction"}
    producer.start()
    taken = 0
    for step in steps:
        match step:
            case "track":
                taken += producer.track(Interaction(conversation_id=str(taken % 5)))
            case "burst":
                taken += sum(producer.track(Interaction()) for _ in range(100))
            case "garbage":
                assert not producer.track(unusable)
            case "too_large":
                assert not producer.track(TOO_LARGE)
            case "flush":
                assert await producer.flush(0.02) >= 0
            case "wait":
                await asyncio.sleep(0.003)
            case "away" | "back":
                transport.away = step == "away"
            case "break_before" | "break_after":
                transport.break_next(after_storing=step == "break_after")
            case "refuse":
                transport.refuse_next()
            case "slow" | "fast":
                transport.delay_s = 0.005 if step == "slow" else 0
        check(producer.stats())
    if on_full != "spill":
        transport.away = False
    lost_later = sum(producer.stats().dropped.get(why, 0) for why in LOST_LATER)
    undelivered = await producer.close(0.2 if transport.away else 2)

    stats = producer.stats()
    check(stats)
    assert stats.accepted == taken
    assert stats.held == stats.spilled
    assert stats.held_bytes == 0
    assert undelivered == sum(stats.dropped.get(why, 0) for why in LOST_LATER) - lost_later
    assert told == stats.dropped
    later = MemoryTransport()
    if on_full == "spill":  # what it left behind is sent by the next one, byte for byte
        async with Producer(transport=later, **settings) as heir:
            await until(lambda: heir.stats().recovered >= stats.spilled)
        assert heir.stats().recovered == stats.spilled
        assert os.listdir(directory) in ([], ["partitions"])
    # The ledger: each acknowledged event is stored once, and what was dropped left its gap.
    seqs = [event.seq for event in transport.events()]
    found_later = {event.seq for event in later.events()}
    if stats.dropped.get("unsent", 0) == 0 and "break_after" not in steps:
        assert found_later.isdisjoint(seqs)
    seqs += found_later.difference(seqs)
    assert len(set(seqs)) == len(seqs) >= stats.acked + stats.spilled
    assert len(seqs) <= stats.accepted
    if "break_after" not in steps:  # else a batch may be stored, and refused when it comes again
        assert len(seqs) <= stats.accepted - stats.dropped.get("refused", 0)
    assert stats.last_seq == stats.offered


@given(STEPS, st.sampled_from(["drop_newest", "drop_oldest", "spill"]))
@settings(max_examples=60, deadline=None)
def test_every_event_is_acknowledged_held_or_dropped_for_a_reason(
    steps: list[str], on_full: str
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(run(steps, on_full, directory))


@given(ANYTHING)
@settings(max_examples=200, deadline=None)
def test_tracking_anything_never_raises(anything: Any) -> None:
    producer = Producer(transport=MemoryTransport())
    assert not producer.track(anything)
    assert producer.stats().dropped == {"invalid": 1}


@given(st.sampled_from(sorted(EVENT_TYPES)), st.dictionaries(FIELD_NAMES, ANYTHING, max_size=5))
@settings(max_examples=200, deadline=None)
def test_events_made_past_their_constructor_never_raise(
    event_type: str, fields: dict[str, Any]
) -> None:
    transport = MemoryTransport()
    producer = Producer(transport=transport)

    producer.track(EVENT_TYPES[event_type].model_construct(**fields))

    check(producer.stats())
    assert producer.stats().offered == 1
    producer.close_sync()


@given(
    st.dictionaries(FIELD_NAMES, ANYTHING, max_size=5),
    st.dictionaries(FIELD_NAMES, ANYTHING, max_size=3),
    ANYTHING,
)
@settings(max_examples=200, deadline=None)
def test_a_turn_never_raises_and_what_arrives_is_a_valid_event(
    fields: dict[str, Any], counts: dict[str, Any], name: Any
) -> None:
    transport = MemoryTransport(1)
    producer = Producer(transport=transport)
    fields.pop("self", None)
    counts.pop("self", None)

    with producer.bind(**fields).interaction(**fields) as turn:
        turn.usage(**counts)
        turn.set(**counts)
        turn.first_token()
        with turn.component(name):
            pass

    assert producer.close_sync() == 0
    assert len(transport.events()) == 1
