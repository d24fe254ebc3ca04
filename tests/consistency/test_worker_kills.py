"""Workers that are killed, frozen and added under load: every row is exact in the end, and no
alert says two different things. The short form of ``make faults-stream``."""

from collections.abc import Callable

import pytest

from faults.stream import KILLS, MIXED, StreamFault, under_fault
from support.broker import BrokerProcess
from support.worker_process import Listener, WorkerFactory

pytestmark = [pytest.mark.consistency, pytest.mark.integration, pytest.mark.timeout(900)]


@pytest.mark.parametrize("fault", [KILLS, MIXED], ids=lambda fault: fault.name)
async def test_a_fault_loses_and_doubles_nothing(
    private_kafka: Callable[[], BrokerProcess], worker_factory: WorkerFactory, fault: StreamFault
) -> None:
    result, heard = await under_fault(fault, 3, 0, private_kafka(), worker_factory)

    assert result.is_exact, result
    assert result.recovery_s > 0
    assert_alerts_say_one_thing(heard)


def assert_alerts_say_one_thing(heard: Listener) -> None:
    assert heard.alerts
    said = dict(
        zip(
            ((alert.alert_id, alert.transition) for alert in heard.alerts),
            heard.alert_values,
            strict=True,
        )
    )
    for alert, value in zip(heard.alerts, heard.alert_values, strict=True):
        assert said[alert.alert_id, alert.transition] == value
        assert alert.transition == 1 or (alert.alert_id, alert.transition - 1) in said
