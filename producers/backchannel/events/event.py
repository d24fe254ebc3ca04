"""Every type of event, and the union of them that travels on ``chat.events``."""

from typing import Annotated

from pydantic import Field

from backchannel.events.judgements import Evaluation, Exposure, Feedback
from backchannel.events.operations import Erasure, ErrorEvent, Health, Marker, Product, Security
from backchannel.events.turns import Component, Interaction, LlmCall, Retrieval, ToolCall

__all__ = ["EVENT_TYPES", "AnyEvent", "Event"]

Event = (
    Interaction
    | LlmCall
    | Retrieval
    | ToolCall
    | Component
    | Evaluation
    | Feedback
    | Exposure
    | Product
    | ErrorEvent
    | Health
    | Security
    | Marker
    | Erasure
)
"""Any event."""

AnyEvent = Annotated[Event, Field(discriminator="event_type")]
"""Any event, told apart by ``event_type``: for pydantic models and adapters."""

EVENT_TYPES: dict[str, type[Event]] = {
    str(model.model_fields["event_type"].default): model for model in Event.__args__
}
"""The event models by their ``event_type``."""
