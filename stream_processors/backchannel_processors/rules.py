"""The alert rules, from a TOML file: every mistake is told with file, rule, field and fix.

[[rule]]
name = "latency-p95"
metric = "latency_ms"
agg = "p95"
threshold = 5000
by = ["tenant"]
annotations.summary = "p95 of {{tenant}} is {{value}}, the limit is {{threshold}}"
"""

import hashlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from pydantic import BaseModel, ValidationError

from backchannel.following.file import read_text
from backchannel_processors.conversations import Limit
from backchannel_processors.errors import RulesError
from backchannel_processors.groupings import Groupings
from backchannel_processors.measures import LABELS_MAX
from backchannel_processors.rule import KINDS, AnyRule, ConversationRule

__all__ = ["LIMITS_MAX", "RULES_MAX", "Rules", "load_rules", "parse_rules"]

RULES_MAX = 1_000
"""Rules in one file: each is evaluated for every series that changes."""

LIMITS_MAX = LABELS_MAX - 1
"""Different limits on conversations: a window counts each of them under a name of its own."""


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules, and a name for this version of them."""

    all: tuple[AnyRule, ...] = ()
    hash: str = ""
    """SHA-256 of the text, shortened: every alert says which version decided."""

    @property
    def groupings(self) -> frozenset[str]:
        """Names of the groupings that a rule watches."""
        return frozenset(rule.grouping for rule in self.all)

    @property
    def limits(self) -> tuple[Limit, ...]:
        """What rules allow one conversation, each limit once."""
        found = (rule.limit for rule in self.all if isinstance(rule, ConversationRule))
        return tuple(dict.fromkeys(found))


def load_rules(path: Path, groupings: Groupings) -> Rules:
    """Reads a rules file.

    Raises:
        RulesError: it is missing or wrong; the message names file, rule, field and fix.
    """
    return parse_rules(read_text(path, RulesError), groupings, source=str(path))


def parse_rules(text: str, groupings: Groupings, *, source: str) -> Rules:
    """Reads rules from TOML.

    Raises:
        RulesError: something is wrong; the message names ``source``, rule, field and fix, of every
            rule that has a mistake.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RulesError(f"{source}: not TOML: {error}") from error
    tables = document.pop("rule", [])
    if document or not isinstance(tables, list):
        raise RulesError(f"{source}: write rules as [[rule]] tables and nothing beside them")
    if len(tables) > RULES_MAX:
        raise RulesError(f"{source}: {len(tables)} rules; {RULES_MAX} is the most")
    rules: list[AnyRule] = []
    mistakes: list[str] = []
    for index, table in enumerate(tables):
        where = f"{source}: {_called(table, index)}"
        try:
            rule = _rule(table, where, groupings)
            if rule.name in {other.name for other in rules}:
                raise RulesError(f"{where}: name: taken, choose another one")
            rules.append(rule)
        except RulesError as error:
            mistakes.append(str(error))
    if mistakes:
        raise RulesError("\n".join(mistakes))
    found = Rules(tuple(rules), hashlib.sha256(text.encode()).hexdigest()[:16])
    if len(found.limits) > LIMITS_MAX:
        raise RulesError(
            f'{source}: {len(found.limits)} different limits of kind = "conversation"; '
            f"{LIMITS_MAX} is the most"
        )
    return found


def _rule(table: object, where: str, groupings: Groupings) -> AnyRule:
    if not isinstance(table, dict):
        raise RulesError(f"{where}: write it as a [[rule]] table")
    kind = table.get("kind", "threshold")
    model = KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise RulesError(f"{where}: kind: {kind!r} is unknown; use one of {', '.join(KINDS)}")
    try:
        rule = model.model_validate(table)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        told = "; ".join(_told(mistake["loc"], mistake["msg"], model) for mistake in found)
        raise RulesError(f"{where}: {told}") from error
    if rule.grouping not in groupings.names:
        known = ", ".join(_by(name) for name in groupings.names)
        raise RulesError(
            f"{where}: by: windows are not computed by {_by(rule.grouping)}; use one of {known}, "
            "or add it to BACKCHANNEL_GROUPINGS"
        )
    return rule


def _by(grouping: str) -> str:
    return "[" + ", ".join(f'"{name}"' for name in grouping.split(",") if name) + "]"


def _told(place: Sequence[int | str], message: str, model: type[AnyRule]) -> str:
    message = message.removeprefix("Value error, ")
    where = ".".join(str(part) for part in place)
    if message.startswith("Extra inputs") and len(place) == 1:
        fields = _fields(model)
        close = get_close_matches(where, fields, 1, 0.5)
        fix = f"did you mean {close[0]}?" if close else f"it has {', '.join(fields)}"
        message = f"unknown for kind = {model.model_fields['kind'].default!r}; {fix}"
    return f"{where}: {message}" if where else message


def _fields(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _called(table: object, index: int) -> str:
    name = table.get("name") if isinstance(table, dict) else None
    return f"rule {name!r}" if isinstance(name, str) else f"rule {index + 1}"
