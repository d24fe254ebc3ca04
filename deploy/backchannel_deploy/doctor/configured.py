"""Every setting of every role that is installed: its value, and where that came from."""

import importlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from typing import Any

from pydantic import SecretStr
from pydantic_settings import BaseSettings

from backchannel import KafkaSecurity, ProducerSettings
from backchannel_deploy.cli.settings import checked
from backchannel_deploy.connect import without_secrets
from backchannel_deploy.doctor.finding import Finding
from backchannel_deploy.errors import UserError

__all__ = ["Setting", "Source", "mistakes_of_roles", "settings_of", "unknown_variables"]

_PREFIX = "BACKCHANNEL_"
_ROLES = (
    ("worker", "backchannel_processors.settings", "WorkerSettings"),
    ("sink", "backchannel_sinks.settings", "SinkSettings"),
    ("notifier", "backchannel_sinks.notifier.settings", "NotifierSettings"),
    ("exporter", "backchannel_sinks.prometheus.settings", "ExporterSettings"),
    ("up", "backchannel_deploy.up.settings", "UpSettings"),
    ("migrate", "backchannel_deploy.partitions", "PartitionSettings"),
    ("erase", "backchannel_deploy.erase.settings", "ErasureSettings"),
)
_SECRET = re.compile(r"password|secret|token|salt|(^|_)keys?$", re.IGNORECASE)
_HIDDEN = "(set, not shown)"
_URL = "clickhouse"
_NOT_FROM_ENVIRONMENT = ("security", "mask", "ssl_context", "sasl_oauth_token_provider")
_SIMILAR = 0.85


@dataclass(frozen=True, slots=True)
class Source:
    """Where settings may stand: a name for people, and variables with their values."""

    name: str
    variables: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting, as it may be shown: no secret is in it."""

    role: str
    variable: str
    value: str
    source: str
    """``default``, or the name of a source."""


def settings_of(sources: tuple[Source, ...], **of_role: tuple[Source, ...]) -> list[Setting]:
    """Returns all settings of the roles that are installed; an earlier source wins.

    ``of_role`` are the sources of roles that have others: only a producer reads ``.env``."""
    producer = of_role.get("producer", sources)
    found = [
        *_dataclass_settings("producer", ProducerSettings, _PREFIX, producer),
        *_dataclass_settings("producer", KafkaSecurity, f"{_PREFIX}KAFKA_", producer),
    ]
    for role, model in _roles():
        found += _model_settings(role, model, of_role.get(role, sources))
    return found


def mistakes_of_roles(kafka: str, clickhouse: str) -> list[Finding]:
    """Returns what the worker, the sink and ``up`` could not use of this process's environment."""
    found = []
    for role, model in _roles():
        # Any: the models have these fields, their common base does not.
        given: dict[str, Any] = {"kafka": kafka, "clickhouse": clickhouse}
        try:
            with checked():
                model(**{name: text for name, text in given.items() if name in model.model_fields})
        except UserError as error:
            told = str(error).removeprefix("Settings: ")
            advice = f"`backchannel {role}` would refuse to start: mend it first."
            found.append(Finding("settings", "wrong", told, advice))
    return found


def unknown_variables(settings: list[Setting], environ: Mapping[str, str]) -> list[Finding]:
    """Returns a warning for each variable that looks like a mistyped one of ours."""
    known = {setting.variable for setting in settings}
    findings = []
    for variable in sorted(set(environ) - known):
        similar = get_close_matches(variable, known, n=1, cutoff=_SIMILAR)
        if variable.startswith(_PREFIX) and similar:
            told = f"{variable} is set, and nothing reads it."
            findings.append(Finding("settings", "warning", told, f"Is {similar[0]} meant?"))
    return findings


def _roles() -> Iterator[tuple[str, type[BaseSettings]]]:
    for role, module, name in _ROLES:
        try:
            yield role, getattr(importlib.import_module(module), name)
        except ModuleNotFoundError:  # its extra is not installed here
            continue


def _dataclass_settings(
    role: str, model: type[Any], prefix: str, sources: tuple[Source, ...]
) -> Iterator[Setting]:
    for each in fields(model):
        if each.name in _NOT_FROM_ENVIRONMENT:
            continue
        default = each.default if each.default is not MISSING else None
        yield _setting(role, f"{prefix}{each.name.upper()}", each.name, default, sources)


def _model_settings(
    role: str, model: type[BaseSettings], sources: tuple[Source, ...]
) -> Iterator[Setting]:
    prefix = str(model.model_config.get("env_prefix", _PREFIX))
    for name, field in model.model_fields.items():
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        variable = f"{prefix}{name}".upper()
        yield _setting(role, variable, name, default, sources, secret=_is_secret(field.annotation))


def _setting(
    role: str,
    variable: str,
    name: str,
    default: object,
    sources: tuple[Source, ...],
    *,
    secret: bool = False,
) -> Setting:
    for source in sources:
        if text := source.variables.get(variable, ""):
            return Setting(role, variable, _shown(name, text, secret), source.name)
    return Setting(role, variable, _shown(name, default, secret), "default")


def _shown(name: str, value: object, secret: bool) -> str:
    if value is None or value == "":
        return ""
    if name == _URL:
        url = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        return without_secrets(url)
    if secret or _SECRET.search(name):
        return _HIDDEN
    return str(value)


def _is_secret(annotation: Any) -> bool:
    return "SecretStr" in repr(annotation)
