"""What stands on ``chat.alerts`` and ``chat.control`` now, and how to say something there."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backchannel.events import (
    Ack,
    Alert,
    RulesPush,
    RulesVersion,
    Silence,
    Tombstone,
    control_key,
    read_applied,
    read_budget,
    read_control,
    read_rules,
    read_tombstone,
)
from backchannel.events.topics import ALERTS, CONTROL, EVENTS, PARTIALS, Topic
from backchannel.security import KafkaSecurity
from backchannel_deploy.cli.settings import checked
from backchannel_deploy.connect import find_kafka
from backchannel_deploy.errors import UserError

if TYPE_CHECKING:
    from backchannel_processors.log_kafka import LogReader

__all__ = ["Desk", "budgets_of", "desk"]


@dataclass(frozen=True, slots=True)
class Desk:
    """Alerts and what people said to them, over one connection."""

    _options: dict[str, Any]
    _reader: "LogReader"

    async def alerts(self) -> dict[str, Alert]:
        """Returns the last transition of every alert there ever was, by its id."""
        from pydantic import ValidationError

        found: dict[str, Alert] = {}
        for key, value in await self._read(ALERTS):
            if value is None:  # of somebody who was erased
                found.pop((key or b"").decode("utf-8", "replace"), None)
                continue
            try:
                alert = Alert.model_validate_json(value)
            except ValidationError:
                continue
            known = found.get(alert.alert_id)
            if known is None or alert.transition > known.transition:
                found[alert.alert_id] = alert
        return found

    async def controls(self) -> list[Silence | Ack]:
        """Returns every silence and acknowledgement as it stands now, in the order of the log."""
        found: dict[bytes, Silence | Ack] = {}
        for key, value in await self._read(CONTROL):
            control = read_control(key, value)
            if key is not None and control is not None:
                found.pop(key, None)
                found[key] = control
        return list(found.values())

    async def tombstones(self) -> list[Tombstone]:
        """Returns who was erased, in the order of the log."""
        found = [read_tombstone(key, value) for key, value in await self._read(CONTROL)]
        return list({each.erasure_id: each for each in found if each is not None}.values())

    async def unapplied(self) -> int:
        """Returns how many partitions of the stream's states may still hold something of somebody
        who was erased."""
        records = await self._read(CONTROL)
        asked = [read_tombstone(*record) for record in records]
        erasures = {each.erasure_id for each in asked if each is not None}
        applied = [read_applied(*record) for record in records]
        reached: dict[tuple[str, int], int] = {
            (each.agent, each.partition): each.erasures for each in applied if each is not None
        }
        partitions = [
            (agent, partition)
            for agent, topic in (("windows", EVENTS), ("merge", PARTIALS))
            for partition in range(await self._reader.partitions(topic.name))
        ]
        return sum(reached.get(each, 0) < len(erasures) for each in partitions)

    async def rules(self) -> list[RulesPush | RulesVersion]:
        """Returns the rules that were pushed or decided anything, in the order of the log."""
        found: dict[bytes, RulesPush | RulesVersion] = {}
        for key, value in await self._read(CONTROL):
            said = read_rules(key, value)
            if key is not None and said is not None:
                found.pop(key, None)
                found[key] = said
        return list(found.values())

    async def say(self, control: Silence | Ack | Tombstone | RulesPush) -> None:
        """Writes a record; returns when it is durable."""
        await self._write(control_key(control), control.model_dump_json().encode())

    async def _write(self, key: bytes, value: bytes | None) -> None:
        from aiokafka import AIOKafkaProducer

        producer = AIOKafkaProducer(acks="all", enable_idempotence=True, **self._options)
        async with producer:
            await producer.send_and_wait(CONTROL.name, value, key=key)

    async def forget_budgets(self, tombstone: Tombstone) -> int:
        """Takes back what stands there of budgets of somebody who was erased; returns how many
        there were."""
        keys = budgets_of(tombstone, await self._read(CONTROL))
        for key in keys:
            await self._write(key, None)
        return len(keys)

    async def _read(self, topic: Topic) -> list[tuple[bytes | None, bytes | None]]:
        partitions = range(await self._reader.partitions(topic.name))
        if not partitions:
            raise UserError(f"Kafka has no topic {topic.name}. Create it: backchannel migrate")
        records = await self._reader.read(topic.name, partitions)
        return [record for partition in partitions for record in records[partition]]


@asynccontextmanager
async def desk(kafka: str | None = None) -> AsyncIterator[Desk]:
    """Connects.

    Raises:
        UserError: there is no Kafka to talk to.
    """
    import logging

    from aiokafka.errors import KafkaError

    from backchannel_processors.log_kafka import LogReader

    # What it has to say of a broker that is away is said here, once and in a sentence.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    servers = kafka or find_kafka()
    with checked():
        options = {"bootstrap_servers": servers, **KafkaSecurity.from_env().aiokafka()}
    reader = LogReader(options)
    try:
        await reader.start()
        yield Desk(options, reader)
    except (KafkaError, OSError, TimeoutError) as error:
        raise UserError(
            f"Kafka at {servers} gives no answer. Is it running, and is the address right?"
        ) from error
    finally:
        await reader.stop()


def budgets_of(
    tombstone: Tombstone, records: Iterable[tuple[bytes | None, bytes | None]]
) -> list[bytes]:
    """Returns the keys of the budgets that were told of somebody before the request to forget."""
    newest = {key: value for key, value in records if key is not None}
    found = {key: read_budget(key, value) for key, value in newest.items()}
    return [
        key
        for key, budget in found.items()
        if budget is not None
        and tombstone.covers(budget.dims)
        and budget.evaluated_at_us <= tombstone.requested_at_us
    ]
