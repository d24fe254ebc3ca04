"""What happens around the turns: product use, errors, health, security, marks, erasure."""

from typing import Annotated, Literal

from pydantic import Field

from backchannel.events.envelope import Envelope
from backchannel.events.fields import (
    Bytes,
    Count,
    Fraction,
    Label,
    Labels,
    LongText,
    SignedMillionths,
    Tag,
    Text,
    TimestampUs,
    Us,
)

__all__ = ["Erasure", "ErrorEvent", "Health", "Marker", "Product", "Security"]

_Counts = Annotated[dict[Tag, Count], Field(max_length=64)]


class Product(Envelope):
    """Something a user did in the product: a click, a page, a feature."""

    event_type: Literal["product"] = "product"
    name: Label
    distinct_id: Label = ""
    url: Text = ""
    feature: Label = ""
    properties: Labels = Field(default_factory=dict)


class ErrorEvent(Envelope):
    """An exception or a message worth counting."""

    event_type: Literal["error"] = "error"
    exception_type: Label = ""
    message: Text = ""
    stacktrace: LongText = ""
    fingerprint: Label = ""
    level: Literal["debug", "info", "warning", "error", "fatal"] = "error"
    handled: bool = True
    endpoint: Label = ""
    component: Label = ""


class Health(Envelope):
    """How a bot's process is, and what its SDK sent and dropped."""

    event_type: Literal["health"] = "health"
    cpu: Fraction | None = None
    """Share of all cores in use, in millionths."""
    memory: Fraction | None = None
    """Share of the machine's memory in use, in millionths."""
    disk: Fraction | None = None
    """Share of the disk in use, in millionths."""
    process_rss_bytes: Bytes | None = None
    event_loop_lag_us: Us | None = None
    in_flight_requests: Count | None = None
    active_sessions: Count | None = None
    queues: _Counts = Field(default_factory=dict)
    """Length of each work queue."""
    gauges: Annotated[dict[Tag, SignedMillionths], Field(max_length=64)] = Field(
        default_factory=dict
    )
    """Own measures, in millionths."""
    sdk_offered: Count = 0
    sdk_acked: Count = 0
    sdk_dropped: _Counts = Field(default_factory=dict)
    """Events that were not sent, by reason."""
    sdk_buffered: Count = 0
    final_seq: Count | None = None
    """The producer's last ``seq``, on its last event: after it nothing follows."""


class Security(Envelope):
    """Something a security rule should see."""

    event_type: Literal["security"] = "security"
    kind: Label
    outcome: Literal["allowed", "blocked", "flagged"]
    principal_hash: Label = ""
    source_ip_hash: Label = ""
    detail: Text = ""


class Marker(Envelope):
    """A moment to compare before and after: a deploy, a new prompt, a new index."""

    event_type: Literal["marker"] = "marker"
    kind: Literal["deploy", "prompt_change", "index_rebuild", "price_change", "incident", "note"]
    title: Label = ""


class Erasure(Envelope):
    """Someone asked to be forgotten."""

    event_type: Literal["erasure"] = "erasure"
    subject: Literal["user", "tenant", "conversation"]
    subject_key: Label
    requested_at_us: TimestampUs
