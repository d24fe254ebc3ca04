"""The migrations as a cluster runs them."""

import re

import pytest

from backchannel_sinks.clickhouse.cluster import on_cluster
from backchannel_sinks.clickhouse.migrate import (
    MigrationError,
    check_version,
    migrations,
    statements,
)

EVERY = [statement for each in migrations() for statement in statements(each.sql)]


def test_without_a_cluster_a_statement_stays_as_it_is() -> None:
    assert all(on_cluster(statement, "") == statement for statement in EVERY)


def test_every_statement_of_every_migration_runs_on_all_replicas() -> None:
    for statement in EVERY:
        assert on_cluster(statement, "c-1").count(" ON CLUSTER 'c-1'") == 1, statement[:200]


def test_every_table_replicates_and_knows_its_blocks_for_a_week() -> None:
    for statement in EVERY:
        rewritten = on_cluster(statement, "c")
        for engine in re.findall(r"ENGINE = (\w+)", rewritten):
            assert engine.startswith("Replicated"), statement[:200]
        assert "non_replicated" not in rewritten
    (events,) = (each for each in EVERY if "TABLE IF NOT EXISTS events\n" in each)
    assert "replicated_deduplication_window = 100000" in on_cluster(events, "c")
    assert "replicated_deduplication_window_seconds = 604800" in on_cluster(events, "c")


def test_a_name_that_would_end_the_statement_is_refused() -> None:
    with pytest.raises(ValueError, match="a cluster's name"):
        on_cluster("CREATE TABLE t", "c' x")


def test_an_old_server_is_refused_with_a_sentence() -> None:
    for new in ("26.3.1.1", "26.9.2.1", "27.1"):
        check_version(new)
    for old in ("25.8.4.13", "26.2.19.1"):
        with pytest.raises(MigrationError, match=r"is too old, at least 26\.3 is needed"):
            check_version(old)
