"""What one process knows of itself: counts and durations, bounded, never counted twice."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from backchannel.events import Component, Event, Health, Interaction, LlmCall, Retrieval
from backchannel.integrations.tally import BOUNDS_US, OTHER, SERIES_MAX, Counts, Durations, Tally


def counted(*events: tuple[type[Event], dict[str, Any]]) -> Counts:
    tally = Tally()
    for model, fields in events:
        tally.observe(model, fields)
    return tally.snapshot()


def test_turns_are_counted_by_how_they_ended() -> None:
    ok: dict[str, Any] = {"endpoint": "/chat", "model": "m"}
    counts = counted(
        (Interaction, ok), (Interaction, ok), (Interaction, {**ok, "status": "timeout"})
    )

    assert counts.requests == {("/chat", "m", "ok"): 2, ("/chat", "m", "timeout"): 1}


def test_only_what_came_by_http_is_a_request_of_http() -> None:
    http = {"endpoint": "/chat", "http_method": "POST", "http_status": 200, "duration_us": 9}
    counts = counted((Interaction, http), (Interaction, {"duration_us": 9}))

    assert list(counts.http) == [("/chat", "POST", "200")]
    assert counts.operations["total_request",].count == 2


def test_parts_of_a_turn_and_work_outside_are_operations() -> None:
    counts = counted(
        (Interaction, {"duration_us": 50, "components": {"rag": 30, "llm": 15}}),
        (Component, {"name": "rag", "duration_us": 10}),
    )

    assert {name: each.sum_us for (name,), each in counts.operations.items()} == {
        "total_request": 50,
        "rag": 40,
        "llm": 15,
    }


def test_the_tokens_of_a_turns_calls_are_not_counted_again_with_the_turn() -> None:
    call = {"provider": "p", "request_model": "m", "trace_id": "t"}
    counts = counted(
        (LlmCall, {**call, "input_tokens": 10, "output_tokens": 4}),
        (LlmCall, {**call, "input_tokens": 5, "response_model": "m-2026"}),
        (Interaction, {"trace_id": "t", "input_tokens": 15, "output_tokens": 4, "model": "m"}),
    )

    assert counts.tokens == {
        ("p", "m", "input_tokens"): 10,
        ("p", "m", "output_tokens"): 4,
        ("p", "m-2026", "input_tokens"): 5,
    }


def test_what_a_turn_tells_beyond_its_calls_is_its_own() -> None:
    call = {"request_model": "m", "trace_id": "t", "input_tokens": 10}
    turn = {"model": "m", "trace_id": "t", "input_tokens": 17}
    counts = counted((LlmCall, call), (Interaction, turn), (Interaction, {"input_tokens": 3}))

    assert counts.tokens == {("", "m", "input_tokens"): 17, ("", "", "input_tokens"): 3}


def test_searches_are_told_by_their_source() -> None:
    counts = counted((Retrieval, {"data_source_id": "faq", "duration_us": 7}))

    assert counts.lookups["faq",].sum_us == 7


def test_queues_are_as_long_as_the_last_health_said() -> None:
    counts = counted(
        (Health, {"queues": {"celery": 9, "rq": 1}}),
        (Health, {"queues": {"celery": 2}}),
        (Health, {}),
    )

    assert counts.queues == {"celery": 2}


def test_beyond_the_bound_series_are_told_together() -> None:
    counts = counted(
        *((Interaction, {"endpoint": f"/{number}"}) for number in range(SERIES_MAX + 30))
    )

    assert len(counts.requests) == SERIES_MAX + 1
    assert counts.requests[OTHER, OTHER, OTHER] == 30
    assert counts.overflowed == 30


def test_what_cannot_be_counted_raises_nothing_and_is_told() -> None:
    assert counted((Interaction, {"duration_us": "soon"})).missed == 1


def test_a_forked_child_begins_with_nothing() -> None:
    tally = Tally()
    tally.observe(Interaction, {})
    tally.restart()

    assert tally.snapshot() == Counts()


@given(st.lists(st.integers(0, 100_000_000), min_size=1))
def test_durations_agree_with_the_list_of_them(values: list[int]) -> None:
    durations = Durations()
    for value in values:
        durations.add(value)

    assert (durations.count, durations.sum_us) == (len(values), sum(values))
    assert (durations.least_us, durations.most_us) == (min(values), max(values))
    for index, bound in enumerate(BOUNDS_US):
        below = sum(value <= bound for value in values)
        assert sum(durations.by_bound[: index + 1]) == below
    exact = sorted(values)[-(-95 * len(values) // 100) - 1]
    assert abs(durations.quantile_us(950) - exact) <= exact * 0.011 + 1
