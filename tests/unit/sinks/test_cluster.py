"""The migrations as a cluster runs them."""

import re

import pytest

from backchannel_sinks.clickhouse.access import role_statements
from backchannel_sinks.clickhouse.cluster import SHARDED, Cluster, part_of, shards_of
from backchannel_sinks.clickhouse.migrate import (
    MigrationError,
    check_version,
    migrations,
    statements,
)

EVERY = [statement for each in migrations() for statement in statements(each.sql)]


def on(cluster: Cluster) -> list[str]:
    return [each for statement in EVERY for each in cluster.statements(statement)]


def creating(table: str, cluster: Cluster) -> str:
    head = f"CREATE TABLE IF NOT EXISTS {table} ON CLUSTER"
    (found,) = (each for each in on(cluster) if head in each)
    return found


def test_without_a_cluster_a_statement_stays_as_it_is() -> None:
    assert on(Cluster()) == EVERY


@pytest.mark.parametrize("shards", [1, 3])
def test_every_statement_of_every_migration_runs_on_all_replicas(shards: int) -> None:
    for statement in on(Cluster("c-1", shards)):
        assert statement.count(" ON CLUSTER 'c-1'") == 1, statement[:200]


@pytest.mark.parametrize("shards", [1, 3])
def test_every_table_replicates_and_knows_its_blocks_for_a_week(shards: int) -> None:
    cluster = Cluster("c", shards)
    for statement in on(cluster):
        for engine in re.findall(r"ENGINE = (\w+)", statement):
            assert engine.startswith(("Replicated", "Distributed")), statement[:200]
        assert "non_replicated" not in statement
    events = creating("events_local" if shards > 1 else "events", cluster)
    assert "replicated_deduplication_window = 100000" in events
    assert "replicated_deduplication_window_seconds = 604800" in events


def test_a_table_that_grows_is_spread_by_its_partition_in_kafka() -> None:
    cluster = Cluster("c", 3)
    for table in SHARDED:
        assert "ENGINE = Replicated" in creating(f"{table}_local", cluster)
        spread = f"Distributed('c', currentDatabase(), {table}_local, _partition % 3)"
        assert spread in creating(table, cluster)
    comment = "COMMENT 'Every event, one row each. Kept for 90 days.'"
    assert creating("events", cluster).endswith(comment)


def test_a_small_table_has_all_of_its_rows_on_every_shard() -> None:
    prices = creating("prices", Cluster("c", 3))
    everywhere = "'/clickhouse/tables/{uuid}/all', '{shard}-{replica}', loaded_at"
    assert f"ENGINE = ReplicatedReplacingMergeTree({everywhere})" in prices


def test_a_new_column_goes_into_both_the_parts_and_what_spreads_them() -> None:
    altered = Cluster("c", 2).statements("ALTER TABLE events\n    ADD COLUMN IF NOT EXISTS a Int8")
    assert [each.split(" ON")[0] for each in altered] == [
        "ALTER TABLE events_local",
        "ALTER TABLE events",
    ]


def test_what_changes_rows_names_the_part_on_every_shard() -> None:
    engine = "Distributed('c', 'backchannel', 'events_local', _partition % 2)"
    assert part_of("events", engine) == "events_local ON CLUSTER 'c'"
    assert part_of("events", "MergeTree PARTITION BY x ORDER BY y") == "events"
    assert (shards_of(engine), shards_of("MergeTree ORDER BY y")) == (2, 1)


def test_roles_of_a_cluster_reach_the_parts_of_what_is_spread() -> None:
    told = role_statements("db", ["acme"], "c")
    assert all(each.count(" ON CLUSTER 'c'") == 1 for each in told)
    hidden = "REVOKE ON CLUSTER 'c' SELECT ON db.content_local FROM backchannel_analyst"
    assert hidden in told
    policy = (
        "CREATE ROW POLICY OR REPLACE backchannel_tenant_acme ON CLUSTER 'c' ON db.events_local"
    )
    assert any(each.startswith(policy) for each in told)


def test_a_name_that_would_end_the_statement_is_refused() -> None:
    with pytest.raises(ValueError, match="a cluster's name"):
        Cluster("c' x")


def test_an_old_server_is_refused_with_a_sentence() -> None:
    for new in ("26.3.1.1", "26.9.2.1", "27.1"):
        check_version(new)
    for old in ("25.8.4.13", "26.2.19.1"):
        with pytest.raises(MigrationError, match=r"is too old, at least 26\.3 is needed"):
            check_version(old)
