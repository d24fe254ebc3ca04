"""Tests of rules, as files: scripted events, and which alerts are to fire when.

rules = "rules.toml"                    # beside this file; without it the shipped ones
start = "2026-11-21T12:00:00Z"          # what the clock shows at 0s

[[test]]
name = "one slow turn in twenty"

[[test.send]]
at = "0s"
every = "1s"
times = 30
event = { tenant_id = "acme", duration_us = 6000000 }

[[test.expect]]
at = "30s"
rule = "latency-p95"
firing = [{ tenant = "acme" }]          # these series and no others; [] for none
"""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter
from pydantic import ValidationError as _Invalid
from pydantic import field_validator as _field_validator

from backchannel.events import AnyEvent, Event, encode_event
from backchannel.following.file import read_text
from backchannel_processors.durations import duration_text, parse_duration
from backchannel_processors.errors import RulesError
from backchannel_processors.groupings import Groupings
from backchannel_processors.rule_trial import Trial
from backchannel_processors.rules import Rules, load_rules

__all__ = ["Outcome", "run_script"]

_SECOND_US = 1_000_000
_NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
_events: TypeAdapter[Event] = TypeAdapter(AnyEvent)


def _seconds(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


_Duration = Annotated[int, BeforeValidator(_seconds), Field(ge=0, le=400 * 86_400)]


class _Send(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    at: _Duration = 0
    every: _Duration = 1
    times: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    event: dict[str, Any] = {}


class _Expect(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    at: _Duration
    rule: str
    firing: tuple[dict[str, str], ...]


class _Test(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    send: tuple[_Send, ...] = ()
    expect: Annotated[tuple[_Expect, ...], Field(min_length=1)]


class _Script(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    rules: str = ""
    start: AwareDatetime = _NOON
    test: Annotated[tuple[_Test, ...], Field(min_length=1)]

    @_field_validator("start", mode="after")
    @classmethod
    def _on_a_window(cls, value: datetime) -> datetime:
        """The clock starts with a window, so that a script means the same wherever it is run."""
        return value - timedelta(seconds=value.second % 10, microseconds=value.microsecond)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one test."""

    name: str
    failures: tuple[str, ...]
    """A sentence for each expectation that did not come true."""


def run_script(path: Path, groupings: Groupings, shipped: Path) -> list[Outcome]:
    """Runs the tests of a file on a clock of their own: a day takes no longer than its events.

    Raises:
        RulesError: the file, or the rules that it is about, cannot be used.
    """
    script = _read(path)
    rules_path = path.parent / script.rules if script.rules else shipped
    rules = load_rules(rules_path, groupings)
    start_us = round(script.start.timestamp() * _SECOND_US)
    outcomes: list[Outcome] = []
    for test in script.test:
        _check_names(path, test, rules)
        trial = Trial(rules, groupings, start_us)
        outcomes.append(Outcome(test.name, tuple(_failures(path, test, trial, start_us))))
    return outcomes


def _read(path: Path) -> _Script:
    try:
        return _Script.model_validate(tomllib.loads(read_text(path, RulesError)))
    except tomllib.TOMLDecodeError as error:
        raise RulesError(f"{path}: not TOML: {error}") from error
    except _Invalid as error:
        told = "; ".join(
            f"{'.'.join(str(part) for part in mistake['loc'])}: {mistake['msg']}"
            for mistake in error.errors(include_url=False, include_input=False)
        )
        raise RulesError(f"{path}: {told}") from error


def _check_names(path: Path, test: _Test, rules: Rules) -> None:
    known = {rule.name for rule in rules.all}
    for expect in test.expect:
        if expect.rule not in known:
            raise RulesError(
                f"{path}: test {test.name!r}: there is no rule {expect.rule!r}; "
                f"there are {', '.join(sorted(known))}"
            )


def _failures(path: Path, test: _Test, trial: Trial, start_us: int) -> Iterator[str]:
    """Lets the events and the expectations happen in the order of their times; at the same time
    the events come first."""
    firing: dict[str, set[tuple[tuple[str, str], ...]]] = {}
    moments: list[tuple[int, int, dict[str, Any] | _Expect]] = [
        (send.at + number * send.every, 0, send.event)
        for send in test.send
        for number in range(send.times)
    ]
    moments += [(expect.at, 1, expect) for expect in test.expect]
    for at_s, _, what in sorted(moments, key=lambda moment: moment[:2]):
        at_us = start_us + at_s * _SECOND_US
        for alert in trial.until(at_us, step_s=_step_s(at_us - trial.now_us)):
            series = firing.setdefault(alert.rule, set())
            dims = tuple(sorted(alert.dims.items()))
            series.add(dims) if alert.state == "firing" else series.discard(dims)
        if not isinstance(what, _Expect):
            trial.take([_line(path, test, what, at_us)])
            continue
        for alert in trial.until(at_us):
            series = firing.setdefault(alert.rule, set())
            dims = tuple(sorted(alert.dims.items()))
            series.add(dims) if alert.state == "firing" else series.discard(dims)
        wanted = {tuple(sorted(each.items())) for each in what.firing}
        found = firing.get(what.rule, set())
        if wanted != found:
            yield (
                f"at {duration_text(what.at)} {what.rule} should fire for {_told(wanted)}; "
                f"it fires for {_told(found)}"
            )


def _step_s(wait_us: int) -> int:
    """Hours in which nothing happens pass in steps of a window."""
    return 1 if wait_us < 600 * _SECOND_US else 10


def _line(path: Path, test: _Test, fields: dict[str, Any], at_us: int) -> bytes:
    given = {"event_type": "interaction", "ts_us": at_us} | fields
    try:
        return encode_event(_events.validate_python(given))
    except _Invalid as error:
        mistake = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in mistake["loc"])
        raise RulesError(f"{path}: test {test.name!r}: event: {place}: {mistake['msg']}") from error


def _told(series: set[tuple[tuple[str, str], ...]]) -> str:
    texts = [" ".join(f"{name}={value}" for name, value in each) or "all" for each in series]
    return ", ".join(sorted(texts)) or "nothing"
