"""A turn: how it ends, what it adds up, and that it never gets in the bot's way."""

import asyncio
import concurrent.futures
from collections.abc import Callable, Generator
from typing import Any

import pytest

from backchannel import MemoryTransport, Producer, Turn
from backchannel.clock import ManualClock
from backchannel.events import Interaction


class Bench:
    """A producer with a manual clock, and the turns that came out of it."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.transport = MemoryTransport(1)
        self.producer = Producer(transport=self.transport, clock=self.clock)

    def turn(self, **fields: Any) -> Turn:
        return self.producer.interaction(**fields)

    def only(self) -> Interaction:
        assert self.producer.close_sync() == 0
        (event,) = self.transport.events()
        assert isinstance(event, Interaction)
        return event


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_turn_has_its_duration_and_ends_at_its_event_time(bench: Bench) -> None:
    with bench.turn(conversation_id="c", model="m"):
        bench.clock.advance(seconds=1.5)
    end_us = bench.clock.now_us()

    event = bench.only()
    assert (event.ts_us, event.duration_us, event.status) == (end_us, 1_500_000, "ok")
    assert (event.conversation_id, event.model) == ("c", "m")


async def test_a_turn_is_used_with_async_with_just_the_same(bench: Bench) -> None:
    async with bench.turn() as turn, turn.component("llm_generation"):
        bench.clock.advance(us=10)

    assert bench.only().components == {"llm_generation": 10}


@pytest.mark.parametrize(
    ("error", "status", "error_type"),
    [
        (ValueError("secret"), "error", "ValueError"),
        (TimeoutError("secret"), "timeout", "TimeoutError"),
        (asyncio.CancelledError(), "cancelled", ""),
        (concurrent.futures.CancelledError(), "cancelled", ""),
        (GeneratorExit(), "cancelled", ""),
        (KeyboardInterrupt(), "cancelled", ""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_exception_is_noted_without_its_message_and_goes_on(
    bench: Bench, error: BaseException, status: str, error_type: str
) -> None:
    with pytest.raises(type(error)) as raised, bench.turn():
        raise error

    event = bench.only()
    assert raised.value is error
    assert (event.status, event.error_type, event.error_message) == (status, error_type, "")


def test_what_the_bot_says_of_its_status_wins_over_the_exception(bench: Bench) -> None:
    turn = bench.turn()
    turn.set(status="rate_limited", error_type="TooManyRequests")
    with pytest.raises(ValueError, match="429"), turn:
        raise ValueError("429")

    event = bench.only()
    assert (event.status, event.error_type) == ("rate_limited", "TooManyRequests")


def test_a_generator_that_is_left_early_is_cancelled(bench: Bench) -> None:
    def stream() -> Generator[str]:
        with bench.turn() as turn:
            turn.first_token()
            turn.usage(output_tokens=1)
            yield "token"

    words = stream()
    next(words)
    words.close()

    event = bench.only()
    assert (event.status, event.output_tokens, event.streamed) == ("cancelled", 1, True)


def test_components_of_the_same_name_add_up_and_count_when_they_fail(bench: Bench) -> None:
    with bench.turn() as turn:
        for us in (5, 7):
            with turn.component("tool"):
                bench.clock.advance(us=us)
        with pytest.raises(OSError, match="gone"), turn.component("search"):
            raise OSError("gone")

    assert bench.only().components == {"tool": 12, "search": 0}


def test_usage_adds_up_over_calls(bench: Bench) -> None:
    with bench.turn() as turn:
        turn.usage(input_tokens=10, output_tokens=2, usage_source="provider")
        turn.usage(input_tokens=5, output_tokens=1, cost_picousd=100)

    event = bench.only()
    assert (event.input_tokens, event.output_tokens, event.llm_calls) == (15, 3, 2)
    assert (event.cost_picousd, event.usage_source) == (100, "provider")


def test_only_the_first_token_counts(bench: Bench) -> None:
    with bench.turn() as turn:
        bench.clock.advance(us=40)
        turn.first_token()
        bench.clock.advance(us=40)
        turn.first_token()

    event = bench.only()
    assert (event.ttft_us, event.streamed) == (40, True)


def test_the_event_id_is_known_during_the_turn(bench: Bench) -> None:
    with bench.turn() as turn:
        event_id = turn.event_id
        assert turn.event_id == event_id

    assert bench.only().event_id == event_id


def test_what_does_not_fit_is_cut_or_left_out_and_counted(bench: Bench) -> None:
    with bench.turn(
        user_id="u" * 300,
        tags=["a", "b" * 300],
        attributes={"ok": "x", "long": "y" * 2000, "wrong": 3},
        turn="first",
        nonsense=1,
    ) as turn:
        turn.set(intent="refund", http_status=-1)

    event = bench.only()
    assert event.user_id == "u" * 256
    assert event.tags == ("a", "b" * 256)
    assert event.attributes == {"ok": "x", "long": "y" * 1024}
    assert (event.turn, event.http_status, event.intent) == (None, None, "refund")
    assert bench.producer.stats().fields_repaired == 6


def use_wrong_names(turn: Turn) -> None:
    turn.usage(input_token=1, output_tokens=1.5, cost_picousd=None)


def use_wrong_types(turn: Turn) -> None:
    wrong: Any = ["not", "hashable"]
    turn.set(components="none", attributes="none", tags=wrong, status="fine", event_id=5)
    with turn.component(wrong):
        pass
    assert turn.event_id == ""


class Unhashable:
    def __hash__(self) -> int:
        raise ZeroDivisionError


def use_a_name_that_cannot_be_hashed(turn: Turn) -> None:
    wrong: Any = Unhashable()
    with turn.component(wrong):
        pass
    turn.set(nonsense=wrong)


def use_too_much(turn: Turn) -> None:
    for number in range(200):
        with turn.component(f"c{number}"):
            pass
    turn.usage(input_tokens=2**70, output_tokens=-5)
    turn.set(model="\ud800", tags=[["x"]] * 100)


@pytest.mark.parametrize(
    "use", [use_wrong_names, use_wrong_types, use_a_name_that_cannot_be_hashed, use_too_much]
)
def test_wrong_use_never_raises_and_the_turn_is_still_sent(
    bench: Bench, use: Callable[[Turn], None]
) -> None:
    with bench.turn(user_id="u") as turn:
        use(turn)

    assert bench.only().user_id == "u"
    assert bench.producer.stats().fields_repaired > 0


def test_turns_side_by_side_do_not_meet(bench: Bench) -> None:
    with bench.turn(conversation_id="a") as first, bench.turn(conversation_id="b") as second:
        first.usage(input_tokens=1)
        second.usage(input_tokens=2)

    assert bench.producer.close_sync() == 0
    tokens = {
        event.conversation_id: event.input_tokens
        for event in bench.transport.events()
        if isinstance(event, Interaction)
    }
    assert tokens == {"a": 1, "b": 2}


def test_a_cost_of_whole_dollars_is_taken_in_dollars_too(bench: Bench) -> None:
    with bench.turn() as turn:
        turn.usage(input_tokens=1, cost_usd=2)

    assert bench.only().cost_picousd == 2 * 10**12
