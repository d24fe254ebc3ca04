"""What people and judges say of an answer, and which variant they saw."""

from typing import Literal

from backchannel.events.envelope import Envelope
from backchannel.events.fields import Label, SignedMillionths, Text

__all__ = ["Evaluation", "Exposure", "Feedback"]


class Evaluation(Envelope):
    """One score of one answer. A judgement that failed has ``status="error"`` and no value."""

    event_type: Literal["evaluation"] = "evaluation"
    target_event_id: Label = ""
    name: Label
    value: SignedMillionths | None = None
    """In millionths."""
    label: Label = ""
    explanation: Text = ""
    scale_min: SignedMillionths | None = None
    scale_max: SignedMillionths | None = None
    higher_is_better: bool = True
    source: Literal["", "llm_judge", "heuristic", "human", "user"] = ""
    evaluator: Label = ""
    evaluator_model: Label = ""
    dataset_id: Label = ""
    dataset_item_id: Label = ""
    status: Literal["ok", "error"] = "ok"
    error_type: Label = ""


class Feedback(Envelope):
    """What a user said of an answer."""

    event_type: Literal["feedback"] = "feedback"
    target_event_id: Label = ""
    kind: Literal["thumb", "rating", "task_completed", "comment", "escalated"]
    value: SignedMillionths | None = None
    """In millionths: a rating of 4 is 4_000_000."""
    scale_max: SignedMillionths | None = None
    comment: Text = ""


class Exposure(Envelope):
    """A user was shown a variant: ``experiment_id`` and ``variant`` of the envelope say which."""

    event_type: Literal["exposure"] = "exposure"
