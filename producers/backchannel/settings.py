"""What a producer can be told, where it is read from, and what it is when nothing is said."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib.util import find_spec
from typing import Any, TypedDict

from pydantic import SecretStr

from backchannel.environment import environment
from backchannel.errors import SettingsError
from backchannel.events import BATCH_BYTES_MAX, COUNT_MAX, LIVE
from backchannel.security import KafkaSecurity
from backchannel.shaping.privacy import Mask, Privacy
from backchannel.shaping.pseudonyms import Pseudonyms
from backchannel.shaping.sampling import WEIGHT_MAX, Sampling

__all__ = ["NO_ADDRESS", "ProducerSettings", "SettingsArguments", "privacy_of", "sampling_of"]

NO_ADDRESS = "memory:0"
"""Stands in ``kafka`` where a transport of somebody else's is used."""

_ORIGIN = re.compile(r"live|replay:[A-Za-z0-9_.-]{1,64}")
_ADDRESS = re.compile(r"[^\s,:/]+:\d{1,5}|\[[0-9A-Fa-f:.]+\]:\d{1,5}")
_KEY_ID = re.compile(r"[A-Za-z0-9_.-]{0,32}")
_COMPRESSIONS = ("", "gzip", "snappy", "lz4", "zstd")
_ON_FULL = ("drop_newest", "drop_oldest", "spill")
_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")


