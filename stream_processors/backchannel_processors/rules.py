"""Alert rules: thresholds over a sliding span of a series, from a TOML file.

[[rule]]
name = "latency-p95"
metric = "latency_ms"
agg = "p95"
op = ">"
threshold = 5000
window_s = 60
min_samples = 20
grouping = "tenant"
severity = "warning"
summary = "95 % of turns should be answered within 5 s"
"""

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic import model_validator as _model_validator

from backchannel_processors.errors import RulesError
from backchannel_processors.groupings import Groupings
from backchannel_processors.source_partition import BASE_S

__all__ = ["AGGREGATES", "WINDOW_S_MAX", "Metric", "Rule", "Rules", "load_rules", "parse_rules"]

AGGREGATES: dict[str, int] = {"p50": 500, "p90": 900, "p95": 950, "p99": 990}
"""The percentiles of latency, in permille."""

WINDOW_S_MAX = 60
"""Longest span: what the merge agent holds of the past."""

Metric = Literal[
    "latency_ms",
    "error_rate",
    "count",
    "tokens_per_minute",
    "input_tokens_per_minute",
    "output_tokens_per_minute",
]
"""What a rule watches, with its unit: milliseconds, a share from 0 to 1, interactions in the span,
tokens a minute."""


class Rule(BaseModel):
    """A threshold over the last ``window_s`` seconds of each series of a grouping."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[\w.-]+$")]
    metric: Metric
    agg: Literal["", "p50", "p90", "p95", "p99", "mean"] = ""
    op: Literal[">", ">=", "<", "<="] = ">"
    threshold: Annotated[float, Field(allow_inf_nan=False)]
    window_s: Annotated[int, Field(ge=BASE_S, le=WINDOW_S_MAX, multiple_of=BASE_S)] = 60
    min_samples: Annotated[int, Field(ge=1)] = 20
    grouping: str = "tenant"
    severity: Literal["info", "warning", "error", "critical"] = "warning"
    summary: Annotated[str, StringConstraints(max_length=1_024)] = ""
    labels: Annotated[
        dict[
            Annotated[str, StringConstraints(min_length=1, max_length=128)],
            Annotated[str, StringConstraints(max_length=1_024)],
        ],
        Field(max_length=64),
    ] = {}

    @_model_validator(mode="after")
    def _agg_fits_metric(self) -> Self:
        if self.metric == "latency_ms" and not self.agg:
            raise ValueError("agg: latency_ms needs one of p50, p90, p95, p99, mean")
        if self.metric != "latency_ms" and self.agg:
            raise ValueError(f"agg: {self.metric} has none, leave it out")
        return self


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules, and a name for this version of them."""

    all: tuple[Rule, ...] = ()
    hash: str = ""
    """SHA-256 of the text, shortened: every alert says which version decided."""

    @property
    def groupings(self) -> frozenset[str]:
        """Names of the groupings that a rule watches."""
        return frozenset(rule.grouping for rule in self.all)

    def watching(self, grouping: str) -> tuple[Rule, ...]:
        """Returns the rules over one grouping."""
        return tuple(rule for rule in self.all if rule.grouping == grouping)


def load_rules(path: Path, groupings: Groupings) -> Rules:
    """Reads a rules file.

    Raises:
        RulesError: it is missing or wrong; the message names file, rule, field and fix.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RulesError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    return parse_rules(text, groupings, source=str(path))


def parse_rules(text: str, groupings: Groupings, *, source: str) -> Rules:
    """Reads rules from TOML.

    Raises:
        RulesError: something is wrong; the message names ``source``, rule, field and fix.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RulesError(f"{source}: not TOML: {error}") from error
    tables = document.pop("rule", [])
    if document or not isinstance(tables, list):
        raise RulesError(f"{source}: write rules as [[rule]] tables and nothing beside them")
    rules: list[Rule] = []
    for index, table in enumerate(tables):
        rules.append(_rule(table, f"{source}: {_called(table, index)}", groupings))
        if rules[-1].name in {rule.name for rule in rules[:-1]}:
            raise RulesError(f"{source}: {_called(table, index)}: name: taken, choose another one")
    return Rules(tuple(rules), hashlib.sha256(text.encode()).hexdigest()[:16])


def _rule(table: object, where: str, groupings: Groupings) -> Rule:
    try:
        rule = Rule.model_validate(table)
    except ValidationError as error:
        mistakes = error.errors(include_url=False, include_input=False)
        told = "; ".join(
            f"{'.'.join(str(part) for part in mistake['loc'])}: {mistake['msg']}".lstrip(": ")
            for mistake in mistakes
        )
        raise RulesError(f"{where}: {told}") from error
    if rule.grouping not in groupings.names:
        known = ", ".join(f'"{name}"' for name in groupings.names)
        raise RulesError(
            f'{where}: grouping: "{rule.grouping}" is not computed; use one of {known}, '
            "or add it to BACKCHANNEL_GROUPINGS"
        )
    return rule


def _called(table: object, index: int) -> str:
    name = table.get("name") if isinstance(table, dict) else None
    return f"rule {name!r}" if isinstance(name, str) else f"rule {index + 1}"
