"""Settings of a worker: from arguments, else from the environment (prefix ``BACKCHANNEL_``)."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from backchannel_processors.groupings import Groupings

__all__ = ["WorkerSettings"]


class WorkerSettings(BaseSettings):
    """All settings of a worker. Every mistake is told at once, at start.

    Security of the Kafka connection: ``backchannel.security``.
    """

    model_config = SettingsConfigDict(env_prefix="BACKCHANNEL_", frozen=True, extra="ignore")

    kafka: str = "127.0.0.1:9092"
    """Bootstrap servers: ``host:port``, comma-separated."""

    rules: Path | None = None
    """The alert rules, a TOML file. Without it the rules that come with backchannel."""
    groupings: Annotated[tuple[str, ...], NoDecode] = ("", "tenant", "tenant,endpoint,model")
    """By what windows are grouped; in the environment separated by semicolons."""
    slot: str = ""
    """A name that this worker keeps over restarts. A restarted one then gets its partitions back
    at once; without it they wait for the session timeout."""

    lateness_s: Annotated[int, Field(ge=0, le=86_400)] = 60
    """How long a window stays open after its end, in event time."""
    clock_ahead_s: Annotated[int, Field(ge=0, le=3_600)] = 60
    """How far the clock of a bot may be ahead of the broker's."""
    clock_behind_s: Annotated[int, Field(ge=0, le=30 * 86_400)] = 86_400
    """How far it may be behind: a spool that is caught up on looks the same."""
    series_max: Annotated[int, Field(ge=1)] = 10_000
    """Series kept apart in one window of one source partition."""
    conversation_silence_s: Annotated[int, Field(ge=1, le=7 * 86_400)] = 1_800
    """Silence, in event time, after which a conversation is closed."""
    conversations_max: Annotated[int, Field(ge=0, le=1_000_000)] = 20_000
    """Open conversations that are followed in one source partition; 0 follows none."""

    worker_port: Annotated[int, Field(ge=0, le=65_535)] | None = None
    """Where ``/livez``, ``/readyz`` and ``/metrics`` are answered; nowhere without it."""
    probe_host: str = "127.0.0.1"
    """The address for that: this machine alone, unless it is told otherwise."""

    session_timeout_s: Annotated[float, Field(ge=1, le=60)] = 10.0
    """Silence after which Kafka gives the partitions of this worker to another one."""
    fast_flush_s: Annotated[float, Field(gt=0, le=1)] = 0.05
    """How long what an alert rule watches is collected before it is told."""
    flush_s: Annotated[float, Field(gt=0, le=60)] = 1.0
    """How long everything else is: how fresh ``metric_windows`` is."""
    rows_s_max: Annotated[float, Field(gt=0, le=300)] = 300.0
    """Longest time that a change of a long window waits: a day's row is told every 5 minutes."""
    checkpoint_s: Annotated[float, Field(gt=0, le=60)] = 2.0
    """How much is read again after a kill."""
    idle_check_s: Annotated[float, Field(gt=0, le=60)] = 10.0
    """How often the ends of the logs are asked for."""
    idle_s: Annotated[int, Field(ge=1, le=3_600)] = 10
    """Silence after which a source partition follows the wall clock."""

    @field_validator("groupings", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(value.split(";")) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        Groupings.parse(self.groupings)
        return self
