"""Prompt and reply text: its own record on its own topic, only where a bot opts in."""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints

from backchannel.events.fields import EventId, Label, TimestampUs

__all__ = ["Content"]


class Content(BaseModel):
    """One piece of text, tied to its event by ``event_id``. Never on ``chat.events``."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", strict=True, defer_build=True
    )

    event_id: EventId
    ts_us: TimestampUs
    schema_version: Literal[1] = 1
    tenant_id: Label = "default"
    user_id: Label = ""
    conversation_id: Label = ""
    part: Literal["prompt", "reply", "query", "document"]
    part_index: int = 0
    text: Annotated[str, StringConstraints(max_length=65_536)] = ""
    truncated: bool = False
