"""A real Kafka broker for tests: one shared by the session, and private ones to be hurt.

``kafka`` is the shared broker: take topics and groups with names of your own (`unique`).
``private_kafka`` starts brokers of the test's own, with data below ``tmp_path``.
Every broker is ended by its process id when its fixture ends, and by the kernel when pytest dies.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from backchannel_deploy.broker import (
    JVM_ENVIRONMENT,
    BrokerConfig,
    BrokerNotReadyError,
    default_cache_dir,
    fetch_jars,
    find_java,
    prepare,
    run_command,
    wait_until_ready,
)
from backchannel_deploy.up.listening import wait_until_listening
from support.child import in_lasting_thread, start_child

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
START_ATTEMPTS = 3


class BrokerProcess:
    """One broker with a data directory and a port of its own.

    Methods block (start takes about 2 s, after a `kill` about 5): in a coroutine that must go on
    meanwhile call them through ``asyncio.to_thread``.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        advertised_port: int = 0,
        properties: Mapping[str, str] | None = None,
        config: BrokerConfig | None = None,
    ) -> None:
        self.data_dir = data_dir
        self.proxied_port = 0
        """Where a proxy connects to, if it is its port that is advertised."""
        self._advertised_port = advertised_port
        self._properties = dict(properties or {})
        self._config = config
        """With ports of its own choice, if none is given."""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """Where clients connect to; the same before and after a restart."""
        assert self._config is not None, "start the broker first"
        return self._config.bootstrap

    @property
    def pid(self) -> int:
        assert self._process is not None, "start the broker first"
        return self._process.pid

    def start(self) -> None:
        """Start it, on the same data and port as before, and wait until it answers."""
        assert self._process is None, "it runs already"
        if self._config is not None:
            self.launch()
            self.wait_until_ready()
            return
        for attempt in range(START_ATTEMPTS):
            port, controller_port, self.proxied_port = free_ports(3)
            self._config = BrokerConfig(self.data_dir, port, controller_port, heap_mb=256)
            try:
                self.launch()
                self.wait_until_ready()
            except BrokerNotReadyError:
                # Somebody else may have taken the port between our choice and the broker's start.
                self._config = None
                if attempt == START_ATTEMPTS - 1:
                    raise
                continue
            return

    def stop(self) -> None:
        """End it as an operator would (SIGTERM), or by force when that takes too long."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once (SIGKILL): nothing is closed, nothing is flushed."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)
        # Its threads stop one after the other; what is called next must find all of them frozen.
        os.waitpid(self.pid, os.WUNTRACED)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def log(self) -> str:
        """What the broker has logged."""
        return (self.data_dir / "broker.log").read_text(encoding="utf-8")

    def launch(self) -> None:
        """Start it, and do not wait: one of a cluster answers only once others run, too."""
        config = self._config
        assert config is not None
        java, jars = find_java(), fetch_jars(default_cache_dir())
        prepare(config, java, jars)
        with config.properties_path.open("a", encoding="utf-8") as file:
            # Of two lines for a setting the last one counts.
            for name, value in {**self._proxied(config), **self._properties}.items():
                file.write(f"{name}={value}\n")
        with (self.data_dir / "broker.log").open("ab") as output:
            self._process = start_child(
                run_command(config, java, jars),
                stdout=output,
                stderr=output,
                env={**os.environ, **JVM_ENVIRONMENT},
            )

    def wait_until_ready(self) -> None:
        """Wait until it answers; it is ended when it does not."""
        assert self._config is not None
        try:
            self._wait_until_ready(self._config)
        except BaseException:
            self.kill()
            raise

    def _proxied(self, config: BrokerConfig) -> dict[str, str]:
        """A listener more, whose clients are sent back to the proxy's port."""
        if not self._advertised_port:
            return {}
        host = config.host
        return {
            "listeners": f"PLAINTEXT://{config.bootstrap},PROXIED://{host}:{self.proxied_port},"
            f"CONTROLLER://{host}:{config.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{config.bootstrap},"
            f"PROXIED://{host}:{self._advertised_port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,"
            "CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
        }

    def _wait_until_ready(self, config: BrokerConfig) -> None:
        assert self._process is not None
        process = self._process

        async def answers() -> None:
            await wait_until_listening(process.pid, config.port)
            await wait_until_ready(config.bootstrap, READY_TIMEOUT_S)

        async def ready_or_dead() -> None:
            ready = asyncio.ensure_future(answers())
            while not ready.done():
                if process.poll() is not None:
                    ready.cancel()
                    raise BrokerNotReadyError(f"the broker ended: {self.log()[-2000:]}")
                await asyncio.wait([ready], timeout=0.1)
            ready.result()

        in_lasting_thread(lambda: asyncio.run(ready_or_dead()))

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        self._process.send_signal(signal.SIGCONT)  # a paused one notices SIGTERM only now
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at the moment, chosen by the system."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def unique(name: str) -> str:
    """A topic or group name that no other test uses."""
    return f"{name}-{uuid.uuid4().hex[:12]}"


def cache_with_jars(folder: Path) -> Path:
    """A cache directory of the test's own, which has the machine's jars already.

    Take it for every `up`: the one in the user's cache would be found by commands that the user
    calls meanwhile.
    """
    fetch_jars(default_cache_dir())
    folder.mkdir()
    (folder / "broker").symlink_to(default_cache_dir() / "broker")
    return folder


@pytest.fixture(scope="session")
def kafka() -> Iterator[BrokerProcess]:
    """The broker that all tests share. Do not stop it: take `private_kafka` for that."""
    data_dir = Path(tempfile.mkdtemp(prefix="backchannel-kafka-"))
    broker = BrokerProcess(data_dir)
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()
        shutil.rmtree(data_dir, ignore_errors=True)


@pytest.fixture
def private_kafka(tmp_path: Path) -> Iterator[Callable[[], BrokerProcess]]:
    """Starts a broker that belongs to the test alone; call it once for each broker."""
    brokers: list[BrokerProcess] = []

    def start() -> BrokerProcess:
        broker = BrokerProcess(tmp_path / f"kafka-{len(brokers)}")
        brokers.append(broker)
        broker.start()
        return broker

    try:
        yield start
    finally:
        for broker in brokers:
            broker.kill()
