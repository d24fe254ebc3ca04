"""The cost in the bot's hand, and the same on its events."""

import subprocess
import sys
from decimal import Decimal

import pytest

from backchannel import Producer, SettingsError
from backchannel.events import Interaction, LlmCall
from support.bot import Bot


@pytest.fixture
def bot() -> Bot:
    bot = Bot(prices={"m": {"input": 2, "output": 10}})
    bot.producer.load_prices()
    return bot


def test_a_call_knows_its_cost_and_its_turn_the_sum(bot: Bot) -> None:
    with bot.producer.interaction() as turn:
        with bot.producer.llm_call("m") as call:
            call.usage(input_tokens=1_000, output_tokens=100)
            assert call.cost == Decimal("0.003")
        with bot.producer.llm_call("gpt-4o", "openai") as call:
            call.usage(input_tokens=1_000)
        assert turn.cost == Decimal("0.0055")

    event = bot.all(Interaction)[0]
    assert event.cost_picousd == 5_500_000_000
    assert (event.cost_status, event.cost_source, event.price_version) == ("priced", "", "")
    first, second = bot.all(LlmCall)
    assert (first.cost_source, second.cost_source) == ("custom_table", "price_table")
    assert second.price_version.startswith("genai-prices")


def test_usage_that_is_told_to_the_turn_is_priced_by_its_model(bot: Bot) -> None:
    with bot.producer.interaction(model="m") as turn:
        turn.usage(input_tokens=1_000)
        turn.usage(output_tokens=100)
        assert turn.cost == Decimal("0.003")

    event = bot.only(Interaction)
    assert (event.input_cost_picousd, event.output_cost_picousd) == (2_000_000_000, 1_000_000_000)
    assert (event.cost_picousd, event.cost_status) == (3_000_000_000, "priced")


def test_an_unknown_price_is_never_zero_and_makes_the_sum_unknown(bot: Bot) -> None:
    with bot.producer.interaction() as turn:
        for model in ("m", "unheard-of"):
            with bot.producer.llm_call(model) as call:
                call.usage(input_tokens=1_000)
        assert call.cost is None
        assert turn.cost is None

    event = bot.all(Interaction)[0]
    assert (event.cost_picousd, event.input_cost_picousd) == (None, None)
    assert (event.cost_status, event.input_tokens) == ("unpriced", 2_000)


def test_more_cached_than_read_is_no_usage(bot: Bot) -> None:
    with bot.producer.llm_call("m") as call:
        call.usage(input_tokens=10, cache_read_tokens=11)

    event = bot.only(LlmCall)
    assert (event.cost_picousd, event.cost_status) == (None, "invalid_usage")


def test_a_cost_that_the_provider_reports_is_taken(bot: Bot) -> None:
    with bot.producer.llm_call("unheard-of") as call:
        call.usage(input_tokens=10, cost_usd=0.0000125)

    event = bot.only(LlmCall)
    assert (event.cost_picousd, event.cost_source, event.cost_status) == (
        12_500_000,
        "reported",
        "priced",
    )


def test_the_model_that_answered_is_the_one_that_is_paid(bot: Bot) -> None:
    with bot.producer.llm_call("alias") as call:
        call.usage(input_tokens=10)
        call.set(response_model="m")

    assert bot.only(LlmCall).cost_picousd == 20_000_000


def test_without_usage_there_is_no_cost_to_know(bot: Bot) -> None:
    with bot.producer.interaction(model="m") as turn, bot.producer.llm_call("m"):
        pass

    assert turn.cost is None
    assert {event.cost_status for event in bot.all(LlmCall)} == {""}
    assert bot.all(Interaction)[0].cost_status == ""


def test_prices_that_cannot_be_read_are_told_at_the_start() -> None:
    with pytest.raises(SettingsError, match="'m'"):
        Producer("localhost:9092", prices={"m": {"input": "cheap"}})


def test_without_the_extra_everything_is_unpriced_and_nothing_fails() -> None:
    script = """
import sys
sys.modules["genai_prices"] = None
import importlib.util
from backchannel import MemoryTransport, Producer
importlib.util.find_spec = lambda name: None
transport = MemoryTransport(1)
with Producer(transport=transport, health_interval_s=0) as producer:
    assert not producer.load_prices()
    with producer.interaction(model="gpt-4o", provider="openai") as turn:
        turn.usage(input_tokens=1)
        assert turn.cost is None
(event,) = transport.events()
assert event.cost_status == "unpriced"
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_importing_and_making_a_producer_does_not_import_the_table() -> None:
    script = """
import sys
from backchannel import MemoryTransport, Producer
Producer(transport=MemoryTransport(1))
assert "genai_prices" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)
