"""The same migrations for a cluster: statements of one server, written for many. Pure.

    one shard      every replica has every row
    more of them   what grows is spread: `events` asks and fills the tables `events_local`, one on
                   each shard; what is small stands on all of them

A row's shard follows from its partition in Kafka, so from its conversation, and of a window from
its series: rows that replace each other are on one shard, and a block of the sink, which is of one
partition, goes whole to one shard, under its one token.
"""

import re
from dataclasses import dataclass

__all__ = ["SHARDED", "Cluster", "part_of", "shards_of"]

SHARDED = (
    "events",
    "metric_windows",
    "alerts",
    "dead_letters",
    "content",
    "conversations",
    "agents",
    "erased_events",
)
"""Tables that are spread over shards, by ``_partition``. Every other one has all of its rows on
every replica of every shard."""

_CLUSTER = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_HEAD = re.compile(
    r"^((?:CREATE (?:OR REPLACE )?(?:TABLE|VIEW|FUNCTION|DATABASE)(?: IF NOT EXISTS)?"
    r"|ALTER TABLE|DROP (?:TABLE|VIEW|FUNCTION)(?: IF EXISTS)?) `?\w+`?)",
    re.MULTILINE,
)
_TABLE = re.compile(r"^(?:CREATE TABLE IF NOT EXISTS|ALTER TABLE) (\w+)", re.MULTILINE)
_ENGINE = re.compile(r"^ENGINE = (\w*MergeTree)(?:\((.*)\))?$", re.MULTILINE)
_COMMENT = re.compile(r"^COMMENT '.*'\Z", re.MULTILINE)
_WINDOW = re.compile(r"\bnon_replicated_deduplication_window = (\d+)")
_SPREAD = re.compile(r"^Distributed\('([^']+)', '[^']*', '(\w+)', _partition % (\d+)")

_WINDOW_S = 7 * 86_400
"""How long replicas know a block: as long as Kafka may still hold its records."""

_EVERYWHERE = "'/clickhouse/tables/{uuid}/all', '{shard}-{replica}'"
"""Where Keeper has a table that all shards have the rows of."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where tables are made.

    Raises:
        ValueError: that is no name of a cluster.
    """

    name: str = ""
    """Its name in ``system.clusters``; empty for the one server that is asked."""
    shards: int = 1
    """Over how many tables are spread. It is written into them: a shard that the cluster is given
    later gets no rows, so that none is looked for where it does not stand."""

    def __post_init__(self) -> None:
        if self.name and not _CLUSTER.fullmatch(self.name):
            raise ValueError("a cluster's name has letters, digits, dots, - and _")

    def statements(self, statement: str) -> list[str]:
        """Returns a statement of a migration as it is to be run here."""
        if not self.name:
            return [statement]
        named = _TABLE.search(statement)
        if self.shards == 1 or named is None:
            return [self._on_every_replica(statement)]
        table = named[1]
        if table not in SHARDED:
            return [self._on_every_replica(statement, everywhere=True)]
        local = _TABLE.sub(r"\g<0>_local", statement, count=1)
        if named[0].startswith("ALTER"):
            return [self._on_every_replica(each) for each in (local, statement)]
        return [self._on_every_replica(local), self._spread(table, statement)]

    def _on_every_replica(self, statement: str, *, everywhere: bool = False) -> str:
        """On all replicas, of a table that replicates: within its shard, or ``everywhere``."""

        def engine(found: re.Match[str]) -> str:
            arguments = [_EVERYWHERE] if everywhere else []
            arguments += [found[2]] if found[2] else []
            given = f"({', '.join(arguments)})" if arguments else ""
            return f"ENGINE = Replicated{found[1]}{given}"

        on_all = _HEAD.sub(rf"\1 ON CLUSTER '{self.name}'", statement, count=1)
        return _WINDOW.sub(
            rf"replicated_deduplication_window = \1,"
            rf" replicated_deduplication_window_seconds = {_WINDOW_S}",
            _ENGINE.sub(engine, on_all),
        )

    def _spread(self, table: str, statement: str) -> str:
        told = _COMMENT.search(statement)
        comment = f"\n{told[0]}" if told else ""
        return (
            f"CREATE TABLE IF NOT EXISTS {table} ON CLUSTER '{self.name}' AS {table}_local\n"
            f"ENGINE = Distributed('{self.name}', currentDatabase(), {table}_local,"
            f" _partition % {self.shards}){comment}"
        )


def part_of(table: str, engine: str) -> str:
    """Returns how a statement that changes rows or settings names a table of this engine, as
    ``system.tables.engine_full`` has it: one that is spread, by its part on every shard."""
    spread = _SPREAD.match(engine)
    return f"{spread[2]} ON CLUSTER '{spread[1]}'" if spread else table


def shards_of(engine: str) -> int:
    """Returns over how many shards a table of this engine was spread when it was made."""
    spread = _SPREAD.match(engine)
    return int(spread[3]) if spread else 1
