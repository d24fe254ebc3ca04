"""The table of the README that shows what a bot pays, ours beside its peers."""

from collections.abc import Sequence

from benchmarks.results import OURS, Result

__all__ = ["peer_table"]

SUBJECTS = {
    OURS: "backchannel",
    "opentelemetry-sdk": "OpenTelemetry",
    "posthog": "PostHog",
    "langfuse": "Langfuse",
    "floor": "nothing at all",
}
ROWS = (
    ("an event told, p50 / p99", "track", ("p50", "p99"), "us"),
    ("a block around a turn, p50 / p99", "interaction", ("p50", "p99"), "us"),
    ("CPU of the process for each delivered event", "cpu", ("per_event",), "us"),
    ("of the events delivered", "cpu", ("delivered",), "percent"),
    ("delay of a timer in the bot's loop, p99", "loop_delay", ("p99",), "us"),
    ("a fresh interpreter that imports it", "import", ("p50",), "ms"),
)
UNITS = {"us": "µs", "ms": "ms", "percent": "%"}


def peer_table(results: Sequence[Result]) -> str:
    """Returns the table in Markdown; a figure that was not measured is a dash."""
    found = {(each.bench, each.subject, each.metric): each.value for each in results}
    lines = [
        f"| | {' | '.join(SUBJECTS.values())} |",
        f"|---|{'--:|' * len(SUBJECTS)}",
    ]
    for label, bench, metrics, unit in ROWS:
        cells = []
        for subject in SUBJECTS:
            values = [found.get((bench, subject, metric)) for metric in metrics]
            told = " / ".join(_told(value) for value in values if value is not None)
            cells.append(f"{told} {UNITS[unit]}" if told else "–")
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _told(value: float) -> str:
    """Two significant digits: a figure of one run on one machine has no more."""
    return f"{float(f'{value:.2g}'):,.10g}"
