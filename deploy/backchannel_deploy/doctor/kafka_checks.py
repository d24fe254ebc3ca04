"""Whether Kafka can be reached, and whether its topics are as they are written down."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, for_code

from backchannel.clock import Clock
from backchannel.events import Accepted, open_batch
from backchannel.events.topics import EVENTS, Topic
from backchannel_deploy.cli.amounts import counted
from backchannel_deploy.doctor.finding import Finding
from backchannel_deploy.doctor.kafka_door import knock
from backchannel_deploy.doctor.kafka_rights import REFUSALS, check_rights, without_right
from backchannel_deploy.erase.retention import PROMISED_DAYS, personal_topics, too_long
from backchannel_deploy.partitions import cut_wrongly
from backchannel_deploy.topics import (
    Inspection,
    all_topics,
    inspect_topics,
    topic_settings,
)

__all__ = ["check_kafka"]

_CONNECT_TIMEOUT_S = 2.0
_STEP_TIMEOUT_S = 5.0
_AHEAD_MS = 1_000
"""Two clocks further apart than this are told; what the network takes is less."""
_CLAMPED_MS = 60_000
"""The processors' default: an event that is further ahead of the broker's clock is moved back."""
_MEMORY = "offsets.retention.minutes"
_DAY_MS = 86_400_000
_MIGRATE = "Create them: backchannel migrate"


async def check_kafka(
    kafka: str,
    *,
    clock: Clock,
    security: Mapping[str, Any] | None = None,
    topics: Sequence[Topic] | None = None,
    erasure_days: int = PROMISED_DAYS,
) -> list[Finding]:
    """Returns what was found, in at most half a minute; changes nothing. Raises nothing.

    ``security`` are aiokafka's connection arguments; ``erasure_days`` is within how many days
    nothing of somebody who was erased may be left.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what it has to say is said here
    addresses = [address.strip() for address in kafka.split(",")]
    reached, findings = await _check_addresses(addresses)
    if not reached:
        return findings
    topics, options = topics or all_topics(), dict(security or {})
    try:
        async with asyncio.timeout(5 * _STEP_TIMEOUT_S):
            door = await knock(
                reached[0], options, [each.name for each in topics], timeout_s=_STEP_TIMEOUT_S
            )
            if door.refusal:
                return [*findings, door.refusal]
            async with _admin(",".join(reached), options) as admin:
                findings += await _check_brokers(admin, addresses)
                findings += await check_rights(admin, door.hidden)
                seen = [each for each in topics if each.name not in door.hidden]
                inspection = await inspect_topics(admin, seen, settings=False)
                findings += await _check_settings(admin, inspection, seen, erasure_days)
            if count := inspection.partitions.get(EVENTS.name, 0):
                partitions = [TopicPartition(EVENTS.name, number) for number in range(count)]
                newest = await _newest_records(",".join(reached), options, partitions)
                findings += _judged_clocks(newest, clock)
    except TimeoutError:
        findings.append(
            Finding(
                "kafka",
                "wrong",
                f"Kafka at {kafka} takes connections and answers nothing.",
                "Does it ask for TLS? BACKCHANNEL_KAFKA_SECURITY_PROTOCOL=SSL or SASL_SSL. "
                "Else it is no Kafka, or it is frozen.",
            )
        )
    except (KafkaError, OSError) as error:
        findings.append(
            Finding(
                "kafka",
                "wrong",
                f"Kafka at {kafka} answers, but not to us: {_name(error)}.",
                "Check BACKCHANNEL_KAFKA_SECURITY_PROTOCOL, the SASL user and its rights "
                "(describe on the cluster and on the topics).",
            )
        )
    return findings


async def _check_addresses(addresses: Sequence[str]) -> tuple[list[str], list[Finding]]:
    """Connects to each address; returns those that answer."""
    failures = await asyncio.gather(*map(_failure, addresses))
    reached = [each for each, why in zip(addresses, failures, strict=True) if not why]
    findings = [
        Finding(
            "kafka",
            "warning" if reached else "wrong",
            f"Nobody can be reached at {address}: {why}.",
            "Is the broker running, and is BACKCHANNEL_KAFKA right (host:port)? "
            "On one machine: backchannel up",
        )
        for address, why in zip(addresses, failures, strict=True)
        if why
    ]
    return reached, findings


