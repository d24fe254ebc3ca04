"""``make faults-stream`` and ``make faults-sink``: has everything go wrong, and prints a table.

``FAULTS_ARGS="--full --seed 7 --only killed"`` for more of it, other luck, or one fault alone.
"""

import argparse
import asyncio
import logging
import os
import sys
import tempfile
from contextlib import ExitStack
from itertools import count
from pathlib import Path

from faults import sink, stream
from faults.result import HEADING, Result
from support.broker import BrokerProcess
from support.endpoint import ClickHouse, EndpointProcess
from support.sink_process import SinkProcess
from support.worker_process import WorkerProcess


def main() -> int:
    parser = argparse.ArgumentParser(prog="make faults-stream, make faults-sink")
    parser.add_argument("what", choices=("stream", "sink"))
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(2)))
    parser.add_argument("--full", action="store_true", help="each fault many times")
    parser.add_argument("--times", type=int, help="each fault so many times")
    parser.add_argument("--only", default="", help="a part of the fault's name")
    given = parser.parse_args()
    logging.disable(logging.ERROR)  # clients tell of brokers that are away, and they are often
    print(f"{given.what}, seed {given.seed}\n\n{HEADING}", flush=True)
    faults = stream.FAULTS if given.what == "stream" else sink.FAULTS
    chosen = [each for each in faults if given.only in each[0].name]
    is_exact = True
    for fault, few, many in chosen:
        times = given.times or (many if given.full else few)
        result = _under_fault(fault, times, given.seed)
        print(result, flush=True)
        is_exact &= result.is_exact
    return 0 if is_exact else 1


def _under_fault(fault: stream.StreamFault | sink.SinkFault, times: int, seed: int) -> Result:
    """Runs one fault in a folder and with a broker of its own; ends all that was started."""
    with tempfile.TemporaryDirectory(prefix="backchannel-faults-") as name, ExitStack() as ending:
        folder, numbers = Path(name), count()
        broker = BrokerProcess(folder / "kafka")
        ending.callback(broker.kill)
        broker.start()

        def new_worker(bootstrap: str, **settings: str) -> WorkerProcess:
            environment = {f"BACKCHANNEL_{key.upper()}": it for key, it in settings.items()}
            worker = WorkerProcess(bootstrap, folder / f"{next(numbers)}.log", environment)
            ending.callback(worker.kill)
            return worker

        def new_sink(bootstrap: str, clickhouse: ClickHouse, **settings: str) -> SinkProcess:
            process = SinkProcess(
                bootstrap, clickhouse, folder / f"{next(numbers)}.log", **settings
            )
            ending.callback(process.kill)
            return process

        if isinstance(fault, stream.StreamFault):
            result, _ = asyncio.run(stream.under_fault(fault, times, seed, broker, new_worker))
            return result
        endpoint = EndpointProcess(folder / "clickhouse")
        ending.callback(endpoint.kill)
        endpoint.start()
        return asyncio.run(sink.under_fault(fault, times, seed, broker, endpoint, new_sink))


if __name__ == "__main__":
    sys.exit(main())
