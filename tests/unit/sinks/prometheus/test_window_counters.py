"""Counters made of windows: every event once, however often its window is told."""

from collections.abc import Iterator
from random import Random
from typing import Any

from prometheus_client.core import Metric

from backchannel.events import Distribution, Window, bucket_of
from backchannel_processors.measures import Measures
from backchannel_processors.rows import Identity, Standing, row, seal_rows
from backchannel_sinks.prometheus.exporter_kafka import WIDTH
from backchannel_sinks.prometheus.measures import FAMILIES, cells
from backchannel_sinks.prometheus.window_counters import WindowCounters

NOON_S = 1_700_000_000
NOON_US = NOON_S * 1_000_000


def window(tenant: str = "", *, start: int = 0, revision: int = 1, **fields: Any) -> Window:
    found = {
        "origin": "live",
        "grouping": "tenant" if tenant else "",
        "dims": {"tenant": tenant} if tenant else {},
        "window_s": 10,
        "window_start": NOON_S + start * 10,
        "revision": revision,
        "final": False,
        "complete": True,
        **dict.fromkeys(("count", "errors", "input_tokens", "output_tokens"), 0),
        **{f"latency_{name}": 0 for name in ("count", "sum_us", "min_us", "max_us", "mean_us")},
        **{f"latency_p{p}_us": 0 for p in (50, 90, 95, 99)},
        "latency_buckets": {},
        "newest_event_at_us": NOON_US,
        "published_at_us": NOON_US,
        **fields,
    }
    return Window.model_validate(found)


def counters(**limits: int) -> WindowCounters:
    return WindowCounters(("", "tenant"), **{"series_max": 10, **limits})


def told(found: WindowCounters, name: str) -> dict[tuple[str, ...], float]:
    """The samples of a name, by the values of their labels."""
    return {
        tuple(sample.labels.values()): sample.value
        for metric in found.collect()
        for sample in metric.samples
        if sample.name == name and sample.native_histogram is None
    }


def test_a_window_that_grows_is_counted_once_and_a_repeat_not_again() -> None:
    found = counters()
    for revision, tokens in ((1, 10), (3, 25), (3, 25), (2, 20)):
        found.take(window("acme", revision=revision, input_tokens=tokens), NOON_US)
    found.take(window("acme", start=1, input_tokens=100), NOON_US)

    assert told(found, "chat_tokens_total") == {("tenant", "acme", "input"): 125}
    assert told(found, "backchannel_exporter_windows_total") == {
        ("counted",): 3,
        ("repeated",): 2,
    }


def test_what_was_there_before_the_exporter_is_not_told_as_new() -> None:
    found = counters()
    found.take(window(input_tokens=10), NOON_US, counts=False)
    assert told(found, "chat_tokens_total") == {}

    found.take(window(revision=2, input_tokens=13), NOON_US)
    assert told(found, "chat_tokens_total") == {("", "", "input"): 3}


def test_histograms_add_up_to_the_events_of_all_windows_in_any_order() -> None:
    chance = Random(4)
    durations = [chance.randrange(5_000_000) for _ in range(300)]
    windows = []
    for start in range(3):
        seen: dict[int, int] = {}
        total = 0
        for number, value in enumerate(durations[start::3]):
            seen[bucket_of(value)] = seen.get(bucket_of(value), 0) + 1
            total += value
            fields: dict[str, Any] = {"latency_buckets": dict(seen), "latency_sum_us": total}
            windows.append(window(start=start, revision=number, **fields))
    chance.shuffle(windows)

    found = counters()
    for each in windows:
        found.take(each, NOON_US)

    name = "chat_turn_duration_microseconds"
    assert told(found, f"{name}_count") == {("", ""): 300}
    assert told(found, f"{name}_sum") == {("", ""): sum(durations)}


def test_beyond_the_bound_series_are_left_out_and_counted_but_the_whole_has_room() -> None:
    found = counters(series_max=2)
    for number in range(5):
        found.take(window(f"t{number}", input_tokens=1), NOON_US)
    found.take(window(input_tokens=5), NOON_US)

    assert {key[1] for key in told(found, "chat_tokens_total")} == {"t0", "t1", ""}
    ignored = told(found, "backchannel_exporter_windows_ignored_total")
    assert ignored == {("series_max",): 3, ("forgotten",): 0}


def test_a_series_that_is_silent_for_an_hour_makes_room() -> None:
    found = counters(series_max=1)
    found.take(window("old", input_tokens=1), NOON_US)
    found.take(window("new", input_tokens=1), NOON_US + 3_600_000_000)

    assert {key[1] for key in told(found, "chat_tokens_total")} == {"new"}


def test_a_window_that_is_forgotten_is_not_counted_a_second_time() -> None:
    found = counters()
    for start in range(50):
        found.take(window(start=start, input_tokens=1), NOON_US)
    found.take(window(start=0, revision=9, input_tokens=2), NOON_US)

    assert told(found, "chat_tokens_total") == {("", "", "input"): 50}
    assert told(found, "backchannel_exporter_windows_ignored_total")["forgotten",] == 1


def test_only_live_windows_of_the_shortest_width_and_the_chosen_groupings_are_wanted() -> None:
    found = counters()
    assert found.wants(window("acme"))
    for other in (
        {"origin": "replay:1"},
        {"window_s": 60},
        {"grouping": "model", "dims": {"model": "m"}},
    ):
        assert not found.wants(window(**other))


def test_every_number_of_a_window_belongs_to_a_family_that_is_told() -> None:
    everything = window(
        by_status={"ok": 1},
        errors_by_type={"upstream": 1},
        cost_picousd=2_500_000_000_000,
        components={"rag": Distribution(count=1, sum=7, buckets={bucket_of(7): 1})},
    )
    assert {cell.family for cell in cells(everything)} <= {family.name for family in FAMILIES}

    found = counters()
    found.take(everything, NOON_US)
    assert told(found, "chat_cost_usd_total") == {("", ""): 2.5}
    assert told(found, "chat_errors_total") == {("", "", "upstream"): 1}
    assert told(found, "chat_component_duration_microseconds_sum") == {("", "", "rag"): 7}


def test_a_worker_writes_the_width_as_the_exporter_looks_for_it() -> None:
    def lines() -> Iterator[tuple[int, bytes]]:
        for width_s in (10, 60):
            one = row(
                Identity("live", "", (), width_s, NOON_S),
                Measures(),
                1,
                Standing(final=False, certain=False, complete=True),
                NOON_US,
            )
            yield width_s, seal_rows([one]).value

    assert [width_s for width_s, line in lines() if WIDTH in line] == [10]


def test_no_metric_has_a_name_twice() -> None:
    metrics: list[Metric] = list(counters().collect())
    assert len({metric.name for metric in metrics}) == len(metrics)
