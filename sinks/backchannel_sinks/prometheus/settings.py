"""Settings of the exporter: from arguments, else from ``BACKCHANNEL_…``, else these defaults."""

from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

__all__ = ["ExporterSettings"]


class ExporterSettings(BaseSettings):
    """What the exporter can be told. Security of the Kafka connection: ``backchannel.security``."""

    model_config = SettingsConfigDict(env_prefix="BACKCHANNEL_", frozen=True, extra="ignore")

    kafka: str
    """Bootstrap servers, ``host:port[,host:port…]``."""
    exporter_port: Annotated[int, Field(ge=0, le=65_535)] = 19_195
    """Where Prometheus finds it."""
    probe_host: str = "127.0.0.1"
    """The address for that: this machine alone, unless it is told otherwise."""
    exporter_groupings: Annotated[tuple[str, ...], NoDecode] = ("", "tenant,endpoint,model")
    """Which groupings of windows are told; in the environment separated by semicolons."""
    exporter_series_max: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    """Series that are told; beyond, new ones are counted and left out."""

    @field_validator("exporter_groupings", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(value.split(";")) if isinstance(value, str) else value
