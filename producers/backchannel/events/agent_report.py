"""What an agent says of itself on ``chat.metrics``, beside the windows: so that one query tells who
is behind, who lost something, and who decides by which rules."""

from typing import Annotated, ClassVar, Literal
from zlib import crc32

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from backchannel.events.codec import SealedBatch
from backchannel.events.fields import Label, TimestampUs

__all__ = ["AGENT_SCHEMA", "REFUSAL_CHARS_MAX", "AgentReport", "seal_report"]

AGENT_SCHEMA = "1.0"
"""Major and minor version of the schema of reports, in the header ``schema`` of their records on
``chat.metrics``. Their header ``kind`` is ``agent``; windows have none."""

REFUSAL_CHARS_MAX = 1_024

_Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
_Counts = Annotated[dict[Label, _Count], Field(max_length=64)]


class AgentReport(BaseModel):
    """One agent of one process at one moment. Counts are since the process was started."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="ignore", strict=True, defer_build=True
    )

    kind: Literal["agent"] = "agent"
    agent: Label
    """``windows``, ``merge``, ``sink`` or ``notifier``."""
    process: Label
    """Which of them: its slot, else host and process id."""
    at_us: TimestampUs
    received: _Count
    """Is ``processed`` and ``late`` and everything ``skipped``."""
    processed: _Count
    late: _Count = 0
    skipped: _Counts = {}
    """By reason."""
    further: _Counts = {}
    """What else is counted, by name."""
    held: _Counts = {}
    """How many of each kind it holds in memory."""
    partitions: _Count = 0
    """How many it reads."""
    lag_records: _Count = 0
    """Records in their logs that nothing has been done with yet."""
    lag_us: _Count = 0
    """How long they wait, about, where they wait the longest."""
    watermark_us: TimestampUs = 0
    """How far event time has come, where it has come the least far; 0 where there is no such
    thing."""
    configuration: Label = ""
    """Version of the file or the rules that it follows; empty where there is none."""
    refused: Annotated[str, StringConstraints(max_length=REFUSAL_CHARS_MAX)] = ""
    """Why it did not take a newer version, and follows that one still."""


def seal_report(report: AgentReport) -> SealedBatch:
    """Returns the record of a report."""
    value = report.model_dump_json().encode()
    headers = (
        ("schema", AGENT_SCHEMA.encode()),
        ("count", b"1"),
        ("crc32", b"%08x" % crc32(value)),
        ("kind", b"agent"),
    )
    return SealedBatch(value, headers, 1)
