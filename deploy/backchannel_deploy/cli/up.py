"""`backchannel up`: the whole stack on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from backchannel_deploy.up import Role, UpSettings

__all__ = ["roles_for", "up"]


def up(*, data_dir: Path | None = None, rebuild: bool = False) -> int:
    """Start the whole stack on this machine: Kafka, ClickHouse, processors, sink,
    and a notifier where BACKCHANNEL_NOTIFIER_FILE says whom to tell. Ctrl-C stops it.

    What dies is started again. With BACKCHANNEL_KAFKA or BACKCHANNEL_CLICKHOUSE set, those are
    used and only the rest is started.

    Parameters
    ----------
    data_dir
        Where everything is kept; also BACKCHANNEL_DATA_DIR. Data survives a restart.
    rebuild
        First have the worker count its states anew, as `backchannel rebuild` does: for once, after
        an upgrade that asks for it.
    """
    from rich.console import Console

    from backchannel_deploy.cli.rebuild import rebuild_states
    from backchannel_deploy.prepare import prepare
    from backchannel_deploy.recover import recover
    from backchannel_deploy.up import UpSettings, run_up

    settings = UpSettings() if data_dir is None else UpSettings(data_dir=data_dir)
    console = Console()
    roles = roles_for(settings, console)

    async def prepared(kafka: str, clickhouse: str) -> None:
        await prepare(
            kafka,
            clickhouse,
            partitions=settings.new_partitions,
            at_least=settings.partitions or 0,
        )
        if rebuild:
            console.print(f"· {await rebuild_states(kafka)}", highlight=False, soft_wrap=True)

    return run_up(settings, prepared, console, recover=recover, roles=roles)


def roles_for(settings: "UpSettings", console: "Console") -> tuple["Role", ...]:
    """Returns what to start: a notifier only where it has somebody to tell."""
    from backchannel_deploy.cli.settings import checked
    from backchannel_deploy.up.roles import NOTIFIER, ROLES
    from backchannel_sinks.notifier.settings import NotifierSettings

    with checked():  # at once, and not again and again in the notifier's log
        plan = NotifierSettings(kafka="", notifier_file=settings.notifier_file).plan()
    if plan.target:
        return (*ROLES, NOTIFIER)
    told = (
        "Nobody is told of alerts: BACKCHANNEL_NOTIFIER_FILE names no target. What stands in it: "
        "backchannel notifier --help"
    )
    console.print(f"· {told}", style="dim", highlight=False, soft_wrap=True)
    return ROLES
