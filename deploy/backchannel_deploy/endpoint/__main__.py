"""`python -m backchannel_deploy.endpoint --data-dir DIR --port N`: runs the endpoint."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from backchannel_deploy.endpoint.engine import Engine
from backchannel_deploy.endpoint.errors import EndpointError
from backchannel_deploy.endpoint.layout import open_layout
from backchannel_deploy.endpoint.request import Credentials
from backchannel_deploy.endpoint.server import Limits, Server
from backchannel_deploy.up.parent import exit_when_parent_dies
from backchannel_sinks.clickhouse.access import READERS

__all__ = ["Options", "main"]

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_STOP_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Options:
    """All that can be said at start."""

    data_dir: Path
    port: int
    host: str
    users: Mapping[Credentials, str]
    database: str
    limits: Limits
    stop_timeout_s: float

    @classmethod
    def read(cls, arguments: list[str], environment: Mapping[str, str]) -> "Options":
        """From the command line; user and password only from the environment."""
        parser = argparse.ArgumentParser(
            prog="python -m backchannel_deploy.endpoint",
            description="An embedded ClickHouse behind ClickHouse's HTTP interface.",
            epilog="BACKCHANNEL_ENDPOINT_USER and BACKCHANNEL_ENDPOINT_PASSWORD set the user who"
            " may do everything; BACKCHANNEL_ENDPOINT_ANALYST_PASSWORD, …_ONCALL_… and"
            " …_FINANCE_… let users of these names read the database of BACKCHANNEL_DATABASE.",
        )
        parser.add_argument("--data-dir", type=Path, required=True)
        parser.add_argument("--port", type=int, required=True, help="0: one that is free")
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--running-max", type=int, default=Limits().running_max)
        parser.add_argument("--waiting-max", type=int, default=Limits().waiting_max)
        parser.add_argument("--stop-timeout-s", type=float, default=_STOP_TIMEOUT_S)
        parsed = parser.parse_args(arguments)
        users = {
            Credentials(
                environment.get("BACKCHANNEL_ENDPOINT_USER") or "default",
                environment.get("BACKCHANNEL_ENDPOINT_PASSWORD", ""),
            ): ""
        }
        for role in READERS:
            if password := environment.get(f"BACKCHANNEL_ENDPOINT_{role.upper()}_PASSWORD"):
                users[Credentials(role, password)] = role
        return cls(
            parsed.data_dir,
            parsed.port,
            parsed.host,
            users,
            environment.get("BACKCHANNEL_DATABASE") or "backchannel",
            Limits(running_max=parsed.running_max, waiting_max=parsed.waiting_max),
            parsed.stop_timeout_s,
        )


def main(arguments: list[str] | None = None) -> int:
    """Runs until SIGTERM or SIGINT; returns the exit code."""
    options = Options.read(sys.argv[1:] if arguments is None else arguments, os.environ)
    _configure_log()
    exit_when_parent_dies()
    try:
        asyncio.run(_serve(options))
    except EndpointError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


async def _serve(options: Options) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    layout = open_layout(options.data_dir, options.database)
    with Engine(layout) as engine:
        server = Server(engine, layout.spool, options.users, options.limits)
        try:
            port = await server.listen(options.host, options.port)
        except OSError as error:
            raise EndpointError(
                f"cannot listen on {options.host}:{options.port}: {error.strerror}"
            ) from None
        # For whoever started this with port 0.
        print(f"listening on http://{options.host}:{port}", flush=True)
        log.info("endpoint_started", port=port, version=engine.version)
        await stop.wait()
        if not await server.close(options.stop_timeout_s):
            # A statement did not end in time. Its thread cannot be stopped and would hold up the
            # interpreter's exit; on disk this is a kill -9, which the engine survives.
            log.warning("stopped_with_statements_running")
            os._exit(0)
    log.info("endpoint_stopped")


def _configure_log() -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.dev.ConsoleRenderer(colors=False)
            if sys.stderr.isatty()
            else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


if __name__ == "__main__":
    sys.exit(main())
