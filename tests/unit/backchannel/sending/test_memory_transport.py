"""The transport in memory keeps the contract, and misbehaves on demand."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from backchannel import MemoryTransport
from backchannel.errors import BrokenError, RefusedError, UnreachableError
from contract.transport import *  # noqa: F403  # pytest collects the contract's tests here
from contract.transport import PARTITIONS, Record, Wire, as_record, batch


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    transport = MemoryTransport(PARTITIONS)

    async def stored(partition: int) -> list[Record]:
        return [as_record(record) for record in transport.records[partition]]

    yield Wire(transport, stored)
    await transport.close()


async def test_nobody_answers_while_it_is_away() -> None:
    transport = MemoryTransport()
    transport.away = True

    with pytest.raises(UnreachableError):
        await transport.connect()


async def test_a_send_waits_while_it_is_away_and_goes_on_when_it_is_back() -> None:
    transport = MemoryTransport()
    await transport.connect()
    transport.away = True

    sending = asyncio.ensure_future(transport.send(0, batch(1)))
    await asyncio.sleep(0.02)
    assert not sending.done()
    transport.away = False
    await sending

    assert len(transport.records[0]) == 1


@pytest.mark.parametrize("after_storing", [False, True])
async def test_a_break_comes_before_or_after_storing(after_storing: bool) -> None:
    transport = MemoryTransport()
    await transport.connect()
    transport.break_next(after_storing=after_storing)

    with pytest.raises(BrokenError):
        await transport.send(0, batch(1))

    assert len(transport.records[0]) == after_storing


async def test_a_refused_batch_is_not_stored_and_the_next_one_is() -> None:
    transport = MemoryTransport()
    await transport.connect()
    transport.refuse_next()

    second = batch(2)

    with pytest.raises(RefusedError):
        await transport.send(0, batch(1))
    await transport.send(0, second)

    assert transport.records[0] == [second]


async def test_repeated_records_are_read_once() -> None:
    transport = MemoryTransport()
    await transport.connect()
    sealed = batch(1)

    await transport.send(0, sealed)
    await transport.send(0, sealed)

    assert len(transport.events()) == 1
