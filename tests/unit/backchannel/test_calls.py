"""Calls to models, searches and tools: what they say themselves, and what their turn says."""

import itertools

import pytest

from backchannel.events import Document, Interaction, LlmCall, Retrieval, ToolCall
from support.bot import Bot


@pytest.fixture
def bot() -> Bot:
    return Bot()


def test_a_call_has_its_model_tokens_and_times(bot: Bot) -> None:
    with bot.producer.llm_call("gpt-4o", "openai", temperature=200_000) as call:
        bot.clock.advance(us=30)
        call.first_token()
        bot.clock.advance(us=70)
        call.usage(input_tokens=9, output_tokens=1)
        call.usage(input_tokens=9, output_tokens=4, usage_source="provider")
        call.set(response_model="gpt-4o-2024-08-06", finish_reasons=["stop"])

    event = bot.only(LlmCall)
    assert (event.request_model, event.provider, event.duration_us) == ("gpt-4o", "openai", 100)
    assert (event.input_tokens, event.output_tokens, event.usage_source) == (9, 4, "provider")
    assert (event.ttft_us, event.streamed, event.finish_reasons) == (30, True, ("stop",))


def test_calls_add_up_in_their_turn(bot: Bot) -> None:
    with bot.producer.interaction() as turn:
        for tokens in (3, 4):
            with bot.producer.llm_call("gpt-4o", "openai") as call:
                bot.clock.advance(us=10)
                call.usage(input_tokens=tokens, usage_source="provider")
        with turn.llm_call("embed", operation="embeddings") as call:
            bot.clock.advance(us=1)
            call.usage(input_tokens=100, usage_source="estimate")
        turn.usage(input_tokens=1000)

    event = bot.all(Interaction)[0]
    assert (event.llm_calls, event.input_tokens) == (4, 1107)
    assert (event.model, event.provider, event.usage_source) == ("gpt-4o", "openai", "estimate")
    assert event.components == {"llm_generation": 20, "embedding": 1}


def test_no_time_counts_twice_among_the_components(bot: Bot) -> None:
    with bot.producer.interaction() as turn:
        with turn.component("agent"), bot.producer.llm_call("m"):
            bot.clock.advance(us=10)
        with bot.producer.tool_call("search"), bot.producer.retrieval("wiki"):
            bot.clock.advance(us=5)

    assert bot.all(Interaction)[0].components == {"agent": 10, "tool": 5}


def test_the_first_token_of_a_call_is_the_first_of_its_turn(bot: Bot) -> None:
    with bot.producer.interaction(), bot.producer.llm_call("m") as call:
        bot.clock.advance(us=10)
        call.first_token()

    assert bot.all(Interaction)[0].ttft_us == 10


def test_the_first_token_that_the_bot_names_wins(bot: Bot) -> None:
    with bot.producer.interaction() as turn:
        with bot.producer.llm_call("router") as call:
            call.first_token()
        bot.clock.advance(us=10)
        turn.first_token()

    assert bot.all(Interaction)[0].ttft_us == 10


def test_a_call_that_fails_is_an_error_of_its_own(bot: Bot) -> None:
    with pytest.raises(ValueError, match="secret"), bot.producer.llm_call("m"):
        raise ValueError("secret")

    event = bot.only(LlmCall)
    assert (event.status, event.error_type, event.error_message) == ("error", "ValueError", "")


def test_a_search_has_documents_scores_and_its_two_times(bot: Bot) -> None:
    with bot.producer.retrieval("wiki", index_version="7", top_k=3) as search:
        with search.embedding():
            bot.clock.advance(us=3)
        with search.search():
            bot.clock.advance(us=4)
        search.documents([("a", 0.75), ("b", 0.1)])

    event = bot.only(Retrieval)
    assert event.documents == (
        Document(id="a", score=750_000, rank=1),
        Document(id="b", score=100_000, rank=2),
    )
    assert (event.embed_us, event.search_us, event.duration_us) == (3, 4, 7)
    assert (event.data_source_id, event.index_version, event.top_k) == ("wiki", "7", 3)


def test_documents_may_come_in_any_usual_form(bot: Bot) -> None:
    with bot.producer.retrieval() as search:
        search.documents(["a", {"id": 7, "score": 1, "text": "never"}, Document(id="c")])

    ids = [(document.id, document.score) for document in bot.only(Retrieval).documents]
    assert ids == [("a", None), ("7", 1_000_000), ("c", None)]


def test_documents_that_are_none_or_too_many_are_counted(bot: Bot) -> None:
    with bot.producer.retrieval() as search:
        search.documents([str(number) for number in range(300)])
        search.documents([object()])
        search.documents(5)  # type: ignore[arg-type]  # wrong on purpose

    assert len(bot.only(Retrieval).documents) == 256
    assert bot.producer.stats().fields_repaired == 3


def test_documents_without_an_end_are_cut_like_too_many(bot: Bot) -> None:
    with bot.producer.retrieval() as search:
        search.documents(f"d-{number}" for number in itertools.count())

    assert len(bot.only(Retrieval).documents) == 256
    assert bot.producer.stats().fields_repaired == 1


def test_a_tool_call_decorates_a_function(bot: Bot) -> None:
    @bot.producer.tool_call("add")
    def add(a: int, b: int) -> int:
        bot.clock.advance(us=2)
        return a + b

    assert add(1, 2) == add(1, b=2) == 3

    assert [(e.tool_name, e.duration_us) for e in bot.all(ToolCall)] == [("add", 2)] * 2
