"""``make faults-stream`` and ``make faults-sink``: has everything go wrong, and prints a table.

``FAULTS_ARGS="--full --seed 7 --only killed"`` for more of it, other luck, or one fault alone.
"""

import argparse
import asyncio
import logging
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from faults import sink, stream
from faults.result import HEADING, Result
from support.broker import BrokerProcess
from support.cluster import BrokerCluster
from support.endpoint import EndpointProcess
from support.sink_process import sinks_in
from support.worker_process import workers_in

TRACES = 10_000


def main() -> int:
    parser = argparse.ArgumentParser(prog="make faults-stream, make faults-sink")
    parser.add_argument("what", choices=("stream", "sink"))
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(2)))
    parser.add_argument("--full", action="store_true", help="each fault many times")
    parser.add_argument("--times", type=int, help="each fault so many times")
    parser.add_argument("--only", default="", help="a part of the fault's name")
    given = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        # All that was started and mounted is ended and taken away, also in the background.
        signal.signal(number, signal.default_int_handler)
    logging.disable(logging.ERROR)  # clients tell of brokers that are away, and they are often
    print(f"{given.what}, seed {given.seed}\n\n{HEADING}", flush=True)
    faults = stream.FAULTS if given.what == "stream" else sink.FAULTS
    is_exact = True
    for fault, few, many in faults:
        times = given.times or (many if given.full else few)
        if times == 0 or given.only not in fault.name:
            continue
        result = _under_fault(fault, times, given.seed)
        print(result or f"{fault.name:<44} needs root, to mount a small disk", flush=True)
        is_exact &= result is None or result.is_exact
    if given.what == "sink" and given.full and not given.only:
        is_exact &= _holds_in_the_model()
    return 0 if is_exact else 1


def _holds_in_the_model() -> bool:
    """Kills the sink between any two steps, in a model of Kafka and ClickHouse."""
    print(f"\nthe protocol in {TRACES:,} traces of its model", flush=True)
    tests = Path(__file__).parents[1] / "property" / "test_sink_protocol.py"
    command = [sys.executable, "-m", "pytest", "-q", str(tests)]
    environment = {**os.environ, "BACKCHANNEL_TRACES": str(TRACES)}
    return subprocess.run(command, check=False, env=environment).returncode == 0


def _under_fault(
    fault: stream.StreamFault | sink.SinkFault, times: int, seed: int
) -> Result | None:
    """Runs one fault in a folder and with a broker of its own; ends all that was started."""
    with tempfile.TemporaryDirectory(prefix="backchannel-faults-") as name, ExitStack() as ending:
        folder = Path(name)
        broker = BrokerCluster(folder) if fault.needs_cluster else BrokerProcess(folder / "kafka")
        ending.callback(broker.kill)
        if isinstance(fault, stream.StreamFault):
            broker.start()
            new_worker = ending.enter_context(workers_in(folder))
            result, _ = asyncio.run(stream.under_fault(fault, times, seed, broker, new_worker))
            return result
        endpoint = EndpointProcess(folder / "clickhouse")
        if fault.needs_small_disk:
            if os.getuid() != 0:
                return None
            ending.enter_context(sink.small_disk(endpoint.data_dir))
        ending.callback(endpoint.kill)
        broker.start()
        endpoint.start()
        new_sink = ending.enter_context(sinks_in(folder))
        return asyncio.run(sink.under_fault(fault, times, seed, broker, endpoint, new_sink))


if __name__ == "__main__":
    sys.exit(main())
