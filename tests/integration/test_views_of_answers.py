"""Conversations, judgements and retrieval in SQL, on data whose answer is known."""

from collections.abc import Sequence
from math import log
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import (
    Document,
    Evaluation,
    Event,
    Feedback,
    Interaction,
    Retrieval,
    Security,
    ToolCall,
)
from support.rows_of_events import insert_events, rows

pytestmark = pytest.mark.integration

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
NOW_US = SYSTEM_CLOCK.now_us()
NOON_US = NOW_US // DAY_US * DAY_US - 2 * DAY_US + DAY_US // 2
"""Noon of the day before yesterday."""


def turn(at_s: int = 0, **fields: Any) -> Interaction:
    known = {"ts_us": NOON_US + at_s * SECOND_US, "tenant_id": "acme", "conversation_id": "c"}
    return Interaction.model_validate({**known, **fields})


def score(value: float | None, name: str = "relevance", **fields: Any) -> Evaluation:
    known = {"ts_us": NOON_US, "tenant_id": "acme", "name": name}
    told = {"status": "error"} if value is None else {"value": round(value * 1_000_000)}
    return Evaluation.model_validate({**known, **told, **fields})


def feedback(kind: str, value: float | None = None, **fields: Any) -> Feedback:
    known = {"ts_us": NOON_US, "tenant_id": "acme", "kind": kind}
    told = {} if value is None else {"value": round(value * 1_000_000)}
    return Feedback.model_validate({**known, **told, **fields})


def search(*scores: float, at_us: int = NOON_US, **fields: Any) -> Retrieval:
    documents = tuple(
        Document(id=f"d{number}", score=round(each * 1_000_000))
        for number, each in enumerate(scores)
    )
    known = {"ts_us": at_us, "tenant_id": "acme", "data_source_id": "kb"}
    return Retrieval.model_validate({**known, "documents": documents, **fields})


def test_feedback_days_later_finds_its_answer(analyst: Client) -> None:
    answer = turn(model="gpt-4o", intent="faq", prompt_name="p", prompt_version="2")
    late = feedback("rating", 4, target_event_id=answer.event_id, ts_us=NOW_US)
    insert_events(analyst, [answer, late, feedback("thumb", 1, target_event_id="not-an-id")])

    found = rows(analyst, "SELECT * FROM v_judgements ORDER BY name")

    assert [(r["target_found"], r["model"], r["intent"], r["score"]) for r in found] == [
        (True, "gpt-4o", "faq", 0.75),
        (False, "", "", 1.0),
    ]
    assert (found[0]["conversation_id"], found[0]["prompt_version"]) == ("c", "2")


def test_scores_of_any_scale_and_direction_meet_between_nought_and_one(analyst: Client) -> None:
    insert_events(
        analyst,
        [
            score(0.9, "a"),
            score(0.1, "b", higher_is_better=False),
            score(3, "c", scale_min=SECOND_US, scale_max=5 * SECOND_US),
            score(None, "d"),
        ],
    )

    found = rows(analyst, "SELECT score, failed FROM v_judgements ORDER BY name")
    assert [r["score"] for r in found] == [pytest.approx(0.9), pytest.approx(0.9), 0.5, None]
    assert [r["failed"] for r in found] == [False, False, False, True]


def test_a_judgement_that_failed_is_counted_and_not_scored(analyst: Client) -> None:
    insert_events(analyst, [score(0.2), score(0.8), score(None), score(1, "clarity")])

    found = {r["name"]: r for r in rows(analyst, "SELECT * FROM v_quality")}

    assert (found["relevance"]["n"], found["relevance"]["mean"]) == (2, 0.5)
    assert (found["relevance"]["failed"], found["relevance"]["enough"]) == (1, False)
    assert found["overall"]["mean"] == pytest.approx(2 / 3)
    assert found["relevance"]["low"] == pytest.approx(0.5 - 1.959963984540054 * 0.3 / 2**0.5)


def test_judgements_that_all_failed_have_no_mean(analyst: Client) -> None:
    insert_events(analyst, [score(None)])

    row = rows(analyst, "SELECT n, mean, p50 FROM v_quality WHERE name = 'overall'")[0]
    assert row == {"n": 0, "mean": None, "p50": None}


def test_satisfaction_has_ratings_and_thumbs(analyst: Client) -> None:
    insert_events(
        analyst,
        [feedback("rating", each) for each in (3, 5)]
        + [feedback("thumb", each) for each in (1, 1, 1, 0, -1)]
        + [feedback("comment")],
    )

    row = rows(analyst, "SELECT * FROM v_satisfaction")[0]

    assert (row["ratings"], row["mean_rating"], row["thumbs"], row["up_rate"]) == (2, 4.0, 5, 0.6)
    assert row["up_low"] < 0.6 < row["up_high"]
    assert row["enough"] is False