class SettingsArguments(TypedDict, total=False):
    """The settings as keyword arguments of a ``Producer``; see ``ProducerSettings``."""

    service: str
    environment: str
    tenant_id: str
    origin: str
    disabled: bool
    buffer_bytes_max: int
    on_full: str
    spill_directory: str
    spill_bytes_max: int
    batch_bytes_max: int
    linger_ms: int
    request_timeout_ms: int
    health_interval_s: int
    compression: str
    client_id: str
    masking: bool
    mask: Mask
    user_id_key: SecretStr | str
    user_id_key_id: str
    capture_content: bool
    content_buffer_bytes_max: int
    content_chars_max: int
    sample_one_in: int
    sample_salt: str
    keep_errors: bool
    keep_slow_us: int
    security: KafkaSecurity
    security_protocol: str
    sasl_mechanism: str
    sasl_username: str
    sasl_password: str
    ssl_cafile: str
    ssl_certfile: str
    ssl_keyfile: str
    ssl_key_password: str
    ssl_context: Any
    sasl_oauth_token_provider: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerSettings:
    """The settings of one producer.

    Raises:
        SettingsError: they cannot be used; it tells every mistake at once.
    """

    kafka: str = ""
    """Bootstrap servers: ``host:port``, several with commas between."""
    service: str = ""
    """Stamped on every event that does not say its own, as are the next two."""
    environment: str = ""
    tenant_id: str = ""
    origin: str = LIVE
    """``live``, or ``replay:<id>`` for recorded traffic."""
    disabled: bool = False
    """Take nothing and start nothing: the same calls, no Kafka."""
    buffer_bytes_max: int = 32 * 1024 * 1024
    """Bound on the memory of everything that is accepted and not acknowledged yet."""
    on_full: str = "drop_newest"
    """What happens at that bound: ``drop_newest`` refuses new events, ``drop_oldest`` gives up the
    oldest that are not on their way yet, ``spill`` moves what waits to disk."""
    spill_directory: str = ""
    """Where ``spill`` puts it; any number of processes may share it. What a process leaves behind
    is sent by the next one."""
    spill_bytes_max: int = 256 * 1024 * 1024
    """Bound on the disk that one process takes; at it, new events are refused again."""
    batch_bytes_max: int = 256 * 1024
    """Size at which a batch is sealed; a single larger event is a batch of its own."""
    linger_ms: int = 50
    """How long an event may wait for others to share its batch."""
    request_timeout_ms: int = 15_000
    """How long an answer of the broker may take before the connection counts as dead."""
    health_interval_s: int = 15
    """How often a ``Health`` event says what was sent and dropped; 0 for never. A replay has none:
    the clock of its events is another one."""
    compression: str = ""
    """``gzip``, ``snappy``, ``lz4`` or ``zstd``; all but ``gzip`` need ``aiokafka``'s extras."""
    client_id: str = "backchannel"
    """Names the client in the broker's logs and quotas."""
    masking: bool = True
    """Take e-mail addresses, phone and card numbers, IBANs and keys out of free text."""
    mask: Mask | None = None
    """A hook of your own for free text, after those patterns; where it fails no text is sent."""
    user_id_key: SecretStr | str = field(default="", repr=False)
    """With a key of at least 16 characters, ids of users leave as keyed hashes. Kept as a
    ``SecretStr``."""
    user_id_key_id: str = ""
    """Names the key in those hashes; if it is empty, a name follows from the key."""
    capture_content: bool = False
    """Send prompts and replies that the bot tells (``turn.prompt``, ``turn.reply``) to
    ``chat.content``. They are never in the events."""
    content_buffer_bytes_max: int = 8 * 1024 * 1024
    """Bound on the memory of prompts and replies that are not acknowledged yet."""
    content_chars_max: int = 32_768
    """Characters of a text that are sent; the rest is cut off."""
    sample_one_in: int = 1
    """Keep one conversation in so many; its events then have that ``sample_weight``."""
    sample_salt: str = ""
    """The same conversations are kept wherever it is the same."""
    keep_errors: bool = True
    """Keep every event that ended in an error, whatever is sampled."""
    keep_slow_us: int = 0
    """Keep every event that took that many microseconds, whatever is sampled; 0 for none."""
    security: KafkaSecurity = field(default_factory=KafkaSecurity)

    def __post_init__(self) -> None:
        if not isinstance(self.user_id_key, SecretStr):
            object.__setattr__(self, "user_id_key", SecretStr(self.user_id_key))
        if mistakes := _mistakes(self):
            raise SettingsError(mistakes)
        if self.origin != LIVE:
            object.__setattr__(self, "health_interval_s", 0)

    @classmethod
    def load(
        cls,
        kafka: str | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        arguments: SettingsArguments | None = None,
    ) -> "ProducerSettings":
        """Takes each setting from the arguments, else from the environment, else from a ``.env``
        file in the working directory (with the extra ``dotenv``), else its default. An argument
        that is ``None`` was not given.

        The environment's names are ``BACKCHANNEL_`` and the setting's name in capitals, e.g.
        ``BACKCHANNEL_KAFKA`` and ``BACKCHANNEL_LINGER_MS``; those of ``KafkaSecurity`` begin with
        ``BACKCHANNEL_KAFKA_``.

        Raises:
            SettingsError: every mistake at once, also those of ``KafkaSecurity``.
        """
        environ = environment() if environ is None else environ
        mistakes: list[str] = []
        given = _usable({"kafka": kafka, **(arguments or {})}, mistakes)
        own = {name: given.pop(name) for name in _NAMES if name in given}
        values = {**_read(environ, mistakes), **own}
        if "security" not in values:
            try:
                values["security"] = KafkaSecurity.from_env(environ, **given)
            except SettingsError as error:
                mistakes += error.mistakes
        elif given:
            mistakes.append(f"security is given, so {', '.join(sorted(given))} cannot be")
        try:
            settings = cls(**values)
        except SettingsError as error:
            mistakes += error.mistakes
        if mistakes:
            raise SettingsError(mistakes)
        return settings


def privacy_of(settings: ProducerSettings) -> Privacy:
    """Returns what these settings say of privacy."""
    key = _secret(settings.user_id_key)
    return Privacy(
        patterns=settings.masking,
        hook=settings.mask,
        pseudonyms=Pseudonyms(key, settings.user_id_key_id) if key else None,
    )


def sampling_of(settings: ProducerSettings) -> Sampling | None:
    """Returns what these settings say of sampling; ``None`` where everything is kept."""
    if settings.sample_one_in == 1:
        return None
    return Sampling(
        settings.sample_one_in,
        salt=settings.sample_salt,
        keep_errors=settings.keep_errors,
        keep_slow_us=settings.keep_slow_us,
    )


_NAMES = tuple(each.name for each in fields(ProducerSettings))
_NAMES_OF_SECURITY = tuple(each.name for each in fields(KafkaSecurity))
_WORDS = {bool: "True or False", int: "a number", str: "a text"}


