"""Settings of the sink: from arguments, else from ``BACKCHANNEL_…``, else these defaults."""

from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["SinkSettings"]


class SinkSettings(BaseSettings):
    """What the sink can be told. Security of the Kafka connection: ``backchannel.security``."""

    model_config = SettingsConfigDict(env_prefix="BACKCHANNEL_", frozen=True, extra="ignore")

    kafka: str
    """Bootstrap servers, ``host:port[,host:port…]``."""
    clickhouse: SecretStr
    """ClickHouse's HTTP URL; may hold user and password."""
    database: str = "backchannel"
    sink_group: str = "backchannel-sink"
    sink_block_rows_max: int = 50_000
    """Rows of one insert; a block is cut between records."""
    sink_block_bytes_max: int = 24 * 1024 * 1024
    sink_linger_ms: int = 1_000
    """How long a record waits for others to be inserted with. A block a partition is inserted each
    time, and an insert of one row into the wide table costs about 30 ms of CPU."""
    sink_linger_max_ms: int = 1_500
    """How long it waits when inserting takes more than a tenth of the time: with many partitions,
    or on a busy machine."""
    sink_held_bytes_max: int = 128 * 1024 * 1024
    """Records fetched and not inserted, in all partitions; beyond, nothing is fetched. While a
    backlog is worked off, this divided by the partitions is the size of an insert, and a small one
    costs more a row."""
    sink_dead_in_a_row_max: Annotated[int, Field(ge=0)] = 1_000
    """So many bad lines in a row, and no more than that a minute are taken of the partition, until
    a good one comes; 0 takes all there are."""
    sink_insert_timeout_s: int = 30
    sink_session_timeout_ms: int = 10_000
    sink_port: Annotated[int, Field(ge=0, le=65_535)] | None = None
    """Where ``/livez``, ``/readyz`` and ``/metrics`` are answered; nowhere without it."""
    probe_host: str = "127.0.0.1"
    """The address for that: this machine alone, unless it is told otherwise."""
