"""`backchannel sink`: from Kafka to ClickHouse as a process."""

__all__ = ["sink"]


def sink() -> None:
    """Run the sink: from Kafka to ClickHouse, exactly once. SIGTERM or Ctrl-C ends it.

    Both are those of BACKCHANNEL_KAFKA and BACKCHANNEL_CLICKHOUSE, else of the `backchannel up`
    that runs here.
    """
    import os

    from backchannel_deploy.cli.settings import checked
    from backchannel_deploy.connect import CLICKHOUSE, KAFKA, find_clickhouse, find_kafka
    from backchannel_deploy.up import exit_when_parent_dies
    from backchannel_sinks.run import sink_main
    from backchannel_sinks.settings import SinkSettings

    exit_when_parent_dies()
    os.environ |= {KAFKA: find_kafka(), CLICKHOUSE: find_clickhouse()}
    with checked():
        settings = SinkSettings()  # type: ignore[call-arg]  # from the environment
    sink_main(settings)
