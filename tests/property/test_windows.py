"""Windows hold what plain counting finds: however records are cut, repeated, and interrupted."""

from collections import Counter
from dataclasses import replace
from itertools import accumulate
from math import ceil
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from backchannel.events import Interaction, encode_event, open_batch, quantile, seal
from backchannel_processors import counting
from backchannel_processors.alerting import AlertBook
from backchannel_processors.measures import Measures, merged
from backchannel_processors.merge_partition import MergePartition, MergeRules
from backchannel_processors.observations import read
from backchannel_processors.partials import VERSION, Bundle
from backchannel_processors.rules import Rules
from backchannel_processors.source_partition import SourcePartition, WindowRules
from support.interactions import (
    NOON_US,
    RULES,
    Changelog,
    by_hand,
    counted,
    interaction,
    record,
    source,
    tell,
)

durations_us = st.integers(0, 2**40)
events = st.builds(
    interaction,
    st.floats(0, 55),
    tenant_id=st.sampled_from(("a", "b")),
    model=st.sampled_from(("", "m")),
    status=st.sampled_from(("ok", "error", "cancelled")),
    error_type=st.sampled_from(("", "x", "y")),
    duration_us=durations_us,
    input_tokens=st.integers(0, 2**40),
    output_tokens=st.integers(0, 2**40),
    ttft_us=st.none() | durations_us,
    components=st.dictionaries(st.sampled_from(("rag", "llm")), durations_us),
    cost_picousd=st.none() | st.integers(0, 2**63 - 1),
    user_id=st.sampled_from(("", "u", "v")),
    cache_hit=st.sampled_from((None, True, False)),
    sample_weight=st.integers(1, 1_000_000),
)
histories = st.lists(st.lists(events, max_size=4), max_size=8)


def measures_of(batch: list[Interaction]) -> Measures:
    lines = [encode_event(event) for event in batch]
    sealed = seal(lines, producer_id="bot", pseq=1)
    reading = read(open_batch(sealed.value, sealed.headers))
    measures = Measures()
    for tally in counting.counted(reading.observations) if batch else []:
        measures.take([tally])
    return measures


@given(histories)
def test_every_event_is_in_exactly_one_window_of_each_series(
    history: list[list[Interaction]],
) -> None:
    part = source()
    for offset, batch in enumerate(history):
        part.take(record(offset, batch, broker_s=60), NOON_US)
    flat = [event for batch in history for event in batch]
    assert counted(tell({}, part.flush(fast_only=False))) == by_hand(flat)


@given(histories, st.randoms(use_true_random=False))
def test_however_often_states_are_told_the_last_ones_are_the_same(
    history: list[list[Interaction]], chance: Random
) -> None:
    once, often = source(), source()
    told_often: dict[tuple[str, int, str, tuple[str, ...]], tuple[int, Measures]] = {}
    for offset, batch in enumerate(history):
        each = record(offset, batch, broker_s=60)
        once.take(each, NOON_US)
        often.take(each, NOON_US)
        tell(told_often, often.flush(fast_only=chance.random() < 0.5))
    assert tell(told_often, often.flush(fast_only=False)) == tell({}, once.flush(fast_only=False))


@given(histories, st.randoms(use_true_random=False))
def test_what_is_told_ahead_in_brief_leaves_the_rows_as_they_are(
    history: list[list[Interaction]], chance: Random
) -> None:
    rules = replace(RULES, fast=frozenset(("", "tenant")))
    plain, ahead = source(rules), source(rules)
    merges = [merge_partition(), merge_partition()]
    for offset, batch in enumerate(history):
        each = record(offset, batch, broker_s=60)
        plain.take(each, NOON_US)
        ahead.take(each, NOON_US)
        told = list(ahead.flush(fast_only=chance.random() < 0.7))
        merges[1].take(offset, Bundle(VERSION, told), NOON_US)
    for part, merge in zip((plain, ahead), merges, strict=True):
        last = Bundle(VERSION, list(part.flush(fast_only=False)))
        merge.take(len(history), last, NOON_US)
    first, second = [
        {
            (row.grouping, row.window_start, *row.dims.values()): row
            for row in each.rows(10, NOON_US)
        }
        for each in merges
    ]
    assert first == second


def merge_partition() -> MergePartition:
    rules = MergeRules(sources=1, alerts=Rules())
    return MergePartition(rules, AlertBook(rules.alerts), next_offset=0, now_us=NOON_US)


