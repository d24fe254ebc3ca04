"""`up` as a process of its own: the real supervisor and broker, with dummies for the roles."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from pydantic import SecretStr

from backchannel_deploy.up import RunningUp, Up, UpSettings, find_running
from backchannel_deploy.up.ports import choose_ports
from support.broker import cache_with_jars, free_ports

pytestmark = pytest.mark.integration

UP = """
import json, sys
from rich.console import Console
from backchannel_deploy.up import Role, UpSettings, run_up

async def prepare(kafka, clickhouse):
    print("prepared", kafka, flush=True)

options = json.loads(sys.argv[1])
roles = tuple(
    Role(name, (sys.executable, "-c", code), stop_timeout_s=options["stop_timeout_s"])
    for name, code in options["roles"].items()
)
sys.exit(run_up(UpSettings(**options["settings"]), prepare, Console(width=200), roles=roles))
"""
READY = "print('ready', flush=True)"
SLEEP = f"import time; {READY}; time.sleep(600)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"
DIES = "import sys; sys.exit('no reason to live')"
TELLS = f"import os; print(dict(os.environ), flush=True); {SLEEP}"
# Nothing listens there. Without a broker and ClickHouse of its own, a stack is up at once.
ELSEWHERE: dict[str, str | int] = {
    "kafka": "127.0.0.1:1",
    "clickhouse": "http://ada:secret@127.0.0.1:1",
}
WITH_BROKER: dict[str, str | int] = {"clickhouse": "http://127.0.0.1:1"}


class Stack:
    """One `up` on a data directory of its own."""

    def __init__(self, folder: Path) -> None:
        self.data_dir = folder / "data"
        self.cache_dir = folder / "cache"
        self.output = folder / "output.log"
        self._started: list[subprocess.Popen[bytes]] = []

    def launch(
        self,
        roles: dict[str, str],
        settings: Mapping[str, str | int],
        stop_timeout_s: float = 1.0,
    ) -> subprocess.Popen[bytes]:
        """Start `up` and do not wait for it."""
        options = {
            "roles": roles,
            "stop_timeout_s": stop_timeout_s,
            "settings": {
                "data_dir": str(self.data_dir),
                "cache_dir": str(self.cache_dir),
                # Left to the system: the usual ones may be somebody else's.
                **dict.fromkeys(("kafka_port", "kafka_controller_port", "clickhouse_port"), 0),
                **settings,
            },
        }
        with self.output.open("ab") as output:
            up = subprocess.Popen(
                [sys.executable, "-c", UP, json.dumps(options)],
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._started.append(up)
        return up

    def start(
        self,
        roles: dict[str, str],
        settings: Mapping[str, str | int],
        stop_timeout_s: float = 1.0,
    ) -> subprocess.Popen[bytes]:
        """Start `up` and wait until it is ready, and its roles have said so."""
        up = self.launch(roles, settings, stop_timeout_s)

        def ready() -> bool:
            assert up.poll() is None, self.text()
            running = find_running(self.data_dir)
            return running is not None and running.pid == up.pid

        until(ready)
        for name in (name for name, code in roles.items() if READY in code):
            self.wait_for_line(name, "ready")
        return up

    @property
    def running(self) -> RunningUp:
        running = find_running(self.data_dir)
        assert running is not None
        return running

    def pid_of(self, name: str) -> int | None:
        """The id of the process that has that name now."""
        return next((each.pid for each in self.running.processes if each.name == name), None)

    def wait_for_line(self, name: str, text: str) -> None:
        """Wait until the process of that name has printed ``text``."""
        log = self.data_dir / "logs" / f"{name}.log"
        until(lambda: log.exists() and text in log.read_text(encoding="utf-8"))

    def text(self) -> str:
        """What `up` has printed."""
        return self.output.read_text(encoding="utf-8")

    def end(self) -> None:
        """Leave nothing behind, whatever the test did."""
        remembered = self.data_dir / "processes.json"
        for up in self._started:
            up.kill()
            up.wait()
        if remembered.exists():
            for each in json.loads(remembered.read_text())["processes"]:
                if is_running(each["pid"]):
                    os.kill(each["pid"], signal.SIGKILL)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    cache_with_jars(tmp_path / "cache")
    stack = Stack(tmp_path)
    try:
        yield stack
    finally:
        stack.end()


def until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def is_running(pid: int | None) -> bool:
    if pid is None or not psutil.pid_exists(pid):
        return False
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def pids(running: RunningUp) -> list[int]:
    return [each.pid for each in running.processes]


def topics(bootstrap: str, *new: str) -> set[str]:
    """Create topics, and return the names of all there are."""

    async def ask() -> set[str]:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(name, 1, 1) for name in new])
            return set(await admin.list_topics())
        finally:
            await admin.close()

    return asyncio.run(ask())


def test_without_settings_kafka_and_clickhouse_are_both_its_own(stack: Stack) -> None:
    stack.start({"sleeper": SLEEP}, {})
    assert [each.name for each in stack.running.processes] == ["broker", "clickhouse", "sleeper"]
    assert topics(stack.running.kafka, "works") == {"works"}
    with urlopen(f"{stack.running.clickhouse}/?query=SELECT%2042", timeout=30) as answer:
        assert answer.read() == b"42\n"


def test_data_and_ports_survive_a_restart(stack: Stack) -> None:
    first = stack.start({"sleeper": SLEEP}, WITH_BROKER)
    kafka, started = stack.running.kafka, pids(stack.running)
    assert topics(kafka, "kept") == {"kept"}
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == 0
    assert not any(map(is_running, started))
    stack.start({"sleeper": SLEEP}, WITH_BROKER)
    assert stack.running.kafka == kafka
    assert topics(kafka) == {"kept"}


def test_another_port_is_used_and_named_when_the_usual_one_is_taken(stack: Stack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        taken = somebody.getsockname()[1]
        stack.start({}, {**WITH_BROKER, "kafka_port": taken})
        assert f"Port {taken} (kafka) is taken" in stack.text()
        assert topics(stack.running.kafka, "works") == {"works"}


async def test_a_port_that_is_taken_in_between_costs_only_time(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(_kafka: str, _clickhouse: str) -> None:
        pass

    with socket.create_server(("127.0.0.1", 0)) as somebody:
        taken = somebody.getsockname()[1]
        too_late = [{"kafka": taken, "kafka_controller": free_ports(1)[0]}]
        monkeypatch.setattr(
            "backchannel_deploy.up.up.choose_ports",
            lambda *wishes: too_late.pop() if too_late else choose_ports(*wishes),
        )
        settings = UpSettings(
            data_dir=stack.data_dir,
            cache_dir=stack.cache_dir,
            clickhouse=SecretStr(str(WITH_BROKER["clickhouse"])),
        )
        async with Up(settings, nothing, roles=()) as up:
            assert up.running.kafka != f"127.0.0.1:{taken}"


def test_a_killed_broker_comes_back_with_its_data(stack: Stack) -> None:
    stack.start({}, WITH_BROKER)
    before = stack.pid_of("broker")
    assert before is not None
    topics(stack.running.kafka, "kept")
    os.kill(before, signal.SIGKILL)
    until(lambda: stack.pid_of("broker") not in (None, before))
    until(lambda: accepts(stack.running.kafka))
    assert topics(stack.running.kafka) == {"kept"}


def test_the_broker_does_not_outlive_a_killed_supervisor(stack: Stack) -> None:
    up = stack.start({}, WITH_BROKER)
    broker = stack.pid_of("broker")
    assert is_running(broker)
    up.kill()
    until(lambda: not is_running(broker))


def test_a_killed_role_is_started_again(stack: Stack) -> None:
    stack.start({"sleeper": SLEEP}, ELSEWHERE)
    before = stack.pid_of("sleeper")
    assert before is not None
    os.kill(before, signal.SIGKILL)
    until(lambda: stack.pid_of("sleeper") not in (None, before))


def test_a_role_that_keeps_dying_is_reported_and_harms_no_other(stack: Stack) -> None:
    stack.start({"sleeper": SLEEP, "mayfly": DIES}, ELSEWHERE)
    until(lambda: stack.text().count("process_died process=mayfly") >= 2)
    assert "no reason to live" in stack.text()
    assert is_running(stack.pid_of("sleeper"))


def test_a_role_finds_its_surroundings_in_the_environment(stack: Stack) -> None:
    stack.start({"teller": TELLS}, ELSEWHERE)
    log = stack.data_dir / "logs" / "teller.log"
    assert f"'BACKCHANNEL_KAFKA': '{ELSEWHERE['kafka']}'" in log.read_text()
    assert f"'BACKCHANNEL_CLICKHOUSE': '{ELSEWHERE['clickhouse']}'" in log.read_text()
    assert f"'BACKCHANNEL_DATA_DIR': '{stack.data_dir}'" in log.read_text()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_everything_also_what_hangs(stack: Stack, how: signal.Signals) -> None:
    up = stack.start({"sleeper": SLEEP, "deaf": DEAF}, ELSEWHERE)
    started = pids(stack.running)
    assert len(started) == 2
    up.send_signal(how)
    assert up.wait(30) == 0
    assert not any(map(is_running, started))
    assert find_running(stack.data_dir) is None


def test_a_second_ctrl_c_ends_at_once_what_hangs(stack: Stack) -> None:
    up = stack.start({"deaf": DEAF}, ELSEWHERE, stop_timeout_s=300)
    started = pids(stack.running)
    up.send_signal(signal.SIGINT)
    until(lambda: "Stopping the deaf" in stack.text())
    up.send_signal(signal.SIGINT)
    assert up.wait(30) == 0
    assert not any(map(is_running, started))


def test_ctrl_c_while_it_starts_stops_what_has_started(stack: Stack) -> None:
    up = stack.launch({}, WITH_BROKER)
    remembered = stack.data_dir / "processes.json"
    until(remembered.exists)
    up.send_signal(signal.SIGINT)
    assert up.wait(60) == 0
    assert json.loads(remembered.read_text()) == {"processes": []}


def test_a_second_up_on_the_same_data_is_refused(stack: Stack) -> None:
    first = stack.start({"sleeper": SLEEP}, ELSEWHERE)
    second = stack.launch({"sleeper": SLEEP}, ELSEWHERE)
    assert second.wait(60) == 1
    assert f"already running here (pid {first.pid}, Kafka 127.0.0.1:1" in stack.text()
    assert "Traceback" not in stack.text()
    assert is_running(stack.pid_of("sleeper"))


def test_the_next_up_ends_what_a_killed_supervisor_left(stack: Stack) -> None:
    up = stack.start({"deaf": DEAF}, ELSEWHERE)
    leftover = stack.pid_of("deaf")
    up.kill()
    up.wait()
    assert is_running(leftover)
    stack.start({"sleeper": SLEEP}, ELSEWHERE)
    assert not is_running(leftover)
    assert "leftover_ended" in stack.text()


def test_credentials_are_neither_printed_nor_logged(stack: Stack) -> None:
    up = stack.start({"sleeper": SLEEP}, ELSEWHERE)
    up.terminate()
    up.wait(30)
    assert "secret" not in stack.text()


def test_offline_with_an_empty_cache_is_one_sentence(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    (stack.cache_dir / "broker").unlink()
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")  # nothing gets through there
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    up = stack.launch({}, WITH_BROKER)
    assert up.wait(120) == 1
    assert "Go online once" in stack.text()
    assert "Traceback" not in stack.text()


def accepts(bootstrap: str) -> bool:
    host, _, port = bootstrap.partition(":")
    with socket.socket() as client:
        return client.connect_ex((host, int(port))) == 0
