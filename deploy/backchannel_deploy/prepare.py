"""Makes ready what every role needs: the topics in Kafka, the tables and views in ClickHouse."""

import asyncio
import logging

import structlog
from aiokafka.errors import KafkaError
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events.topics import EVENTS, PARTITIONS
from backchannel.security import KafkaSecurity
from backchannel_deploy.cli.amounts import counted
from backchannel_deploy.cli.clickhouse import error_sentence
from backchannel_deploy.cli.settings import checked
from backchannel_deploy.connect import find_cluster, find_database, without_secrets
from backchannel_deploy.errors import UserError
from backchannel_deploy.prices.load import Loaded, load_when_empty
from backchannel_deploy.topics import TopicError, Topics, ensure_topics
from backchannel_sinks.clickhouse.connection import connect
from backchannel_sinks.clickhouse.migrate import Migration, MigrationError, migrate

__all__ = ["prepare", "prepare_and_tell"]

log = structlog.get_logger("backchannel.prepare")

_DDL_TIMEOUT_S = 300
"""A statement of a migration may have to wait for merges of a large table."""


async def prepare(
    kafka: str, clickhouse: str, *, partitions: int = PARTITIONS, at_least: int = 0
) -> None:
    """Creates in Kafka and ClickHouse what is missing; logs what is not as it should be.

    Safe to repeat. ``clickhouse`` is a URL that may hold a user and a password; ``partitions`` and
    ``at_least`` are those of ``ensure_topics``.

    Raises:
        UserError: one of them gives no answer, or has something that can't be used.
    """
    topics, _, _ = await _prepare(kafka, clickhouse, partitions, at_least)
    for difference in topics.differences:
        log.warning("topic_differs", difference=str(difference))


async def prepare_and_tell(
    kafka: str, clickhouse: str, *, partitions: int | None = None
) -> list[str]:
    """Does what ``prepare`` does, and returns it in sentences: what was created, what differs."""
    topics, migrations, loaded = await _prepare(
        kafka, clickhouse, partitions or PARTITIONS, partitions or 0
    )
    there = topics.partitions[EVENTS.name]
    return [
        *(f"Created the topic {name}." for name in topics.created),
        *(f"{name} has {counted(now, 'partition')} now." for name, now in topics.grown.items()),
        *(f"Applied the migration {each.version:04} {each.name}." for each in migrations),
        *([f"Loaded {counted(loaded.prices, 'published price')}."] if loaded else []),
        *(f"Left as it is: {difference}." for difference in topics.differences),
        *(
            [f"{EVENTS.name} keeps its {counted(there, 'partition')}: fewer can't be had."]
            if partitions is not None and partitions < there
            else []
        ),
    ]


async def _prepare(
    kafka: str, clickhouse: str, partitions: int, at_least: int
) -> tuple[Topics, list[Migration], Loaded | None]:
    for library in ("aiokafka", "clickhouse_connect"):
        # What they have to say of somebody who is away is said here, once and in a sentence.
        logging.getLogger(library).setLevel(logging.CRITICAL)
    topics = await _prepare_topics(kafka, partitions, at_least)
    migrations, loaded = await asyncio.to_thread(_prepare_tables, clickhouse)
    return topics, migrations, loaded


async def _prepare_topics(kafka: str, partitions: int, at_least: int) -> Topics:
    with checked():
        security = KafkaSecurity.from_env().aiokafka()
    try:
        return await ensure_topics(
            kafka,
            clock=SYSTEM_CLOCK,
            security=security,
            partitions=partitions,
            at_least=at_least,
        )
    except TopicError as error:
        raise UserError(f"Kafka at {kafka}: {error}") from error
    except (KafkaError, OSError) as error:  # a TimeoutError is an OSError
        raise UserError(
            f"Kafka at {kafka} gives no answer ({type(error).__name__}). Is it running, and is "
            "the address right?"
        ) from error


def _prepare_tables(clickhouse: str) -> tuple[list[Migration], Loaded | None]:
    where = without_secrets(clickhouse)
    try:
        client = connect(clickhouse, find_database(), answer_timeout_s=_DDL_TIMEOUT_S)
        try:
            return migrate(client, find_cluster()), load_when_empty(client)
        finally:
            client.close()
    except (MigrationError, ValueError) as error:
        raise UserError(f"ClickHouse at {where}: {error}.") from error
    except (ClickHouseError, OSError) as error:
        refused = isinstance(error, DatabaseError) and error.code
        why = error_sentence(str(error)) if refused else "is it running, is the address right?"
        raise UserError(
            f"ClickHouse at {where} {'refuses' if refused else 'gives no answer'}: {why}"
        ) from error
