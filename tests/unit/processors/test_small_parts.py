"""The small parts: groupings, memories of what was seen, settings, pace, lease, watch."""

import faust
import msgspec
import pytest

from backchannel.clock import ManualClock
from backchannel.events import partition_of
from backchannel.security import KafkaSecurity
from backchannel_processors.duplicates import EventIds, ProducerNumbers
from backchannel_processors.errors import MissedRecordsError, StateError
from backchannel_processors.groupings import Groupings, series_key
from backchannel_processors.kafka_access import faust_credentials
from backchannel_processors.lease import EXIT_LEASE_LOST, Lease
from backchannel_processors.partials import Notice, Partial, decode_bundle, encode_bundles
from backchannel_processors.sealed_lines import RECORD_BYTES_MAX, seal_in_parts
from backchannel_processors.settings import WorkerSettings
from backchannel_processors.shell import Backlog, Pace
from backchannel_processors.topics import CHANGELOGS
from backchannel_processors.watch import ProgressWatch


@pytest.mark.parametrize("text", ["model,tenant", "tenant,tenant", "channel", "tenant,"])
def test_a_grouping_names_known_dimensions_in_order(text: str) -> None:
    with pytest.raises(
        ValueError, match="name some of tenant, endpoint, model, experiment, variant, user"
    ):
        Groupings.parse((text,))


@pytest.mark.parametrize("texts", [(), ("tenant", "tenant")])
def test_there_is_at_least_one_grouping_and_each_once(texts: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="only once"):
        Groupings.parse(texts)


def test_events_are_counted_by_every_dimension_that_a_grouping_names() -> None:
    groupings = Groupings.parse(("tenant", "", "model"))
    assert groupings.finest == ("tenant", "model")
    assert [indexes for _, indexes in groupings.projections()] == [(0,), (), (1,)]


def test_series_that_only_look_alike_have_keys_of_their_own() -> None:
    assert series_key("tenant,model", ("a,b", "")) != series_key("tenant,model", ("a", "b"))
    assert partition_of(series_key("tenant", ("a",)), 12) == 11


def test_the_producer_silent_for_longest_is_forgotten() -> None:
    numbers = ProducerNumbers(most=2)
    assert all(numbers.is_new(name, 1) for name in ("a", "b"))
    assert numbers.is_new("a", 2)
    assert numbers.is_new("c", 1)
    assert dict(numbers.items()) == {"a": 2, "c": 1}


def test_the_oldest_event_id_is_forgotten() -> None:
    ids = EventIds(most=2)
    assert [ids.is_new(name, 0) for name in ("a", "b", "a", "c", "a")] == [
        True,
        True,
        False,
        True,
        True,
    ]


def test_event_ids_come_back_up_to_where_reading_goes_on() -> None:
    ids, again = EventIds(most=5_000), EventIds(most=5_000)
    for offset in range(9_000):
        ids.is_new(str(offset), offset)
    written = {number: segment for number, segment in ids.changes() if segment is not None}
    again.restore(written.items(), next_offset=8_999)
    assert len(again) == 5_000
    assert again.is_new("8999", 8_999)
    assert not again.is_new("8998", 8_999)
    assert again.is_new("3999", 8_999)


def test_only_changed_segments_of_event_ids_are_written() -> None:
    ids = EventIds()
    for offset in range(5_000):
        ids.is_new(str(offset), offset)
    assert [number for number, _ in ids.changes()] == [0, 1]
    ids.is_new("new", 5_000)
    assert [number for number, _ in ids.changes()] == [1]


def test_a_lease_that_ran_out_ends_the_process() -> None:
    clock, ended = ManualClock(), list[int]()
    lease = Lease(8, clock, end=ended.append)
    clock.advance(seconds=7)
    lease.check()
    clock.advance(seconds=7)
    lease.check()
    assert ended == []
    clock.advance(seconds=9)
    lease.check()
    assert ended == [EXIT_LEASE_LOST]


def test_what_costs_much_happens_less_often_while_records_wait() -> None:
    clock = ManualClock()
    backlog = Backlog(clock)
    pace = Pace(1, clock, backlog)
    assert pace.wait_s == 0
    clock.advance(seconds=0.1)
    pace.done(0)
    assert pace.wait_s == pytest.approx(0.9)
    clock.advance(seconds=1)
    pace.done(clock.monotonic_us() - 1_000_000)
    assert pace.wait_s == 0
    backlog.took(clock.now_us() - 2_000_000)
    assert pace.wait_s == pytest.approx(4)


