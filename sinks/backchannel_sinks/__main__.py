"""``python -m backchannel_sinks``: the sink as a process, with settings from the environment."""

from backchannel_sinks.run import sink_main
from backchannel_sinks.settings import SinkSettings

if __name__ == "__main__":
    sink_main(SinkSettings())  # type: ignore[call-arg]  # from the environment
