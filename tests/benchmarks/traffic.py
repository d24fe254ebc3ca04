"""Events of a typical size and shape: about 530 bytes of JSON, as a busy bot sends them."""

import random
from collections.abc import Iterator

from backchannel.events import Interaction, SealedBatch, encode_event, partition_of, seal

__all__ = ["batches", "interactions"]

MODELS = ("gpt-4o-mini", "gpt-4o", "claude-sonnet-4-5", "mistral-large")
ENDPOINTS = ("/chat", "/search", "/summarize")


def interactions(
    count: int, *, start_us: int, step_us: int, seed: int = 1
) -> Iterator[Interaction]:
    """Yields turns `step_us` apart: 5 tenants, 4 models, 3 endpoints, 1 % errors."""
    rng = random.Random(seed)
    for index in range(count):
        duration_us = int(rng.lognormvariate(14, 0.6))
        yield Interaction(
            ts_us=start_us + index * step_us,
            tenant_id=f"tenant-{rng.randrange(5)}",
            user_id=f"user-{rng.randrange(10_000)}",
            session_id=f"session-{rng.randrange(5_000)}",
            conversation_id=f"conversation-{rng.randrange(5_000)}",
            service="bench",
            service_version="1.2.3",
            environment="prod",
            endpoint=rng.choice(ENDPOINTS),
            provider="openai",
            model=rng.choice(MODELS),
            http_status=200,
            status="error" if rng.random() < 0.01 else "ok",
            duration_us=duration_us,
            ttft_us=duration_us // 5,
            components={
                "rag_retrieval": duration_us // 6,
                "llm_generation": duration_us * 3 // 4,
            },
            input_tokens=rng.randrange(50, 4_000),
            output_tokens=rng.randrange(5, 800),
            usage_source="provider",
        )


def batches(
    count: int, *, start_us: int, step_us: int, events_a_record: int, partitions: int = 12
) -> Iterator[tuple[int, SealedBatch]]:
    """Yields (partition, sealed batch), the events in time order. Those of a conversation go to one
    partition, as a producer sends them; the last batch of a partition may be a smaller one."""
    pseq = [0] * partitions
    lines: list[list[bytes]] = [[] for _ in range(partitions)]

    def sealed(partition: int) -> tuple[int, SealedBatch]:
        pseq[partition] += 1
        batch = seal(lines[partition], producer_id="bench", pseq=pseq[partition])
        lines[partition] = []
        return partition, batch

    for event in interactions(count, start_us=start_us, step_us=step_us):
        partition = partition_of(event.conversation_id, partitions)
        lines[partition].append(encode_event(event))
        if len(lines[partition]) == events_a_record:
            yield sealed(partition)
    for partition, rest in enumerate(lines):
        if rest:
            yield sealed(partition)
