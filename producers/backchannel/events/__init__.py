"""The contract: events, windows, alerts, dead letters, and how they travel.

Everything that parts of the pipeline share stands here and nowhere else; topics are the only
interface between them. Imports the standard library, pydantic and the clock.
"""

from backchannel.events.alert import ALERT_SCHEMA, Alert
from backchannel.events.buckets import BUCKET_UPPERS, ZERO_BUCKET, bucket_of, bucket_value, quantile
from backchannel.events.codec import (
    BATCH_BYTES_MAX,
    LIVE,
    SCHEMA,
    OpenedBatch,
    SealedBatch,
    encode_event,
    line_prefix,
    open_batch,
    seal,
)
from backchannel.events.content import Content
from backchannel.events.control import (
    Ack,
    BudgetState,
    Silence,
    control_key,
    read_budget,
    read_control,
)
from backchannel.events.dead_letter import DEAD_VALUE_BYTES_MAX, DeadLetter
from backchannel.events.envelope import SCHEMA_VERSION, Envelope
from backchannel.events.event import EVENT_TYPES, AnyEvent, Event
from backchannel.events.event_id import new_event_id
from backchannel.events.fields import COUNT_MAX, TS_US_MAX, Status
from backchannel.events.judgements import Evaluation, Exposure, Feedback
from backchannel.events.operations import Erasure, ErrorEvent, Health, Marker, Product, Security
from backchannel.events.partitioning import murmur2, partition_key, partition_of
from backchannel.events.turns import (
    Component,
    Document,
    Interaction,
    LlmCall,
    Metered,
    Retrieval,
    ToolCall,
)
from backchannel.events.verdict import LINE_BYTES_MAX, Accepted, Rejected, judge
from backchannel.events.windows import (
    UNACCOUNTED,
    WIDTHS_S,
    WINDOW_SCHEMA,
    Distribution,
    Score,
    Window,
)

__all__ = [
    "ALERT_SCHEMA",
    "BATCH_BYTES_MAX",
    "BUCKET_UPPERS",
    "COUNT_MAX",
    "DEAD_VALUE_BYTES_MAX",
    "EVENT_TYPES",
    "LINE_BYTES_MAX",
    "LIVE",
    "SCHEMA",
    "SCHEMA_VERSION",
    "TS_US_MAX",
    "UNACCOUNTED",
    "WIDTHS_S",
    "WINDOW_SCHEMA",
    "ZERO_BUCKET",
    "Accepted",
    "Ack",
    "Alert",
    "AnyEvent",
    "BudgetState",
    "Component",
    "Content",
    "DeadLetter",
    "Distribution",
    "Document",
    "Envelope",
    "Erasure",
    "ErrorEvent",
    "Evaluation",
    "Event",
    "Exposure",
    "Feedback",
    "Health",
    "Interaction",
    "LlmCall",
    "Marker",
    "Metered",
    "OpenedBatch",
    "Product",
    "Rejected",
    "Retrieval",
    "Score",
    "SealedBatch",
    "Security",
    "Silence",
    "Status",
    "ToolCall",
    "Window",
    "bucket_of",
    "bucket_value",
    "control_key",
    "encode_event",
    "judge",
    "line_prefix",
    "murmur2",
    "new_event_id",
    "open_batch",
    "partition_key",
    "partition_of",
    "quantile",
    "read_budget",
    "read_control",
    "seal",
]
