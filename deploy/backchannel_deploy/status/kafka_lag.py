"""How far the consumer groups are behind, by their committed offsets."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from backchannel_deploy.errors import UserError
from backchannel_deploy.status.state import Reader

__all__ = ["readers"]

_TIMEOUT_S = 10.0


async def readers(
    kafka: str, groups: Mapping[str, str], security: Mapping[str, Any]
) -> tuple[Reader, ...]:
    """Returns each group by its name, ``groups`` being {name: group}.

    Raises:
        UserError: Kafka gives no answer.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what it has to say is said here
    options = {"bootstrap_servers": kafka, **security}
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            admin = AIOKafkaAdminClient(**options)
            consumer = AIOKafkaConsumer(enable_auto_commit=False, **options)
            try:
                await admin.start()
                await consumer.start()
                return tuple([await _reader(admin, consumer, *each) for each in groups.items()])
            finally:
                await consumer.stop()
                await admin.close()
    except (KafkaError, OSError) as error:  # a TimeoutError is an OSError
        raise UserError(
            f"Kafka at {kafka} gives no answer ({type(error).__name__}). "
            "What is wrong with it: backchannel doctor"
        ) from error


async def _reader(
    admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer, name: str, group: str
) -> Reader:
    committed: dict[TopicPartition, Any] = await admin.list_consumer_group_offsets(group)
    offsets = {each: found.offset for each, found in committed.items() if found.offset >= 0}
    ends = await consumer.end_offsets(list(offsets)) if offsets else {}
    begins = await consumer.beginning_offsets(list(offsets)) if offsets else {}
    behind = sum(max(0, ends[at] - max(offset, begins[at])) for at, offset in offsets.items())
    (answer,) = await admin.describe_consumer_groups([group])
    state = str(answer.groups[0][2])
    return Reader(name, group, state or "Dead", behind, bool(offsets))
