"""The same migrations for replicas: statements of one server, written for a cluster. Pure.

One shard with as many replicas as are wanted: each has every row, so views answer as on one server.
"""

import re

__all__ = ["on_cluster"]

_CLUSTER = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_HEAD = re.compile(
    r"^((?:CREATE (?:OR REPLACE )?(?:TABLE|VIEW|FUNCTION|DATABASE)(?: IF NOT EXISTS)?"
    r"|ALTER TABLE|DROP (?:TABLE|VIEW|FUNCTION)(?: IF EXISTS)?) `?\w+`?)",
    re.MULTILINE,
)
_ENGINE = re.compile(r"^ENGINE = (\w*MergeTree)\b", re.MULTILINE)
_WINDOW = re.compile(r"\bnon_replicated_deduplication_window = (\d+)")

_WINDOW_S = 7 * 86_400
"""How long replicas know a block: as long as Kafka may still hold its records."""


def on_cluster(statement: str, cluster: str) -> str:
    """Returns a statement of a migration as a cluster is to run it, on all of its replicas; the
    statement itself when ``cluster`` is empty.

    Raises:
        ValueError: that is no name of a cluster.
    """
    if not cluster:
        return statement
    if not _CLUSTER.fullmatch(cluster):
        raise ValueError("a cluster's name has letters, digits, dots, - and _")
    everywhere = _HEAD.sub(rf"\1 ON CLUSTER '{cluster}'", statement, count=1)
    replicated = _ENGINE.sub(r"ENGINE = Replicated\1", everywhere)
    return _WINDOW.sub(
        rf"replicated_deduplication_window = \1,"
        rf" replicated_deduplication_window_seconds = {_WINDOW_S}",
        replicated,
    )
