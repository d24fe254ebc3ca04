"""Rules look at the state at some point of the log, whatever of it came, and in what order."""

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from backchannel.events import Interaction
from backchannel_processors.groupings import Dims
from backchannel_processors.measures import Measures
from backchannel_processors.partials import Partial, open_measures
from backchannel_processors.series import Series
from backchannel_processors.source_partition import Record
from support.interactions import NOON_US, RULES, Changelog, interaction, record, source

FAST = replace(RULES, fast=frozenset(("", "tenant")))

events = st.builds(
    interaction,
    st.sampled_from((0, 12)),
    tenant_id=st.sampled_from(("a", "b")),
    status=st.sampled_from(("ok", "error")),
    error_type=st.sampled_from([f"type-{n:02}" for n in range(40)]),
    duration_us=st.integers(0, 2**20),
    components=st.dictionaries(st.sampled_from(("rag", "llm")), st.integers(0, 9)),
    user_id=st.sampled_from(("u", "v")),
)
histories = st.lists(st.lists(events, max_size=3), min_size=1, max_size=10)
Place = tuple[int, str, Dims]


def place_of(partial: Partial) -> Place:
    return partial.window_start, partial.grouping, partial.dims


def states(records: list[Record]) -> dict[tuple[Place, int], Measures]:
    """What each series holds after each record that changed it."""
    part = source()
    found: dict[tuple[Place, int], Measures] = {}
    for each in records:
        part.take(each, NOON_US)
        for partial in part.flush(fast_only=False):
            state = open_measures(partial.sealed)
            found[place_of(partial), partial.last_offset] = state.brief
    return found


def told(records: list[Record], chance: Random) -> Iterator[Partial]:
    """What an owner tells of what is watched, who dies now and then."""
    changelog, part = Changelog(), source(FAST)
    while part.next_offset < len(records):
        part.take(records[part.next_offset], NOON_US)
        match chance.randrange(8):
            case 0 | 1 | 2:
                yield from part.flush(fast_only=True)
            case 3:
                yield from part.flush(fast_only=False)
            case 4:
                yield from part.flush(fast_only=False)
                changelog.write(part, steps=chance.randrange(1, 4))
            case 5:
                part = source(FAST)
                part.restore(changelog.entries, NOON_US)
    yield from part.flush(fast_only=True)


@given(histories, st.randoms(use_true_random=False))
def test_the_newest_state_is_the_one_at_the_offset_that_it_reaches(
    history: list[list[Interaction]], chance: Random
) -> None:
    records = [record(offset, batch, broker_s=60) for offset, batch in enumerate(history)]
    expected = states(records)
    partials = [*told(records, chance), *told(records, chance)]  # two owners at once
    partials = chance.sample(partials, chance.randint(0, len(partials))) + partials
    if chance.random() < 0.5:
        chance.shuffle(partials)
    held: dict[Place, Series] = {}
    for partial in partials:
        place = place_of(partial)
        if partial.grouping not in FAST.fast:
            continue
        series = held.setdefault(place, Series())
        before = series.reached(0)
        series.take(partial)
        if chance.random() < 0.2:
            series = held[place] = restarted(series, chance)
        reached = series.reached(0)
        assert reached >= max(before, -1 if partial.base_offset >= 0 else partial.last_offset)
        assert series.newest == expected.get((place, reached), Measures())


def restarted(series: Series, chance: Random) -> Series:
    again, kept = Series(), list(series.told(0))
    chance.shuffle(kept)
    for each in kept:
        again.take(each)
    assert again.reached(0) == series.reached(0)
    return again


@given(histories, st.randoms(use_true_random=False))
def test_what_one_owner_tells_ahead_reaches_the_end_without_any_full_state(
    history: list[list[Interaction]], chance: Random
) -> None:
    part, held = source(FAST), dict[Place, Series]()
    for offset, batch in enumerate(history):
        part.take(record(offset, batch, broker_s=60), NOON_US)
        list(part.flush(fast_only=False) if chance.random() < 0.3 else ())
        for partial in part.flush(fast_only=True):
            series = held.setdefault(place_of(partial), Series())
            series.take(partial)
            assert series.reached(0) == partial.last_offset
