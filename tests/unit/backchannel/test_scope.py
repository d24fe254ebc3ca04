"""What belongs to what: contexts and turns, across tasks, threads and generators."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Generator

import pytest

from backchannel import current_turn
from backchannel.events import Component, Interaction, LlmCall, Product, ToolCall
from backchannel.scope import current_scope
from support.bot import Bot


@pytest.fixture
def bot() -> Bot:
    return Bot()


def test_everything_tracked_in_a_context_has_its_fields(bot: Bot) -> None:
    with bot.producer.context(user_id="u", tags=("a",)):
        bot.producer.track(Product(name="click"))
        bot.producer.track(Product(name="own", user_id="mine"))
        with bot.producer.interaction():
            pass
    bot.producer.track(Product(name="outside"))

    events = bot.events()
    assert [event.user_id for event in events] == ["u", "mine", "u", ""]
    assert [event.tags for event in events] == [("a",), ("a",), ("a",), ()]


def test_contexts_nest_and_the_innermost_value_wins(bot: Bot) -> None:
    with bot.producer.context(user_id="u", channel="web"), bot.producer.context(user_id="inner"):
        bot.producer.product("click")

    event = bot.only(Product)
    assert (event.user_id, event.channel) == ("inner", "web")


def test_what_a_view_is_bound_to_wins_over_a_context_and_that_over_the_settings() -> None:
    bot = Bot()
    view = bot.producer.bind(user_id="bound")
    with bot.producer.context(user_id="context", channel="web"):
        view.product("a")
        view.track(Product(name="b"))
        with view.interaction():
            bot.producer.product("c")

    assert [event.user_id for event in bot.events()] == ["bound"] * 4
    assert {event.channel for event in bot.transport.events()} == {"web"}


def test_a_context_wins_over_the_settings() -> None:
    bot = Bot(service="default", environment="prod")
    with bot.producer.context(service="other"):
        bot.producer.track(Product(name="a"))
        bot.producer.product("b")

    assert [(e.service, e.environment) for e in bot.events()] == [("other", "prod")] * 2


def test_what_happens_in_a_turn_belongs_to_it(bot: Bot) -> None:
    with (
        bot.producer.interaction(conversation_id="c", user_id="u", turn=3) as turn,
        bot.producer.tool_call("search"),
    ):
        bot.producer.track(Product(name="raw"))
        turn.set(request_id="late")

    product, tool, interaction = bot.events()
    for child in (product, tool):
        assert (child.conversation_id, child.user_id, child.turn) == ("c", "u", 3)
        assert child.trace_id == interaction.trace_id != ""
    assert tool.request_id == "late"
    assert tool.parent_span_id == interaction.span_id != ""
    assert product.parent_span_id == tool.span_id != ""


def test_a_turn_without_children_needs_no_trace(bot: Bot) -> None:
    with bot.producer.interaction():
        pass

    event = bot.only(Interaction)
    assert (event.trace_id, event.span_id, event.parent_span_id) == ("", "", "")


def test_a_trace_from_outside_is_kept(bot: Bot) -> None:
    with (
        bot.producer.context(trace_id="t" * 32, parent_span_id="p" * 16),
        bot.producer.interaction(),
        bot.producer.tool_call("x"),
    ):
        pass

    tool, turn = bot.events()
    assert tool.trace_id == turn.trace_id == "t" * 32
    assert turn.parent_span_id == "p" * 16
    assert tool.parent_span_id == turn.span_id


def test_a_turn_inside_a_turn_is_its_child(bot: Bot) -> None:
    with bot.producer.interaction(conversation_id="c"), bot.producer.interaction() as inner:
        assert current_turn() is inner

    child, parent = bot.events()
    assert child.parent_span_id == parent.span_id
    assert (child.conversation_id, child.trace_id) == ("c", parent.trace_id)


async def test_turns_of_tasks_side_by_side_do_not_meet(bot: Bot) -> None:
    async def one(name: str) -> None:
        async with bot.producer.interaction(conversation_id=name) as turn:
            await asyncio.sleep(0)
            assert current_turn() is turn
            async with bot.producer.llm_call("m") as call:
                await asyncio.sleep(0)
                call.usage(input_tokens=1)
            assert current_turn() is turn

    await asyncio.gather(*(one(f"c{number}") for number in range(50)))

    assert current_turn() is None
    events = bot.events()
    traces = {e.conversation_id: e.trace_id for e in events if isinstance(e, Interaction)}
    assert len(traces) == 50
    assert all(traces[e.conversation_id] == e.trace_id for e in events)
    assert all(e.input_tokens == 1 for e in events if isinstance(e, Interaction))


async def test_a_task_that_outlives_its_turn_is_still_tied_to_it(bot: Bot) -> None:
    async def late() -> None:
        await asyncio.sleep(0.01)
        assert current_turn() is None
        with bot.producer.llm_call("m") as call:
            call.usage(input_tokens=5)

    with bot.producer.interaction(conversation_id="c"):
        task = asyncio.create_task(late())
        await asyncio.sleep(0)
    await task

    turn, call = bot.events()
    assert isinstance(turn, Interaction)
    assert (call.conversation_id, turn.input_tokens) == ("c", 0)


async def test_a_worker_that_was_started_in_a_turn_keeps_it_out_of_later_turns(bot: Bot) -> None:
    gate = asyncio.Event()

    async def worker() -> None:
        await gate.wait()
        for name in ("b", "c"):
            async with bot.producer.interaction(conversation_id=name):
                bot.producer.product(name)

    with bot.producer.interaction(conversation_id="a", user_id="first"):
        task = asyncio.create_task(worker())
    gate.set()
    await task

    later = [event for event in bot.events() if event.conversation_id in ("b", "c")]
    assert [event.user_id for event in later] == [""] * 4
    assert len({event.trace_id for event in later}) == 2


async def test_a_task_keeps_the_context_it_was_started_in(bot: Bot) -> None:
    gate = asyncio.Event()

    async def worker() -> None:
        await gate.wait()
        for _ in range(2):
            async with bot.producer.interaction():
                pass

    with bot.producer.context(user_id="u"):
        task = asyncio.create_task(worker())
    gate.set()
    await task

    assert [event.user_id for event in bot.events()] == ["u", "u"]


def test_a_context_left_elsewhere_leaves_nothing_behind(bot: Bot) -> None:
    def words() -> Generator[str]:
        with bot.producer.context(user_id="stale"):
            yield "one"

    stream = words()
    next(stream)
    other = threading.Thread(target=stream.close)
    other.start()
    other.join()
    for _ in range(2):
        with bot.producer.interaction():
            pass

    assert current_scope() is None
    assert bot.all(Interaction)[1].user_id == ""


async def test_a_thread_that_a_task_waits_for_is_inside_its_turn(bot: Bot) -> None:
    def work() -> None:
        with bot.producer.track_latency("work"):
            bot.clock.advance(us=5)

    async with bot.producer.interaction():
        await asyncio.to_thread(work)

    assert bot.only(Interaction).components == {"work": 5}


def test_a_plain_thread_is_outside_of_it_unless_it_is_told(bot: Bot) -> None:
    def work() -> None:
        assert current_turn() is None
        with turn.within(), bot.producer.tool_call("inside"):
            assert current_turn() is turn
        assert current_turn() is None

    with bot.producer.interaction(conversation_id="c") as turn:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    assert bot.all(ToolCall)[0].conversation_id == "c"


def test_blocks_that_end_out_of_order_leave_nothing_behind(bot: Bot) -> None:
    first, second = bot.producer.interaction(), bot.producer.context(user_id="u")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert current_turn() is None
    second.__exit__(None, None, None)

    assert current_scope() is None


def test_a_generator_closed_elsewhere_leaves_the_other_side_as_it_was(bot: Bot) -> None:
    def words() -> Generator[str]:
        with bot.producer.interaction(conversation_id="c"):
            yield "one"

    stream = words()
    next(stream)
    other = threading.Thread(target=stream.close)
    other.start()
    other.join()

    assert bot.only(Interaction).status == "cancelled"


async def test_an_async_generator_that_nobody_finishes_is_cancelled(bot: Bot) -> None:
    async def words() -> AsyncGenerator[str]:
        async with bot.producer.interaction(conversation_id="c"):
            yield "one"
            yield "two"

    async def reader() -> None:
        async for _ in words():
            break

    with bot.producer.context(user_id="kept"):
        await asyncio.create_task(reader())
        await asyncio.sleep(0.01)
        bot.producer.product("after")

    turn, product = bot.events()
    assert isinstance(turn, Interaction)
    assert (turn.status, product.user_id) == ("cancelled", "kept")


def test_a_latency_outside_of_a_turn_is_an_event_and_inside_a_component(bot: Bot) -> None:
    with bot.producer.track_latency("reindex"):
        bot.clock.advance(us=7)
    with bot.producer.interaction(), bot.producer.track_latency("rag"):
        bot.clock.advance(us=9)

    component, turn = bot.events()
    assert isinstance(component, Component)
    assert isinstance(turn, Interaction)
    assert (component.name, component.duration_us) == ("reindex", 7)
    assert turn.components == {"rag": 9}


def test_an_ended_turn_takes_no_more(bot: Bot) -> None:
    turn = bot.producer.interaction(conversation_id="c").start()
    turn.end(status="blocked")
    turn.end(status="error")
    with turn.llm_call("m") as call:
        call.usage(input_tokens=1)

    interaction, late = bot.events()
    assert isinstance(interaction, Interaction)
    assert isinstance(late, LlmCall)
    assert (interaction.status, interaction.input_tokens) == ("blocked", 0)
    assert late.trace_id