async def _failure(address: str) -> str:
    """Returns why nobody can be reached there; empty when somebody can."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except TimeoutError:
        return f"no answer within {_CONNECT_TIMEOUT_S:.0f} s"
    except ConnectionError as error:
        return os.strerror(error.errno).lower() if error.errno else _name(error)
    except OSError as error:
        return (error.strerror or _name(error)).lower()
    except ValueError:
        return "that is no host:port"
    writer.close()
    return ""


@asynccontextmanager
async def _admin(kafka: str, security: dict[str, Any]) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(
        bootstrap_servers=kafka, request_timeout_ms=int(_STEP_TIMEOUT_S * 1000), **security
    )
    try:
        async with asyncio.timeout(_STEP_TIMEOUT_S):
            await admin.start()
        yield admin
    finally:
        await admin.close()


async def _check_settings(
    admin: AIOKafkaAdminClient, found: Inspection, topics: Sequence[Topic], erasure_days: int
) -> list[Finding]:
    """Checks topics, and the settings of topics and brokers as far as this user may read them."""
    try:
        found = await inspect_topics(admin, topics)
        findings = _judged(found, topics) + await _check_retention(admin, found, erasure_days)
    except REFUSALS as error:
        return [*_judged(found, topics), without_right(error)]
    try:
        return findings + await _check_memory(admin, found)
    except REFUSALS as error:
        return [*findings, without_right(error)]


async def _check_retention(
    admin: AIOKafkaAdminClient, inspection: Inspection, erasure_days: int
) -> list[Finding]:
    """No topic may keep what somebody said for longer than an erasure is promised to take."""
    there = [each for each in personal_topics() if each.name in inspection.partitions]
    found = too_long(await topic_settings(admin, there), erasure_days)
    return [
        Finding(
            "erasure",
            "warning",
            f"{topic} keeps records for {days:g} days, and an erasure is promised within "
            f"{erasure_days}.",
            "Shorten its retention.ms, or promise more: BACKCHANNEL_ERASURE_DAYS.",
        )
        for topic, days in found.items()
    ]


async def _check_memory(admin: AIOKafkaAdminClient, inspection: Inspection) -> list[Finding]:
    """Kafka must remember how far a group has come for longer than it has the records."""
    if EVENTS.name not in inspection.partitions:
        return []
    kept_ms = int((await topic_settings(admin, [EVENTS]))[EVENTS.name]["retention.ms"])
    broker = str((await admin.describe_cluster())["brokers"][0]["node_id"])
    (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.BROKER, broker)])
    ((code, _, _, _, entries),) = answer.resources
    if code:
        raise for_code(code)
    minutes = next((int(each[1]) for each in entries if each[0] == _MEMORY), 0)
    if not minutes or 0 <= kept_ms < minutes * 60_000:
        return []
    return [
        Finding(
            "kafka",
            "warning",
            f"Kafka forgets how far workers and sinks have come {minutes / 1_440:g} days after "
            f"they were stopped, and {EVENTS.name} keeps its records for "
            f"{'ever' if kept_ms < 0 else f'{kept_ms / _DAY_MS:g} days'}: they would be read "
            "once more.",
            f"Set {_MEMORY}=525600 (a year) on every broker.",
        )
    ]


async def _check_brokers(admin: AIOKafkaAdminClient, known: Sequence[str]) -> list[Finding]:
    """A broker tells clients where to find it; that address must work from here, too."""
    brokers = (await admin.describe_cluster())["brokers"]
    advertised = [f"{broker['host']}:{broker['port']}" for broker in brokers]
    unknown = [address for address in advertised if address not in known]
    findings = [
        Finding(
            "kafka",
            "wrong",
            f"A broker says that it is found at {address}, but from here it is not: {why}.",
            "Its advertised.listeners must be an address that clients can reach.",
        )
        for address, why in zip(unknown, await asyncio.gather(*map(_failure, unknown)), strict=True)
        if why
    ]
    told = f"{len(advertised)} broker{'s' * (len(advertised) != 1)}: {', '.join(advertised)}."
    return [Finding("kafka", "ok", told), *findings]


def _judged(found: Inspection, topics: Sequence[Topic]) -> list[Finding]:
    findings = []
    if found.missing:
        told = f"Missing: {', '.join(found.missing)}."
        findings.append(Finding("topics", "wrong", told, _MIGRATE))
    findings += [
        Finding(
            "topics",
            "wrong",
            f"{told}.",
            "Window states live beside the partitions of the topics they are made of, so "
            "all of them must have the same number. Where more were to be added to "
            f"{EVENTS.name}, do it again to the end: stop the workers, then backchannel migrate "
            "--partitions N. Else delete the topic that is wrong, and create it: backchannel "
            "migrate.",
        )
        for told in cut_wrongly(topics, found.partitions)
    ]
    findings += [
        Finding(
            "topics",
            "warning",
            f"{difference}.",
            "It is left as it is, since somebody may have chosen it. kafka-configs.sh sets it, if "
            "nobody has.",
        )
        for difference in found.differences
    ]
    if found.under_replicated:
        told = f"A copy is missing or behind: {', '.join(found.under_replicated)}."
        findings.append(Finding("topics", "warning", told, "Is one of the brokers away?"))
    if findings or not topics:
        return findings
    told = f"{len(topics)} topics, all as they should be."
    if count := found.partitions.get(EVENTS.name, 0):
        told += f" {EVENTS.name} has {counted(count, 'partition')}: so many workers share the work."
    return [Finding("topics", "ok", told)]


def _judged_clocks(newest: Sequence[ConsumerRecord], clock: Clock) -> list[Finding]:
    """Compares three clocks at the newest records: of the bots, of the broker, and ours.

    Only a clock that is ahead can be told for sure: an event may have waited in its bot.
    """
    newest_ms, ahead = 0, dict[str, int]()
    for record in newest:
        newest_ms = max(newest_ms, record.timestamp)
        batch = open_batch(record.value, record.headers)
        for verdict in batch.verdicts()[-1:] if batch.origin == "live" else []:
            if isinstance(verdict, Accepted):
                producer = verdict.event.producer_id
                skew_ms = verdict.event.ts_us // 1000 - record.timestamp
                ahead[producer] = max(ahead.get(producer, 0), skew_ms)
    findings = [
        Finding(
            "clock",
            "warning",
            f"The clock of producer {producer or '(unknown)'} is {skew_ms / 1000:.1f} s ahead of "
            "the broker's.",
            "Synchronise the clock of that bot's machine (NTP). Events that are more than "
            f"{_CLAMPED_MS // 1000} s ahead are counted at the broker's time instead of theirs.",
        )
        for producer, skew_ms in ahead.items()
        if skew_ms > _AHEAD_MS
    ]
    if (local_ms := newest_ms - clock.now_us() // 1000) > _AHEAD_MS:
        told = f"The broker's clock is at least {local_ms / 1000:.1f} s ahead of this machine's."
        advice = "Synchronise the clocks of both machines (NTP)."
        findings.append(Finding("clock", "warning", told, advice))
    if newest_ms and not findings:
        told = "Neither the broker's clock nor that of a bot is ahead, at the newest events."
        return [Finding("clock", "ok", told)]
    return findings


async def _newest_records(
    kafka: str, security: dict[str, Any], partitions: Sequence[TopicPartition]
) -> list[ConsumerRecord]:
    """Returns the last record of each partition that has one."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False, **security)
    found: list[ConsumerRecord] = []
    await consumer.start()
    try:
        begins = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        waiting = {each for each in partitions if ends[each] > begins[each]}
        if waiting:
            consumer.assign(list(waiting))
        for partition in waiting:
            consumer.seek(partition, ends[partition] - 1)
        while waiting:
            got = await consumer.getmany(*waiting, timeout_ms=500)
            if not got:
                break
            for partition, records in got.items():
                waiting.discard(partition)
                found += records[:1]
    finally:
        await consumer.stop()
    return found


def _name(error: BaseException) -> str:
    """Names an error without its message, which may hold user names."""
    return type(error).__name__
