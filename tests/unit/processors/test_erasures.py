"""Of somebody who was erased the states of the stream keep nothing, and nothing else changes."""

from collections import Counter
from typing import Any

import pytest

from backchannel.events import LIVE, Tombstone
from backchannel_processors.alerting import AlertBook, ErasedAlerts
from backchannel_processors.counters import Counters, MergeCounters
from backchannel_processors.erasures import Erasures
from backchannel_processors.groupings import Dims
from backchannel_processors.merge_partition import LONG_S, MergePartition, MergeRules
from backchannel_processors.partials import Bundle, Notice, Partial, Progress, seal_measures
from backchannel_processors.rules import Rules
from backchannel_processors.source_partition import BASE_S, SourcePartition
from support.interactions import NOON_US, Changelog, interaction, record, source
from support.rules import NOON, SECOND_US, measures, rule_of

ASKED_S = 60
FIRES = rule_of(metric="count", op=">=", threshold=3, min_samples=1, window="10s")
PENDING = rule_of(metric="count", op=">=", threshold=1, min_samples=1, hold="1h", name="waits")
BUDGET = rule_of("budget", metric="tokens", threshold=9, period="day", by=["tenant"], name="spent")
QUIET = rule_of("no_data", by=["tenant"], window="5m", name="quiet")
RULES = MergeRules(sources=1, alerts=Rules((FIRES, PENDING, BUDGET, QUIET), "hash"))


def erased(kind: Any = "tenant", *keys: str, asked_s: float = ASKED_S) -> Erasures:
    asked_us = NOON_US + round(asked_s * SECOND_US)
    told = Tombstone(erasure_id="e", subject=kind, keys=keys or ("gone",), requested_at_us=asked_us)
    return Erasures([told])


class Merge:
    """A merge partition with two tenants, and its changelog."""

    def __init__(self) -> None:
        self.counters = MergeCounters()
        self.log: dict[bytes, bytes | None] = {}
        self.part = self.empty()

    def empty(self) -> MergePartition:
        book = AlertBook(RULES.alerts, counters=self.counters)
        return MergePartition(RULES, book, next_offset=0, now_us=NOON_US, counters=self.counters)

    def take(self, at_s: int, tenants: tuple[str, ...] = ("gone", "stays")) -> None:
        """Some turns of tenants, and time that goes on to then."""
        at_us = NOON_US + at_s * SECOND_US
        start, offset = NOON + at_s // BASE_S * BASE_S, self.part.next_offset
        sealed = seal_measures(measures(5, tokens=2, at_us=at_us))
        told: list[tuple[str, Dims]] = [("", ()), *(("tenant", (each,)) for each in tenants)]
        partials = [Partial(LIVE, *each, start, 0, offset, sealed) for each in told]
        progress = {LIVE: Progress(at_us, idle=False, ended=False)}
        self.part.take(offset, Bundle(1, partials, [Notice(0, offset, at_us, progress)]), at_us)
        self.part.alerts(at_us)

    def write(self, *, until: int | None = None) -> None:
        for width_s in (BASE_S, LONG_S, 300):
            list(self.part.rows(width_s, NOON_US))
        states, meta, gone = self.part.checkpoint()
        self.log |= dict([*states, meta, *gone][:until])

    def restart(self) -> None:
        self.part = self.empty()
        self.part.restore(self.log.items(), NOON_US)

    def names(self) -> list[bytes]:
        """The keys on the changelog that name the tenant who is to go."""
        return [key for key, value in self.log.items() if value is not None and b"gone" in key]

    def told(self) -> Counter[str]:
        """Rows of each tenant that are to be told; "" for those of everybody together."""
        rows = [*self.part.rows(BASE_S, NOON_US), *self.part.rows(300, NOON_US)]
        return Counter(each.dims.get("tenant", "") for each in rows)


@pytest.fixture
def merge() -> Merge:
    """Ten minutes of traffic: states of every kind."""
    merge = Merge()
    for at_s in range(0, 600, BASE_S):
        merge.take(at_s)
    merge.write()
    return merge


def kinds(keys: list[bytes]) -> set[bytes]:
    return {key.split(b'"')[1] for key in keys}


