"""What a replay makes up: seeded, labelled, and never the trace's own numbers."""

from backchannel.events import COUNT_MAX, Accepted, Interaction, encode_event, judge
from backchannel_deploy.replay.synthetic import SYNTHETIC, Synthesizer
from backchannel_deploy.replay.trace import Request

REQUESTS = [Request(1_700_000_000_000_000 + n * 1_000_000, n * 7, n * 3) for n in range(500)]


def interactions(seed: int) -> list[Interaction]:
    synthesizer = Synthesizer(seed)
    return [synthesizer.interaction(request) for request in REQUESTS]


def without_id(event: Interaction) -> dict[str, object]:
    return event.model_dump(exclude={"event_id"})


def test_time_and_tokens_are_the_traces_own() -> None:
    for request, event in zip(REQUESTS, interactions(1), strict=True):
        assert (event.ts_us, event.input_tokens, event.output_tokens) == (
            request.ts_us,
            request.input_tokens,
            request.output_tokens,
        )


def test_the_same_seed_gives_the_same_events_but_new_ids() -> None:
    first, second = interactions(1), interactions(1)

    assert list(map(without_id, first)) == list(map(without_id, second))
    assert len({event.event_id for event in first + second}) == 2 * len(REQUESTS)


def test_another_seed_gives_others() -> None:
    assert list(map(without_id, interactions(1))) != list(map(without_id, interactions(2)))


def test_every_event_is_labelled() -> None:
    assert all(event.tags == (SYNTHETIC,) for event in interactions(1))


def test_turns_of_a_conversation_are_numbered_and_stay_with_one_user() -> None:
    seen: dict[str, Interaction] = {}
    for event in interactions(1):
        before = seen.get(event.conversation_id)
        assert event.turn == (before.turn or 0) + 1 if before else event.turn == 1
        assert before is None or (before.user_id, before.model) == (event.user_id, event.model)
        seen[event.conversation_id] = event
    assert 1 < len(seen) < len(REQUESTS)


def test_components_add_up_to_the_duration() -> None:
    for event in interactions(1):
        assert sum(event.components.values()) == event.duration_us
        assert (event.ttft_us or 0) <= event.duration_us


def test_even_absurd_token_counts_give_an_event_within_its_bounds() -> None:
    event = Synthesizer(1).interaction(Request(0, COUNT_MAX, COUNT_MAX))

    assert isinstance(judge(encode_event(event)), Accepted)
