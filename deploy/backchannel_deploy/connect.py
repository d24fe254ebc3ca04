"""Where Kafka and ClickHouse are: settings first, else the `backchannel up` that runs here."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from backchannel_deploy.errors import UserError

if TYPE_CHECKING:
    from backchannel_deploy.up import RunningUp

__all__ = [
    "CLICKHOUSE",
    "CLUSTER",
    "DATABASE",
    "DATA_DIR",
    "KAFKA",
    "find_clickhouse",
    "find_cluster",
    "find_database",
    "find_kafka",
    "without_secrets",
]

KAFKA = "BACKCHANNEL_KAFKA"
CLICKHOUSE = "BACKCHANNEL_CLICKHOUSE"
DATABASE = "BACKCHANNEL_DATABASE"
CLUSTER = "BACKCHANNEL_CLICKHOUSE_CLUSTER"
DATA_DIR = "BACKCHANNEL_DATA_DIR"


@dataclass(frozen=True, slots=True)
class _Place:
    what: str
    setting: str
    example: str


_KAFKA = _Place("Kafka", KAFKA, "localhost:9092")
_CLICKHOUSE = _Place("ClickHouse", CLICKHOUSE, "http://localhost:8123")


def find_kafka(env: Mapping[str, str] = os.environ) -> str:
    """Returns Kafka's bootstrap servers.

    Raises:
        UserError: there is no setting, and nothing runs here.
    """
    return env.get(KAFKA, "") or _running(_KAFKA, env).kafka


def find_clickhouse(env: Mapping[str, str] = os.environ) -> str:
    """Returns the URL of ClickHouse's HTTP interface; it may hold a user and a password.

    Raises:
        UserError: there is no setting, and nothing runs here.
    """
    return env.get(CLICKHOUSE, "") or _running(_CLICKHOUSE, env).clickhouse


def find_database(env: Mapping[str, str] = os.environ) -> str:
    """Returns the name of the database that the tables are in."""
    return env.get(DATABASE, "") or "backchannel"


def find_cluster(env: Mapping[str, str] = os.environ) -> str:
    """Returns the name of the ClickHouse cluster whose replicas hold the tables; empty for none."""
    return env.get(CLUSTER, "")


def without_secrets(url: str) -> str:
    """Returns the URL as it may be shown: without user, password and query."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _running(place: _Place, env: Mapping[str, str]) -> "RunningUp":
    from backchannel_deploy.up import find_running

    data_dir = env.get(DATA_DIR, "")
    running = find_running(Path(data_dir) if data_dir else None)
    if running is None:
        where = f" with its data in {data_dir}" if data_dir else " on this machine"
        raise UserError(
            f"No {place.what} to talk to: no `backchannel up` is running{where}. "
            f"Start it in another terminal, or set {place.setting}={place.example}."
        )
    return running
