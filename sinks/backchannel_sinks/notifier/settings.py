"""Settings of the notifier: from arguments, else from ``BACKCHANNEL_…``, else these defaults."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from backchannel_sinks.notifier.plan import EMPTY_PLAN, Plan

__all__ = ["NotifierSettings"]


class NotifierSettings(BaseSettings):
    """What the notifier can be told, besides whom to tell (``notifier_file``, docs/notifier.md).
    Security of the Kafka connection: ``backchannel.security``."""

    model_config = SettingsConfigDict(env_prefix="BACKCHANNEL_", frozen=True, extra="ignore")

    kafka: str
    """Bootstrap servers, ``host:port[,host:port…]``."""
    notifier_file: Path | None = None
    """Targets, routes and inhibitions, a TOML file. Without it nobody is told of anything."""
    notifier_group: str = "backchannel-notifier"
    """Consumer group. One member of it delivers, the others stand by."""
    slot: str = ""
    """A name that this notifier keeps over restarts. A restarted one then goes on at once; without
    it, when the session of the old one is over."""
    session_timeout_s: Annotated[float, Field(ge=1, le=60)] = 10.0
    """Silence after which another member delivers."""
    notifier_port: Annotated[int, Field(ge=0, le=65_535)] | None = None
    """Where ``/livez``, ``/readyz`` and ``/metrics`` are answered; nowhere without it."""
    probe_host: str = "127.0.0.1"
    """The address for that: this machine alone, unless it is told otherwise."""
    pipeline_down_s: Annotated[float, Field(ge=1, le=3_600)] = 60.0
    """How long the workers may give no sign of life before ``pipeline_down`` is raised."""

    @model_validator(mode="after")
    def _has_a_plan(self) -> Self:
        self.plan()
        return self

    def plan(self) -> Plan:
        """Reads whom to tell; nobody without a file.

        Raises:
            PlanError: the file is missing or wrong.
        """
        return EMPTY_PLAN if self.notifier_file is None else Plan.load(self.notifier_file)
