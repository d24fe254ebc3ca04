"""A day of two bots, small enough to be counted by hand: what the cookbook is asked of."""

from typing import Any

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import (
    Component,
    Document,
    ErrorEvent,
    Evaluation,
    Event,
    Feedback,
    Health,
    Interaction,
    Product,
    Retrieval,
)

__all__ = ["PRICES", "story"]

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US

PRICES = {
    "gpt-4o": {"input": 2.5, "output": 10, "cache_read": 1.25},
    "gpt-4o-mini": {"input": 0.15, "output": 0.60},
}
"""US dollars a million tokens."""


def story() -> list[Event]:
    """Ten turns of yesterday noon and one of a minute ago; numbered 1 to n, but for one loss."""
    now_us = SYSTEM_CLOCK.now_us()
    noon_us = now_us // DAY_US * DAY_US - DAY_US // 2
    bot: dict[str, Any] = {"tenant_id": "acme", "service": "support", "producer_id": "bot-1"}

    def turn(number: int, **fields: Any) -> Interaction:
        known = {
            **bot,
            "ts_us": noon_us + number * SECOND_US,
            "endpoint": "/chat",
            "provider": "openai",
            "model": "gpt-4o",
            "user_id": f"u{number % 3}",
            "session_id": f"s{number % 5}",
            "conversation_id": f"c{number % 4}",
            "duration_us": (number + 1) * 100_000,
            "input_tokens": 1_000,
            "output_tokens": 100,
            "prompt_name": "support",
            "prompt_version": str(number % 2 + 1),
            "experiment_id": "tone",
            "variant": ("control", "warm")[number % 2],
        }
        return Interaction.model_validate({**known, **fields})

    first = turn(
        0,
        trace_id="trace-1",
        span_id="a",
        intent="refund",
        ttft_us=40_000,
        components={"rag_retrieval": 20_000, "llm_generation": 70_000},
    )
    turns = [
        first,
        turn(1, intent="faq", cache_read_tokens=400),
        turn(2, intent="faq", sample_weight=3),
        turn(3, status="error", error_type="ToolError", http_status=500, intent="refund"),
        turn(4, model="gpt-4o-mini"),
        turn(5, model="gpt-4o-mini", ttft_us=90_000),
        turn(6, status="timeout", http_status=504),
        turn(7, model="own-model"),
        turn(8, duration_us=12 * SECOND_US, endpoint="/slow"),
        turn(9),
    ]
    link = {**bot, "ts_us": noon_us + 10_000, "trace_id": "trace-1", "parent_span_id": "a"}
    around: list[Event] = [
        Retrieval(
            **link,
            span_id="b",
            data_source_id="kb",
            index_version="v1",
            duration_us=20_000,
            documents=(Document(id="d1", score=300_000),),
        ),
        Component(**{**link, "ts_us": noon_us + 30_000}, name="llm_generation", duration_us=70_000),
        Evaluation(**bot, name="relevance", value=300_000, target_event_id=first.event_id),
        Evaluation(**bot, name="relevance", status="error", target_event_id=first.event_id),
        Feedback(**bot, kind="rating", value=4 * SECOND_US, target_event_id=turns[1].event_id),
        Feedback(**bot, kind="thumb", value=SECOND_US, session_id="s0", conversation_id="c0"),
        ErrorEvent(**bot, exception_type="KeyError", message="user", user_id="u1"),
        Product(**bot, name="click", feature="summarize", distinct_id="u1", session_id="s1"),
        # Of today, also just after midnight.
        turn(0, ts_us=max(now_us - 60 * SECOND_US, noon_us + DAY_US // 2)),
        Health(**bot, ts_us=now_us - 120 * SECOND_US),
    ]
    events = [*turns, *around]
    # Number 5 was given out and never came.
    return [
        event.model_copy(update={"seq": number + (number >= 5)})
        for number, event in enumerate(events, 1)
    ]
