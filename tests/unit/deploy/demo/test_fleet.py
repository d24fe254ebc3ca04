"""The simulated bots: they report as real ones do."""

import asyncio
from statistics import median

from backchannel import MemoryTransport, Producer
from backchannel.events import Interaction
from backchannel_deploy.demo.fleet import Fleet
from backchannel_deploy.demo.timeline import TENANTS, TROUBLED_TENANT, Timeline


async def hastily(seconds: float) -> None:
    await asyncio.sleep(seconds / 20)


async def turns_of(timeline: Timeline) -> tuple[Fleet, list[Interaction]]:
    transport = MemoryTransport()
    async with Producer(transport=transport) as producer:
        fleet = Fleet(producer, timeline, sleep=hastily)
        await fleet.run(seed=1, bots=20)
    events = [event for event in transport.events() if isinstance(event, Interaction)]
    assert len(events) == producer.stats().accepted
    return fleet, events


async def test_every_turn_is_reported_with_what_a_bot_knows() -> None:
    fleet, events = await turns_of(Timeline(0.5))

    assert {event.tenant_id for event in events} == {*TENANTS}
    for event in events:
        assert (event.turn or 0) >= 1
        assert event.duration_us >= sum(event.components.values()) > 0
        assert fleet.reported_at_us(event.tenant_id, event.ts_us) is not None
        if event.status == "ok":
            assert event.output_tokens > 0
            assert event.llm_calls == 1
        else:
            assert event.error_type == "ProviderOverloadedError"


async def test_the_incident_makes_one_tenant_slow_and_fail() -> None:
    class OnlyIncident(Timeline):
        def incident(self, at_s: float) -> bool:
            return True

    _, events = await turns_of(OnlyIncident(0.5))

    troubled = [event for event in events if event.tenant_id == TROUBLED_TENANT]
    others = [event for event in events if event.tenant_id != TROUBLED_TENANT]
    assert median(e.duration_us for e in troubled) > 2 * median(e.duration_us for e in others)
    assert any(event.status == "error" for event in troubled)
