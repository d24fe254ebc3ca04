"""A conversation that has fallen silent, as it stands on ``chat.metrics`` beside the windows."""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from backchannel.events.fields import Label, Status, TimestampUs

__all__ = ["CONVERSATION_SCHEMA", "ClosedConversation", "Outcome"]

CONVERSATION_SCHEMA = "1.0"
"""Major and minor version of the schema of closed conversations, in the header ``schema`` of their
records on ``chat.metrics``. Their header ``kind`` is ``conversation.closed``; windows have none."""

Outcome = Literal["escalated", "completed", "errored", "abandoned", "answered"]
"""How it ended, the first that holds: a person was asked for; the user said that the task is done;
the last turn failed; the last turn was cancelled or blocked, or took longer than 10 s; none of
these."""

_Sum = Annotated[int, Field(ge=0, le=2**63 - 1)]
_LargeSum = Annotated[int, Field(ge=0, le=2**127 - 1)]


class ClosedConversation(BaseModel):
    """The turns of one conversation, from its first one to a silence.

    What goes on after the silence is a new ``segment`` of it. Of several records of the same
    ``origin``, ``tenant_id``, ``conversation_id`` and ``segment`` the highest ``revision`` stands.
    Counts are of the events there are, not weighted: ``sample_weight`` says for how many
    conversations it stands.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="ignore", strict=True, defer_build=True
    )

    kind: Literal["conversation.closed"] = "conversation.closed"
    origin: Label
    tenant_id: Label
    conversation_id: Label
    segment: Label
    """Id of the event that began it."""
    revision: _Sum
    """Rises with everything that is added."""
    outcome: Outcome
    started_at_us: TimestampUs
    """Event time of the first turn."""
    last_at_us: TimestampUs
    """Event time of the last turn."""
    closed_at_us: TimestampUs
    """Event time at which the silence was long enough."""
    duration_us: _Sum
    """From the beginning of the first turn to the end of the last."""
    turns: _Sum
    errors: _Sum
    """Turns with status ``error``, ``timeout`` or ``rate_limited``."""
    fallbacks: _Sum
    """Turns that a fallback answered."""
    input_tokens: _Sum
    output_tokens: _Sum
    cost_picousd: _LargeSum
    """Cost of the turns whose cost is known, 10^-12 US dollars."""
    unpriced: _Sum
    """Turns whose price is unknown: ``cost_picousd`` has nothing of them."""
    last_status: Status
    """How the last turn ended."""
    last_event_id: Label
    """The last turn."""
    sample_weight: Annotated[int, Field(ge=1)]
    """The largest one of its turns."""
