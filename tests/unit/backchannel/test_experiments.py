"""Variants: the same for the same user, in their shares, and told once."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backchannel.events import Exposure, Interaction
from backchannel.experiments import Exposures, variant_of
from support.bot import Bot

SHARES = {"control": 9, "warm": 1}


def test_shares_are_kept() -> None:
    counts = Counter(variant_of("tone", f"user-{n}", SHARES) for n in range(20_000))

    assert counts["warm"] == pytest.approx(2_000, rel=0.1)
    assert counts.total() == 20_000


@given(st.text(), st.text(), st.text())
def test_a_unit_sees_the_same_variant_whatever_the_order_of_the_shares(
    experiment: str, unit: str, salt: str
) -> None:
    backwards = dict(reversed(SHARES.items()))

    assert variant_of(experiment, unit, SHARES, salt) == variant_of(
        experiment, unit, backwards, salt
    )


def test_the_variant_is_the_same_in_every_process_and_release() -> None:
    seen = [variant_of("tone", f"user-{n}", ["a", "b", "c"], "s") for n in range(8)]

    assert seen == ["b", "a", "b", "c", "a", "a", "c", "b"]


def test_experiments_and_salts_deal_independently() -> None:
    units = [f"user-{n}" for n in range(4_000)]
    for other in (("shape", ""), ("tone", "again")):
        both = Counter(
            (variant_of("tone", unit, "ab"), variant_of(other[0], unit, "ab", other[1]))
            for unit in units
        )
        assert all(count == pytest.approx(1_000, rel=0.15) for count in both.values())


@pytest.mark.parametrize("weights", [{}, [], {"a": 0}, {"a": -1}, {"a": "many"}])
def test_there_may_be_nothing_to_choose_from(weights: Any) -> None:
    assert variant_of("tone", "u", weights) == ""


def test_the_exposure_is_told_once_for_each_user() -> None:
    bot = Bot()
    for _ in range(3):
        for user in ("u1", "u2"):
            with bot.producer.context(user_id=user):
                assert bot.producer.assign("tone", {"warm": 1}) == "warm"

    told = [(e.user_id, e.experiment_id, e.variant) for e in bot.all(Exposure)]
    assert told == [("u1", "tone", "warm"), ("u2", "tone", "warm")]


def test_the_turn_carries_the_variant() -> None:
    bot = Bot()
    with bot.producer.interaction(user_id="u"):
        bot.producer.assign("tone", {"warm": 1})

    exposure, turn = bot.events()
    assert (turn.experiment_id, turn.variant) == ("tone", "warm")
    assert (exposure.user_id, exposure.trace_id) == ("u", turn.trace_id)


def test_a_user_is_the_same_unit_however_it_was_said() -> None:
    bot = Bot(user_id_key="k" * 32)
    variants = list("abcdefgh")
    with bot.producer.context(user_id="u"):
        by_context = bot.producer.assign("tone", variants)
    by_view = bot.producer.bind(user_id="u").assign("tone", variants)

    assert by_context == by_view == bot.producer.assign("tone", variants, "u")
    assert len(bot.all(Exposure)) == 1


def test_without_a_unit_it_is_the_first_variant_and_no_exposure() -> None:
    bot = Bot()

    assert bot.producer.assign("tone", SHARES) == "control"
    assert bot.events() == []


def test_assigning_nonsense_costs_nothing() -> None:
    bot = Bot()
    nonsense: Any = 5

    assert bot.producer.assign("tone", nonsense, "u") == ""
    assert bot.producer.stats().fields_repaired == 1


def test_what_was_told_is_bounded() -> None:
    exposures = Exposures()
    for number in range(70_000):
        exposures.first("tone", str(number), "a")

    assert exposures.first("tone", "0", "a")
    assert not exposures.first("tone", "69999", "a")


def test_a_whole_turn_is_told_at_once() -> None:
    bot = Bot()
    event_id = bot.producer.log_interaction(
        "Where is my order?",
        "On its way.",
        {"model": "gpt-4o", "input_tokens": 12, "shop": 7},
        conversation_id="c",
        duration_us=5,
    )
    bot.producer.feedback("thumb", True, target=event_id)

    turn, thumb = bot.events()
    assert isinstance(turn, Interaction)
    assert (turn.event_id, turn.model, turn.input_tokens) == (event_id, "gpt-4o", 12)
    assert (turn.attributes, turn.duration_us) == ({"shop": "7"}, 5)
    assert "order" not in repr(turn)
    assert event_id in repr(thumb)
