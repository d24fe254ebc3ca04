"""Sinks that are killed, frozen and cut off under load: every row is there once in the end. The
short form of ``make faults-sink``."""

from collections.abc import Callable

import pytest

from faults.sink import SHORT, SinkFault, under_fault
from support.broker import BrokerProcess
from support.endpoint import EndpointProcess
from support.sink_process import SinkFactory, sink_factory

__all__ = ["sink_factory"]

pytestmark = [pytest.mark.consistency, pytest.mark.integration, pytest.mark.timeout(900)]


@pytest.mark.parametrize("fault", SHORT, ids=lambda fault: fault.name)
async def test_a_fault_loses_and_doubles_nothing(
    private_kafka: Callable[[], BrokerProcess],
    private_clickhouse: Callable[[], EndpointProcess],
    sink_factory: SinkFactory,
    fault: SinkFault,
) -> None:
    broker, endpoint = private_kafka(), private_clickhouse()

    result = await under_fault(fault, 1, 0, broker, endpoint, sink_factory)

    assert result.is_exact, result
    assert result.recovery_s > 0
