"""``make soak``: an hour by default; ``SOAK_ARGS="--seconds 600 --seed 7"`` for another one."""

import argparse
import logging
import os
import sys
import tempfile
from pathlib import Path

from soak.run import Plan, Sample, soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak")
    parser.add_argument("--seconds", type=float, default=3_600)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(2)))
    parser.add_argument("--events-per-s", type=int, default=500)
    given = parser.parse_args()
    logging.disable(logging.WARNING)  # two lines for each outage, and they are many
    print(f"{given.seconds:g} s, {given.events_per_s} events/s, seed {given.seed}\n")
    print(f"{'at':>7}  {'after':<11}{'MB':>6}{'blocks':>10}{'threads':>9}{'files':>7}", end="")
    print(f"{'acked':>11}{'held':>7}{'dropped':>9}{'reconnects':>12}")
    with tempfile.TemporaryDirectory(prefix="backchannel-soak-") as folder:
        plan = Plan(given.seconds, given.seed, given.events_per_s)
        report = soak(plan, Path(folder), tell=_print)
    print(f"\n{report.stats.offered:,} offered, {report.stats.acked:,} acknowledged, ", end="")
    print(f"{report.stored:,} different ones stored, dropped {dict(report.stats.dropped)}")
    print(f"slowest track(): {report.slowest_track_ms:.1f} ms")
    for fault in report.faults:
        print(f"FAULT: {fault}")
    return 1 if report.faults else 0


def _print(sample: Sample) -> None:
    stats = sample.stats
    print(f"{sample.at_s:>6.0f}s  {sample.after:<11}{sample.rss_bytes / 2**20:>6.1f}", end="")
    print(
        f"{sample.blocks:>10,}{sample.threads:>9}{sample.files:>7}{stats.acked:>11,}{stats.held:>7,}",
        end="",
    )
    print(f"{sum(stats.dropped.values()):>9,}{stats.reconnects:>12,}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
