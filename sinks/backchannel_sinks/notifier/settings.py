"""Settings of the notifier: from arguments, else from ``BACKCHANNEL_…``, else these defaults."""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

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
    pipeline_down_s: Annotated[float, Field(ge=10, le=3_600)] = 60.0
    """How long the workers may give no sign of life before ``pipeline_down`` is raised."""
