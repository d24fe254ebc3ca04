"""`backchannel verify`: does what is stored agree?"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from backchannel_deploy.errors import UserError

if TYPE_CHECKING:
    from backchannel_deploy.verify.windows import Span

__all__ = ["verify"]

_SECOND_US = 1_000_000
_DAY_S = 86_400


def verify(
    *,
    since: str = "",
    until: str = "5m",
    offsets: bool = False,
    repair: bool = False,
    json: bool = False,
) -> int:
    """Count everything anew and say whether it agrees. Exit code 1 when something does not.

    Closed windows with the events they were made of (every count, sum and histogram bucket must be
    equal), the offsets of chat.events for gaps and repeats, the numbers of producers for loss, and
    dead letters. It reads each event of the span once.

    Parameters
    ----------
    since
        Where to begin: an instant (2026-11-20T12:00, UTC unless it says otherwise), or how long
        ago (36h, 7d). Without it the beginning of yesterday, UTC.
    until
        Where to end, the same way.
    offsets
        Look at offsets and doubled rows alone; quick. For after a power failure.
    repair
        Correct what can be corrected: windows get what came late, with a revision above any other;
        records that were committed and are not there are read from Kafka again; rows that stand
        there twice are taken out.
    json
        One JSON object: agrees, findings, facts.
    """
    import asyncio
    import json as encoder
    from dataclasses import asdict

    from rich.console import Console

    from backchannel.clock import SYSTEM_CLOCK
    from backchannel_deploy.cli.clickhouse import connected
    from backchannel_deploy.connect import find_clickhouse, find_kafka
    from backchannel_deploy.doctor.report import print_findings
    from backchannel_deploy.verify.run import Order
    from backchannel_deploy.verify.run import verify as look
    from backchannel_deploy.verify.verdict import as_facts, healthy, judge

    now_us = SYSTEM_CLOCK.now_us()
    span = _span(since, until, now_us)
    order = Order(find_kafka(), find_clickhouse(), None if offsets else span, span.since_s, repair)
    console = Console(highlight=False, soft_wrap=True)
    with connected() as client, Console(stderr=True).status("") as shown:
        checked = asyncio.run(
            look(client, order, SYSTEM_CLOCK, lambda n: shown.update(f"{n:,} events counted"))
        )
    findings = judge(checked)
    agrees = healthy(findings)
    if json:
        told = {"agrees": agrees, "findings": [asdict(each) for each in findings]}
        print(encoder.dumps({**told, "facts": as_facts(checked)}, indent=2))
    else:
        print_findings(findings, console)
    return 0 if agrees else 1


def _span(since: str, until: str, now_us: int) -> "Span":
    from backchannel_deploy.cli.settings import checked
    from backchannel_deploy.verify.windows import Span
    from backchannel_processors.groupings import Groupings
    from backchannel_processors.settings import WorkerSettings

    with checked():
        settings = WorkerSettings()
        groupings = Groupings.parse(settings.groupings)
    until_s = _instant_s(until, "--until", now_us)
    yesterday_s = now_us // _SECOND_US // _DAY_S * _DAY_S - _DAY_S
    since_s = _instant_s(since, "--since", now_us) if since else min(yesterday_s, until_s - _DAY_S)
    if since_s >= until_s:
        raise UserError("--since has to be before --until.")
    ahead_s, behind_s = settings.clock_ahead_s, settings.clock_behind_s
    return Span(since_s, until_s, now_us, ahead_s, behind_s, groupings)


def _instant_s(told: str, option: str, now_us: int) -> int:
    from backchannel_processors.durations import parse_duration

    try:
        return now_us // _SECOND_US - parse_duration(told)
    except ValueError:
        pass
    try:
        instant = datetime.fromisoformat(told)
    except ValueError as error:
        raise UserError(
            f"{option}: {told!r} is neither an instant (2026-11-20T12:00) nor how long ago (36h)."
        ) from error
    return int((instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp())
