"""What was heard of a model's answer so far, and what is said of it when it ends."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from backchannel.calls import Call
from backchannel.integrations.outcome import BLOCKED_REASONS
from backchannel.integrations.payload import text_length, texts

__all__ = ["Answer", "Operation", "keep_content"]

_CHARACTERS_A_TOKEN = 4
"""The rule of thumb for English; an estimate says that it is one."""


@dataclass(slots=True)
class Answer:
    """An answer, whole or as far as it came. ``facts`` and ``usage`` hold fields of ``LlmCall``."""

    facts: dict[str, Any] = field(default_factory=dict)
    usage: dict[str, int] = field(default_factory=dict)
    usage_final: bool = False
    """Whether the provider has told the last of its counts: an abandoned stream's it has not."""
    length: int = 0
    """Characters of output that came: what an estimate is made of."""
    reasons: dict[int, str] = field(default_factory=dict)
    """Why each choice ended."""
    words: list[str] | None = None
    """The output itself, only where the bot captures content."""

    def hear(self, *words: str) -> None:
        """Notes output: its length, and where content is captured the words themselves."""
        for word in words:
            self.length += len(word)
            if self.words is not None:
                self.words.append(word)

    def counts(self, prompt: Any) -> dict[str, Any]:
        """Returns the tokens and who counted them; empty when nothing at all is known.

        What the provider did not count is estimated from the length of the text: a stream that
        was left early, or a server that does not count.
        """
        if self.usage_final:
            return {**self.usage, "usage_source": "provider"}
        if not self.length:
            return {**self.usage, "usage_source": "provider"} if self.usage else {}
        estimated = dict(self.usage)
        if not estimated.get("input_tokens"):
            estimated["input_tokens"] = -(-text_length(prompt) // _CHARACTERS_A_TOKEN)
        heard = -(-self.length // _CHARACTERS_A_TOKEN)
        estimated["output_tokens"] = max(heard, estimated.get("output_tokens", 0))
        return {**estimated, "usage_source": "estimate"}

    def told(self) -> dict[str, Any]:
        """Returns the facts, the reasons in their order, and the status when a filter cut in."""
        facts = dict(self.facts)
        if self.reasons:
            reasons = tuple(reason for _, reason in sorted(self.reasons.items()))
            facts["finish_reasons"] = reasons
            if BLOCKED_REASONS.intersection(reasons):
                facts.setdefault("status", "blocked")
        return facts


def keep_content(call: Call, answer: Answer, prompt: Any) -> None:
    """Keeps prompt and answer for ``chat.content``, where the bot captures content."""
    if answer.words is not None:
        call.prompt("\n".join(texts(prompt)))
        call.reply("".join(answer.words))


def _nothing_to_ask(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return None


@dataclass(frozen=True, slots=True)
class Operation:
    """How one operation of a provider is read."""

    name: str
    """As in ``LlmCall.operation``."""
    request: Callable[[Mapping[str, Any]], dict[str, Any]]
    """Fields out of a request's body."""
    whole: Callable[[Answer, Any], None]
    """Reads an answer that came in one piece."""
    part: Callable[[Answer, Any], bool]
    """Reads a piece of a stream; returns whether it holds output: words, thoughts, arguments."""
    ask: Callable[[Mapping[str, Any]], Mapping[str, Any] | None] = _nothing_to_ask
    """The body that makes the provider count a stream's tokens too; ``None`` to leave it be."""
    asked_for: Callable[[Any], bool] = lambda part: False
    """Whether a piece of a stream is there only because of ``ask``."""
