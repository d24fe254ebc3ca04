"""Judgements, marks, product use, security and errors: what happens in an instant."""

from decimal import Decimal

import pytest

from backchannel.events import (
    ErrorEvent,
    Evaluation,
    Exposure,
    Feedback,
    Interaction,
    Marker,
    Product,
    Security,
)
from support.bot import Bot


@pytest.fixture
def bot() -> Bot:
    return Bot()


@pytest.mark.parametrize(
    ("value", "stored"),
    [(0.1, 100_000), (1, 1_000_000), (True, 1_000_000), (Decimal("0.000001"), 1), (-0.5, -500_000)],
)
def test_scores_are_told_as_people_write_them(bot: Bot, value: float, stored: int) -> None:
    bot.producer.evaluation("relevance", value, source="llm_judge")

    assert bot.only(Evaluation).value == stored


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "good", object()])
def test_what_is_no_number_is_no_score(bot: Bot, value: float) -> None:
    bot.producer.evaluation("relevance", value)

    assert bot.only(Evaluation).value is None
    assert bot.producer.stats().fields_repaired == 1


def test_the_first_judgement_may_come_when_all_is_over(bot: Bot) -> None:
    with bot.producer.interaction() as turn:
        pass
    bot.producer.feedback("thumb", True, target=turn)

    interaction, thumb = bot.events()
    assert isinstance(thumb, Feedback)
    assert thumb.target_event_id == turn.event_id == interaction.event_id


def test_a_judgement_points_at_its_turn_also_when_it_comes_later(bot: Bot) -> None:
    with bot.producer.interaction(conversation_id="c") as turn:
        bot.producer.evaluation("relevance", 1)
    bot.producer.feedback("thumb", True, target=turn)
    bot.producer.feedback("rating", 4, target=turn.event_id, scale_max=5)

    inside, interaction, thumb, rating = bot.events()
    assert isinstance(inside, Evaluation)
    assert isinstance(thumb, Feedback)
    assert isinstance(rating, Feedback)
    targets = {inside.target_event_id, thumb.target_event_id, rating.target_event_id}
    assert targets == {interaction.event_id}
    assert (thumb.conversation_id, thumb.value) == ("c", 1_000_000)
    assert (rating.value, rating.scale_max) == (4_000_000, 5_000_000)


def test_product_use_has_properties_of_its_own(bot: Bot) -> None:
    bot.producer.product("opened", url="/chat", user_id="u", plan="pro", seats=3)

    event = bot.only(Product)
    assert (event.name, event.url, event.user_id) == ("opened", "/chat", "u")
    assert event.properties == {"plan": "pro", "seats": "3"}


def test_marks_exposures_and_security_are_told(bot: Bot) -> None:
    with bot.producer.interaction(user_id="u"):
        bot.producer.marker("deploy", "v2")
        bot.producer.exposure("tone", "warm")
        bot.producer.security("login", "blocked", detail="too many")

    assert bot.all(Marker)[0].title == "v2"
    exposure = bot.all(Exposure)[0]
    assert (exposure.experiment_id, exposure.variant, exposure.user_id) == ("tone", "warm", "u")
    assert bot.all(Security)[0].outcome == "blocked"


def test_an_exception_is_told_with_its_place_and_without_values(bot: Bot) -> None:
    def fails(password: str) -> None:
        raise ValueError("wrong")

    with bot.producer.interaction(endpoint="/chat"):
        try:
            fails("hunter2")
        except ValueError:
            assert bot.producer.capture_exception()

    event = bot.all(ErrorEvent)[0]
    assert (event.exception_type, event.message, event.endpoint) == ("ValueError", "wrong", "/chat")
    assert 'raise ValueError("wrong")' in event.stacktrace
    assert "hunter2" not in event.stacktrace.replace('fails("hunter2")', "")
    assert event.trace_id == bot.all(Interaction)[0].trace_id


def test_the_same_fault_has_the_same_fingerprint_whatever_its_message(bot: Bot) -> None:
    def fails(text: str, kind: type[Exception]) -> None:
        raise kind(text)

    for text, kind in (("a", ValueError), ("b", ValueError), ("a", KeyError)):
        try:
            fails(text, kind)
        except Exception as error:  # noqa: BLE001  # it is what is tested
            bot.producer.capture_exception(error)

    first, second, other = (event.fingerprint for event in bot.all(ErrorEvent))
    assert first == second != other


def test_there_is_nothing_to_capture_outside_of_an_exception(bot: Bot) -> None:
    assert not bot.producer.capture_exception()
    assert bot.producer.stats().dropped == {"invalid": 1}


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError


def test_an_exception_that_cannot_be_written_is_still_told(bot: Bot) -> None:
    assert bot.producer.capture_exception(UnspeakableError())

    assert bot.only(ErrorEvent).exception_type == "UnspeakableError"


def test_a_message_has_its_level(bot: Bot) -> None:
    bot.producer.capture_message("disk nearly full", "warning", component="index")

    event = bot.only(ErrorEvent)
    assert (event.message, event.level, event.component) == ("disk nearly full", "warning", "index")


def test_what_a_bot_says_of_its_turn_stands_on_it_and_on_what_follows(bot: Bot) -> None:
    with bot.producer.interaction() as turn:
        turn.intent("refund", 0.875)
        turn.category("billing")
        turn.prompt_version("support", "7")
        turn.variant("tone", "warm")
        turn.fallback()
        bot.producer.product("click")

    product, event = bot.events()
    assert isinstance(event, Interaction)
    assert (event.intent, event.intent_confidence, event.query_category) == (
        "refund",
        875_000,
        "billing",
    )
    assert event.fallback_used
    for one in (product, event):
        assert (one.prompt_name, one.prompt_version) == ("support", "7")
        assert (one.experiment_id, one.variant) == ("tone", "warm")
