"""What each part of the stack is run with."""

import asyncio
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from zlib import crc32

import aiohttp

from backchannel_deploy.broker import JVM_ENVIRONMENT, BrokerConfig, run_command, wait_until_ready
from backchannel_deploy.up.data_dir import DataDir
from backchannel_deploy.up.listening import wait_until_listening
from backchannel_deploy.up.ports import LOOPBACK
from backchannel_deploy.up.process import ProcessSpec
from backchannel_deploy.up.roles import Role

READY_TIMEOUT_S = 60.0
ROLE_READY_TIMEOUT_S = 300.0  # a worker reads its whole state first
PING_POLL_S = 0.1
PING_TIMEOUT_S = 5.0


def broker_spec(config: BrokerConfig, java: Path, jars: Path, data_dir: DataDir) -> ProcessSpec:
    """The Kafka broker: ready when it answers a metadata request."""
    return ProcessSpec(
        name="broker",
        argv=tuple(run_command(config, java, jars)),
        log_path=data_dir.log_path("broker"),
        env=JVM_ENVIRONMENT,
        ready=lambda pid: _broker_ready(pid, config),
        ready_timeout_s=READY_TIMEOUT_S,
        stop_timeout_s=15.0,  # it closes every partition's log
    )


def clickhouse_spec(port: int, url: str, data_dir: DataDir) -> ProcessSpec:
    """The embedded ClickHouse: ready when it answers a ping."""
    return ProcessSpec(
        name="clickhouse",
        argv=(
            *(sys.executable, "-m", "backchannel_deploy.endpoint"),
            *("--data-dir", str(data_dir.clickhouse), "--port", str(port)),
        ),
        log_path=data_dir.log_path("clickhouse"),
        ready=lambda pid: _clickhouse_ready(pid, port, url),
        ready_timeout_s=READY_TIMEOUT_S,
        stop_timeout_s=15.0,  # statements that run may end
    )


def role_spec(
    role: Role, addresses: Mapping[str, str], data_dir: DataDir, port: int | None
) -> ProcessSpec:
    """A role: it finds ``addresses`` and the data directory in its environment.

    With a ``port`` it is ready when it says so there, which is when it has its partitions.
    """
    probed = {
        f"BACKCHANNEL_{role.name.upper()}_PORT": str(port),
        "BACKCHANNEL_PROBE_HOST": LOOPBACK,
    }
    return ProcessSpec(
        name=role.name,
        argv=role.argv,
        log_path=data_dir.log_path(role.name),
        env={
            **addresses,
            "BACKCHANNEL_DATA_DIR": str(data_dir.path),
            "BACKCHANNEL_SLOT": _slot(role, data_dir),
            **(probed if port is not None else {}),
        },
        ready=None if port is None else lambda pid: _role_ready(pid, port),
        ready_timeout_s=ROLE_READY_TIMEOUT_S,
        stop_timeout_s=role.stop_timeout_s,
    )


def _slot(role: Role, data_dir: DataDir) -> str:
    """A name in the consumer group that a role keeps over restarts, so that it gets its partitions
    back at once. Nobody else has it, also where several machines share a Kafka."""
    home = crc32(f"{platform.node()}:{data_dir.path}".encode())
    return f"up-{role.name}-{home:08x}"


async def _broker_ready(pid: int, config: BrokerConfig) -> None:
    await wait_until_listening(pid, config.port)
    await wait_until_ready(config.bootstrap, READY_TIMEOUT_S)


async def _clickhouse_ready(pid: int, port: int, url: str) -> None:
    await wait_until_listening(pid, port)
    await _until_it_says(f"{url}/ping", "Ok.\n")


async def _role_ready(pid: int, port: int) -> None:
    await wait_until_listening(pid, port)
    await _until_it_says(f"http://{LOOPBACK}:{port}/readyz", "ok\n")


async def _until_it_says(url: str, expected: str) -> None:
    timeout = aiohttp.ClientTimeout(total=PING_TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as client:
        while True:
            try:
                async with client.get(url) as answer:
                    if answer.status == 200 and await answer.text() == expected:
                        return
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(PING_POLL_S)