@pytest.mark.parametrize(("cost_s", "wait_s"), [(0.01, 0.05), (0.02, 0.08), (0.2, 0.25)])
def test_what_alerts_wait_for_takes_its_share_and_no_more(cost_s: float, wait_s: float) -> None:
    clock = ManualClock()
    pace = Pace(0.05, clock, Backlog(clock), seconds_max=0.25)
    pace.done(clock.monotonic_us(), cost_us=round(cost_s * 1_000_000))
    assert pace.wait_s == pytest.approx(wait_s)


@pytest.mark.parametrize(
    ("waited_s", "later_s", "there"), [(0.9, 0, False), (1.1, 0.4, True), (1.1, 0.6, False)]
)
def test_a_backlog_is_over_soon_after_the_last_record_that_had_waited(
    waited_s: float, later_s: float, there: bool
) -> None:
    clock = ManualClock()
    backlog = Backlog(clock)
    backlog.took(clock.now_us() - round(waited_s * 1_000_000))
    clock.advance(seconds=later_s)
    assert backlog.is_there == there


def test_what_waits_for_kafka_costs_nothing_and_what_is_late_may_linger() -> None:
    clock = ManualClock()
    backlog = Backlog(clock)
    backlog.took(clock.now_us() - 2_000_000)
    pace = Pace(1, clock, backlog)
    pace.done(clock.monotonic_us() - 2_000_000, cost_us=0)
    assert pace.wait_s == 0
    pace.done(clock.monotonic_us(), cost_us=0, linger_s=3)
    assert pace.wait_s == pytest.approx(3)


def test_a_position_that_stands_still_while_the_log_goes_on_is_noticed() -> None:
    watch = ProgressWatch("chat.events", patience=2)
    watch.look({0: (5, 9)})
    watch.look({0: (5, 9)})
    with pytest.raises(MissedRecordsError, match="partition 0: at 5"):
        watch.look({0: (5, 10)})


def test_a_partition_that_is_read_to_its_end_may_stand_still() -> None:
    watch = ProgressWatch("chat.events", patience=1)
    for _ in range(5):
        watch.look({0: (9, 9)})


@pytest.mark.parametrize(
    ("value", "said"), [(b"", "only workers"), (b'{"v":7,"x":1}', "version 7")]
)
def test_a_record_that_is_no_bundle_stops_the_worker(value: bytes, said: str) -> None:
    with pytest.raises(StateError, match=said):
        decode_bundle(value)


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKCHANNEL_GROUPINGS", ";tenant")
    monkeypatch.setenv("BACKCHANNEL_KAFKA", "broker:9092")
    settings = WorkerSettings()
    assert (settings.kafka, settings.groupings) == ("broker:9092", ("", "tenant"))


def test_faust_gets_the_same_credentials_and_tells_no_secret() -> None:
    assert faust_credentials(KafkaSecurity()) is None
    security = KafkaSecurity(
        security_protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-512",
        sasl_username="u",
        sasl_password="hunter2",
    )
    credentials = faust_credentials(security)
    assert isinstance(credentials, faust.SASLCredentials)
    assert (credentials.username, credentials.password) == ("u", "hunter2")
    assert credentials.ssl_context is not None
    assert "hunter2" not in repr(credentials)


def test_changelogs_are_named_as_faust_names_them() -> None:
    assert [topic.name for topic in CHANGELOGS] == [
        "backchannel-processors-windows-changelog",
        "backchannel-processors-merge-changelog",
    ]


def large(number: int, size: int) -> Partial:
    sealed = msgspec.Raw(msgspec.json.encode("x" * size))
    return Partial("live", "tenant", (f"t{number}",), 0, 0, number, sealed)


def test_partials_of_many_users_do_not_share_a_record_that_kafka_would_refuse() -> None:
    partials = [large(number, 300_000) for number in range(20)]
    values = list(encode_bundles(partials, [Notice(0, 1, 0, {})]))
    bundles = [decode_bundle(value) for value in values]

    assert max(map(len, values)) < 1.1 * RECORD_BYTES_MAX
    assert [each.dims for bundle in bundles for each in bundle.partials] == [
        each.dims for each in partials
    ]
    assert [len(bundle.notices) for bundle in bundles] == [0] * (len(bundles) - 1) + [1]


def test_a_notice_travels_alone_where_nothing_has_changed() -> None:
    (value,) = encode_bundles([], [Notice(0, 1, 0, {})])
    assert decode_bundle(value).notices == [Notice(0, 1, 0, {})]


def test_rows_are_sealed_into_as_many_records_as_it_takes() -> None:
    partials = [large(number, 300_000) for number in range(7)]
    records = seal_in_parts([*partials, large(7, 2 * RECORD_BYTES_MAX)], "s/1")

    assert [each.count for each in records] == [3, 3, 1, 1]
    assert max(len(each.value) for each in records[:-1]) <= RECORD_BYTES_MAX
    assert seal_in_parts([], "s/1") == []
