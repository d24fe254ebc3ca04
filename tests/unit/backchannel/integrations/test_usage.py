"""Tokens as providers tell them, and as every event has them: totals are inclusive."""

from typing import Any

import pytest

from backchannel.integrations.answer import Answer
from backchannel.integrations.anthropic import anthropic_usage
from backchannel.integrations.openai import openai_usage
from backchannel.integrations.payload import look, text_length, texts

OPENAI: dict[str, tuple[Any, dict[str, int]]] = {
    "chat": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 40,
            "total_tokens": 140,
            "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 3},
            "completion_tokens_details": {"reasoning_tokens": 24, "audio_tokens": 2},
        },
        {
            "input_tokens": 100,
            "output_tokens": 40,
            "cache_read_tokens": 64,
            "reasoning_tokens": 24,
            "input_audio_tokens": 3,
            "output_audio_tokens": 2,
        },
    ),
    "responses": (
        {
            "input_tokens": 9,
            "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
            "output_tokens": 5,
            "output_tokens_details": {"reasoning_tokens": 1},
            "total_tokens": 14,
        },
        {
            "input_tokens": 9,
            "output_tokens": 5,
            "cache_read_tokens": 4,
            "cache_write_tokens": 2,
            "reasoning_tokens": 1,
        },
    ),
    "embeddings": ({"prompt_tokens": 8, "total_tokens": 8}, {"input_tokens": 8}),
    "DeepSeek's cache": (
        {"prompt_tokens": 10, "completion_tokens": 1, "prompt_cache_hit_tokens": 6},
        {"input_tokens": 10, "output_tokens": 1, "cache_read_tokens": 6},
    ),
    "thinking that the output leaves out, as its own total shows": (
        {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "total_tokens": 22,
            "completion_tokens_details": {"reasoning_tokens": 7},
        },
        {"input_tokens": 10, "output_tokens": 12, "reasoning_tokens": 7},
    ),
    "nothing": (None, {}),
    "nonsense": ({"prompt_tokens": "many", "completion_tokens": -1, "total_tokens": True}, {}),
}


@pytest.mark.parametrize(("usage", "fields"), OPENAI.values(), ids=OPENAI)
def test_openai_tells_inclusive_totals(usage: Any, fields: dict[str, int]) -> None:
    assert openai_usage(usage) == fields


def test_anthropic_counts_the_cache_apart_and_here_it_is_added_up() -> None:
    usage = {
        "input_tokens": 30,
        "cache_read_input_tokens": 60,
        "cache_creation_input_tokens": 10,
        "output_tokens": 40,
        "output_tokens_details": {"thinking_tokens": 24},
    }

    assert anthropic_usage(usage) == {
        "input_tokens": 100,
        "output_tokens": 40,
        "cache_read_tokens": 60,
        "cache_write_tokens": 10,
        "reasoning_tokens": 24,
    }


def test_what_the_provider_counted_is_never_mixed_with_an_estimate() -> None:
    answer = Answer(usage={"input_tokens": 7}, usage_final=True, length=400)

    assert answer.counts("a prompt") == {"input_tokens": 7, "usage_source": "provider"}


def test_an_answer_that_nobody_counted_is_estimated_and_says_so() -> None:
    answer = Answer(length=41)

    assert answer.counts({"messages": [{"content": "x" * 80}]}) == {
        "input_tokens": 20,
        "output_tokens": 11,
        "usage_source": "estimate",
    }


def test_an_abandoned_answer_keeps_the_input_that_was_counted_and_estimates_the_rest() -> None:
    answer = Answer(usage={"input_tokens": 100, "output_tokens": 1}, length=80)

    assert answer.counts("x" * 4_000) == {
        "input_tokens": 100,
        "output_tokens": 20,
        "usage_source": "estimate",
    }


def test_nothing_heard_is_nothing_counted() -> None:
    assert Answer().counts("a long prompt") == {}


def test_the_length_of_a_prompt_is_that_of_its_words_not_of_its_images() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:" + "x" * 1_000}}
    prompt = {
        "model": "m" * 100,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "four"}, image]}],
        "instructions": "six six",
    }

    assert text_length(prompt) == len("four") + len("six six")


def test_a_prompt_that_holds_itself_is_measured_in_the_end() -> None:
    prompt: dict[str, Any] = {"text": "four"}
    prompt["content"] = [prompt, prompt]

    assert text_length(prompt) > 0


def test_the_texts_of_a_prompt_come_in_their_order() -> None:
    prompt = {
        "system": "one",
        "messages": [{"content": "two"}, {"content": [{"text": "three"}, {"text": "four"}]}],
    }

    assert list(texts(prompt)) == ["one", "two", "three", "four"]


def test_an_answer_that_raises_when_it_is_looked_into_holds_nothing() -> None:
    class HostileAnswer:
        @property
        def usage(self) -> int:
            raise RuntimeError("the request has not been set")

    assert look(HostileAnswer(), "usage", "prompt_tokens") is None
