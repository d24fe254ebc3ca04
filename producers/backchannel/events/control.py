"""What people say to the pipeline, as records on ``chat.control``: silences and acknowledgements.
And what the pipeline says to bots there: how much of each budget is spent.

Each is one compacted record under a key of its own, so the topic is the audit log: who silenced
what, until when and why, and who took which alert. Other kinds of record stand on the topic too;
``read_control`` passes over what it does not know.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

from backchannel.events.alert import Alert
from backchannel.events.fields import Label, Labels, Text, TimestampUs

__all__ = [
    "RULES_BYTES_MAX",
    "Ack",
    "BudgetState",
    "Control",
    "ErasuresApplied",
    "RulesPush",
    "RulesVersion",
    "Silence",
    "Tombstone",
    "control_key",
    "read_applied",
    "read_budget",
    "read_control",
    "read_rules",
    "read_tombstone",
]

_Id = Annotated[str, StringConstraints(pattern=r"^[\w.-]{1,64}$")]


class Silence(BaseModel):
    """Alerts that nobody is to be told of for a while. They are decided and stored all the same.

    It covers the alerts that fit everything it names; what it leaves empty, fits.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="ignore", strict=True, defer_build=True
    )

    kind: Literal["silence"] = "silence"
    silence_id: _Id
    rule: Label = ""
    severity: Literal["", "info", "warning", "error", "critical"] = ""
    dims: dict[str, Label] = Field(default_factory=dict)
    """Values of dimensions, e.g. ``{"tenant": "acme"}``."""
    labels: Labels = Field(default_factory=dict)
    starts_at_us: TimestampUs
    ends_at_us: TimestampUs
    """From then on it covers nothing; set to an earlier time when somebody ends it."""
    created_at_us: TimestampUs
    created_by: Label
    comment: Text = ""
    ended_by: Label = ""
    """Who ended it before its time."""

    def covers(self, alert: Alert, now_us: int) -> bool:
        """Says whether nobody is to be told of the alert at the wall clock ``now_us``."""
        return (
            self.starts_at_us <= now_us < self.ends_at_us
            and self.rule in ("", alert.rule)
            and self.severity in ("", alert.severity)
            and self.dims.items() <= alert.dims.items()
            and self.labels.items() <= alert.labels.items()
        )


class Ack(BaseModel):
    """Somebody takes care of an alert: of this firing of it, not of the next one."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="ignore", strict=True, defer_build=True
    )

    kind: Literal["ack"] = "ack"
    alert_id: Label
    transition: int = Field(ge=1, le=2**53)
    """Of the record with ``state`` ``firing``."""
    at_us: TimestampUs
    by: Label
    comment: Text = ""

    def is_of(self, alert: Alert) -> bool:
        """Says whether the alert, as it fires, is the one that was taken."""
        return (self.alert_id, self.transition) == (alert.alert_id, alert.transition)


Control = Annotated[Silence | Ack, Field(discriminator="kind")]


class BudgetState(BaseModel):
    """How much of a budget is spent. Its record replaces the one before it."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="ignore", strict=True, defer_build=True
    )

    kind: Literal["budget"] = "budget"
    alert_id: Label
    """Of the alert that fires when it is spent."""
    rule: Label
    dims: dict[str, Label]
    metric: Label
    spent: FiniteFloat
    """In the metric's unit; of a rule with ``forecast``, what it will be."""
    limit: float = Field(gt=0, allow_inf_nan=False)
    period_end_us: TimestampUs | None = None
    """Then it begins anew; ``None`` for a rolling one."""
    complete: bool = True
    """The whole period was seen."""
    evaluated_at_us: TimestampUs

    @property
    def left(self) -> float:
        """What may still be spent; 0 when nothing."""
        return max(0.0, self.limit - self.spent)

    @property
    def share(self) -> float:
        """The share that is spent: 1 and more when all of it is."""
        return self.spent / self.limit

    def is_over(self, now_us: int) -> bool:
        """Says whether its period has ended."""
        return self.period_end_us is not None and now_us >= self.period_end_us


class Tombstone(BaseModel):
    """Somebody is to be forgotten: what happened before it was asked for is left out wherever it
    is read again."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="ignore", strict=True, defer_build=True
    )

    kind: Literal["erasure"] = "erasure"
    erasure_id: _Id
    subject: Literal["user", "tenant", "conversation"]
    keys: Annotated[tuple[Label, ...], Field(min_length=1, max_length=64)]
    """How events name the subject: of a user the plain id and every pseudonym."""
    requested_at_us: TimestampUs
    requested_by: Label = ""

    def covers(self, dims: Mapping[str, str]) -> bool:
        """Says whether a series of these dimensions is of whoever was erased."""
        return dims.get(self.subject) in self.keys


class ErasuresApplied(BaseModel):
    """A partition of the stream's states holds nothing of those who were erased, but for what goes
    by itself within minutes. Its record replaces the one before it."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="ignore", strict=True, defer_build=True
    )

    kind: Literal["erasures_applied"] = "erasures_applied"
    agent: Literal["windows", "merge"]
    partition: int = Field(ge=0, le=2**31)
    erasures: int = Field(ge=0, le=2**53)
    """How many different erasures stood on the topic: all of those that come first there."""
    applied_at_us: TimestampUs


