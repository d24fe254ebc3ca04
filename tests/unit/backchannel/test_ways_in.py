"""Whatever a bot calls, in whatever order, with whatever it passes: nothing raises, all is counted,
and what belongs together stays together across tasks, threads and generators."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from backchannel import MemoryTransport, Producer, Turn, current_turn
from backchannel.events import Event, Interaction, LlmCall, ToolCall
from backchannel.scope import current_scope


class Hostile:
    """Answers nothing that is asked of it; an array of numpy's and the NA of pandas do so, too."""

    def _refuse(self, *_: object) -> Any:
        raise ValueError("the truth of this is ambiguous")

    __bool__ = __eq__ = __getattr__ = __hash__ = __iter__ = __len__ = __str__ = _refuse
    __float__ = __int__ = __index__ = __lt__ = _refuse

    def __repr__(self) -> str:
        return "Hostile()"  # for the report of a test that fails


ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.characters(categories=["Cs"])
    | st.builds(Hostile),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=5,
)
FIELDS = st.dictionaries(
    st.sampled_from(sorted(Interaction.model_fields)) | st.text(), ANYTHING, max_size=4
)

Path = list[str]
"""A way inwards: what is opened inside what."""
WAYS = ["turn", "call", "tool", "part", "context", "task", "thread", "generator", "async_generator"]


async def walk(producer: Producer, path: Path, name: str) -> None:
    """Opens what the path says, each inside the one before, and at its end tracks a tool call."""
    before = current_scope()
    if not path:
        with producer.tool_call(name):
            await asyncio.sleep(0)
        return
    step, *rest = path
    match step:
        case "turn":
            async with producer.interaction(conversation_id=name) as turn:
                assert current_turn() is turn
                await walk(producer, rest, name)
                assert current_turn() is turn
        case "call":
            with producer.llm_call("m") as call:
                await walk(producer, rest, name)
                call.usage(input_tokens=1)
        case "tool":
            with producer.tool_call(name):
                await walk(producer, rest, name)
        case "part":
            with producer.track_latency("part"):
                await walk(producer, rest, name)
        case "context":
            with producer.context(session_id=name):
                await walk(producer, rest, name)
        case "task":
            await asyncio.create_task(walk(producer, rest, name))
        case "thread":
            await asyncio.to_thread(lambda: asyncio.run(walk(producer, rest, name)))
        case "generator":

            @producer.observe
            def steps() -> Generator[int]:
                yield 1
                yield 2

            for _ in steps():
                assert current_scope() is before
                await walk(producer, rest, name)
                break
        case "async_generator":

            @producer.observe
            async def stream() -> AsyncGenerator[int]:
                yield 1
                await asyncio.sleep(0)
                yield 2

            found = stream()
            await anext(found)
            assert current_scope() is before
            await walk(producer, rest, name)
            await found.aclose()
    assert current_scope() is before


