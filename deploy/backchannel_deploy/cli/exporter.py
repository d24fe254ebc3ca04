"""`backchannel exporter`: windows for Prometheus as a process."""

__all__ = ["exporter"]


def exporter() -> None:
    """Tell Prometheus what is in the windows of chat.metrics. SIGTERM or Ctrl-C ends it.

    Listens on BACKCHANNEL_EXPORTER_PORT (19195). Kafka is the one of BACKCHANNEL_KAFKA, else of the
    `backchannel up` that runs here. One of them is enough: it reads all partitions.
    """
    from backchannel_deploy.cli.settings import checked
    from backchannel_deploy.connect import find_kafka
    from backchannel_deploy.up import exit_when_parent_dies
    from backchannel_sinks.prometheus.exporter_kafka import exporter_main
    from backchannel_sinks.prometheus.settings import ExporterSettings

    exit_when_parent_dies()
    with checked():
        settings = ExporterSettings(kafka=find_kafka())
    exporter_main(settings)
