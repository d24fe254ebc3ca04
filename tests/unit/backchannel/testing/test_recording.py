"""What a test of a bot sees: its events as a reader gets them, and whatever was lost."""

import pytest

from backchannel import MemoryTransport, Producer
from backchannel.clock import ManualClock
from backchannel.events import Interaction, Marker, Product
from backchannel.testing import Recording


def test_a_producer_with_an_address_sends_into_memory() -> None:
    with Recording() as recording:
        events = recording.events()
        with Producer("kafka.nowhere:9092", service="bot").interaction(model="m"):
            pass

        assert [type(event) for event in events] == [Interaction]
        assert events.one(Interaction).service == "bot"


def test_a_producer_needs_no_address_while_it_is_recorded() -> None:
    with Recording() as recording:
        events = recording.events()
        Producer().track(Product(name="opened"))

        assert events.one(Product).name == "opened"


def test_events_stand_in_the_order_in_which_they_were_tracked() -> None:
    with Recording() as recording:
        events, producer = recording.events(), Producer()
        for number in range(200):
            producer.track(Interaction(conversation_id=f"c-{number % 9}", turn=number))

        assert [event.turn for event in events] == list(range(200))


def test_what_was_emitted_before_is_forgotten() -> None:
    with Recording() as recording:
        events, producer = recording.events(), Producer()
        producer.track(Product(name="before"))
        events.clear()
        producer.track(Product(name="after"))

        assert events.one(Product).name == "after"
        events.assert_no_loss()


def test_a_transport_of_its_own_is_left_to_a_producer() -> None:
    transport = MemoryTransport()
    with Recording() as recording:
        producer = Producer(transport=transport)
        producer.track(Product(name="elsewhere"))
        producer.close_sync()

        assert len(recording.events()) == 0
    assert len(transport.events()) == 1


def test_only_one_of_a_type_is_asked_for_by_name() -> None:
    with Recording() as recording:
        events, producer = recording.events(), Producer()
        producer.track(Product(name="a"))
        producer.track(Product(name="b"))

        with pytest.raises(AssertionError, match="expected one Product, found 2"):
            events.one(Product)
        with pytest.raises(AssertionError, match="found 0, among Product, Product"):
            events.one(Marker)


def test_a_dropped_event_is_a_loss() -> None:
    with Recording() as recording:
        events, producer = recording.events(), Producer()
        producer.close_sync()
        producer.track(Product(name="too late"))

        with pytest.raises(AssertionError, match=r"events were dropped \(1 closed\)"):
            events.assert_no_loss()


def test_an_event_that_never_arrives_is_a_loss() -> None:
    with Recording() as recording:
        events, producer = recording.events(), Producer()
        _, transport = recording.producers()[0]
        producer.track(Product(name="on its way"))
        producer.flush_sync()
        for records in transport.records:
            records.clear()

        with pytest.raises(AssertionError, match="1 events did not arrive"):
            events.assert_no_loss()


def test_a_field_that_does_not_exist_is_a_loss() -> None:
    with Recording() as recording:
        events = recording.events()
        with Producer().interaction(intnet="refund"):
            pass

        assert len(events) == 1
        with pytest.raises(AssertionError, match="1 fields did not fit"):
            events.assert_no_loss()


def test_the_clock_can_be_stopped_under_a_producer_that_is_there() -> None:
    with Recording() as recording:
        events, producer = recording.events(), Producer()
        clock = recording.clock.clock = ManualClock()
        with producer.interaction():
            clock.advance(seconds=2)

        assert events.one(Interaction).duration_us == 2_000_000


def test_the_producers_own_health_is_no_event_of_the_code_under_test(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("BACKCHANNEL_HEALTH_INTERVAL_S")
    with Recording() as recording:
        events, producer = recording.events(), Producer()
        producer.track(Product(name="only"))
        producer.close_sync()

        assert [type(event) for event in events] == [Product]


def test_an_inner_recording_gets_what_is_made_in_it_and_the_outer_one_the_rest() -> None:
    with Recording() as outer:
        outer_events = outer.events()
        with Recording() as inner:
            inner_events = inner.events()
            Producer().track(Product(name="inner"))
            assert inner_events.one(Product).name == "inner"
        Producer().track(Product(name="outer"))

        assert outer_events.one(Product).name == "outer"
