"""What any transport must do for the sender, whether it is Kafka or its twin in memory.

The tests take a fixture `wire: Wire`, a fresh topic with three partitions; a test module that
defines it and imports these tests runs them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from backchannel import Transport
from backchannel.errors import BrokenError
from backchannel.events import Interaction, SealedBatch, encode_event, seal

PARTITIONS = 3

Record = tuple[bytes, tuple[tuple[str, bytes], ...]]


@dataclass(frozen=True)
class Wire:
    """A transport, and what has arrived at its other end."""

    transport: Transport
    stored: Callable[[int], Awaitable[list[Record]]]
    """The records of one partition in their order: value and headers."""


def batch(pseq: int, text: str = "") -> SealedBatch:
    line = encode_event(Interaction(conversation_id=text))
    return seal([line], producer_id="somebody", pseq=pseq)


def as_record(sealed: SealedBatch) -> Record:
    return sealed.value, sealed.headers


async def test_connecting_tells_how_many_partitions_there_are(wire: Wire) -> None:
    assert await wire.transport.connect() == PARTITIONS


async def test_a_batch_arrives_byte_for_byte_with_its_headers_in_its_partition(wire: Wire) -> None:
    await wire.transport.connect()
    sealed = batch(1, "Grüße 🙂")

    await wire.transport.send(2, sealed)

    assert await wire.stored(2) == [as_record(sealed)]
    assert await wire.stored(0) == []


async def test_batches_of_a_partition_stay_in_order(wire: Wire) -> None:
    await wire.transport.connect()
    sealed = [batch(pseq) for pseq in range(1, 21)]

    for each in sealed:
        await wire.transport.send(0, each)

    assert await wire.stored(0) == [as_record(each) for each in sealed]


async def test_partitions_are_sent_to_side_by_side(wire: Wire) -> None:
    await wire.transport.connect()
    sealed = [batch(1, f"c-{partition}") for partition in range(PARTITIONS)]

    await asyncio.gather(*(wire.transport.send(*each) for each in enumerate(sealed)))

    for partition, each in enumerate(sealed):
        assert await wire.stored(partition) == [as_record(each)]


async def test_sending_without_a_connection_says_that_it_is_broken(wire: Wire) -> None:
    with pytest.raises(BrokenError):
        await wire.transport.send(0, batch(1))


async def test_after_closing_it_can_connect_again_and_send_the_same_bytes(wire: Wire) -> None:
    await wire.transport.connect()
    sealed = batch(1)
    await wire.transport.send(0, sealed)
    await wire.transport.close()

    await wire.transport.connect()
    await wire.transport.send(0, sealed)

    assert await wire.stored(0) == [as_record(sealed)] * 2


async def test_closing_twice_is_fine(wire: Wire) -> None:
    await wire.transport.connect()

    await wire.transport.close()
    await wire.transport.close()


async def test_closing_ends_what_waits_within_a_second(wire: Wire) -> None:
    await wire.transport.connect()
    sending = [asyncio.ensure_future(wire.transport.send(0, batch(1)))]
    sending[0].cancel()

    async with asyncio.timeout(1):
        await wire.transport.close()
        await asyncio.wait(sending)