def _usable(arguments: Mapping[str, Any], mistakes: list[str]) -> dict[str, Any]:
    """Returns the arguments that are settings, and of a type to go on with."""
    from difflib import get_close_matches  # only producers need it, and not at their import

    kinds = {each.name: each.type for each in fields(ProducerSettings)}
    usable: dict[str, Any] = {}
    for name, value in arguments.items():
        kind = kinds.get(name)
        if value is None:
            continue
        if name not in (*_NAMES, *_NAMES_OF_SECURITY):
            similar = get_close_matches(name, (*_NAMES, *_NAMES_OF_SECURITY), n=1, cutoff=0.6)
            meant = f": is {similar[0]} meant?" if similar else ""
            mistakes.append(f"there is no setting {name}{meant}")
        elif kind in _WORDS and not isinstance(value, (int, float) if kind is int else kind):
            mistakes.append(f"{name} must be {_WORDS[kind]}")
        else:
            usable[name] = value
    return usable


def _read(environ: Mapping[str, str], mistakes: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for each in fields(ProducerSettings):
        variable = f"BACKCHANNEL_{each.name.upper()}"
        text = environ.get(variable, "").strip()
        if not text or each.name in ("security", "mask"):
            continue
        if each.type is bool:
            if text.lower() in _TRUE + _FALSE:
                values[each.name] = text.lower() in _TRUE
            else:
                mistakes.append(f"{variable} must be 1 or 0")
        elif each.type is int:
            if text.isascii() and text.isdigit():
                values[each.name] = int(text)
            else:
                mistakes.append(f"{variable} must be a whole number")
        else:
            values[each.name] = text
    return values


def _mistakes(settings: ProducerSettings) -> list[str]:
    mistakes = []
    addresses = [address.strip() for address in settings.kafka.split(",")]
    if not settings.kafka:
        if not settings.disabled:
            mistakes.append(
                "no Kafka address: pass it to Producer(), or set BACKCHANNEL_KAFKA "
                "(or BACKCHANNEL_DISABLED=1 to send nothing)"
            )
    elif not all(_ADDRESS.fullmatch(address) for address in addresses):
        mistakes.append("kafka must be host:port, several with commas between")
    for name in ("service", "environment", "tenant_id", "client_id"):
        if len(getattr(settings, name)) > 256:
            mistakes.append(f"{name} is longer than 256 characters")
    if not _ORIGIN.fullmatch(settings.origin):
        mistakes.append("origin must be live or replay:<id>, the id of letters, digits, _ . -")
    for name, least, most in (
        ("buffer_bytes_max", 64 * 1024, 2**40),
        ("spill_bytes_max", 1024 * 1024, 2**40),
        ("batch_bytes_max", 1024, BATCH_BYTES_MAX // 2),
        ("linger_ms", 0, 10_000),
        ("request_timeout_ms", 100, 600_000),
        ("content_buffer_bytes_max", 64 * 1024, 2**40),
        ("content_chars_max", 1, 65_536),
        ("sample_one_in", 1, WEIGHT_MAX),
        ("keep_slow_us", 0, COUNT_MAX),
        ("health_interval_s", 0, 3_600),
    ):
        if not least <= getattr(settings, name) <= most:
            mistakes.append(f"{name} must be between {least} and {most}")
    if 0 < len(_secret(settings.user_id_key)) < 16:
        mistakes.append("user_id_key must have at least 16 characters")
    if not _KEY_ID.fullmatch(settings.user_id_key_id):
        mistakes.append("user_id_key_id must be of letters, digits, _ . - and at most 32 of them")
    mistakes += _spill_mistakes(settings)
    if settings.compression not in _COMPRESSIONS:
        mistakes.append(f"compression must be one of {', '.join(_COMPRESSIONS[1:])}, or empty")
    return mistakes


def _secret(value: SecretStr | str) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _spill_mistakes(settings: ProducerSettings) -> list[str]:
    if settings.on_full not in _ON_FULL:
        return [f"on_full must be one of {', '.join(_ON_FULL)}"]
    if settings.on_full != "spill" or settings.disabled:
        return []
    if find_spec("fcntl") is None:
        return ["on_full=spill needs locks on files that this system does not have"]
    if not settings.spill_directory:
        return ["on_full=spill needs spill_directory"]
    try:
        os.makedirs(settings.spill_directory, mode=0o700, exist_ok=True)
    except OSError as error:
        return [f"spill_directory cannot be made: {type(error).__name__}"]
    if not os.access(settings.spill_directory, os.R_OK | os.W_OK | os.X_OK):
        return ["spill_directory cannot be written"]
    return []