def test_task_completion_is_told_by_intent(analyst: Client) -> None:
    answer = turn(intent="refund")
    done = [feedback("task_completed", each, target_event_id=answer.event_id) for each in (1, 0, 1)]
    insert_events(analyst, [answer, *done])

    row = rows(analyst, "SELECT intent, n, completed, rate FROM v_task_completion")[0]
    assert row == {"intent": "refund", "n": 3, "completed": 2, "rate": pytest.approx(2 / 3)}


@pytest.mark.parametrize(
    ("last", "said", "outcome"),
    [
        ({}, [], "answered"),
        ({"status": "timeout"}, [], "errored"),
        ({"status": "cancelled"}, [], "abandoned"),
        ({"duration_us": 11 * SECOND_US}, [], "abandoned"),
        ({"status": "timeout"}, [("task_completed", 1)], "completed"),
        ({}, [("task_completed", 0)], "answered"),
        ({}, [("task_completed", 1), ("escalated", None)], "escalated"),
    ],
)
def test_a_conversation_ends_in_one_way(
    analyst: Client, last: dict[str, Any], said: list[tuple[str, Any]], outcome: str
) -> None:
    told: Sequence[Event] = [feedback(kind, value, conversation_id="c") for kind, value in said]
    insert_events(analyst, [turn(0, status="error"), turn(60, **last), *told])

    assert rows(analyst, "SELECT outcome FROM v_conversations") == [{"outcome": outcome}]


def test_a_conversation_is_the_sum_of_its_turns(analyst: Client) -> None:
    insert_events(
        analyst,
        [
            turn(0, input_tokens=5, cost_picousd=10**12, user_id="u"),
            turn(60, output_tokens=7, duration_us=2 * SECOND_US, fallback_used=True, user_id="u"),
            turn(0, conversation_id="other"),
        ],
    )

    row = rows(analyst, "SELECT * FROM v_conversations WHERE conversation_id = 'c'")[0]

    assert (row["turns"], row["tokens"], row["cost_usd"], row["unpriced"]) == (2, 12, 1, 1)
    assert (row["duration_s"], row["users"], row["fallbacks"]) == (62.0, 1, 1)


def test_the_costly_and_the_slow_stand_out(analyst: Client) -> None:
    usual = [turn(conversation_id=f"c{n}", cost_picousd=10) for n in range(20)]
    costly = turn(conversation_id="costly", cost_picousd=10_000)
    slow = turn(conversation_id="slow", cost_picousd=10, duration_us=9 * SECOND_US)
    insert_events(analyst, [*usual, costly, slow])

    found = rows(analyst, "SELECT * FROM v_outlier_conversations ORDER BY conversation_id")

    told = [(r["conversation_id"], r["is_costly"], r["is_slow"]) for r in found]
    assert told == [("costly", True, False), ("slow", False, True)]
    assert (found[0]["n"], found[0]["enough"]) == (22, True)


def test_failures_are_told_by_part_and_by_what_users_wanted(analyst: Client) -> None:
    link: dict[str, Any] = {"tenant_id": "acme", "trace_id": "t1", "ts_us": NOON_US}
    insert_events(
        analyst,
        [
            turn(trace_id="t1", intent="refund", status="error", error_type="ToolError"),
            ToolCall(**link, tool_name="crm", status="timeout"),
            ToolCall(**link, tool_name="crm"),
        ],
    )

    found = rows(
        analyst, "SELECT part, error_type, intent, failures FROM v_failure_points ORDER BY part"
    )
    assert [tuple(r.values()) for r in found] == [
        ("crm", "timeout", "refund", 1),
        ("turn", "ToolError", "refund", 1),
    ]


def test_patterns_are_shares_of_conversations(analyst: Client) -> None:
    insert_events(
        analyst,
        [
            turn(conversation_id="a"),
            turn(conversation_id="b"),
            turn(9, conversation_id="b"),
            turn(conversation_id="d", status="error"),
            turn(conversation_id="e", status="cancelled"),
        ],
    )

    row = rows(analyst, "SELECT * FROM v_patterns")[0]

    assert (row["conversations"], row["success_rate"], row["errored_rate"]) == (4, 0.5, 0.25)
    assert (row["single_turn_rate"], row["mean_turns"], row["enough"]) == (0.75, 1.25, False)


def test_retrieval_tells_scores_and_empty_answers(analyst: Client) -> None:
    insert_events(
        analyst,
        [
            search(0.2, 0.9, duration_us=4_000, embed_us=1_000),
            search(0.5, duration_us=2_000, cache_hit=True),
            search(duration_us=1_000, cache_hit=False),
            search(status="error"),
        ],
    )

    row = rows(analyst, "SELECT * FROM v_retrieval")[0]

    assert (row["n"], row["failed"], row["mean_documents"]) == (4, 1, 0.75)
    assert row["empty_rate"] == pytest.approx(1 / 3)
    assert (row["top_score_p50"], row["top_score_p10"]) == (0.9, 0.5)
    assert (row["embed_p50_ms"], row["cache_hit_rate"]) == (1.0, 0.5)