@given(st.lists(st.lists(st.sampled_from(WAYS), max_size=5), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_whatever_is_nested_in_whatever_keeps_to_its_own(paths: list[Path]) -> None:
    transport = MemoryTransport(1)
    producer = Producer(transport=transport, health_interval_s=0)

    async def all_at_once() -> None:
        await asyncio.gather(
            *(walk(producer, path, f"c{number}") for number, path in enumerate(paths))
        )

    asyncio.run(all_at_once())

    assert current_scope() is None
    assert producer.close_sync() == 0
    events = transport.events()
    for number, path in enumerate(paths):
        check(path, f"c{number}", [e for e in events if _name(e) == f"c{number}"])


def _name(event: Event) -> str:
    return event.tool_name if isinstance(event, ToolCall) else event.conversation_id


def check(path: Path, name: str, events: list[Event]) -> None:
    tools = [event for event in events if isinstance(event, ToolCall)]
    turns = [event for event in events if isinstance(event, Interaction)]
    assert len(tools) == path.count("tool") + 1
    assert len(turns) == path.count("turn")
    innermost = min(tools, key=lambda event: event.seq)
    if "turn" in path:
        assert innermost.conversation_id == name
        assert {event.trace_id for event in [innermost, *turns]} == {innermost.trace_id} != {""}
    if "context" in path:
        assert innermost.session_id == name
    if path and path[-1] in ("turn", "tool", "call"):
        assert innermost.parent_span_id
    inner_calls = path[path.index("turn") :].count("call") if "turn" in path else 0
    assert sum(1 for event in events if isinstance(event, LlmCall)) == inner_calls


def use_a_component(producer: Producer, turn: Turn, it: Any) -> None:
    with turn.component(it):
        pass


def use_ids(producer: Producer, turn: Turn, it: Any) -> None:
    turn.set(span_id=it, event_id=it)
    assert isinstance(turn.span_id, str)


def use_a_conversation(producer: Producer, turn: Turn, it: Any) -> None:
    conversation = producer.track_conversation(it, it, turns=it)
    conversation.interaction(turn=it).start().end()
    assert conversation.turns is not None


USES: dict[str, Callable[[Producer, Turn, Any], object]] = {
    "usage": lambda _, turn, it: turn.usage(input_tokens=it, cost_usd=it),
    "intent": lambda _, turn, it: turn.intent(it, it),
    "prompt_version": lambda _, turn, it: turn.prompt_version(it, it),
    "variant": lambda _, turn, it: turn.variant(it, it),
    "component": use_a_component,
    "llm_call": lambda producer, _, it: producer.llm_call(it, it, response_model=it).end(),
    "usage of a call": lambda _, turn, it: turn.llm_call(it).usage(output_tokens=it),
    "retrieval": lambda producer, _, it: producer.retrieval(it).documents(it),
    "documents": lambda _, turn, it: turn.retrieval(it).documents([it, (it, it)]),
    "tool_call": lambda producer, _, it: producer.tool_call(it, call_id=it).end(status=it),
    "latency": lambda producer, _, it: producer.track_latency(it).end(),
    "evaluation": lambda producer, _, it: producer.evaluation(it, it, target=it, scale_min=it),
    "feedback": lambda producer, _, it: producer.feedback(it, it, target=it),
    "exposure": lambda producer, _, it: producer.exposure(it, it),
    "assign": lambda producer, _, it: producer.assign(it, it, it, salt=it),
    "marker": lambda producer, _, it: producer.marker(it, it),
    "product": lambda producer, _, it: producer.product(it, url=it, anything=it),
    "security": lambda producer, _, it: producer.security(it, it),
    "exception": lambda producer, _, it: producer.capture_exception(it),
    "message": lambda producer, _, it: producer.capture_message(it, it),
    "log": lambda producer, _, it: producer.log_interaction(it, it, it),
    "conversation": use_a_conversation,
    "cost": lambda producer, turn, it: (turn.cost, producer.llm_call(it).cost),
    "stream": lambda producer, _, it: producer.llm_call("m").stream(it),
    "ids": use_ids,
}


@given(st.sampled_from(sorted(USES)), ANYTHING, FIELDS)
@settings(max_examples=400, deadline=None)
def test_nothing_that_is_passed_ever_raises(use: str, it: Any, fields: dict[str, Any]) -> None:
    producer = Producer(transport=MemoryTransport(1), health_interval_s=0)
    fields.pop("self", None)

    with producer.context(**fields), producer.interaction(**fields) as turn:
        USES[use](producer, turn, it)

    stats = producer.stats()
    assert stats.offered >= 1
    assert stats.accepted + stats.refused == stats.offered
    producer.close_sync(0.01)


@given(st.integers(2, 6), st.integers(1, 20))
@settings(max_examples=15, deadline=None)
def test_calls_that_end_in_many_threads_are_all_added(threads: int, calls: int) -> None:
    producer = Producer(transport=MemoryTransport(1), health_interval_s=0)
    transport = producer._transport
    assert isinstance(transport, MemoryTransport)

    def work(turn: Turn) -> None:
        for _ in range(calls):
            with turn.llm_call("m") as call:
                call.usage(input_tokens=3)
            turn.usage(output_tokens=2)

    with producer.interaction() as turn:
        workers = [threading.Thread(target=work, args=(turn,)) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    producer.close_sync()
    (event,) = [event for event in transport.events() if isinstance(event, Interaction)]
    assert event.input_tokens == 3 * threads * calls
    assert event.output_tokens == 2 * threads * calls
    assert event.llm_calls == 2 * threads * calls
