"""Whole conversations are kept or left out, and sums stay what they are."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backchannel import MemoryTransport, Producer
from backchannel.events import (
    Component,
    ErrorEvent,
    Event,
    Feedback,
    Health,
    Interaction,
    LlmCall,
    Marker,
)
from backchannel.shaping.encoding import encoding_of
from backchannel.shaping.sampling import Sampling
from backchannel.shaping.stamps import Stamps

NONE = Stamps.none()


def weight(sampling: Sampling, event: Event, stamps: Stamps = NONE) -> int:
    return sampling.weight(type(event), encoding_of(type(event)).said(event), stamps)


def turns(count: int) -> list[Interaction]:
    return [
        Interaction(
            conversation_id=f"c-{number // 3}",
            input_tokens=number % 97,
            status="error" if number % 31 == 0 else "ok",
            duration_us=9_000_000 if number % 41 == 0 else 1_000,
        )
        for number in range(count)
    ]


@pytest.mark.parametrize(
    "options", [{}, {"keep_errors": False}, {"keep_slow_us": 5_000_000}], ids=str
)
def test_over_all_salts_every_event_counts_once(options: dict[str, Any]) -> None:
    events = turns(45)
    salts = 2_000
    said = [encoding_of(Interaction).said(event) for event in events]
    totals = [0] * len(events)
    for salt in range(salts):
        sampling = Sampling(4, salt=str(salt), **options)
        for place, fields in enumerate(said):
            totals[place] += sampling.weight(Interaction, fields, NONE)

    # The spread of one event's mean weight is sqrt(3 / 2000) = 0.039.
    assert all(abs(total / salts - 1) < 0.2 for total in totals)
    assert abs(sum(totals) / salts / len(events) - 1) < 0.03


@pytest.mark.parametrize("one_in", [2, 10, 100])
def test_sums_over_many_conversations_come_out(one_in: int) -> None:
    events = turns(15_000)
    sampling = Sampling(one_in, salt="s", keep_slow_us=5_000_000)

    found = sum(weight(sampling, event) * event.input_tokens for event in events)

    assert found == pytest.approx(
        sum(event.input_tokens for event in events), rel=0.3 if one_in == 100 else 0.1
    )


IDS = st.sampled_from(["", "a", "b", "c"])


@given(st.lists(st.tuples(IDS, IDS, IDS), max_size=20), st.integers(2, 50), st.text(max_size=3))
def test_a_conversation_is_kept_as_a_whole_and_everywhere(
    ids: list[tuple[str, str, str]], one_in: int, salt: str
) -> None:
    fates: dict[str, int] = {}
    for conversation_id, session_id, user_id in ids:
        fields: dict[str, Any] = {
            "conversation_id": conversation_id,
            "session_id": session_id,
            "user_id": user_id,
        }
        key = conversation_id or session_id or user_id
        for event in (Interaction(**fields), Component(name="n", **fields)):
            found = weight(Sampling(one_in, salt=salt), event)
            assert found in (0, one_in)
            if key:
                assert fates.setdefault(key, found) == found


def test_what_is_bound_counts_like_the_events_own() -> None:
    sampling = Sampling(5)
    for number in range(50):
        bound, _ = NONE.bind({"conversation_id": f"c-{number}"})

        own = weight(sampling, Interaction(conversation_id=f"c-{number}"))

        assert weight(sampling, Interaction(), bound) == own


@pytest.mark.parametrize(
    ("event", "kept"),
    [
        (Interaction(status="error"), True),
        (LlmCall(status="rate_limited"), True),
        (ErrorEvent(message="x"), True),
        (Interaction(duration_us=2_000_000), True),
        (Health(), True),
        (Marker(kind="deploy"), True),
        (Interaction(status="cancelled"), False),
        (Interaction(duration_us=1_999_999), False),
        (Feedback(kind="thumb"), False),
    ],
    ids=lambda value: "" if isinstance(value, bool) else value.event_type,
)
def test_errors_slow_calls_and_what_is_rare_are_kept_for_certain(event: Event, kept: bool) -> None:
    sampling = Sampling(1_000_000, keep_slow_us=2_000_000)

    assert weight(sampling, event.model_copy(update={"conversation_id": "c"})) == int(kept)


async def test_what_is_left_out_takes_no_number_and_is_no_loss() -> None:
    transport = MemoryTransport()
    async with Producer(
        transport=transport, sample_one_in=4, sample_salt="s", health_interval_s=0
    ) as producer:
        assert all(producer.track(Interaction(conversation_id=f"c{n}")) for n in range(400))
        await producer.flush()
        stats = producer.stats()

    events = transport.events()
    assert {event.sample_weight for event in events} == {4}
    assert sorted(event.seq for event in events) == list(range(1, len(events) + 1))
    assert (stats.offered, stats.accepted, stats.acked) == (400, 400, len(events))
    assert stats.sampled_out == 400 - len(events) > 0
    assert not stats.dropped


async def test_a_weight_that_the_bot_gave_is_multiplied() -> None:
    transport = MemoryTransport()
    async with Producer(transport=transport, sample_one_in=2, health_interval_s=0) as producer:
        for number in range(40):
            producer.track(Interaction(conversation_id=f"c{number}", sample_weight=3))
            producer.bind(sample_weight=5).track(Interaction(conversation_id=f"c{number}"))
        await asyncio.sleep(0)

    assert {event.sample_weight for event in transport.events()} == {6, 10}


async def test_a_turn_and_its_calls_share_their_fate() -> None:
    transport = MemoryTransport()
    async with Producer(transport=transport, sample_one_in=3, health_interval_s=0) as producer:
        for number in range(60):
            bound = producer.bind(conversation_id=f"c{number}")
            with bound.interaction():
                bound.track(LlmCall())

    found = [(event.conversation_id, event.event_type) for event in transport.events()]
    assert 0 < len(found) < 120
    assert len(found) == 2 * len({conversation_id for conversation_id, _ in found})
