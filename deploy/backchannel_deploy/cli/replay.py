"""`backchannel replay`: recorded traffic through the real producer."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

__all__ = ["replay"]

_SPEED_MAX = 1e9


def replay(
    file: Path,
    /,
    *,
    speed: Annotated[float, Parameter(validator=Number(gte=0, lte=_SPEED_MAX))] = 1.0,
    keep_times: bool = False,
    seed: int | None = None,
    skip_bad: bool = False,
) -> int:
    """Publish a recorded trace (CSV) or events (JSON lines) through the real producer.

    A trace has the columns TIMESTAMP, ContextTokens and GeneratedTokens; latencies, users, models
    and the rest are made up, and such events are tagged "synthetic". Every replay has an origin of
    its own (`replay:ID`), so that it adds up by itself and raises no alerts. Nothing is published
    before the whole file was read once and found good. Exit code 1 when anything was not
    delivered.

    Parameters
    ----------
    file
        The recording.
    speed
        How many times faster than it was recorded; 0 is as fast as possible.
    keep_times
        Keep the recorded times. Without it they are shifted so that the last event is now.
    seed
        Of what is made up; without it the same file always gives the same.
    skip_bad
        Leave out rows that cannot be used, and say how many. Without it nothing is published.
    """
    from rich.console import Console

    from backchannel_deploy.connect import find_kafka
    from backchannel_deploy.replay.command import ReplayPlan, run_replay

    plan = ReplayPlan(file, speed=speed, keep_times=keep_times, seed=seed, skip_bad=skip_bad)
    return run_replay(plan, Console(highlight=False, soft_wrap=True), find_kafka)
