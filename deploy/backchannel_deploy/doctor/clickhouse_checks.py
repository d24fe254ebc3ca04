"""Whether ClickHouse can be reached, and whether its tables are those of this version."""

import logging

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError

from backchannel.clock import Clock
from backchannel_deploy.cli.clickhouse import error_sentence
from backchannel_deploy.connect import without_secrets
from backchannel_deploy.doctor.finding import Finding
from backchannel_sinks.clickhouse.connection import connect
from backchannel_sinks.clickhouse.migrate import applied, migrations

__all__ = ["check_clickhouse"]

_CONNECT_TIMEOUT_S = 3
_ANSWER_TIMEOUT_S = 5
_APART_US = 1_000_000
_MIGRATE = "Apply them: backchannel migrate"


def check_clickhouse(url: str, database: str, *, clock: Clock) -> list[Finding]:
    """Returns what was found, in at most half a minute; changes nothing. Blocks, raises nothing."""
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
    where = without_secrets(url)
    try:
        client = connect(
            url,
            database,
            connect_timeout_s=_CONNECT_TIMEOUT_S,
            answer_timeout_s=_ANSWER_TIMEOUT_S,
        )
        try:
            return [*_check_server(client, where, clock), *_check_migrations(client)]
        finally:
            client.close()
    except ValueError as error:
        advice = "Set BACKCHANNEL_CLICKHOUSE=http://user:password@host:8123"
        return [Finding("clickhouse", "wrong", f"{str(error).capitalize()}.", advice)]
    except (ClickHouseError, OSError) as error:
        if isinstance(error, DatabaseError) and error.code:
            advice = "Check user, password and rights in BACKCHANNEL_CLICKHOUSE."
            told = f"ClickHouse at {where} refuses: {error_sentence(str(error))}"
        else:
            advice = "Is it running, and is BACKCHANNEL_CLICKHOUSE right (http://host:8123)?"
            told = f"ClickHouse at {where} gives no answer."
        return [Finding("clickhouse", "wrong", told, advice)]


def _check_server(client: Client, where: str, clock: Clock) -> list[Finding]:
    asked_us = clock.now_us()
    told = client.command(
        "SELECT toUnixTimestamp64Micro(now64(6)), version(), currentUser()",
        use_database=False,  # it may not be there yet
    )
    answered_us = clock.now_us()
    assert isinstance(told, list), "three columns"
    theirs_us, version, user = int(told[0]), told[1], told[2]
    findings = [Finding("clickhouse", "ok", f"ClickHouse {version} at {where} answers to {user}.")]
    # Their clock was read at some moment between the two of ours.
    apart_us = max(asked_us - theirs_us, theirs_us - answered_us, 0)
    if apart_us > _APART_US:
        side = "ahead of" if theirs_us > asked_us else "behind"
        skew = f"The clock of ClickHouse is {apart_us / 1_000_000:.1f} s {side} this machine's."
        findings.append(
            Finding("clock", "warning", skew, "Synchronise the clocks of both machines (NTP).")
        )
    else:
        findings.append(Finding("clock", "ok", "The clock of ClickHouse agrees with this one."))
    return findings


def _check_migrations(client: Client) -> list[Finding]:
    noted, ours = applied(client), {each.version: each for each in migrations()}
    if not noted:
        told = f"The database {client.database} has none of our tables."
        return [Finding("migrations", "wrong", told, _MIGRATE)]
    level = f"The database {client.database} is at migration {max(noted):04}"
    if missing := [each for version, each in ours.items() if version not in noted]:
        names = ", ".join(f"{each.version:04} {each.name}" for each in missing)
        return [Finding("migrations", "wrong", f"{level}; missing: {names}.", _MIGRATE)]
    if max(noted) > max(ours):
        advice = "This version of backchannel is older than the database: install the newer one."
        told = f"{level}, and this version knows only {max(ours):04}."
        return [Finding("migrations", "wrong", told, advice)]
    if other := [each for version, each in ours.items() if noted[version] != each.checksum]:
        names = ", ".join(f"{each.version:04} {each.name}" for each in other)
        advice = "The database belongs to another version of backchannel: install that one."
        return [Finding("migrations", "wrong", f"{level}, with others than ours: {names}.", advice)]
    return [Finding("migrations", "ok", f"{level}, as this version wants it.")]