@given(histories, st.data())
def test_a_crash_at_any_point_changes_nothing(
    history: list[list[Interaction]], data: st.DataObject
) -> None:
    records = [record(offset, batch, broker_s=60) for offset, batch in enumerate(history)]
    whole = source()
    for each in records:
        whole.take(each, NOON_US)
    told: dict[tuple[str, int, str, tuple[str, ...]], tuple[int, Measures]] = {}
    changelog = Changelog()
    part = source()
    for _ in range(data.draw(st.integers(0, 6), label="lives")):
        part = restored(changelog)
        for each in records[part.next_offset :]:
            match data.draw(st.integers(0, 9), label="what happens"):
                case 0:
                    break  # killed
                case 1:
                    tell(told, part.flush(fast_only=False))
                case 2:
                    tell(told, part.flush(fast_only=False))
                    changelog.write(part)
                case 3:
                    cut = data.draw(st.integers(0, 3), label="states written")
                    changelog.write(part, states=cut)
                    break  # killed while it wrote
                case 4:
                    news, (states, meta, gone) = part.flush(fast_only=False), part.checkpoint()
                    part.take(each, NOON_US)  # while they are told and written
                    list(part.flush(fast_only=True))
                    tell(told, news)
                    changelog.entries += [*states, meta, *gone]
                    continue
            part.take(each, NOON_US)
    part = restored(changelog)
    for each in records[part.next_offset :]:
        part.take(each, NOON_US)
    assert tell(told, part.flush(fast_only=False)) == tell({}, whole.flush(fast_only=False))


def restored(changelog: Changelog, rules: WindowRules = RULES) -> SourcePartition:
    part = source(rules)
    part.restore(changelog.entries, NOON_US)
    return part


@given(histories, st.randoms(use_true_random=False))
def test_windows_that_rest_are_told_and_written_as_if_they_did_not(
    history: list[list[Interaction]], chance: Random
) -> None:
    rules = replace(RULES, lateness_s=5)  # some of the windows are over
    awake, resting = source(rules), source(rules)
    changelogs = Changelog(), Changelog()
    for offset, batch in enumerate(history):
        for part, changelog in zip((awake, resting), changelogs, strict=True):
            part.take(record(offset, batch), NOON_US)
            if chance.random() < 0.5:
                list(part.flush(fast_only=False))
            if part is resting:
                changelog.write(part)
                list(part.rest())
    for part, changelog in zip((awake, resting), changelogs, strict=True):
        changelog.write(part)
    told = [tell({}, restored(each, rules).flush(fast_only=False)) for each in changelogs]
    assert told[0] == told[1]


@given(st.lists(events, max_size=12), st.randoms(use_true_random=False))
def test_states_merge_in_any_order_and_any_grouping(
    batch: list[Interaction], chance: Random
) -> None:
    whole = measures_of(batch)
    cuts = sorted(chance.randrange(len(batch) + 1) for _ in range(2))
    parts = [measures_of(batch[a:b]) for a, b in zip([0, *cuts], [*cuts, len(batch)], strict=True)]
    left = merged((merged(parts[:2]), parts[2]))
    chance.shuffle(parts)
    right = merged((parts[0], merged(parts[1:])))
    assert left == right == whole


@given(st.lists(st.lists(events, max_size=5), min_size=1, max_size=4))
def test_a_sum_follows_its_parts_when_they_grow(history: list[list[Interaction]]) -> None:
    total = Measures()
    states = list(accumulate(map(measures_of, history), lambda a, b: merged((a, b))))
    for old, new in zip([Measures(), *states], states, strict=False):
        total.exchange(old, new)
    assert total == states[-1]


@given(st.lists(durations_us, min_size=1), st.integers(1, 1_000))
def test_a_percentile_is_within_1_1_percent_of_the_exact_one(
    values: list[int], permille: int
) -> None:
    measures = measures_of([interaction(duration_us=value) for value in values])
    rank = max(1, ceil(permille * len(values) / 1_000))
    exact = sorted(values)[rank - 1]
    found = quantile(
        measures.latency_buckets, permille, least=min(values), most=measures.latency_max_us
    )
    assert abs(found - exact) <= 0.011 * exact + 0.5


@given(st.lists(st.sampled_from([f"type-{n:02}" for n in range(50)])))
def test_many_error_types_are_bounded_without_losing_a_count(types: list[str]) -> None:
    batch = [interaction(status="error", error_type=name) for name in types]
    by_type = measures_of(batch).labels("errors_by_type")
    assert sum(by_type.values()) == len(types)
    assert len(by_type) <= 32
    assert not by_type.keys() - Counter(types).keys() - {"__other__"}


def test_a_state_whose_labels_went_under_other_is_not_exchanged() -> None:
    first = [interaction(status="error", error_type=f"b{n:02}") for n in range(32)]
    second = [interaction(status="error", error_type=f"a{n}") for n in range(5)]
    old, new = measures_of(first), measures_of(first + second)
    assert not new.contains_labels_of(old)
    assert measures_of(first + first).contains_labels_of(old)
