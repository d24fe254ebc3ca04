"""`make bench`: every benchmark in turn, or those named, e.g. `make bench BENCH_ARGS="track sink"`.

Each runs the real parts: a broker of its own, the embedded ClickHouse, roles as processes.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from rich.console import Console

from benchmarks import (
    alert_way,
    in_the_bot,
    in_the_client,
    in_the_sink,
    in_the_stream,
    recovery,
    whole,
)
from benchmarks.beside_peers import peer_table
from benchmarks.results import Result, show, write

BENCHES: dict[str, Callable[[Path], Iterable[Result]]] = {
    "track": in_the_bot.track,
    "interaction": in_the_bot.interaction,
    "import": in_the_bot.imports,
    "wrap": in_the_client.wrap,
    "produce": in_the_bot.produce,
    "windows": in_the_stream.windows,
    "recovery": recovery.recovery,
    "alert_way": alert_way.alert_way,
    "sink": in_the_sink.sink,
    "whole": whole.whole,
}
"""`track` also reports cpu and loop_delay, `sink` the size of a row,
`whole` reports idle_cpu; at each rate alert_delay, budget_delay, queryable_delay and cpu; query and
memory; all of one stack."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("bench", nargs="*", help=f"which ones: {', '.join(BENCHES)} (default: all)")
    parser.add_argument("--output", type=Path, default=Path("build/bench.json"))
    arguments = parser.parse_args()
    if unknown := set(arguments.bench) - set(BENCHES):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    console = Console()
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="backchannel-bench-") as folder:
        for name in arguments.bench or BENCHES:
            console.print(f"[dim]measuring {name} …")
            home = Path(folder) / name
            home.mkdir()
            results += BENCHES[name](home)
    show(results, console)
    write(results, arguments.output)
    beside = arguments.output.with_suffix(".md")
    beside.write_text(peer_table(results), "utf-8")
    console.print(f"\nwritten to {arguments.output}; the README's table of peers to {beside}")


if __name__ == "__main__":
    main()
