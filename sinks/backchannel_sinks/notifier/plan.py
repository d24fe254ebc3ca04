"""Whom to tell of what, from a TOML file: every mistake is told with file, table, field and fix.

[target.oncall]
apprise = "pagerduty://${PAGERDUTY_KEY}@${PAGERDUTY_API_KEY}"

[[route]]
severity = ["error", "critical"]
to = ["oncall"]
"""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from backchannel.events import Alert
from backchannel.following.file import read_text
from backchannel_sinks.notifier.errors import PlanError
from backchannel_sinks.notifier.signature import read_key

__all__ = ["EMPTY_PLAN", "Escalation", "Inhibition", "Line", "Match", "Plan", "Route", "Target"]

ROUTES_MAX = 200
TARGETS_MAX = 100

Severity = Literal["info", "warning", "error", "critical"]
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION = re.compile(r"(\d+)([smhd])")
_VARIABLE = re.compile(r"\$\{(\w+)\}")


def _seconds(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError('write a duration such as "30s", "5m" or "1h30m"')  # noqa: TRY004 -- pydantic
    parts = _DURATION.findall(value)
    if not parts or "".join(number + unit for number, unit in parts) != value:
        raise ValueError('write a duration such as "30s", "5m" or "1h30m"')
    return sum(int(number) * _UNITS[unit] for number, unit in parts)


Seconds = Annotated[int, BeforeValidator(_seconds), Field(ge=0, le=86_400)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Match(_Table):
    """Which alerts. What is left empty fits; names of rules may have ``*``."""

    rules: tuple[str, ...] = ()
    severity: tuple[Severity, ...] = ()
    labels: dict[str, str] = Field(default_factory=dict)
    dims: dict[str, str] = Field(default_factory=dict)

    def fits(self, alert: Alert) -> bool:
        """Says whether the alert is one of these."""
        return (
            (not self.rules or any(fnmatchcase(alert.rule, each) for each in self.rules))
            and (not self.severity or alert.severity in self.severity)
            and self.labels.items() <= alert.labels.items()
            and self.dims.items() <= alert.dims.items()
        )


class Target(_Table):
    """One place that messages go to: an apprise URL, or a webhook."""

    apprise: SecretStr | None = None
    """An apprise URL: Slack, PagerDuty, e-mail and a hundred more."""
    webhook: SecretStr | None = None
    """An http(s) URL that gets a POST."""
    body: Literal["standard", "alertmanager"] = "standard"
    """What a webhook gets: an event as of Standard Webhooks, or what Alertmanager would send."""
    secrets: tuple[SecretStr, ...] = ()
    """Keys that a webhook is signed with, ``whsec_…``; several while one is exchanged."""
    authorization: SecretStr | None = None
    """The header of that name, for webhooks that ask for it."""
    allow: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks that a webhook may lie in although they are not public."""
    per_minute_max: Annotated[int, Field(ge=1, le=10_000)] = 30
    """Messages a minute; what is beyond waits, and is told together."""

    @field_validator("allow", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        return tuple(ip_network(each) for each in value) if isinstance(value, list) else value

    @field_validator("secrets")
    @classmethod
    def _keys(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for each in value:
            read_key(each.get_secret_value())
        return value

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        if (self.apprise is None) == (self.webhook is None):
            raise ValueError("give it either apprise or webhook")
        if self.webhook is None:
            return self
        try:
            parts = urlsplit(self.webhook.get_secret_value())
        except ValueError:  # its words hold the address
            raise ValueError("webhook: write an http:// or https:// URL") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("webhook: write an http:// or https:// URL")
        if parts.username or parts.password:
            raise ValueError("webhook: no user or password in the URL; use authorization")
        if self.body == "standard" and not self.secrets:
            raise ValueError('secrets: a webhook is signed; write secrets = ["${HOOK_SECRET}"]')
        return self


class Escalation(_Table):
    """Who else is told when nobody has acknowledged an alert for a while."""

    after: Seconds
    to: Annotated[tuple[str, ...], Field(min_length=1)]


class Route(Match):
    """Who is told of which alerts, and how gathered. The first route that fits an alert has it."""

    to: tuple[str, ...]
    group_by: tuple[str, ...] = ("rule",)
    """What alerts of one message have in common: ``rule``, ``severity``, ``alert_id``, or the name
    of a dimension or label."""
    group_wait: Seconds = 0
    """How long the first alert of a group waits for others."""
    group_interval: Seconds = 60
    """How long after a message the next one of the same group comes at the earliest."""
    escalate: tuple[Escalation, ...] = ()
    go_on: bool = False
    """Later routes may have the alert too."""


class Inhibition(_Table):
    """While an alert of ``by`` fires, nobody is told of those of ``quiets``."""

    by: Match
    quiets: Match
    equal: tuple[str, ...] = ()
    """Dimensions or labels that both must have with the same value."""

    def holds_back(self, alert: Alert, other: Alert) -> bool:
        """Says whether ``alert``, one of those that it quiets, is left out because ``other``
        fires."""
        return (
            alert.alert_id != other.alert_id
            and self.by.fits(other)
            and all(trait(alert, name) == trait(other, name) for name in self.equal)
        )


@dataclass(frozen=True, slots=True)
class Line:
    """One way that an alert goes: in which messages of which target it is told."""

    target: str
    step: int
    """0: told at once; n: only when nobody has acknowledged it by the n-th escalation."""
    group: dict[str, str]
    wait_s: int
    interval_s: int


class Plan(_Table):
    """Targets, routes and inhibitions."""

    target: Annotated[dict[str, Target], Field(max_length=TARGETS_MAX)] = Field(
        default_factory=dict
    )
    route: Annotated[tuple[Route, ...], Field(max_length=ROUTES_MAX)] = ()
    inhibit: Annotated[tuple[Inhibition, ...], Field(max_length=ROUTES_MAX)] = ()

    @model_validator(mode="after")
    def _names_its_targets(self) -> Self:
        for number, route in enumerate(self.route, 1):
            named = (*route.to, *(name for step in route.escalate for name in step.to))
            for name in named:
                if name not in self.target:
                    known = ", ".join(self.target) or "none"
                    raise ValueError(f"route {number}: to: no target {name!r}; there is {known}")
        return self

    def lines(self, alert: Alert) -> Iterator[Line]:
        """Yields every way that an alert goes."""
        for route in self.route:
            if not route.fits(alert):
                continue
            group = {name: trait(alert, name) for name in route.group_by}
            for name in route.to:
                yield Line(name, 0, group, route.group_wait, route.group_interval)
            for step, escalation in enumerate(route.escalate, 1):
                for name in escalation.to:
                    yield Line(name, step, group, escalation.after, route.group_interval)
            if not route.go_on:
                return

    @classmethod
    def load(cls, path: Path, environ: Mapping[str, str] = os.environ) -> Self:
        """Reads a file.

        Raises:
            PlanError: it is missing or wrong. The message holds no secret.
        """
        return cls.parse(read_text(path, PlanError), path, environ)

    @classmethod
    def parse(cls, text: str, path: Path, environ: Mapping[str, str] = os.environ) -> Self:
        """Reads the text of a file; ``${NAME}`` in a target stands for that variable of the
        environment.

        Without a route everything goes to every target.

        Raises:
            PlanError: it is wrong. The message names ``path``, and holds no secret.
        """
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise PlanError(f"{path}: not TOML: {error}") from None
        missing: list[str] = []
        if isinstance(document.get("target"), dict):
            document["target"] = _filled(document["target"], environ, missing)
            document.setdefault("route", [{"to": list(document["target"])}])
        if missing:
            names = ", ".join(sorted(set(missing)))
            raise PlanError(f"{path}: set these variables of the environment: {names}")
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False, include_context=False)
            raise PlanError("\n".join(f"{path}: {_told(each)}" for each in found)) from None


EMPTY_PLAN = Plan()


def trait(alert: Alert, name: str) -> str:
    """Returns what an alert has under the name of a field, a dimension or a label."""
    if name in ("rule", "severity", "alert_id"):
        return str(getattr(alert, name))
    return alert.dims.get(name, alert.labels.get(name, ""))


def _filled(value: Any, environ: Mapping[str, str], missing: list[str]) -> Any:
    if isinstance(value, dict):
        return {name: _filled(each, environ, missing) for name, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, environ, missing) for each in value]
    if not isinstance(value, str):
        return value
    missing += [name for name in _VARIABLE.findall(value) if name not in environ]
    return _VARIABLE.sub(lambda found: environ.get(found[1], ""), value)


def _told(mistake: Any) -> str:
    place = ".".join(str(part + 1) if isinstance(part, int) else part for part in mistake["loc"])
    message = str(mistake["msg"]).removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
