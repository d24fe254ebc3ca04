"""Conversations: turns are numbered, tokens and cost add up."""

import asyncio
from decimal import Decimal

import pytest

from backchannel.events import Interaction
from support.bot import Bot


@pytest.fixture
def bot() -> Bot:
    return Bot(prices={"m": {"input": 2}})


def test_turns_inside_are_numbered_and_have_its_ids(bot: Bot) -> None:
    with bot.producer.track_conversation("c", "u") as conversation:
        for _ in range(2):
            with bot.producer.interaction():
                pass
    with conversation.interaction():
        assert conversation.turns == 3

    turns = bot.all(Interaction)
    assert [(e.turn, e.conversation_length) for e in turns] == [(1, 1), (2, 2), (3, 3)]
    assert {(e.conversation_id, e.user_id) for e in turns} == {("c", "u")}


def test_tokens_and_cost_add_up_over_its_turns(bot: Bot) -> None:
    conversation = bot.producer.track_conversation("c")
    for _ in range(3):
        with conversation.interaction(), bot.producer.llm_call("m") as call:
            call.usage(input_tokens=100, output_tokens=0)

    assert (conversation.input_tokens, conversation.output_tokens) == (300, 0)
    assert conversation.cost == Decimal("0.0006")


def test_one_turn_of_unknown_cost_makes_the_sum_unknown(bot: Bot) -> None:
    conversation = bot.producer.track_conversation("c")
    for model in ("m", "unheard-of"):
        with conversation.interaction(model=model) as turn:
            turn.usage(input_tokens=1)

    assert conversation.cost is None
    assert conversation.input_tokens == 2


def test_a_conversation_goes_on_where_it_was_left(bot: Bot) -> None:
    with bot.producer.track_conversation("c", turns=11).interaction():
        pass

    assert bot.only(Interaction).turn == 12


def test_a_turn_inside_a_turn_is_no_turn_of_the_conversation(bot: Bot) -> None:
    conversation = bot.producer.track_conversation("c")
    with conversation.interaction(), bot.producer.interaction():
        pass

    inner, outer = bot.all(Interaction)
    assert (outer.turn, conversation.turns) == (1, 1)
    assert inner.turn == 1  # inherited: it belongs to the first


async def test_conversations_side_by_side_do_not_meet(bot: Bot) -> None:
    async def talk(name: str) -> None:
        async with bot.producer.track_conversation(name):
            for _ in range(3):
                async with bot.producer.interaction():
                    await asyncio.sleep(0)

    await asyncio.gather(*(talk(f"c{number}") for number in range(20)))

    told = sorted((e.conversation_id, e.turn or 0) for e in bot.all(Interaction))
    assert told == sorted((f"c{n}", turn) for n in range(20) for turn in (1, 2, 3))


async def test_one_conversation_may_be_entered_by_several_tasks(bot: Bot) -> None:
    conversation = bot.producer.track_conversation("c")

    async def message() -> None:
        async with conversation:
            async with bot.producer.interaction():
                await asyncio.sleep(0)
            await asyncio.sleep(0)

    await asyncio.gather(*(message() for _ in range(10)))

    assert sorted(e.turn or 0 for e in bot.all(Interaction)) == list(range(1, 11))
