"""Settings of erasure: from ``BACKCHANNEL_…``, else these defaults."""

from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from backchannel_deploy.erase.proof import SigningKey
from backchannel_deploy.erase.retention import PROMISED_DAYS

__all__ = ["ErasureSettings"]


class ErasureSettings(BaseSettings):
    """What `backchannel erase` can be told."""

    model_config = SettingsConfigDict(env_prefix="BACKCHANNEL_", frozen=True, extra="ignore")

    erasure_key: Annotated[SecretStr, Field(min_length=16)] | None = None
    """Signs completion records."""
    erasure_key_id: str = ""
    """Its name; without one a name that follows from the key."""
    erasure_days: Annotated[int, Field(ge=1, le=3_650)] = PROMISED_DAYS
    """Within how many days nothing of somebody may be left anywhere, Kafka included."""
    user_id_key: SecretStr | None = None
    """The key that bots make pseudonyms with."""
    user_id_key_id: str = ""
    former_user_id_keys: SecretStr | None = None
    """Keys that bots had before, each with its name: ``name=key,name=key``."""

    @property
    def signing_key(self) -> SigningKey | None:
        """The key for completion records, if there is one."""
        if self.erasure_key is None:
            return None
        return SigningKey(self.erasure_key.get_secret_value(), self.erasure_key_id)

    @property
    def user_id_keys(self) -> dict[str, str]:
        """All keys for pseudonyms by their names; the empty name follows from the key."""
        keys: dict[str, str] = {}
        if self.former_user_id_keys is not None:
            for each in self.former_user_id_keys.get_secret_value().split(","):
                name, _, key = each.strip().partition("=")
                keys[name] = key
        if self.user_id_key is not None:
            keys[self.user_id_key_id] = self.user_id_key.get_secret_value()
        return keys
