"""Asks Kafka and ClickHouse how the pipeline is."""

import os

from backchannel.security import KafkaSecurity
from backchannel_deploy.cli.clickhouse import connected
from backchannel_deploy.cli.settings import checked
from backchannel_deploy.connect import find_kafka
from backchannel_deploy.status import stored
from backchannel_deploy.status.kafka_lag import readers
from backchannel_deploy.status.state import Status
from backchannel_processors.topics import APP_ID

__all__ = ["ask"]

_SINK_GROUP = "backchannel-sink"
_NOTIFIER_GROUP = "backchannel-notifier"


async def ask() -> Status:
    """Returns how the pipeline of the settings is, else of the `up` that runs here.

    Raises:
        UserError: Kafka or ClickHouse gives no answer.
    """
    with checked():
        security = KafkaSecurity.from_env().aiokafka()
    groups = {
        "worker": APP_ID,
        "sink": os.environ.get("BACKCHANNEL_SINK_GROUP", "") or _SINK_GROUP,
        "notifier": os.environ.get("BACKCHANNEL_NOTIFIER_GROUP", "") or _NOTIFIER_GROUP,
    }
    found = await readers(find_kafka(), groups, security)
    with connected() as client:
        return Status(
            found,
            stored.freshness(client),
            stored.lost(client),
            stored.dropped(client),
            stored.dead_letters(client),
            stored.firing(client),
            stored.last_alert(client),
            stored.agents(client),
        )