def test_of_an_erased_tenant_the_merge_keeps_nothing(merge: Merge) -> None:
    assert kinds(merge.names()) == {b"part", b"long", b"past", b"memory", b"seen"}
    merge.part.erase(erased(asked_s=600))
    merge.write()
    assert merge.names() == []
    merge.restart()
    assert merge.part.restored_alerts(NOON_US) == []
    assert merge.told().keys() == {"", "stays"}


def test_the_others_and_the_sums_stay_as_they_were(merge: Merge) -> None:
    merge.restart()
    before = [row for row in merge.part.rows(300, NOON_US) if "gone" not in row.dims.values()]
    merge.restart()
    merge.part.erase(erased(asked_s=600))
    assert list(merge.part.rows(300, NOON_US)) == before


def test_a_crash_before_the_states_are_gone_changes_nothing_when_it_is_applied_again(
    merge: Merge,
) -> None:
    merge.part.erase(erased(asked_s=600))
    merge.write(until=2)
    merge.restart()
    assert merge.names()
    merge.part.erase(erased(asked_s=600))
    merge.write()
    assert merge.names() == []


def test_what_a_source_still_tells_of_earlier_windows_is_refused_and_counted() -> None:
    merge = Merge()
    merge.part.erase(erased())
    merge.take(ASKED_S)
    assert merge.counters.erased == 1
    assert merge.told() == {"": 2, "stays": 2}


def test_who_comes_back_is_somebody_new_whom_a_restart_keeps() -> None:
    merge = Merge()
    erasures = erased()
    merge.part.erase(erasures)
    for at_s in range(ASKED_S + BASE_S, 1_200, BASE_S):
        merge.take(at_s)
    merge.write()
    known = merge.names()
    assert kinds(known) == {b"part", b"long", b"past", b"memory", b"seen"}
    merge.restart()
    merge.part.erase(erasures)
    merge.write()
    # But for windows that began before the request: what those say is stored nowhere.
    assert kinds([key for key in known if key not in merge.names()]) <= {b"long"}


def test_alerts_that_fire_end_as_of_the_request_and_are_taken_back() -> None:
    merge = Merge()
    merge.take(0)
    told = merge.part.erase(erased())
    (ended,) = told.ended
    assert (ended.dims, ended.state, ended.transition) == ({"tenant": "gone"}, "resolved", 2)
    assert ended.ends_at_us == ended.evaluated_at_us == NOON_US + ASKED_S * SECOND_US
    assert told.ids == [ended.alert_id]
    assert merge.part.erase(erased()) == ErasedAlerts([], [])


def conversations(part: SourcePartition) -> int:
    return part.sizes()["conversations"]


@pytest.mark.parametrize(
    ("kind", "key"), [("user", "u"), ("tenant", "gone"), ("conversation", "c")]
)
def test_open_conversations_of_the_erased_go_and_are_not_begun_again(kind: str, key: str) -> None:
    counters, log = Counters(), Changelog()
    part = source(counters=counters)
    theirs = {"conversation_id": "c", "tenant_id": "gone"}
    part.take(record(0, [interaction(0, **theirs), interaction(1, user_id="u", **theirs)]), NOON_US)
    part.take(record(1, [interaction(2, conversation_id="d", user_id="v")]), NOON_US)
    log.write(part)
    part.erase(erased(kind, key))
    log.write(part)
    assert conversations(part) == 1
    kept = dict(log.entries)
    assert [v is None for k, v in kept.items() if b'"c"' in k] == [True]
    part.take(record(2, [interaction(30, user_id="u", **theirs)]), NOON_US)
    assert conversations(part) == 1
    part.take(record(3, [interaction(61, user_id="u", **theirs)]), NOON_US)
    assert conversations(part) == 2
    part.take(record(4, [interaction(59, user_id="u", **theirs)]), NOON_US)
    part.erase(erased(kind, key))
    assert conversations(part) == 2
    assert counters.balance() == 0


def test_an_erasure_of_one_user_is_none_of_another() -> None:
    erasures = erased("user", "u", "hmac:u")
    assert erasures.covers("tenant,user", ("a", "hmac:u"), NOON_US)
    assert not erasures.covers("tenant,user", ("u", "a"), NOON_US)
    assert not erasures.covers("tenant", ("u",), NOON_US)
    assert not erasures.covers("", (), NOON_US)
