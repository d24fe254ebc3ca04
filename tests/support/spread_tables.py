"""The tables of a cluster of shards in an engine of this process: its one shard is this process, so
Distributed tables, their views and their inserts run for real. Prints what it found, as JSON.

Replication wants Keeper: what is replicated is made without.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from chdb.session import Session

from backchannel.clock import SYSTEM_CLOCK
from backchannel_sinks.clickhouse.cluster import Cluster
from backchannel_sinks.clickhouse.migrate import NOTES, migrations, statements
from backchannel_sinks.clickhouse.store import INSERT_SETTINGS

_CONFIG = """<clickhouse><tcp_port>9000</tcp_port><remote_servers><spread><shard>
<internal_replication>true</internal_replication>
<replica><host>127.0.0.1</host><port>9000</port></replica>
</shard></spread></remote_servers></clickhouse>"""
_REPLICATED = re.compile(r"ENGINE = Replicated(\w+)(?:\('/clickhouse[^']*', '[^']*'(?:, )?)?")
_WINDOW = re.compile(
    r"\breplicated_deduplication_window = (\d+), replicated_deduplication_window_seconds = \d+"
)


def _of_one_server(statement: str) -> str:
    here = re.sub(r" ON CLUSTER '\w+'", "", statement)
    here = _REPLICATED.sub(
        lambda found: f"ENGINE = {found[1]}" + ("(" if "(" in found[0] else ""), here
    )
    return _WINDOW.sub(r"non_replicated_deduplication_window = \1", here)


def main(folder: Path) -> None:
    (folder / "config.xml").write_text(_CONFIG)
    opened: Any = Session  # chDB has no types
    session = opened(f"{folder / 'engine'}?config-file={folder / 'config.xml'}")
    session.query("CREATE DATABASE b")
    session.query("USE b")
    every = [NOTES, *(one for each in migrations() for one in statements(each.sql))]
    for statement in every:
        for each in Cluster("spread", 2).statements(statement):
            session.query(_of_one_server(each))
    row = '{"event_type":"interaction","event_id":"018c2f3e-0000-7000-8000-000000000001",'
    now_us = SYSTEM_CLOCK.now_us()
    row += f'"ts_us":{now_us},"_broker_time":{now_us // 10**6},"_partition":4,"_offset":7}}'
    settings = {**INSERT_SETTINGS, "insert_deduplication_token": "chat.events-4-7-7"}
    told = ", ".join(f"{name} = '{value}'" for name, value in settings.items())
    for _ in range(2):
        session.query(f"INSERT INTO events SETTINGS {told} FORMAT JSONEachRow {row}")
    views = session.query(
        "SELECT name FROM system.tables WHERE database = 'b' AND engine = 'View'"
        " AND NOT match(create_table_query, '\\\\{\\\\w+:')",
        "TSV",
    )
    names = str(views).split()
    for name in names:
        session.query(f"EXPLAIN SELECT * FROM {name}")
    stored = str(session.query("SELECT count() FROM events_local", "TSV")).strip()
    print(json.dumps({"views": len(names), "stored": int(stored)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
