"""What tokens cost: integers, inclusive totals, and no number where none is known."""

from decimal import Decimal

import pytest

from backchannel.prices import Cost, Rates, Step, cost, own_rates

PLAIN = Rates((Step(input=2_500_000, output=10_000_000, cache_read=1_250_000),))


def test_a_part_with_a_rate_of_its_own_is_taken_out_of_the_whole() -> None:
    tokens = {"input_tokens": 10, "cache_read_tokens": 4, "output_tokens": 3}

    assert cost(PLAIN, tokens) == Cost("priced", 6 * 2_500_000 + 4 * 1_250_000, 30_000_000)


def test_a_part_without_a_rate_costs_what_the_whole_does() -> None:
    tokens = {
        "input_tokens": 10,
        "cache_write_tokens": 4,
        "output_tokens": 3,
        "reasoning_tokens": 2,
    }

    assert cost(PLAIN, tokens) == Cost("priced", 25_000_000, 30_000_000)


@pytest.mark.parametrize(
    "tokens",
    [
        {"input_tokens": 10, "cache_read_tokens": 11},
        {"input_tokens": 10, "cache_read_tokens": 6, "cache_write_tokens": 5},
        {"input_tokens": 1, "input_audio_tokens": 2},
        {"output_tokens": 1, "reasoning_tokens": 2},
        {"output_tokens": 1, "output_audio_tokens": 2},
        {"input_tokens": 2**40, "output_tokens": 2**40},
    ],
    ids=str,
)
def test_parts_beyond_their_whole_have_no_cost(tokens: dict[str, int]) -> None:
    found = cost(PLAIN, tokens)

    assert (found.status, found.picousd) == ("invalid_usage", None)


def test_above_a_step_all_tokens_have_its_rates() -> None:
    rates = Rates((Step(input=1), Step(above_input_tokens=100, input=2)))

    assert cost(rates, {"input_tokens": 100}).picousd == 100
    assert cost(rates, {"input_tokens": 101}).picousd == 202


def test_tokens_without_a_rate_are_unpriced_and_none_of_them_are_free() -> None:
    embeddings = Rates((Step(input=20_000),))

    assert cost(embeddings, {"input_tokens": 5}).picousd == 100_000
    assert cost(embeddings, {"input_tokens": 5, "output_tokens": 1}).status == "unpriced"


def test_own_prices_are_dollars_a_million_tokens_or_litellms_dollars_a_token() -> None:
    own, mistakes = own_rates(
        {
            "Mine": {"input": 0.15, "output": "0.6", "cache_read": Decimal("0.075")},
            "theirs": {"input_cost_per_token": 1.5e-07, "output_cost_per_token": 6e-07},
        }
    )

    assert mistakes == []
    assert own["mine"].steps == (Step(input=150_000, output=600_000, cache_read=75_000),)
    assert own["theirs"].steps == (Step(input=150_000, output=600_000),)
    assert own["mine"].source == "custom_table"


def test_every_mistake_in_own_prices_is_told() -> None:
    own, mistakes = own_rates(
        {"a": {"input": -1}, "b": {"input": "cheap"}, "c": {"inptu": 1}, "d": {"input": 0}}
    )

    assert (list(own), len(mistakes)) == (["d"], 3)
