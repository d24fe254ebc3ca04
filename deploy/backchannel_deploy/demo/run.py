"""The demo from end to end: fleet, live view, closing report. Runs inside a stack that is up."""

import asyncio
from dataclasses import dataclass

from rich.console import Console

from backchannel import Producer
from backchannel.clock import SYSTEM_CLOCK, Clock
from backchannel_deploy.cli.clickhouse import connected
from backchannel_deploy.demo.answers import QUESTIONS, Answers, Proof
from backchannel_deploy.demo.board import Board
from backchannel_deploy.demo.fleet import Fleet
from backchannel_deploy.demo.report import print_report
from backchannel_deploy.demo.screen import shown
from backchannel_deploy.demo.timeline import Timeline
from backchannel_deploy.demo.watch import WATCHED, count_events, read_topics
from backchannel_deploy.listen import Listener

__all__ = ["DemoPlan", "run_demo"]

_SETTLE_S = 30.0
"""How long the last events may take to be counted everywhere, and alerts to be resolved."""
_POLL_S = 0.25


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What is to be shown."""

    timeline: Timeline
    seed: int
    bots: int


async def run_demo(
    plan: DemoPlan, console: Console, *, kafka: str, clickhouse: str, clock: Clock = SYSTEM_CLOCK
) -> bool:
    """Runs the fleet, shows what becomes of its events, and prints the answers.

    Returns whether all counts agree and an alert fired.
    """
    with connected(clickhouse) as client:
        answers = Answers(client)
        async with (
            Listener(WATCHED, kafka=kafka) as listener,
            # The proof compares what the fleet sent with what is in windows: Health is in none.
            Producer(kafka, service="demo", environment="demo", health_interval_s=0) as producer,
        ):
            board = Board(clock.now_us())
            fleet = Fleet(producer, plan.timeline, clock=clock)
            with shown(board, plan.timeline, console, clock) as screen:
                async with asyncio.TaskGroup() as group:
                    watching = (
                        group.create_task(read_topics(listener, board, fleet, screen.alert, clock)),
                        group.create_task(count_events(producer, answers, board, screen.tick)),
                    )
                    await fleet.run(seed=plan.seed, bots=plan.bots)
                    await producer.flush(_SETTLE_S)
                    await _until_settled(board, clock)
                    for task in watching:
                        task.cancel()
            stats = producer.stats()
        proof = await _prove(answers, stats.producer_id, stats.accepted, board.started_at_us, clock)
        asked = [
            await asyncio.to_thread(answers.ask, question, board.started_at_us)
            for question in QUESTIONS
        ]
    print_report(console, asked, proof, tuple(board.heard))
    return proof.holds and any(alert.state == "firing" for alert in board.alerts)


async def _until_settled(board: Board, clock: Clock) -> None:
    """Waits until the view shows everything that was sent, and no alert burns any more."""
    give_up_us = clock.monotonic_us() + round(_SETTLE_S * 1_000_000)
    while clock.monotonic_us() < give_up_us:
        if board.counts.settled and not board.firing():
            return
        await asyncio.sleep(_POLL_S)


async def _prove(
    answers: Answers, producer_id: str, sent: int, since_us: int, clock: Clock
) -> Proof:
    """Counts in SQL until the counts agree; the last windows of a minute come a little later."""
    give_up_us = clock.monotonic_us() + round(_SETTLE_S * 1_000_000)
    while True:
        proof = await asyncio.to_thread(answers.proof, producer_id, sent, since_us)
        if proof.holds or clock.monotonic_us() > give_up_us:
            return proof
        await asyncio.sleep(_POLL_S)
