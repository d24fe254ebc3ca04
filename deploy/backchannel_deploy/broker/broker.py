"""One Kafka broker on this machine: its settings, its command line, and when it is ready.

KRaft mode: broker and controller in one process, loopback only, all data below one folder. Nothing
here starts a process except the one-time format; whoever runs the broker (the supervisor, a test)
takes the command line from `run_command` and watches the process.
"""

import base64
import os
import subprocess
import uuid
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from backchannel_deploy.broker.errors import FormatError

FORMAT_TIMEOUT_S = 60.0
MESSAGE_BYTES_MAX = 10 * 1024 * 1024  # dead letters are 8 MB plus headers; topics set less
YEAR_MIN = 365 * 24 * 60

# Measured on two cores with a Java 25: the first compiler alone starts the broker in 1.8 s of 2.2 s
# CPU and 210 MB, with the second one it is 2.3 s, 3.8 s and 235 MB. The collectors make no
# difference at rest; the serial one has no threads of its own that would compete with the roles.
JVM_FLAGS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true")

# Else a JVM cannot open a path with letters beyond ASCII where the locale is C, as in containers.
JVM_ENVIRONMENT = {"LC_ALL": "C.UTF-8"}


@dataclass(frozen=True, slots=True)
class BrokerConfig:
    """Where the broker keeps its data, where it listens, and how much memory it may use."""

    data_dir: Path
    port: int
    controller_port: int
    host: str = "127.0.0.1"
    heap_mb: int = 512

    @property
    def bootstrap(self) -> str:
        """What Kafka clients connect to."""
        return f"{self.host}:{self.port}"

    @property
    def topics_dir(self) -> Path:
        """Where Kafka keeps the topics and its own metadata."""
        return self.data_dir / "topics"

    @property
    def properties_path(self) -> Path:
        return self.data_dir / "server.properties"


def server_properties(config: BrokerConfig) -> str:
    """The text of ``server.properties``."""
    settings: dict[str, object] = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{config.host}:{config.controller_port}",
        "listeners": (
            f"PLAINTEXT://{config.bootstrap},CONTROLLER://{config.host}:{config.controller_port}"
        ),
        "advertised.listeners": f"PLAINTEXT://{config.bootstrap}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": config.topics_dir,
        # Topics are created by an explicit step, with the settings that the contract asks for.
        "auto.create.topics.enable": "false",
        "num.partitions": 1,
        "default.replication.factor": 1,
        # A lone consumer need not wait for others to join its group.
        "group.initial.rebalance.delay.ms": 0,
        # Kafka forgets an empty group's offsets after 7 days: after a holiday the sink would start
        # again at the beginning and every row would be there twice.
        "offsets.retention.minutes": YEAR_MIN,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 8,  # 50 by default: as many logs to open at every start
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        # After a kill the new process is refused until the session of the old one is over: 9 s by
        # default.
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 1000,
        # Two empty metadata records a second are for followers, and there are none.
        "metadata.max.idle.interval.ms": 0,
        "message.max.bytes": MESSAGE_BYTES_MAX,
        "replica.fetch.max.bytes": MESSAGE_BYTES_MAX,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,  # 128 MB of heap by default
    }
    return "".join(f"{name}={_escaped(str(value))}\n" for name, value in settings.items())


def prepare(config: BrokerConfig, java: Path, jars: Path) -> None:
    """Write the settings, and format the data directory if it is new.

    Blocks about a second the first time. Raises `FormatError`.
    """
    if "," in str(config.topics_dir):  # it separates folders in Kafka's settings
        raise FormatError(f"Kafka cannot use a folder with a comma in its path: {config.data_dir}")
    for folder in (config.data_dir, config.topics_dir):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    config.properties_path.write_text(server_properties(config), encoding="utf-8")
    # Kafka writes this file last, so a format that was cut short is simply done again.
    if (config.topics_dir / "meta.properties").exists():
        return
    try:
        subprocess.run(
            _format_command(config, java, jars),
            check=True,
            capture_output=True,
            text=True,
            timeout=FORMAT_TIMEOUT_S,
            env={**os.environ, **JVM_ENVIRONMENT},
        )
    except subprocess.CalledProcessError as error:
        said = f"{error.stdout}{error.stderr}".strip()
        raise FormatError(f"Kafka could not prepare {config.topics_dir}:\n{said}") from error
    except subprocess.TimeoutExpired as error:
        raise FormatError(
            f"Kafka did not prepare {config.topics_dir} within {FORMAT_TIMEOUT_S:g} seconds."
        ) from error


def run_command(config: BrokerConfig, java: Path, jars: Path) -> list[str]:
    """The command line of the broker.

    It runs in the foreground, logs to standard output, and closes its data properly on SIGTERM.
    It wants `JVM_ENVIRONMENT` in its environment.
    """
    with resources.as_file(resources.files(__package__) / "log4j2.properties") as log4j2:
        return [
            str(java),
            f"-Xmx{config.heap_mb}m",
            *JVM_FLAGS,
            f"-Dlog4j2.configurationFile={log4j2}",
            "-cp",
            _class_path(jars),
            "kafka.Kafka",
            str(config.properties_path),
        ]


def _format_command(config: BrokerConfig, java: Path, jars: Path) -> list[str]:
    return [
        str(java),
        "-Xmx128m",
        *JVM_FLAGS,
        "-cp",
        _class_path(jars),
        "kafka.tools.StorageTool",
        "format",
        "--ignore-formatted",
        "--config",
        str(config.properties_path),
        # The form of Kafka's own random ids: 16 bytes, base64 for URLs, no padding.
        "--cluster-id=" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("="),
    ]


def _escaped(value: str) -> str:
    """``value`` as Java's properties files want it: ASCII, the rest as escapes."""
    return "".join(
        character if character.isascii() and character != "\\" else _java_escape(character)
        for character in value
    )


def _java_escape(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


def _class_path(jars: Path) -> str:
    return os.pathsep.join(str(jar) for jar in sorted(jars.glob("*.jar")))
