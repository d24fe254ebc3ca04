"""Three Kafka brokers of the same jars: every record lies on all of them, two are enough."""

import re
import shutil
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path

from backchannel_deploy.broker import (
    BrokerConfig,
    default_cache_dir,
    fetch_jars,
    find_java,
    prepare,
)
from support.broker import BrokerProcess, free_ports

__all__ = ["BrokerCluster"]

_BROKERS = 3


class BrokerCluster:
    """Brokers that are controllers, too; replication 3, and what two have is acknowledged.

    Hurt single ``brokers``; clients take ``bootstrap``.
    """

    def __init__(self, folder: Path) -> None:
        ports = free_ports(2 * _BROKERS)
        self._configs = [
            BrokerConfig(folder / f"kafka-{node}", ports.pop(), ports.pop(), heap_mb=256)
            for node in range(1, 1 + _BROKERS)
        ]
        voters = ",".join(
            f"{node}@{config.host}:{config.controller_port}"
            for node, config in enumerate(self._configs, start=1)
        )
        self.bootstrap = ",".join(config.bootstrap for config in self._configs)
        self.brokers = [
            BrokerProcess(config.data_dir, config=config, properties=_properties(node, voters))
            for node, config in enumerate(self._configs, start=1)
        ]

    def start(self) -> None:
        """Starts all of them, and waits until they answer."""
        first, *others = self._configs
        prepare(first, find_java(), fetch_jars(default_cache_dir()))
        for node, config in enumerate(others, start=2):
            _copy_format(first.topics_dir, config.topics_dir, node)
        for broker in self.brokers:
            broker.launch()
        for broker in self.brokers:
            broker.wait_until_ready()

    def kill(self) -> None:
        """Ends all of them at once."""
        for broker in self.brokers:
            broker.kill()


def _copy_format(source: Path, target: Path, node: int) -> None:
    """Formats a broker's folder for the cluster of another one."""
    shutil.copytree(source, target)
    file = target / "meta.properties"
    text = re.sub(r"(?m)^node\.id=.*$", f"node.id={node}", file.read_text("utf-8"))
    directory = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    file.write_text(re.sub(r"(?m)^directory\.id=.*$", f"directory.id={directory}", text), "utf-8")


def _properties(node: int, voters: str) -> Mapping[str, str]:
    return {
        "node.id": str(node),
        "controller.quorum.voters": voters,
        "default.replication.factor": "3",
        "min.insync.replicas": "2",
        "offsets.topic.replication.factor": "3",
        "transaction.state.log.replication.factor": "3",
        "transaction.state.log.min.isr": "2",
        # A broker that is gone is noticed soon, and leads again when it is back.
        "replica.lag.time.max.ms": "3000",
    }
