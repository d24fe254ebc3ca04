"""What each type of event adds to which measure, and what a row says of it."""

from collections.abc import Sequence
from typing import Any

import pytest

from backchannel.events import (
    BUCKET_UPPERS,
    COUNT_MAX,
    UNACCOUNTED,
    Document,
    Evaluation,
    Event,
    Feedback,
    Health,
    Interaction,
    LlmCall,
    Retrieval,
    ToolCall,
    Window,
    bucket_of,
    encode_event,
    open_batch,
    seal,
)
from backchannel_processors.counting import counted
from backchannel_processors.distributions import positions_of
from backchannel_processors.measures import OTHER, Measures
from backchannel_processors.observations import read
from backchannel_processors.rows import Identity, Row, Standing, row, seal_rows
from backchannel_processors.rule_metrics import QUANTITIES
from support.interactions import NOON_US, interaction


def measures_of(*events: Event) -> Measures:
    lines = [encode_event(event) for event in events]
    sealed = seal(lines, producer_id="bot", pseq=1)
    measures = Measures()
    for tally in counted(read(open_batch(sealed.value, sealed.headers)).observations):
        measures.take([tally])
    return measures


def row_of(measures: Measures) -> Row:
    identity = Identity("live", "tenant", ("a",), 10, NOON_US // 1_000_000)
    return row(identity, measures, 1, Standing(final=False, certain=True, complete=True), NOON_US)


def test_a_row_has_the_fields_of_a_window() -> None:
    assert Row.__struct_fields__ == tuple(Window.model_fields)


def test_rules_find_in_brief_whatever_they_find_in_the_whole() -> None:
    events: list[Event] = [
        interaction(
            user_id="u", components={"rag": 400}, cost_picousd=7, ttft_us=5, status="error"
        ),
        Health(ts_us=NOON_US, cpu=5, queues={"mail": 3}),
        Feedback(ts_us=NOON_US, kind="rating", value=4_000_000),
    ]
    whole = measures_of(*events)
    assert not whole.brief.components
    assert not whole.brief.distinct
    assert [take(whole.brief) for take in QUANTITIES.values()] == [
        take(whole) for take in QUANTITIES.values()
    ]


def test_a_row_is_a_window() -> None:
    events: list[Event] = [
        interaction(user_id="u", components={"rag": 400}, cost_picousd=2**63 - 1, status="error"),
        LlmCall(ts_us=NOON_US, duration_us=10, ttft_us=4, output_tokens=3),
        Health(ts_us=NOON_US, cpu=5, queues={"mail": 3}),
        Evaluation(ts_us=NOON_US, name="tone", value=-5),
    ]
    found = row_of(measures_of(*events, *events))
    window = Window.model_validate_json(seal_rows([found]).value)
    assert window.cost_picousd == found.cost_picousd == 2 * (2**63 - 1)
    assert window.model_dump()["components"]["rag"]["buckets"] == {276: 2}
    assert window.evaluations["tone"].sum == -10
    assert len(window.slowest) == 1  # it came twice


def test_positions_are_buckets_on_every_boundary_and_beside_it() -> None:
    near = {value for upper in BUCKET_UPPERS for value in (upper - 1, upper, upper + 1)}
    values = [0, *sorted(value for value in near if value <= COUNT_MAX)]
    assert [position - 2 for position in positions_of(values)] == [*map(bucket_of, values)]


def test_what_components_leave_of_a_turn_is_unaccounted() -> None:
    measures = measures_of(
        interaction(duration_us=100, components={"rag": 30, "llm": 50}),
        interaction(duration_us=100, components={"llm": 150}),
        interaction(duration_us=100),
    )
    assert measures.components["llm"].sum == 200
    assert (measures.components[UNACCOUNTED].count, measures.components[UNACCOUNTED].sum) == (2, 20)


def test_an_unknown_price_is_unpriced_and_never_zero() -> None:
    measures = measures_of(
        interaction(input_tokens=5, cost_picousd=7),
        interaction(input_tokens=5, cost_status="unpriced"),
        interaction(input_tokens=5, cost_status="not_applicable"),
        interaction(),
    )
    sums = [measures.sum(name) for name in ("cost_picousd", "priced", "unpriced")]
    assert sums == [7, 1, 1]


@pytest.mark.parametrize(
    ("events", "sums"),
    [
        (
            [interaction(http_status=404), interaction(http_status=503, fallback_used=True)],
            {"http_4xx": 1, "http_5xx": 1, "fallbacks": 1},
        ),
        (
            [interaction(cache_hit=True), interaction(cache_hit=False), interaction()],
            {"cache_hits": 1, "cache_lookups": 2},
        ),
        (
            [interaction(duration_us=3_000, ttft_us=1_000, output_tokens=50)],
            {"generated_tokens": 50, "generation_us": 2_000},
        ),
        (
            [LlmCall(ts_us=1, retries=2, input_tokens=3, status="timeout")],
            {"llm_retries": 2, "llm_input_tokens": 3, "llm_errors": 1, "llm_unpriced": 1},
        ),
        (
            [Retrieval(ts_us=1), Retrieval(ts_us=1, status="error")],
            {"retrieval_empty": 1, "retrieval_errors": 1},
        ),
        ([ToolCall(ts_us=1, status="error")], {"tool_errors": 1}),
        ([Evaluation(ts_us=1, name="tone", status="error")], {"evaluation_errors": 1}),
    ],
)
def test_events_add_to_sums(events: Sequence[Event], sums: dict[str, int]) -> None:
    found = measures_of(*events).sums
    assert sums.items() <= found.items()


def test_the_best_document_is_the_score_of_a_retrieval() -> None:
    documents = (Document(score=300_000), Document(score=900_000), Document())
    measures = measures_of(
        Retrieval(ts_us=1, documents=documents),
        Retrieval(ts_us=1, documents=(Document(score=-1),)),
    )
    score = measures.distribution("retrieval_score")
    assert (score.count, score.least, score.most) == (2, 0, 900_000)


def test_scores_keep_their_number_and_their_ends() -> None:
    measures = measures_of(
        Feedback(ts_us=1, kind="rating", value=4_000_000, sample_weight=3),
        Feedback(ts_us=1, kind="rating", value=1_000_000),
        Health(ts_us=1, cpu=900_000, queues={"mail": 7}),
    )
    rating, mail = measures.score("feedback", "rating"), measures.score("gauges", "queue:mail")
    assert rating is not None
    assert (rating.count, rating.sum, rating.least) == (4, 13_000_000, 1_000_000)
    assert mail is not None
    assert mail.most == 7


def test_labels_beyond_the_bound_are_other_in_every_order() -> None:
    events = [interaction(components={f"c{n:02}": n}) for n in range(40)]
    measures, backwards = measures_of(*events), measures_of(*events[::-1])
    assert len(measures.components) == 32
    assert measures.components == backwards.components
    assert measures.components[OTHER].sum == sum(range(30, 40))


def test_exemplars_are_the_slowest_costliest_and_newest_failing() -> None:
    turns = [
        interaction(n, duration_us=n, cost_picousd=100 - n, status="error" if n < 5 else "ok")
        for n in range(1, 9)
    ]
    ids: list[str] = [turn.event_id for turn in turns]
    found = row_of(measures_of(*turns))
    assert found.slowest == (ids[7], ids[6], ids[5])
    assert found.costliest == (ids[0], ids[1], ids[2])
    assert found.failing == (ids[3], ids[2], ids[1])


def test_a_user_without_a_name_is_nobody() -> None:
    assert row_of(measures_of(interaction(), interaction(user_id="u"))).active_users == 1


def test_a_sum_beyond_64_bits_stops_in_the_row() -> None:
    events: list[Any] = [
        Interaction(ts_us=NOON_US, input_tokens=COUNT_MAX, sample_weight=1_000_000)
    ]
    found = row_of(measures_of(*events * 20))
    assert found.input_tokens == found.latency_count + 2**63 - 1 - 20_000_000


def test_what_comes_twice_is_one_exemplar_wherever_batches_are_cut() -> None:
    failed = interaction(1, duration_us=9, cost_picousd=9, status="error")
    turns = [failed, failed, failed, interaction(2, duration_us=5, cost_picousd=5)]
    together, apart = measures_of(*turns), Measures()
    for turn in turns:
        apart.add(measures_of(turn))
    assert together.exemplars == apart.exemplars
