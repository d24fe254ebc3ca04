"""What a bot's developer sees in the editor: the type of everything that the SDK gives out.

The types are held by mypy, in `make lint`; the test runs what it has read.
"""

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

import backchannel
from backchannel import (
    AsyncStream,
    BoundProducer,
    Call,
    ComponentTimer,
    Context,
    Conversation,
    DropReason,
    MemoryTransport,
    Producer,
    ProducerSettings,
    ProducerStats,
    Search,
    Stream,
    ToolUse,
    Turn,
)
from backchannel.events import BudgetState, Interaction


async def words() -> AsyncIterator[str]:
    yield "it "
    yield "is"


def lines() -> Iterator[bytes]:
    yield b"data"


async def test_a_turn_and_all_that_is_in_it() -> None:
    async with Producer(transport=MemoryTransport(), service="bot", linger_ms=5) as producer:
        assert_type(producer, Producer)
        async with producer.interaction(conversation_id="c") as turn:
            assert_type(turn, Turn)
            assert_type(turn.event_id, str)
            assert_type(backchannel.current_turn(), Turn | None)
            with producer.llm_call("gpt-4o-mini", "openai") as call:
                assert_type(call, Call)
                answer = call.stream(words())
                assert_type(answer, AsyncStream[str])
                async for word in answer:
                    assert_type(word, str)
                assert_type(call.stream(lines()), Stream[bytes])
            with producer.retrieval("faq") as search:
                assert_type(search, Search)
            with producer.tool_call("clock") as tool:
                assert_type(tool, ToolUse)
            with producer.track_latency("rerank") as timer:
                assert_type(timer, ComponentTimer)
        assert_type(await producer.flush(), int)
    assert producer.stats().dropped == {}


def test_views_counts_and_settings() -> None:
    with Producer(transport=MemoryTransport()) as producer:
        bound = producer.bind(tenant_id="acme")
        assert_type(bound, BoundProducer)
        assert_type(bound.track(Interaction()), bool)
        assert_type(producer.context(user_id="u"), Context)
        assert_type(producer.track_conversation("c"), Conversation)
        assert_type(producer.assign("tone", ["calm", "warm"], "u"), str)
        assert_type(producer.log_interaction("q", "a"), str)
        assert_type(producer.budget("u"), BudgetState | None)
        assert_type(producer.settings, ProducerSettings)
        stats = producer.stats()
    assert_type(stats, ProducerStats)
    assert_type(dict(stats.dropped), dict[DropReason, int])
    assert stats.offered == stats.accepted + stats.refused


def test_a_decorated_function_keeps_its_signature() -> None:
    with Producer(transport=MemoryTransport()) as producer:

        @producer.observe
        def double(number: int) -> int:
            return 2 * number

        @producer.observe(kind="tool", name="words")
        async def read() -> str:
            return "x"

        @producer.track_latency("shout")
        def shout(text: str, *, times: int = 1) -> str:
            return text.upper() * times

        assert_type(double(2), int)
        assert_type(shout("a", times=2), str)
        reading = read()
        reading.close()
    assert (double(2), shout("a", times=2)) == (4, "AA")
