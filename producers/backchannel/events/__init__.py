"""The contract: events, windows, alerts, dead letters, and how they travel.

Everything that parts of the pipeline share stands here and nowhere else; topics are the only
interface between them. Imports the standard library, pydantic and the clock.
"""

from importlib import import_module
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from backchannel.events.agent_report import AGENT_SCHEMA, AgentReport, seal_report
    from backchannel.events.alert import ALERT_SCHEMA, Alert
    from backchannel.events.buckets import (
        BUCKET_UPPERS,
        ZERO_BUCKET,
        bucket_of,
        bucket_value,
        quantile,
    )
    from backchannel.events.closed_conversation import CONVERSATION_SCHEMA, ClosedConversation
    from backchannel.events.content import Content
    from backchannel.events.control import (
        Ack,
        BudgetState,
        ErasuresApplied,
        RulesPush,
        RulesVersion,
        Silence,
        Tombstone,
        control_key,
        read_applied,
        read_budget,
        read_control,
        read_rules,
        read_tombstone,
    )
    from backchannel.events.dead_letter import DEAD_VALUE_BYTES_MAX, DeadLetter
    from backchannel.events.windows import (
        UNACCOUNTED,
        WIDTHS_S,
        WINDOW_SCHEMA,
        Distribution,
        Score,
        Window,
    )

__all__ = [
    "AGENT_SCHEMA",
    "ALERT_SCHEMA",
    "BATCH_BYTES_MAX",
    "BUCKET_UPPERS",
    "CONVERSATION_SCHEMA",
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
    "AgentReport",
    "Alert",
    "AnyEvent",
    "BudgetState",
    "ClosedConversation",
    "Component",
    "Content",
    "DeadLetter",
    "Distribution",
    "Document",
    "Envelope",
    "Erasure",
    "ErasuresApplied",
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
    "RulesPush",
    "RulesVersion",
    "Score",
    "SealedBatch",
    "Security",
    "Silence",
    "Status",
    "Tombstone",
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
    "read_applied",
    "read_budget",
    "read_control",
    "read_rules",
    "read_tombstone",
    "seal",
    "seal_report",
]

_LATER = {
    "AGENT_SCHEMA": "agent_report",
    "AgentReport": "agent_report",
    "seal_report": "agent_report",
    "ALERT_SCHEMA": "alert",
    "Alert": "alert",
    "BUCKET_UPPERS": "buckets",
    "ZERO_BUCKET": "buckets",
    "bucket_of": "buckets",
    "bucket_value": "buckets",
    "quantile": "buckets",
    "CONVERSATION_SCHEMA": "closed_conversation",
    "ClosedConversation": "closed_conversation",
    "Content": "content",
    "Ack": "control",
    "BudgetState": "control",
    "ErasuresApplied": "control",
    "RulesPush": "control",
    "RulesVersion": "control",
    "read_rules": "control",
    "Silence": "control",
    "control_key": "control",
    "read_applied": "control",
    "read_budget": "control",
    "read_control": "control",
    "read_tombstone": "control",
    "Tombstone": "control",
    "DEAD_VALUE_BYTES_MAX": "dead_letter",
    "DeadLetter": "dead_letter",
    "UNACCOUNTED": "windows",
    "WIDTHS_S": "windows",
    "WINDOW_SCHEMA": "windows",
    "Distribution": "windows",
    "Score": "windows",
    "Window": "windows",
}
"""What a bot that only tells never uses, by its module: loaded at the first use, since building
the models of what others write would be a tenth of a bot's `import backchannel`."""

if not TYPE_CHECKING:  # else it would stand for every name that is misspelt

    def __getattr__(name: str) -> object:
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
        globals()[name] = found
        return found
