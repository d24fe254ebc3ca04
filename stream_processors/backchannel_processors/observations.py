"""What the measures need to see of an event, read as cheaply as the record allows.

Lines that our SDK stamped are read by msgspec, a few fields each. Any other line gets the
contract's verdict first, so that it is measured exactly when it becomes a row.
"""

from typing import Annotated

import msgspec

from backchannel.events import (
    COUNT_MAX,
    TS_US_MAX,
    Accepted,
    Event,
    Interaction,
    OpenedBatch,
    Rejected,
    Status,
    judge,
)

__all__ = ["Observation", "Reading", "read"]

_INTERACTION = "interaction"


_Label = Annotated[str, msgspec.Meta(max_length=256)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=COUNT_MAX)]


class Observation(msgspec.Struct, frozen=True, gc=False):
    """The fields of an event that decide where and how it is counted.

    Their bounds are those of the contract: a value beyond them would go on as a window that no
    reader takes.
    """

    event_type: str
    event_id: str
    ts_us: Annotated[int, msgspec.Meta(ge=0, lt=TS_US_MAX)]
    tenant_id: _Label = "default"
    endpoint: _Label = ""
    model: _Label = ""
    status: Status = "ok"
    error_type: _Label = ""
    duration_us: _Count = 0
    input_tokens: _Count = 0
    output_tokens: _Count = 0
    sample_weight: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1

    @property
    def is_measured(self) -> bool:
        """Only interactions are; other types move time forward."""
        return self.event_type == _INTERACTION


class Reading(msgspec.Struct, frozen=True, gc=False):
    """A record, read."""

    observations: list[Observation]
    rejected: int
    """Lines that are no events."""
    first_reason: str
    """Why the first rejected line is none; empty when there is no such line."""


def read(batch: OpenedBatch) -> Reading:
    """Reads every line of a record. Raises nothing, whatever the bytes are."""
    if batch.trusted:
        try:
            return Reading([_decode(line) for line in batch.lines], 0, "")
        except msgspec.MsgspecError:
            pass  # stamped, and yet not readable at once: let the contract say which lines are good
    observations: list[Observation] = []
    reasons: list[str] = []
    for verdict in _verdicts(batch):
        if isinstance(verdict, Rejected):
            reasons.append(verdict.reason)
        else:
            observations.append(_observed(verdict.event))
    return Reading(observations, len(reasons), reasons[0] if reasons else "")


_decode = msgspec.json.Decoder(Observation).decode


def _verdicts(batch: OpenedBatch) -> list[Accepted | Rejected]:
    if batch.trusted:
        return [judge(line) for line in batch.lines]
    return batch.verdicts()


def _observed(event: Event) -> Observation:
    if not isinstance(event, Interaction):
        return Observation(event.event_type, event.event_id, event.ts_us)
    return Observation(
        event_type=_INTERACTION,
        event_id=event.event_id,
        ts_us=event.ts_us,
        tenant_id=event.tenant_id,
        endpoint=event.endpoint,
        model=event.model,
        status=event.status,
        error_type=event.error_type,
        duration_us=event.duration_us,
        input_tokens=event.input_tokens,
        output_tokens=event.output_tokens,
        sample_weight=event.sample_weight,
    )
