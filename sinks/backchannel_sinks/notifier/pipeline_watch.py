"""Decides whether the pipeline works, from what Kafka knows of the workers. Pure.

A worker's heartbeat is what it tells Kafka anyway: that it is in its group, every few seconds, and
how far it has come. So a worker that hangs is seen like one that is gone, and nothing is written
for it (docs/decisions/0013-the-notifier.md).
"""

from dataclasses import dataclass
from typing import Literal

from backchannel.events import Alert

__all__ = ["PIPELINE_DOWN", "Judgement", "PipelineWatch", "Vitals", "pipeline_alert"]

PIPELINE_DOWN = "pipeline_down"
"""Name of the rule, and the alert's id: there is one."""

_SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Vitals:
    """What Kafka says about the group of the workers."""

    members: int
    done: int
    """Records that they have committed, in all partitions."""
    waiting: int
    """Records that they have not."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """How the pipeline is."""

    state: Literal["works", "unsure", "down"]
    why: str = ""
    since_us: int = 0
    """When the workers last gave a sign of life."""


class PipelineWatch:
    """Remembers when the workers last gave a sign of life."""

    def __init__(self, patience_us: int, now_us: int, monotonic_us: int) -> None:
        self._patience_us = patience_us
        self._alive_at_us = now_us
        self._alive_monotonic_us = monotonic_us
        self._done: int | None = None

    def observe(self, vitals: Vitals | None, now_us: int, monotonic_us: int) -> Judgement:
        """Takes what Kafka says, ``None`` when it says nothing."""
        why = self._trouble(vitals)
        if not why:
            self._alive_at_us, self._alive_monotonic_us = now_us, monotonic_us
            return Judgement("works")
        # Measured on the clock that nobody sets.
        silent_us = monotonic_us - self._alive_monotonic_us
        state: Literal["unsure", "down"] = "down" if silent_us >= self._patience_us else "unsure"
        return Judgement(state, why, min(self._alive_at_us, now_us))

    def _trouble(self, vitals: Vitals | None) -> str:
        """Says what is wrong; nothing when the workers live."""
        if vitals is None:
            return "Kafka gives no answer"
        done, self._done = self._done, vitals.done
        if vitals.members == 0:
            return "no worker is running"
        if vitals.waiting and done in (None, vitals.done):
            return f"the workers do not get on, and {vitals.waiting:,} records wait"
        return ""


def pipeline_alert(judgement: Judgement, firing: Alert | None, now_us: int) -> Alert | None:
    """Returns the change that follows from a judgement; ``firing`` is what fires now."""
    if judgement.state == "down" and firing is None:
        return _raised(judgement, now_us)
    if judgement.state == "works" and firing is not None:
        return _resolved(firing, now_us)
    return None


def _raised(judgement: Judgement, now_us: int) -> Alert:
    silent_us = now_us - judgement.since_us
    return Alert(
        alert_id=PIPELINE_DOWN,
        transition=_transition(now_us),
        rule=PIPELINE_DOWN,
        kind="pipeline",
        rules_hash="notifier",
        state="firing",
        severity="critical",
        origin="live",
        grouping="",
        dims={},
        annotations={
            "summary": f"The pipeline stands still: {judgement.why}. "
            "Until it works again, no alert comes from the bots.",
            "runbook": "backchannel alerts runbook pipeline-down",
        },
        metric="worker_silence_s",
        op=">=",
        threshold=0.0,
        value=silent_us / _SECOND_US,
        sample_count=0,
        window_s=max(1, min(silent_us // _SECOND_US, 86_400)),
        window_end_us=now_us,
        starts_at_us=judgement.since_us,
        trigger_event_at_us=judgement.since_us,
        evaluated_at_us=now_us,
    )


def _resolved(firing: Alert, now_us: int) -> Alert:
    return firing.model_copy(
        update={
            "state": "resolved",
            "reason": "clear",
            "transition": max(_transition(now_us), firing.transition + 1),
            "annotations": firing.annotations | {"summary": "The pipeline works again."},
            "value": 0.0,
            "ends_at_us": now_us,
            "window_end_us": now_us,
            "evaluated_at_us": now_us,
        }
    )


def _transition(now_us: int) -> int:
    """A number that rises although nobody keeps count: it is raised also while Kafka is away."""
    return now_us // 1_000
