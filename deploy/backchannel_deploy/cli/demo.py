"""`backchannel demo`: everything at once, for about a minute."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console

from backchannel_deploy.demo.timeline import SECONDS_MIN, Timeline

if TYPE_CHECKING:
    from backchannel_deploy.up import RunningUp

__all__ = ["demo"]

_INTERRUPTED = 130


def demo(
    *,
    data_dir: Path | None = None,
    seconds: Annotated[int, Parameter(validator=Number(gte=SECONDS_MIN, lte=3600))] = 60,
    bots: Annotated[int, Parameter(validator=Number(gte=50, lte=2000))] = 220,
    seed: int = 1,
) -> int:
    """Start the whole stack, let a simulated fleet of bots chat, show what comes of it, stop.

    One tenant has an incident: alerts fire, and are resolved when it is over. Then come answers
    in SQL and the proof that every event was counted. Exit code 1 when the counts disagree or no
    alert fired. It starts a Kafka and a ClickHouse of its own, whatever the settings name.

    Parameters
    ----------
    data_dir
        Where to keep everything; without it the data are gone when the demo ends.
    seconds
        How long the bots chat.
    bots
        How many chat at once.
    seed
        Of what the bots do.
    """
    from backchannel_deploy.demo.run import DemoPlan, run_demo
    from backchannel_deploy.prepare import prepare
    from backchannel_deploy.up import UpSettings, run_up
    from backchannel_deploy.up.roles import command

    _forget_settings()
    console = Console(highlight=False)
    plan = DemoPlan(Timeline(seconds), seed, bots)
    succeeded: bool | None = None

    async def session(running: "RunningUp") -> None:
        nonlocal succeeded
        succeeded = await run_demo(
            plan, console, kafka=running.kafka, clickhouse=running.clickhouse
        )

    with (
        _kept_in(data_dir) as folder,
        as_file(files("backchannel_deploy.demo") / "rules.toml") as rules,
    ):
        settings = UpSettings(
            data_dir=folder,
            kafka_port=0,
            kafka_controller_port=0,
            clickhouse_port=0,
            worker_port=0,
            sink_port=0,
        )
        roles = (command("worker", "--rules", str(rules)), command("sink"))
        with_topics = partial(prepare, partitions=settings.new_partitions)
        exit_code = run_up(settings, with_topics, console, session=session, roles=roles)
    if exit_code or succeeded is None:
        return exit_code or _INTERRUPTED
    if data_dir is not None:
        console.print(f"Look around in it: backchannel up --data-dir {data_dir}", style="dim")
    return int(not succeeded)


def _forget_settings() -> None:
    """Made-up events must never reach a Kafka or a ClickHouse that somebody has set up."""
    for name in list(os.environ):
        if name.startswith("BACKCHANNEL_") and name != "BACKCHANNEL_CACHE_DIR":
            del os.environ[name]


@contextmanager
def _kept_in(data_dir: Path | None) -> Iterator[Path]:
    """Yields the folder for the data: the one given, else one that is removed afterwards."""
    if data_dir is not None:
        yield data_dir
        return
    from backchannel_deploy.broker import default_cache_dir

    cache_dir = default_cache_dir()
    cache_dir.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="demo-", dir=cache_dir, ignore_cleanup_errors=True) as folder:
        yield Path(folder)