DRIFT = (
    "SELECT * FROM v_retrieval_drift(reference_since = {old:String}, since = {new:String},"
    " until = '2100-01-01')"
)


def drift(client: Client, old: Sequence[float], new: Sequence[float]) -> dict[str, Any]:
    first = [search(each, at_us=NOON_US - 2 * DAY_US) for each in old]
    second = [search(each, index_version="v2") for each in new]
    insert_events(client, [*first, *second])
    since, until = (f"{(NOON_US - days * DAY_US) / 1e6:.6f}" for days in (3, 1))
    return rows(client, DRIFT, old=since, new=until)[0]


def test_scores_that_stay_have_not_drifted(analyst: Client) -> None:
    same = [number / 1_000 for number in range(200)]

    row = drift(analyst, same, same)

    assert (row["psi"], row["ks"], row["drifted"], row["enough"]) == (0.0, 0.0, False, True)


def test_scores_that_all_sink_have_drifted(analyst: Client) -> None:
    row = drift(
        analyst, [0.8 + n / 1_000 for n in range(100)], [0.1 + n / 1_000 for n in range(100)]
    )

    assert (row["ks"], row["drifted"], row["index_versions"]) == (1.0, True, ["v2"])
    assert (row["reference_median"], row["median"]) == (0.85, 0.15)
    assert row["psi"] > 0.25


def test_the_distance_is_that_of_kolmogorov_and_smirnov(analyst: Client) -> None:
    row = drift(analyst, [0.1, 0.2, 0.3, 0.4], [0.2, 0.35, 0.5])

    # Up to 0.3 three of four old ones have come, and one of three new ones.
    assert row["ks"] == pytest.approx(3 / 4 - 1 / 3)
    assert row["ks_critical"] == pytest.approx(1.3580986 * (7 / 12) ** 0.5)
    assert row["drifted"] is False


def test_the_stability_index_is_the_sum_over_bins(analyst: Client) -> None:
    old = [n / 100 for n in range(1, 11)]

    row = drift(analyst, old, [0.015] * 10)

    smooth = 10 + 5
    full, none, usual = 10.5 / smooth, 0.5 / smooth, 1.5 / smooth
    expected = (full - usual) * log(full / usual) + 9 * (none - usual) * log(none / usual)
    assert row["psi"] == pytest.approx(expected)


def test_an_answer_without_documents_is_suspicious(analyst: Client) -> None:
    grounded = turn(trace_id="t1")
    insert_events(
        analyst,
        [
            grounded,
            search(0.3, 0.8, trace_id="t1"),
            score(0.9, "context_relevance", target_event_id=grounded.event_id),
            turn(1, trace_id="t2"),
            search(trace_id="t2"),
            turn(2, trace_id="t3"),
        ],
    )

    found = rows(analyst, "SELECT * FROM v_rag_audit ORDER BY ts")

    assert [(r["searches"], r["is_empty"], r["suspicious"]) for r in found] == [
        (1, False, False),
        (1, True, True),
    ]
    assert (found[0]["document_ids"], found[0]["top_score"]) == (["d1", "d0"], 0.8)
    assert found[0]["scores"] == {"context_relevance": pytest.approx(0.9)}


def test_an_answer_that_a_judge_doubts_is_suspicious(analyst: Client) -> None:
    answer = turn(request_id="r1")
    doubt = score(0.8, "hallucination", higher_is_better=False, target_event_id=answer.event_id)
    insert_events(analyst, [answer, search(0.9, request_id="r1"), doubt])

    assert rows(analyst, "SELECT suspicious FROM v_rag_audit") == [{"suspicious": True}]


def test_what_guards_did_is_told_by_policy(analyst: Client) -> None:
    insert_events(
        analyst,
        [
            score(0.1, "policy:pii"),
            score(0.9, "policy:pii"),
            turn(status="blocked"),
            turn(),
            Security(ts_us=NOON_US, tenant_id="acme", kind="jailbreak", outcome="flagged"),
        ],
    )

    found = rows(analyst, "SELECT policy, n, violations FROM v_policy ORDER BY policy")
    assert [tuple(r.values()) for r in found] == [
        ("jailbreak", 1, 1),
        ("pii", 2, 1),
        ("turn", 2, 1),
    ]


def test_a_turn_shows_all_that_is_known_of_it(analyst: Client) -> None:
    answer = turn(
        duration_us=1_500_000, components={"llm": 900_000}, input_tokens=1, cost_picousd=10**12
    )
    about = {"target_event_id": answer.event_id}
    insert_events(
        analyst,
        [
            answer,
            score(0.2, **about),
            score(0.7, **about, ts_us=NOON_US + 1),
            feedback("rating", 5, **about),
        ],
    )

    row = rows(analyst, "SELECT * FROM v_interaction")[0]

    assert (row["duration_ms"], row["components_ms"], row["cost_usd"]) == (1500, {"llm": 900}, 1)
    assert row["scores"] == {"relevance": pytest.approx(0.7)}
    assert (row["rating"], row["thumb"]) == (5, None)
