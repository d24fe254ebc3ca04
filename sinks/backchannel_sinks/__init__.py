"""The sinks: from topics into ClickHouse, each record exactly once."""

from backchannel_sinks.run import configure_logs, run_sink, sink_main
from backchannel_sinks.settings import SinkSettings

__all__ = ["SinkSettings", "configure_logs", "run_sink", "sink_main"]
