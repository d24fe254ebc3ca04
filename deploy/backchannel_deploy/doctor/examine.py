"""Puts the checks together: settings first, then whatever they lead to, side by side."""

import asyncio
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backchannel import KafkaSecurity, ProducerSettings, SettingsError
from backchannel.clock import Clock
from backchannel.environment import ENV_FILE, reads_env_file
from backchannel_deploy.connect import (
    CLICKHOUSE,
    DATA_DIR,
    KAFKA,
    find_database,
)
from backchannel_deploy.disk import disk_complaint, free_bytes
from backchannel_deploy.doctor.configured import (
    Setting,
    Source,
    mistakes_of_roles,
    settings_of,
    unknown_variables,
)
from backchannel_deploy.doctor.finding import Finding
from backchannel_deploy.doctor.installed import check_install
from backchannel_deploy.doctor.kafka_checks import check_kafka
from backchannel_deploy.erase.retention import PROMISED_DAYS

if TYPE_CHECKING:
    from backchannel_deploy.up import RunningUp

__all__ = ["Examination", "examine"]

_NOBODY = "nobody:0"
"""Stands for an address that is not configured: its absence is told once, elsewhere."""


@dataclass(frozen=True, slots=True)
class Examination:
    """Everything that was found."""

    settings: tuple[Setting, ...]
    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong; warnings are allowed."""
        return all(finding.verdict != "wrong" for finding in self.findings)


async def examine(
    *,
    kafka: str | None,
    clickhouse: str | None,
    environ: Mapping[str, str],
    env_file: Mapping[str, str],
    clock: Clock,
) -> Examination:
    """Looks at everything and changes nothing, in a minute at most however little answers.

    ``kafka`` and ``clickhouse`` win over the environment, that over ``env_file`` (what ``.env``
    says), and that over the ``up`` that runs here.
    """
    given, set_, running = _sources(kafka, clickhouse, environ)
    file = Source(ENV_FILE, env_file)
    # A bot does not look for an `up`, and an `up` that starts is not the one that runs.
    settings = settings_of((given, set_, running), producer=(given, set_, file), up=(given, set_))
    sources = (given, set_, file, running)
    values = {
        name: next((each.variables[name] for each in sources if each.variables.get(name)), "")
        for name in (KAFKA, CLICKHOUSE)
    }
    security, mistakes = _security({**env_file, **environ}, values[KAFKA])
    mistakes += _unread_env_file()
    mistakes += mistakes_of_roles(values[KAFKA] or _NOBODY, values[CLICKHOUSE] or _NOBODY)
    mistakes += unknown_variables(settings, {**env_file, **environ})
    usable = Finding("settings", "ok", "Every role that is installed can use its settings.")
    findings = [*check_install(), *(mistakes or [usable]), *_disk(environ)]
    of_kafka, of_clickhouse = await asyncio.gather(
        _kafka(values[KAFKA], security, clock, _erasure_days(environ)),
        asyncio.to_thread(_clickhouse, values[CLICKHOUSE], find_database(environ), clock),
    )
    return Examination(tuple(settings), (*findings, *of_kafka, *of_clickhouse))


def _sources(
    kafka: str | None, clickhouse: str | None, environ: Mapping[str, str]
) -> tuple[Source, Source, Source]:
    given = {KAFKA: kafka or "", CLICKHOUSE: clickhouse or ""}
    return (
        Source("argument", given),
        Source("environment", environ),
        Source("the `up` that runs here", _running(environ)),
    )


def _running(environ: Mapping[str, str]) -> dict[str, str]:
    running = _find_up(environ)
    return {KAFKA: running.kafka, CLICKHOUSE: running.clickhouse} if running else {}


def _find_up(environ: Mapping[str, str]) -> "RunningUp | None":
    try:
        from backchannel_deploy.up import find_running
    except ModuleNotFoundError:  # the extra [local] is not installed here
        return None
    data_dir = environ.get(DATA_DIR, "")
    return find_running(Path(data_dir) if data_dir else None)


def _disk(environ: Mapping[str, str]) -> list[Finding]:
    """Looks at the disk of the `up` that runs here."""
    running = _find_up(environ)
    if running is None:
        return []
    if complaint := disk_complaint(running.data_dir, free_bytes(running.data_dir)):
        return [Finding("disk", "wrong", complaint)]
    return [Finding("disk", "ok", f"There is room on the disk under {running.data_dir}.")]


def _security(environ: Mapping[str, str], kafka: str) -> tuple[dict[str, Any], list[Finding]]:
    """Returns aiokafka's connection arguments, and what is wrong with the producer's settings."""
    try:
        ProducerSettings.load(kafka or _NOBODY, environ=environ)
        return KafkaSecurity.from_env(environ).aiokafka(), []
    except SettingsError as error:
        advice = "A producer of this environment would refuse to start: mend it first."
        told = [Finding("settings", "wrong", f"{each}.", advice) for each in error.mistakes]
        return {}, told


def _unread_env_file() -> list[Finding]:
    if not Path(ENV_FILE).is_file() or reads_env_file():
        return []
    told = "There is a .env file here, and nothing reads it."
    return [Finding("settings", "warning", told, 'pip install "backchannel[dotenv]"')]


def _erasure_days(environ: Mapping[str, str]) -> int:
    """Returns what is promised; of a setting that is no number it is told elsewhere."""
    given = environ.get("BACKCHANNEL_ERASURE_DAYS", "")
    return int(given) if given.isdecimal() else PROMISED_DAYS


async def _kafka(
    kafka: str, security: dict[str, Any], clock: Clock, erasure_days: int
) -> list[Finding]:
    if not kafka:
        advice = "Set BACKCHANNEL_KAFKA=host:port, or start one here: backchannel up"
        return [Finding("kafka", "wrong", "No Kafka is configured, and none runs here.", advice)]
    return await check_kafka(kafka, clock=clock, security=security, erasure_days=erasure_days)


def _clickhouse(url: str, database: str, clock: Clock) -> list[Finding]:
    if not url:
        told = "No ClickHouse is configured; a bot needs none."
        return [Finding("clickhouse", "skipped", told, "For SQL set BACKCHANNEL_CLICKHOUSE.")]
    try:
        checks = importlib.import_module("backchannel_deploy.doctor.clickhouse_checks")
    except ModuleNotFoundError as error:
        told = f"ClickHouse was not looked at: the package {error.name} is not installed here."
        advice = 'pip install "backchannel[sinks]"'
        return [Finding("clickhouse", "skipped", told, advice)]
    found: list[Finding] = checks.check_clickhouse(url, database, clock=clock)
    return found
