"""What ``up`` shows in the terminal."""

import sys
from types import TracebackType
from typing import Self

import structlog
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from backchannel_deploy.broker import FetchProgress
from backchannel_deploy.up.running import RunningUp


class ConsoleProgress:
    """One line for each phase; a bar while the broker's jars are downloaded.

    A context manager: the bar is taken away at the end, also after a failure.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} files"),
            TextColumn("{task.fields[megabytes]:.1f} MB"),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop_bar()

    def phase(self, text: str) -> None:
        """Print the phase that begins."""
        self._stop_bar()
        self._console.print(f"[dim]·[/dim] {escape(text)}", highlight=False)

    def note(self, text: str) -> None:
        """Print what is worth knowing."""
        self._console.print(f"[yellow]![/yellow] {escape(text)}", highlight=False)

    def fetched(self, fetched: FetchProgress) -> None:
        """Move the bar."""
        if self._task is None:
            self._task = self._bar.add_task("  Fetching it (once)", total=None, megabytes=0.0)
            self._bar.start()
        self._bar.update(
            self._task,
            completed=fetched.jars_done,
            total=fetched.jars_total,
            megabytes=fetched.bytes_done / 1e6,
        )

    def _stop_bar(self) -> None:
        if self._task is not None:
            self._bar.stop()


def print_addresses(console: Console, running: RunningUp) -> None:
    """Say where everything is, and what to try first."""
    lines = (
        "",
        "[bold green]backchannel is up.[/bold green] Ctrl-C stops it.",
        f"  Kafka       {escape(running.kafka)}",
        f"  ClickHouse  {escape(running.clickhouse_shown)}",
        *(
            f"  {'Metrics' if number == 0 else '':<11} {url}/metrics ({name})"
            for number, (name, url) in enumerate(running.probes.items())
        ),
        f"  Data, logs  {escape(str(running.data_dir))}",
        "",
        "  Try, in another terminal:",
        f"  [dim]Python[/dim]  {escape(_PYTHON.format(kafka=running.kafka))}",
        f"  [dim]SQL[/dim]     {escape(_SQL)}",
        "",
    )
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def configure_logging() -> None:
    """Log to standard error: for people on a terminal, as key=value elsewhere."""
    on_terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer()
            if on_terminal
            else structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


_PYTHON = (
    'python -c "import backchannel as b;'
    " p = b.Producer('{kafka}', service='hello');"
    " p.track(b.events.Interaction(model='m'));"
    " print(p.close_sync(), 'undelivered')\""
)
_SQL = 'backchannel sql "SELECT ts, service, model FROM events ORDER BY ts DESC LIMIT 5"'
