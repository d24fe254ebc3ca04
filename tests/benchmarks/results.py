"""What a benchmark reports, and how it is shown and kept."""

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

__all__ = ["OURS", "Result", "machine", "percentile", "show", "write"]


OURS = "backchannel"


@dataclass(frozen=True, slots=True)
class Result:
    """One figure: which benchmark, of whom, what, how much."""

    bench: str
    subject: str
    metric: str
    value: float
    unit: str


def percentile(values: Sequence[float], permille: int) -> float:
    """The smallest value with at least that share of all values at or below it."""
    ordered = sorted(values)
    return ordered[max(1, -(-permille * len(ordered) // 1000)) - 1]


def machine() -> dict[str, str | int | float]:
    """What the figures were measured on."""
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count() or 0,
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "commit": _commit(),
    }


def show(results: Sequence[Result], console: Console) -> None:
    """Prints the table, with the machine above it."""
    facts = machine()
    console.print(f"\n{facts['cpu']}, {facts['cores']} cores, Python {facts['python']}")
    table = Table(
        "bench", "subject", "metric", "value", "unit", "to ours", box=None, pad_edge=False
    )
    table.columns[3].justify = table.columns[5].justify = "right"
    ours = {(each.bench, each.metric): each.value for each in results if each.subject == OURS}
    for each in results:
        value = f"{each.value:,.0f}" if each.value >= 1000 else f"{each.value:,.2f}"
        beside = ours.get((each.bench, each.metric), 0.0)
        ratio = f"{each.value / beside:,.2f}" if beside and each.subject != OURS else ""
        table.add_row(each.bench, each.subject, each.metric, value, each.unit, ratio)
    console.print(table)


def write(results: Sequence[Result], path: Path) -> None:
    """Writes `{"machine": …, "results": […]}`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"machine": machine(), "results": [asdict(result) for result in results]}
    path.write_text(json.dumps(document, indent=1) + "\n", "utf-8")


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"
