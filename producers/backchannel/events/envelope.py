"""The envelope: what every event says of itself, whatever its type."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events.event_id import new_event_id
from backchannel.events.fields import (
    Count,
    EventId,
    Label,
    Labels,
    Strings,
    TimestampUs,
    Weight,
)

__all__ = ["SCHEMA_VERSION", "Envelope", "Marked"]

SCHEMA_VERSION = 1
"""Major version of the event schema. Within it fields are only added, each with a default."""


class Marked(BaseModel):
    """What was made past its constructor bears a mark, so that a producer checks it after all."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", strict=True, defer_build=True
    )

    @classmethod
    def model_construct(cls, _fields_set: set[str] | None = None, **values: Any) -> Self:
        """Makes it past its constructor: nothing is checked until a producer takes it."""
        made = super().model_construct(_fields_set, **values)
        # What was checked has None here, since it forbids fields that it does not know.
        object.__setattr__(made, "__pydantic_extra__", {})
        return made


class Envelope(Marked):
    """The fields that every event has.

    A constructor is strict: an unknown field or a wrong type raises ``pydantic.ValidationError``.
    Readers are tolerant: see ``backchannel.events.judge``.

    An absent string is empty, an absent number is ``None``; a field that has its default is left
    out on the wire. Defaults are part of the contract and never change.
    """

    event_id: EventId = Field(default_factory=new_event_id)
    """Unique for ever; the idempotency key for people. UUID version 7."""
    ts_us: TimestampUs = Field(default_factory=SYSTEM_CLOCK.now_us)
    """Event time: when it happened, microseconds since the Unix epoch."""
    schema_version: Literal[1] = 1
    """That of ``SCHEMA_VERSION``; an event of another version is none to this reader."""
    producer_id: Label = ""
    """Which producer sent it; the producer stamps it."""
    seq: Count = 0
    """Number of the event within its producer, from 1 and gap-free: a gap is a loss. Stamped."""
    tenant_id: Label = "default"
    user_id: Label = ""
    session_id: Label = ""
    conversation_id: Label = ""
    turn: Count | None = None
    """Number of the turn in its conversation, from 1."""
    request_id: Label = ""
    trace_id: Label = ""
    span_id: Label = ""
    parent_span_id: Label = ""
    service: Label = ""
    service_version: Label = ""
    environment: Label = ""
    channel: Label = ""
    tags: Strings = ()
    attributes: Labels = Field(default_factory=dict)
    sample_weight: Weight = 1
    experiment_id: Label = ""
    variant: Label = ""
    prompt_name: Label = ""
    prompt_version: Label = ""

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copies the event; what is updated is checked as by the constructor.

        Raises:
            pydantic.ValidationError: a field is unknown or its value wrong.
        """
        if not update:
            return super().model_copy(deep=deep)
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_validate(fields | dict(update))
