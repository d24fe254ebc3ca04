"""A replay from the file to the last acknowledgement, and what is said of it."""

import asyncio
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from backchannel import Producer
from backchannel.clock import SYSTEM_CLOCK
from backchannel_deploy.cli.amounts import counted, seconds_of
from backchannel_deploy.cli.settings import checked
from backchannel_deploy.errors import UserError
from backchannel_deploy.replay.pace import Pace, plan_pace
from backchannel_deploy.replay.publish import Outcome, publish, reachable
from backchannel_deploy.replay.source import Due, replayed_events
from backchannel_deploy.replay.survey import Survey, survey

__all__ = ["ReplayPlan", "run_replay"]

_LATENESS_US = 60_000_000
"""The processors' default: what lies further back than this is counted as late."""
_LOOK_AT_IT = (
    'Look at it: backchannel sql "SELECT count(), sum(input_tokens), sum(output_tokens) '
    "FROM events WHERE _origin = '{origin}'\""
)


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """What is to be published, and how."""

    file: Path
    speed: float
    keep_times: bool
    seed: int | None
    """``None`` is the file's own: it follows from its content."""
    skip_bad: bool


def run_replay(plan: ReplayPlan, console: Console, find_kafka: Callable[[], str]) -> int:
    """Publishes the file and returns the exit code: 1 when something was not delivered.

    Raises:
        UserError: the file can't be used, or there is no Kafka to talk to.
    """
    found = survey(plan.file)
    if found.bad and not plan.skip_bad:
        raise UserError(
            f"{plan.file} has {counted(found.bad, 'bad row')}, so nothing was published. "
            f"{found.bad_rows()}. Leave them out with --skip-bad."
        )
    kafka = find_kafka()
    pace = plan_pace(
        first_ts_us=found.first_ts_us,
        last_ts_us=found.last_ts_us,
        speed=plan.speed,
        start_us=SYSTEM_CLOCK.now_us(),
        keep_times=plan.keep_times,
    )
    seed = found.content_seed if plan.seed is None else plan.seed
    origin = f"replay:{secrets.token_hex(5)}"
    _announce(console, plan.file, found, pace, origin)
    events = replayed_events(plan.file, pace, seed)
    outcome = asyncio.run(_publish(console, kafka, origin, events, found.rows))
    return _conclude(console, found, outcome, origin)


def _announce(console: Console, file: Path, found: Survey, pace: Pace, origin: str) -> None:
    how = f"{pace.speed:g} times as fast as recorded" if pace.speed else "as fast as possible"
    console.print(
        f"{origin}: {counted(found.rows, 'event')} from {escape(str(file))}, "
        f"{seconds_of(found.span_us)} of traffic, {how}."
    )
    if found.bad:
        console.print(
            f"{counted(found.bad, 'bad row')} left out. {escape(found.bad_rows())}.", style="yellow"
        )
    if found.backwards_us > _LATENESS_US:
        console.print(
            f"Its rows go back in time by up to {seconds_of(found.backwards_us)}: where that is "
            "more than the allowed lateness, events are stored but counted as late in windows.",
            style="yellow",
        )


async def _publish(
    console: Console, kafka: str, origin: str, events: Iterable[Due], total: int
) -> Outcome:
    progress = Progress(
        TextColumn("published"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with checked():
        producer = Producer(kafka, origin=origin)
    with progress:
        task = progress.add_task("", total=total)
        async with producer:
            if not await reachable(producer):
                raise UserError(
                    f"Kafka at {kafka} does not say where events go, so nothing was published. "
                    "Is it running, and were its topics made (backchannel migrate)?"
                )
            return await publish(
                producer, events, tell=lambda sent: progress.update(task, completed=sent)
            )


def _conclude(console: Console, found: Survey, outcome: Outcome, origin: str) -> int:
    a_second = f" ({outcome.sent / outcome.seconds:,.0f} a second)" if outcome.seconds > 0 else ""
    lost = found.rows - outcome.acknowledged
    console.print(
        f"{outcome.sent:,} sent, {outcome.acknowledged:,} acknowledged, {lost:,} not delivered, "
        f"in {seconds_of(round(outcome.seconds * 1_000_000))}{a_second}."
    )
    if lost:
        console.print(
            "Not everything was delivered: Kafka stopped answering, or refused it.", style="red"
        )
        return 1
    console.print(
        escape(_LOOK_AT_IT.format(origin=origin)),
        style="dim",
    )
    return 0
