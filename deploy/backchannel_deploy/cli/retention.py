"""`backchannel retention`: how long each table keeps its rows, for everybody and for a tenant."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backchannel_deploy.cli.amounts import counted
from backchannel_deploy.cli.clickhouse import connected
from backchannel_deploy.errors import UserError
from backchannel_deploy.parts import stored

__all__ = ["Rule", "read_rules", "retention", "ttl"]

_DAYS_MAX = 36_500


@dataclass(frozen=True, slots=True)
class _Kept:
    table: str
    clock: str
    """By which time a row grows old: never event time, which a replay sets."""
    tenant: str = ""
    """Expression for the tenant; empty where rows have none."""
    where: str = ""


_KEPT = {
    "events": _Kept("events", "_broker_time", "tenant_id"),
    "content": _Kept("content", "_broker_time", "tenant_id"),
    "conversations": _Kept("conversations", "_broker_time", "tenant_id"),
    "agents": _Kept("agents", "_broker_time"),
    "alerts": _Kept("alerts", "evaluated_at", "dims['tenant']"),
    "dead_letters": _Kept("dead_letters", "broker_time"),
    "windows_below_a_minute": _Kept("metric_windows", "published_at", "tenant", "window_s < 60"),
    "windows": _Kept("metric_windows", "published_at", "tenant", "window_s >= 60"),
}
"""What the file may name; several may stand for one table."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Rows of a table that match ``where`` go after ``days``."""

    table: str
    clock: str
    days: int
    where: str

    @property
    def clause(self) -> str:
        """The rule as a part of a TTL."""
        condition = f" DELETE WHERE {self.where}" if self.where else ""
        return f"toDateTime({self.clock}) + INTERVAL {self.days} DAY{condition}"

    @property
    def expired(self) -> str:
        """SQL condition for the rows that go at once."""
        old = f"{self.clock} < now() - INTERVAL {self.days} DAY"
        return f"{old} AND ({self.where})" if self.where else old


def retention(file: Path, /, *, dry_run: bool = False) -> None:
    """Set how long tables keep their rows. Rows that are too old go with the next merges.

    Parameters
    ----------
    file
        TOML: [days] with events, content, alerts, dead_letters, windows, windows_below_a_minute;
        and [tenants.NAME] with the same, shorter or longer, for one tenant.
    dry_run
        Change nothing: print the statements, and how many rows would go.
    """
    try:
        told = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise UserError(f"{file} is no TOML: {error}.") from error
    rules = read_rules(told, str(file))
    with connected() as client:
        for table in dict.fromkeys(rule.table for rule in rules):
            mine = [rule for rule in rules if rule.table == table]
            any_expired = " OR ".join(f"({rule.expired})" for rule in mine)
            gone = client.command(f"SELECT count() FROM {table} WHERE {any_expired}")  # noqa: S608 -- of our own making
            statement = ttl(stored(client, table), mine)
            if dry_run:
                print(f"{statement};\n-- {counted(int(str(gone)), 'row')} would go\n")
            else:
                client.command(statement)
                print(f"{table}: set; {counted(int(str(gone)), 'row')} will go.")


def ttl(table: str, rules: list[Rule]) -> str:
    """Returns the statement that makes rules the only ones of a table."""
    return f"ALTER TABLE {table} MODIFY TTL\n    " + ",\n    ".join(rule.clause for rule in rules)


def read_rules(told: Mapping[str, Any], name: str) -> list[Rule]:
    """Reads the file's rules.

    Raises:
        UserError: a name is unknown, or no number of days; the sentence says which.
    """
    if unknown := set(told) - {"days", "tenants"}:
        raise UserError(f"{name}: [{min(unknown)}] is neither [days] nor [tenants.NAME].")
    days = _days(told.get("days", {}), f"{name}: [days]")
    tenants = {
        tenant: _days(given, f"{name}: [tenants.{tenant}]")
        for tenant, given in told.get("tenants", {}).items()
    }
    for tenant, given in tenants.items():
        for kind in given:
            if kind not in days:
                raise UserError(f"{name}: [tenants.{tenant}] has {kind}, [days] must have it too.")
            if not _KEPT[kind].tenant:
                raise UserError(f"{name}: [tenants.{tenant}]: {kind} belongs to no tenant.")
    # A TTL takes the place of a table's whole old one: what stands for one table comes together.
    for kind in days:
        for other, kept in _KEPT.items():
            if kept.table == _KEPT[kind].table and other not in days:
                raise UserError(f"{name}: [days] has {kind}, so it must have {other} too.")
    return list(_rules(days, tenants))


def _rules(days: Mapping[str, int], tenants: Mapping[str, Mapping[str, int]]) -> Iterator[Rule]:
    for kind, usual in days.items():
        kept = _KEPT[kind]
        own = {tenant: given[kind] for tenant, given in tenants.items() if kind in given}
        others = ""
        if own:
            # The first rule that matches deletes a row: a longer stay needs the others to let go.
            others = f"{kept.tenant} NOT IN ({', '.join(map(_quoted, own))})"
        yield Rule(kept.table, kept.clock, usual, _all(kept.where, others))
        for tenant, count in own.items():
            where = _all(kept.where, f"{kept.tenant} = {_quoted(tenant)}")
            yield Rule(kept.table, kept.clock, count, where)


def _days(given: object, where: str) -> dict[str, int]:
    if not isinstance(given, dict):
        raise UserError(f"{where} must be a table of days.")
    for kind, count in given.items():
        if kind not in _KEPT:
            raise UserError(f"{where}: {kind} is none of {', '.join(_KEPT)}.")
        if type(count) is not int or not 1 <= count <= _DAYS_MAX:
            raise UserError(f"{where}: {kind} must be a number of days from 1 to {_DAYS_MAX:,}.")
    return given


def _all(*conditions: str) -> str:
    return " AND ".join(each for each in conditions if each)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
