"""The settings of ``backchannel up``."""

from pathlib import Path

import platformdirs
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from backchannel.events.topics import PARTITIONS
from backchannel_deploy.broker import default_cache_dir
from backchannel_deploy.partitions import Partitions

_PARTITIONS = 3
"""Each partition has batches, states and inserts of its own, and nobody shares the work here."""


class UpSettings(BaseSettings):
    """What ``up`` runs, where it keeps its data, and where it listens.

    Read from the environment (prefix ``BACKCHANNEL_``); arguments win. A port of 0 leaves the
    choice to the system; so does a port that is taken.
    """

    model_config = SettingsConfigDict(env_prefix="BACKCHANNEL_", frozen=True, extra="ignore")

    data_dir: Path = Field(default_factory=lambda: platformdirs.user_data_path("backchannel"))
    cache_dir: Path = Field(default_factory=default_cache_dir)

    kafka: str | None = None
    """Bootstrap servers of a Kafka to use; without it, ``up`` starts a broker."""

    clickhouse: SecretStr | None = None
    """HTTP URL of a ClickHouse to use; without it, ``up`` starts the embedded one."""

    notifier_file: Path | None = None
    """Whom to tell of alerts; without it, ``up`` starts no notifier."""

    partitions: Partitions | None = None
    """How many the topics are created with; without it 3, and 12 in a Kafka of one's own. Where it
    is set, ``chat.events`` is given as many if it has fewer."""

    # Beside the usual ports (9092, 8123), so that a Kafka or ClickHouse that is there stays alone.
    kafka_port: int = 19092
    kafka_controller_port: int = 19093
    clickhouse_port: int = 18123
    # Where the roles answer /livez, /readyz and /metrics.
    worker_port: int = 19191
    sink_port: int = 19192
    notifier_port: int = 19193

    @property
    def new_partitions(self) -> int:
        """How many partitions topics get that do not exist yet."""
        return self.partitions or (PARTITIONS if self.kafka else _PARTITIONS)

    @property
    def role_ports(self) -> dict[str, int]:
        """The wished port of each role that answers on one, by its name."""
        return {
            "worker": self.worker_port,
            "sink": self.sink_port,
            "notifier": self.notifier_port,
        }
