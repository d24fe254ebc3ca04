"""Tables that are spread over shards: on the embedded engine, on real servers where Docker is."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

import support
from backchannel.clock import SYSTEM_CLOCK
from backchannel_sinks.clickhouse.connection import connect
from backchannel_sinks.clickhouse.migrate import migrate
from backchannel_sinks.clickhouse.store import INSERT_SETTINGS

pytestmark = pytest.mark.integration

IMAGE = "clickhouse/clickhouse-server:26.3"
PORTS = (18_141, 18_142)
NOW_US = SYSTEM_CLOCK.now_us()
CONFIG = """<clickhouse>
<listen_host>0.0.0.0</listen_host>
<macros><shard>{number}</shard><replica>one</replica></macros>
<zookeeper><node><host>ch1</host><port>9181</port></node></zookeeper>
{keeper}
<remote_servers><two>
<shard><internal_replication>true</internal_replication>
<replica><host>ch1</host><port>9000</port></replica></shard>
<shard><internal_replication>true</internal_replication>
<replica><host>ch2</host><port>9000</port></replica></shard>
</two></remote_servers></clickhouse>"""
KEEPER = """<keeper_server><tcp_port>9181</tcp_port><server_id>1</server_id>
<raft_configuration><server><id>1</id><hostname>ch1</hostname><port>9234</port></server>
</raft_configuration></keeper_server>"""


def test_every_view_answers_and_a_block_is_stored_once_through_spread_tables(
    tmp_path: Path,
) -> None:
    script = Path(support.__path__[0]) / "spread_tables.py"
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    found = json.loads(done.stdout)
    assert found["stored"] == 1
    assert found["views"] > 50


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[Client]]:
    """Two servers, each a shard, from Docker."""
    docker = shutil.which("docker")
    if (
        docker is None
        or subprocess.run([docker, "info"], capture_output=True, check=False).returncode
    ):
        pytest.skip("there is no Docker here")
    network = f"backchannel-{tmp_path.name}"

    def run(*arguments: str, check: bool = True) -> None:
        subprocess.run([docker, *arguments], check=check, capture_output=True)

    names = [f"{network}-{number}" for number in (1, 2)]
    run("network", "create", network)
    try:
        for number, (name, port) in enumerate(zip(names, PORTS, strict=True), start=1):
            config = tmp_path / f"{number}.xml"
            config.write_text(CONFIG.format(number=number, keeper=KEEPER if number == 1 else ""))
            mounted = f"{config}:/etc/clickhouse-server/config.d/cluster.xml:ro"
            options = ("-e", "CLICKHOUSE_SKIP_USER_SETUP=1", "-v", mounted)
            alias = ("--network", network, "--network-alias", f"ch{number}")
            run("run", "-d", "--name", name, *alias, "-p", f"{port}:8123", *options, IMAGE)
        yield [_client(port) for port in PORTS]
    finally:
        run("rm", "-f", *names, check=False)
        run("network", "rm", network, check=False)


def _client(port: int) -> Client:
    for _ in range(60):
        try:
            return connect(f"http://127.0.0.1:{port}", "backchannel")
        except Exception:  # noqa: BLE001 -- whatever it is, it is asked again
            time.sleep(1)
    raise TimeoutError(f"no server at {port}")


def test_two_servers_share_the_events_and_both_answer_for_all(servers: list[Client]) -> None:
    first, second = servers
    assert len(migrate(first, "two")) > 20
    assert migrate(second, "two") == []
    for partition in (0, 1, 0):  # the last one is the first one again
        row = f'{{"event_type":"interaction","ts_us":{NOW_US},"_broker_time":{NOW_US // 10**6}'
        row += f',"event_id":"018c2f3e-0000-7000-8000-00000000000{partition}"'
        row += f',"_partition":{partition},"_offset":1}}'
        token = {"insert_deduplication_token": f"chat.events-{partition}-1-1"}
        settings = {**INSERT_SETTINGS, **token}
        first.raw_insert("events", None, row.encode(), settings, fmt="JSONEachRow")
    for client in servers:
        assert client.query("SELECT count() FROM events_local").result_rows == [(1,)]
        assert client.query("SELECT count() FROM v_events").result_rows == [(2,)]
