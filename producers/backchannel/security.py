"""How a Kafka client proves who it is and keeps its connection private."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from backchannel.errors import SettingsError

if TYPE_CHECKING:
    import ssl

__all__ = ["KafkaSecurity"]

_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI", "OAUTHBEARER")
_WITH_PASSWORD = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSecurity:
    """SASL and TLS settings, by Kafka's own names. The default is an open connection.

    Raises:
        SettingsError: they do not fit together; no message holds a secret.
    """

    security_protocol: str = "PLAINTEXT"
    """``PLAINTEXT``, ``SSL``, ``SASL_PLAINTEXT`` or ``SASL_SSL``."""
    sasl_mechanism: str = "PLAIN"
    """``PLAIN``, ``SCRAM-SHA-256``, ``SCRAM-SHA-512``, ``GSSAPI`` or ``OAUTHBEARER``."""
    sasl_username: str = ""
    sasl_password: str = field(default="", repr=False)
    ssl_cafile: str = ""
    """Certificates to trust; empty for those of the system."""
    ssl_certfile: str = ""
    """The client's own certificate, where the broker asks for one."""
    ssl_keyfile: str = ""
    """The key of ``ssl_certfile``; empty when it stands in the same file."""
    ssl_key_password: str = field(default="", repr=False)
    ssl_context: "ssl.SSLContext | None" = field(default=None, repr=False)
    """A ready context, in place of the files."""
    sasl_oauth_token_provider: object | None = field(default=None, repr=False)
    """An ``aiokafka.abc.AbstractTokenProvider``, for ``OAUTHBEARER``."""

    def __post_init__(self) -> None:
        if mistakes := [*self._protocol_mistakes(), *self._file_mistakes()]:
            raise SettingsError(mistakes)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **given: Any) -> "KafkaSecurity":
        """Reads ``BACKCHANNEL_KAFKA_SECURITY_PROTOCOL``, ``…_SASL_MECHANISM``,
        ``…_SASL_USERNAME``, ``…_SASL_PASSWORD``, ``…_SSL_CAFILE``, ``…_SSL_CERTFILE``,
        ``…_SSL_KEYFILE`` and ``…_SSL_KEY_PASSWORD``; what is ``given`` wins.

        Raises:
            SettingsError: they do not fit together.
        """
        environ = os.environ if environ is None else environ
        found: dict[str, Any] = {}
        for name in _FROM_ENVIRONMENT:
            value = environ.get(f"BACKCHANNEL_KAFKA_{name.upper()}", "")
            if value:
                found[name] = value
        return cls(**{**found, **given})

    def aiokafka(self) -> dict[str, Any]:
        """Returns the settings as keyword arguments of any aiokafka client.

        Raises:
            SettingsError: a certificate or key cannot be used.
        """
        options: dict[str, Any] = {"security_protocol": self.security_protocol}
        if self.security_protocol.endswith("SSL"):
            options["ssl_context"] = self.ssl_context or self._context()
        if self.security_protocol.startswith("SASL"):
            options["sasl_mechanism"] = self.sasl_mechanism
            if self.sasl_mechanism in _WITH_PASSWORD:
                options["sasl_plain_username"] = self.sasl_username
                options["sasl_plain_password"] = self.sasl_password
            if self.sasl_oauth_token_provider is not None:
                options["sasl_oauth_token_provider"] = self.sasl_oauth_token_provider
        return options

    def _context(self) -> "ssl.SSLContext":
        import ssl  # here and not above: many a bot has neither TLS nor an event loop of its own

        try:
            context = ssl.create_default_context(cafile=self.ssl_cafile or None)
        except OSError as error:  # ssl.SSLError is one too
            raise SettingsError(["ssl_cafile holds no certificates that can be used"]) from error
        if self.ssl_certfile:
            try:
                context.load_cert_chain(
                    self.ssl_certfile,
                    self.ssl_keyfile or None,
                    # A callable, so that a key that needs one never asks on the terminal.
                    lambda: self.ssl_key_password,
                )
            except (OSError, ValueError) as error:
                mistake = "ssl_certfile, ssl_keyfile and ssl_key_password do not fit together"
                raise SettingsError([mistake]) from error
        return context

    def _protocol_mistakes(self) -> list[str]:
        mistakes = []
        if self.security_protocol not in _PROTOCOLS:
            mistakes.append(f"security_protocol must be one of {', '.join(_PROTOCOLS)}")
        elif self.security_protocol.startswith("SASL"):
            if self.sasl_mechanism not in _MECHANISMS:
                mistakes.append(f"sasl_mechanism must be one of {', '.join(_MECHANISMS)}")
            elif self.sasl_mechanism in _WITH_PASSWORD and not (
                self.sasl_username and self.sasl_password
            ):
                mistakes.append(f"{self.sasl_mechanism} needs sasl_username and sasl_password")
            elif self.sasl_mechanism == "OAUTHBEARER" and self.sasl_oauth_token_provider is None:
                mistakes.append("OAUTHBEARER needs sasl_oauth_token_provider")
        elif self.sasl_username or self.sasl_password:
            # Else they would be left out without a word, and the broker's refusal be a riddle.
            mistakes.append(
                "sasl_username and sasl_password need security_protocol SASL_SSL or SASL_PLAINTEXT"
            )
        return mistakes

    def _file_mistakes(self) -> list[str]:
        files = {
            "ssl_cafile": self.ssl_cafile,
            "ssl_certfile": self.ssl_certfile,
            "ssl_keyfile": self.ssl_keyfile,
        }
        mistakes = [
            f"{name} cannot be read" for name, path in files.items() if path and not _readable(path)
        ]
        given = any(files.values()) or self.ssl_context is not None
        if given and self.security_protocol in ("PLAINTEXT", "SASL_PLAINTEXT"):
            mistakes.append("certificates need security_protocol SSL or SASL_SSL")
        return mistakes


_FROM_ENVIRONMENT = (
    "security_protocol",
    "sasl_mechanism",
    "sasl_username",
    "sasl_password",
    "ssl_cafile",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_key_password",
)


def _readable(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.R_OK)
