"""`backchannel up`: the whole stack on this machine."""

from pathlib import Path

__all__ = ["up"]


def up(*, data_dir: Path | None = None) -> int:
    """Start the whole stack on this machine: Kafka, ClickHouse, processors, sink. Ctrl-C stops it.

    What dies is started again. With BACKCHANNEL_KAFKA or BACKCHANNEL_CLICKHOUSE set, those are
    used and only the rest is started.

    Parameters
    ----------
    data_dir
        Where everything is kept; also BACKCHANNEL_DATA_DIR. Data survives a restart.
    """
    from rich.console import Console

    from backchannel_deploy.prepare import prepare
    from backchannel_deploy.up import UpSettings, run_up

    settings = UpSettings() if data_dir is None else UpSettings(data_dir=data_dir)
    return run_up(settings, prepare, Console())
