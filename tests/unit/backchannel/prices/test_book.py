"""The price book beside the library that its table is from."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from genai_prices import Usage, calc_price
from hypothesis import given, settings
from hypothesis import strategies as st

from backchannel.prices import PriceBook, own_rates
from backchannel.prices.genai_table import GenaiTable

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
MODELS = (
    ("openai", "gpt-4o"),
    ("openai", "gpt-4o-mini-2024-07-18"),
    ("openai", "text-embedding-3-small"),
    ("anthropic", "claude-sonnet-4-5-20250929"),
    ("google", "gemini-2.5-pro"),
    ("deepseek", "deepseek-chat"),
    ("", "claude-sonnet-4-5"),
)


@pytest.fixture(scope="module")
def book() -> PriceBook:
    book = PriceBook()
    assert book.load()
    return book


def us(instant: datetime) -> int:
    return round(instant.timestamp() * 1_000_000)


@given(
    st.sampled_from(MODELS),
    st.integers(0, 400_000),
    st.integers(0, 50_000),
    st.integers(0, 1_000),
    st.integers(0, 3 * 365 * 24 * 4),
)
@settings(max_examples=300, deadline=None)
def test_costs_equal_those_of_the_library_to_the_picodollar(
    model: tuple[str, str], whole: int, output: int, cached_share: int, quarters: int
) -> None:
    book = PriceBook()
    book.load()
    at = NOW - timedelta(minutes=15 * quarters)
    embeds = "embedding" in model[1]
    cached = 0 if embeds else whole * cached_share // 1_000
    output = 0 if embeds else output
    used = {"input_tokens": whole, "cache_read_tokens": cached, "output_tokens": output}
    theirs = calc_price(
        Usage(**used), model[1], provider_id=model[0] or None, genai_request_timestamp=at
    )

    ours, rates = book.cost(*model, used, us(at))

    assert ours.picousd == theirs.total_price * 10**12
    assert rates is not None
    assert rates.version.startswith("genai-prices ")


def test_every_model_of_the_table_can_be_read() -> None:
    table = GenaiTable()
    day = us(NOW) // 86_400_000_000
    priced = [entry for entry in table.entries() if table.day(entry.provider, entry.model, day)]

    assert len(priced) > 1_000
    assert all(min(table.days_of_change(e.provider, e.model)) == 0 for e in priced[:200])


def test_the_history_of_a_model_says_what_each_day_says() -> None:
    table = GenaiTable()
    model = ("deepseek", "deepseek-v4-pro")
    history = list(table.history(*model))
    assert len(history) > 1

    for day in range(20_000, us(NOW) // 86_400_000_000, 13):
        told = [periods for begins, periods in history if begins <= day][-1]
        assert told == table.day(*model, day)


@pytest.mark.parametrize(
    ("provider", "model"),
    [("openai", "no-such-model"), ("no-such-provider", "gpt-4o"), ("", "m"), ("openai", "")],
)
def test_an_unknown_model_is_unpriced(book: PriceBook, provider: str, model: str) -> None:
    found, rates = book.cost(provider, model, {"input_tokens": 1}, us(NOW))

    assert (found.status, found.picousd, rates) == ("unpriced", None, None)


def test_a_service_tier_may_have_prices_of_its_own(book: PriceBook) -> None:
    tokens = {"input_tokens": 1_000}

    standard, _ = book.cost("openai", "gpt-5", tokens, us(NOW))
    priority, _ = book.cost("openai", "gpt-5", tokens, us(NOW), "priority")

    assert (priority.picousd or 0) > (standard.picousd or 0) > 0


def test_own_prices_win_with_and_without_their_provider() -> None:
    prices: dict[str, Any] = {"gpt-4o": {"input": 1}, "azure/gpt-4o": {"input": 2}}
    book = PriceBook(own_rates(prices)[0])
    tokens = {"input_tokens": 1}

    assert book.cost("openai", "GPT-4o", tokens, us(NOW))[0].picousd == 1_000_000
    assert book.cost("Azure", "gpt-4o", tokens, us(NOW))[0].picousd == 2_000_000


def test_a_book_that_is_not_loaded_knows_nothing_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(PriceBook, "_loaded", None)
    book = PriceBook()

    assert not book.loaded
    assert book.cost("openai", "gpt-4o", {"input_tokens": 1}, us(NOW))[0].status == "unpriced"


def test_what_one_book_has_loaded_all_later_ones_have(book: PriceBook) -> None:
    assert book.loaded
    assert PriceBook().loaded


def test_what_is_remembered_is_bounded(book: PriceBook) -> None:
    for number in range(5_000):
        book.rates("no-such-provider", f"m{number}", us(NOW))

    assert len(book._memo) <= 4_096
