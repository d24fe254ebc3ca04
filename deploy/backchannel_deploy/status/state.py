"""The pipeline at one moment, and what of it needs a person. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from backchannel_deploy.cli.amounts import counted
from backchannel_deploy.doctor.finding import Finding

__all__ = ["Agent", "Alert", "Freshness", "Reader", "Status", "judge"]

_STALE_S = 60.0
"""Everything is in its table within a few seconds; what takes a minute is stuck."""


@dataclass(frozen=True, slots=True)
class Reader:
    """One consumer group."""

    name: str
    """``worker``, ``sink`` or ``notifier``."""
    group: str
    state: str
    """Kafka's word for it; ``Stable`` when all is well, ``Empty`` or ``Dead`` when nobody reads."""
    behind: int
    """Records that it has not committed yet, in the topics that it has read so far."""
    has_begun: bool
    """Whether it has ever committed anything."""


@dataclass(frozen=True, slots=True)
class Agent:
    """What an agent of a running process has said of itself within the last minute."""

    agent: str
    process: str
    lag_records: int
    lag_s: float
    configuration: str
    """Version of the alert rules, or of the notifier's file, that it follows."""
    refused: str
    """Why it did not take a newer version; empty when it did."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """The newest row of one table."""

    table: str
    age_s: float | None
    """``None`` when there is none in the last two days."""
    stored_last_minute: int


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as it is now."""

    rule: str
    state: str
    severity: str
    dims: Mapping[str, str]
    evaluated_at: str


@dataclass(frozen=True, slots=True)
class Status:
    """Everything that was found."""

    readers: tuple[Reader, ...]
    tables: tuple[Freshness, ...]
    lost: int
    """Events that are missing from the numbers of their producers, of the last hour."""
    dropped: Mapping[str, int]
    """What producers say that they dropped, by reason, in their newest ``Health`` of that hour."""
    dead_letters: int
    """Lines that could not be read, of the last hour."""
    firing: tuple[Alert, ...]
    last_alert: Alert | None
    agents: tuple[Agent, ...] = ()


def judge(status: Status) -> list[Finding]:
    """Returns a sentence on each part; ``wrong`` is what somebody has to mend."""
    return [
        *(_of_reader(each, status) for each in status.readers),
        *(_of_table(each) for each in status.tables),
        _of_losses(status),
        _of_alerts(status),
        *_of_configurations(status),
    ]


def _of_reader(reader: Reader, status: Status) -> Finding:
    told = f"{counted(reader.behind, 'record')} behind ({reader.group} is {reader.state.lower()})."
    if not reader.has_begun and reader.name == "notifier":
        return Finding(reader.name, "skipped", "none has run: nobody is told of alerts.")
    if not reader.has_begun:
        told = f"{reader.group} has never read anything."
        return Finding(reader.name, "warning", told, f"Start one: backchannel {reader.name}")
    if reader.behind and reader.state in ("Empty", "Dead"):
        return Finding(
            reader.name, "wrong", told, f"Nobody reads. Start: backchannel {reader.name}"
        )
    ages = [each.age_s for each in status.tables if each.table == "events"]
    is_late = reader.behind > 0 and any(age is not None and age > _STALE_S for age in ages)
    if reader.name == "sink" and is_late:
        advice = "Is ClickHouse reachable from the sink, and what does its log say?"
        return Finding(reader.name, "wrong", told, advice)
    return Finding(reader.name, "ok", told)


def _of_table(table: Freshness) -> Finding:
    if table.age_s is None:
        return Finding(f"table {table.table}", "skipped", "no row in the last two days.")
    told = f"newest row {_ago(table.age_s)}, {table.stored_last_minute:,} in the last minute."
    return Finding(f"table {table.table}", "ok", told)


def _of_losses(status: Status) -> Finding:
    dropped = ", ".join(f"{count:,} {reason}" for reason, count in sorted(status.dropped.items()))
    told = (
        f"of the last hour {status.lost:,} events are lost, {status.dead_letters:,} lines could "
        f"not be read; dropped by producers: {dropped or 'none'}."
    )
    if status.lost or status.dead_letters or status.dropped:
        advice = "Look: SELECT * FROM v_loss, SELECT * FROM dead_letters."
        return Finding("loss", "warning", told, advice)
    return Finding("loss", "ok", told)


def _of_alerts(status: Status) -> Finding:
    if status.firing:
        rules = ", ".join(_named(each) for each in status.firing)
        told = f"{len(status.firing)} firing: {rules}."
        return Finding("alerts", "warning", told, "See them all: backchannel alerts list")
    if status.last_alert is None:
        return Finding("alerts", "ok", "none so far.")
    last = status.last_alert
    told = f"none is firing; the last was {_named(last)}, {last.state} at {last.evaluated_at}."
    return Finding("alerts", "ok", told)


def _of_configurations(status: Status) -> Iterator[Finding]:
    deciding = [each for each in status.agents if each.agent == "merge"]
    telling = [each for each in status.agents if each.agent == "notifier"]
    if not deciding:
        yield Finding("rules", "skipped", "no worker has said in the last minute what it does.")
    else:
        yield _of_followers("rules", deciding, "Mend them, then: backchannel rules push FILE")
    if telling:
        yield _of_followers("notifier's file", telling, "Mend it: each notifier reads its own.")


def _of_followers(subject: str, agents: list[Agent], advice: str) -> Finding:
    """Says which version is followed, and what is wrong with a newer one."""
    refusing = [each for each in agents if each.refused]
    versions = sorted({each.configuration for each in agents})
    if refusing:
        first = refusing[0]
        why = f"{first.process} follows {first.configuration} still, and refuses: {first.refused}"
        return Finding(subject, "wrong", why, advice)
    if len(versions) > 1:
        told = "; ".join(f"{each.process} follows {each.configuration}" for each in agents)
        advice = "Two of them decide differently. The same for all: backchannel rules push FILE"
        return Finding(subject, "wrong" if subject == "rules" else "warning", f"{told}.", advice)
    return Finding(subject, "ok", f"version {versions[0]}, everywhere ({len(agents)}).")


def _named(alert: Alert) -> str:
    dims = ", ".join(f"{name}={value}" for name, value in alert.dims.items())
    return f"{alert.rule} ({dims})" if dims else alert.rule


def _ago(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s ago"
    return f"{seconds / 60:.0f} min ago" if seconds < 7_200 else f"{seconds / 3_600:.0f} h ago"
