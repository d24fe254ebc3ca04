"""What the measures need to see of an event, read as cheaply as the record allows.

Lines that our SDK stamped are read by msgspec, a whole record in one call, the fields below alone.
Any other line gets the contract's verdict first, so that it is measured exactly when it becomes a
row. The types are named as those of the contract that they are a part of.
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar, get_args

import msgspec

from backchannel.events import (
    COUNT_MAX,
    TS_US_MAX,
    Accepted,
    OpenedBatch,
    Rejected,
    Status,
    encode_event,
    judge,
)

__all__ = [
    "OBSERVED_FIELDS",
    "Crossing",
    "ErrorEvent",
    "Evaluation",
    "Feedback",
    "Health",
    "Interaction",
    "LlmCall",
    "Loss",
    "Observation",
    "Reading",
    "Retrieval",
    "Security",
    "ToolCall",
    "read",
    "read_rows",
]

# Bounds are those of the contract: a value beyond them would go on as a window that no reader
# takes.
_Label = Annotated[str, msgspec.Meta(max_length=256)]
_Tag = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=COUNT_MAX)]
_Bytes = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Money = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Millionths = Annotated[int, msgspec.Meta(ge=-COUNT_MAX, le=COUNT_MAX)]
_Fraction = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
_Counts = Annotated[dict[_Tag, _Count], msgspec.Meta(max_length=64)]


class Observation(msgspec.Struct, frozen=True, gc=False, tag_field="event_type"):
    """What every event has: who, when, and how many events it stands for."""

    event_id: str
    ts_us: Annotated[int, msgspec.Meta(ge=0, lt=TS_US_MAX)]
    tenant_id: _Label = "default"
    user_id: _Label = ""
    session_id: _Label = ""
    conversation_id: _Label = ""
    experiment_id: _Label = ""
    variant: _Label = ""
    sample_weight: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1

    is_measured: ClassVar[bool] = True
    """Other types only move time forward."""


class _NoPlace(Observation, frozen=True, gc=False):
    """An event that belongs to no endpoint and no model."""

    @property
    def endpoint(self) -> str:
        return ""

    @property
    def model(self) -> str:
        return ""


class Interaction(Observation, frozen=True, gc=False, tag="interaction"):
    endpoint: _Label = ""
    model: _Label = ""
    http_status: _Count | None = None
    status: Status = "ok"
    error_type: _Label = ""
    duration_us: _Count = 0
    ttft_us: _Count | None = None
    components: _Counts = {}
    input_tokens: _Count = 0
    output_tokens: _Count = 0
    cache_read_tokens: _Count = 0
    cache_write_tokens: _Count = 0
    reasoning_tokens: _Count = 0
    cost_picousd: _Money | None = None
    cost_status: _Label = ""
    fallback_used: bool = False
    cache_hit: bool | None = None


class LlmCall(Observation, frozen=True, gc=False, tag="llm_call"):
    request_model: _Label = ""
    response_model: _Label = ""
    status: Status = "ok"
    duration_us: _Count = 0
    ttft_us: _Count | None = None
    retries: _Count = 0
    input_tokens: _Count = 0
    output_tokens: _Count = 0
    cache_read_tokens: _Count = 0
    reasoning_tokens: _Count = 0
    cost_picousd: _Money | None = None
    cost_status: _Label = ""

    @property
    def endpoint(self) -> str:
        return ""

    @property
    def model(self) -> str:
        """The model that answered, else the one that was asked for."""
        return self.response_model or self.request_model


class _Document(msgspec.Struct, frozen=True, gc=False):
    score: _Millionths | None = None


class Retrieval(_NoPlace, frozen=True, gc=False, tag="retrieval"):
    documents: Annotated[tuple[_Document, ...], msgspec.Meta(max_length=256)] = ()
    duration_us: _Count = 0
    status: Status = "ok"


class ToolCall(_NoPlace, frozen=True, gc=False, tag="tool_call"):
    duration_us: _Count = 0
    status: Status = "ok"


class Evaluation(_NoPlace, frozen=True, gc=False, tag="evaluation"):
    name: _Label = msgspec.field(default="")
    value: _Millionths | None = None
    status: Status = "ok"


class Feedback(_NoPlace, frozen=True, gc=False, tag="feedback"):
    kind: _Label = ""
    value: _Millionths | None = None


class Health(_NoPlace, frozen=True, gc=False, tag="health"):
    cpu: _Fraction | None = None
    memory: _Fraction | None = None
    disk: _Fraction | None = None
    process_rss_bytes: _Bytes | None = None
    event_loop_lag_us: _Count | None = None
    in_flight_requests: _Count | None = None
    active_sessions: _Count | None = None
    queues: _Counts = {}
    gauges: Annotated[dict[_Tag, _Millionths], msgspec.Meta(max_length=64)] = {}
    sdk_dropped: _Counts = {}


class ErrorEvent(_NoPlace, frozen=True, gc=False, tag="error"):
    level: _Label = "error"
    endpoint: _Label = ""


class Crossing(Observation, frozen=True, gc=False):
    """The turn by which a conversation went over a limit: found here, never read."""

    endpoint: str = ""
    model: str = ""
    limit: str = ""
    """Name of the limit."""
    total: int = 0
    """What the conversation has come to with that turn."""

    @classmethod
    def of(cls, turn: Interaction, limit: str, total: int) -> "Crossing":
        """Returns the crossing by a turn: it counts wherever the turn does."""
        return cls(
            event_id=turn.event_id,
            ts_us=turn.ts_us,
            tenant_id=turn.tenant_id,
            user_id=turn.user_id,
            experiment_id=turn.experiment_id,
            variant=turn.variant,
            sample_weight=turn.sample_weight,
            endpoint=turn.endpoint,
            model=turn.model,
            limit=limit,
            total=total,
        )


class _Unmeasured(_NoPlace, frozen=True, gc=False):
    is_measured: ClassVar[bool] = False


class _Component(_Unmeasured, frozen=True, gc=False, tag="component"):
    pass


class _Exposure(_Unmeasured, frozen=True, gc=False, tag="exposure"):
    pass


class _Product(_Unmeasured, frozen=True, gc=False, tag="product"):
    pass


class Security(_NoPlace, frozen=True, gc=False, tag="security"):
    outcome: _Label = ""
    principal_hash: _Label = ""


class Loss(_NoPlace, frozen=True, gc=False):
    """What never came, noted at an event that came after it: found here, never read."""

    dropped: int = 0
    """Events that the bot had no room for."""
    records: int = 0
    """Records that the bot sent and nobody saw."""


class _Marker(_Unmeasured, frozen=True, gc=False, tag="marker"):
    pass


class _Erasure(_Unmeasured, frozen=True, gc=False, tag="erasure"):
    pass


class Reading(msgspec.Struct, frozen=True, gc=False):
    """A record, read."""

    observations: Sequence[Observation]
    rejected: int
    """Lines that are no events."""
    first_reason: str
    """Why the first rejected line is none; empty when there is no such line."""


_Any = (
    Interaction
    | LlmCall
    | Retrieval
    | ToolCall
    | Evaluation
    | Feedback
    | Health
    | ErrorEvent
    | _Component
    | _Exposure
    | _Product
    | Security
    | _Marker
    | _Erasure
)
OBSERVED_FIELDS = frozenset(
    field for kind in get_args(_Any) for field in ("event_type", *kind.__struct_fields__)
)
"""Every field that is looked at: what has to be asked for to count a stored event."""

_decoder = msgspec.json.Decoder(_Any)
_decode = _decoder.decode
_decode_lines = _decoder.decode_lines


def read(batch: OpenedBatch) -> Reading:
    """Reads every line of a record. Raises nothing, whatever the bytes are."""
    if batch.trusted:
        try:
            observations = _decode_lines(batch.value)
            if len(observations) == batch.count:
                return Reading(observations, 0, "")
        except msgspec.MsgspecError:
            pass  # stamped, and yet not readable at once: let the contract say which lines are good
    good: list[Observation] = []
    reasons: list[str] = []
    for verdict in _verdicts(batch):
        if isinstance(verdict, Rejected):
            reasons.append(verdict.reason)
        else:
            good.append(_decode(encode_event(verdict.event)))
    return Reading(good, len(reasons), reasons[0] if reasons else "")


def read_rows(lines: bytes) -> Sequence[Observation]:
    """Reads stored events, a JSON object each line. What the stream could not read, and so did not
    count, is left out here too."""
    try:
        return _decode_lines(lines)
    except msgspec.MsgspecError:
        return [each for line in lines.split(b"\n") for each in _readable(line)]


def _readable(line: bytes) -> Sequence[Observation]:
    try:
        return (_decode(line),)
    except msgspec.MsgspecError:
        return ()


def _verdicts(batch: OpenedBatch) -> list[Accepted | Rejected]:
    if batch.trusted:
        return [judge(line) for line in batch.lines]
    return batch.verdicts()
