"""`backchannel worker`: the stream processors as a process."""

from pathlib import Path

__all__ = ["worker"]


def worker(*, rules: Path | None = None) -> None:
    """Run the stream processors: windows, merge, alerts. SIGTERM or Ctrl-C ends it.

    Kafka is the one of BACKCHANNEL_KAFKA, else of the `backchannel up` that runs here.

    Parameters
    ----------
    rules
        The file with the alert rules; also BACKCHANNEL_RULES. Without it the shipped ones.
    """
    from backchannel_deploy.cli.settings import checked
    from backchannel_deploy.connect import find_kafka
    from backchannel_deploy.up import exit_when_parent_dies
    from backchannel_processors.settings import WorkerSettings
    from backchannel_processors.worker import run_worker

    exit_when_parent_dies()
    with checked():
        settings = WorkerSettings(kafka=find_kafka())
        if rules is not None:
            settings = WorkerSettings(kafka=settings.kafka, rules=rules)
    run_worker(settings)