class RulesVersion(BaseModel):
    """A version of the alert rules that workers have decided by: ``rules_hash`` of an alert names
    it, so what an alert rests on can be read for ever."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="ignore", strict=True, defer_build=True
    )

    kind: Literal["rules"] = "rules"
    rules_hash: Label
    text: str
    """The file, TOML; empty when it has more than ``RULES_BYTES_MAX``."""
    in_force_at_us: TimestampUs
    """When a worker took it up last."""
    pushed_by: Label = ""
    """Who pushed it; empty when it stood in the worker's file."""
    groupings: tuple[Label, ...] = ()
    """By what the worker computes windows: rules may use no other ones."""


class RulesPush(BaseModel):
    """Alert rules that every worker is to decide by, instead of those of its file. The newest
    record counts; one without rules gives each worker its own file back."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="ignore", strict=True, defer_build=True
    )

    kind: Literal["rules_push"] = "rules_push"
    rules_hash: Label = ""
    text: Annotated[str, StringConstraints(max_length=512 * 1024)] = ""
    """The file, TOML, of at most ``RULES_BYTES_MAX``."""
    pushed_at_us: TimestampUs
    pushed_by: Label = ""
    comment: Text = ""

    @property
    def is_withdrawal(self) -> bool:
        """Whether it gives the workers their files back."""
        return not self.rules_hash


RULES_BYTES_MAX = 512 * 1024

_KINDS = (b"silence/", b"ack/")
_ERASURE = b"erasure/"
_RULES: dict[bytes, type["RulesVersion | RulesPush"]] = {
    b"rules": RulesVersion,
    b"rules-push": RulesPush,
}
_BUDGET = b"budget/"
_APPLIED = b"erasures-applied/"
_control: TypeAdapter[Silence | Ack] = TypeAdapter(Control, config=ConfigDict(defer_build=True))


def control_key(
    control: Silence | Ack | BudgetState | Tombstone | ErasuresApplied | RulesVersion | RulesPush,
) -> bytes:
    """Returns the key of its record: a later record of the same key takes its place."""
    if isinstance(control, Tombstone):
        return _ERASURE + control.erasure_id.encode()
    if isinstance(control, ErasuresApplied):
        return _APPLIED + f"{control.agent}/{control.partition}".encode()
    if isinstance(control, RulesVersion):
        return b"rules/" + control.rules_hash.encode()
    if isinstance(control, RulesPush):
        return b"rules-push/" + (control.rules_hash or "withdrawn").encode()
    if isinstance(control, BudgetState):
        return _BUDGET + control.alert_id.encode()
    if isinstance(control, Silence):
        return f"silence/{control.silence_id}".encode()
    return f"ack/{control.alert_id}/{control.transition}".encode()


def read_control(key: bytes | None, value: bytes | None) -> Silence | Ack | None:
    """Reads a record of ``chat.control``; ``None`` for what is no silence and no acknowledgement,
    and for what cannot be read."""
    if key is None or value is None or not key.startswith(_KINDS):
        return None
    try:
        return _control.validate_json(value)
    except ValidationError:
        return None


def read_budget(key: bytes, value: bytes | None) -> BudgetState | None:
    """Reads a record of ``chat.control``; ``None`` for what is no budget or cannot be read."""
    if value is None or not key.startswith(_BUDGET):
        return None
    try:
        return BudgetState.model_validate_json(value)
    except ValidationError:
        return None


def read_tombstone(key: bytes | None, value: bytes | None) -> Tombstone | None:
    """Reads a record of ``chat.control``; ``None`` for what is no erasure or cannot be read."""
    if key is None or value is None or not key.startswith(_ERASURE):
        return None
    try:
        return Tombstone.model_validate_json(value)
    except ValidationError:
        return None


def read_rules(key: bytes | None, value: bytes | None) -> RulesVersion | RulesPush | None:
    """Reads a record of ``chat.control``; ``None`` for what is about no rules or cannot be read."""
    model = _RULES.get((key or b"").partition(b"/")[0])
    if model is None or value is None:
        return None
    try:
        return model.model_validate_json(value)
    except ValidationError:
        return None


def read_applied(key: bytes | None, value: bytes | None) -> ErasuresApplied | None:
    """Reads a record of ``chat.control``; ``None`` for what does not say that erasures were applied
    or cannot be read."""
    if key is None or value is None or not key.startswith(_APPLIED):
        return None
    try:
        return ErasuresApplied.model_validate_json(value)
    except ValidationError:
        return None
