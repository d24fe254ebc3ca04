"""Erasure on the real ClickHouse: what goes, what stays, and what a kill in between leaves."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from clickhouse_connect.driver.client import Client

from backchannel.clock import SYSTEM_CLOCK, ManualClock
from backchannel.events import Erasure, Event, Interaction, Tombstone
from backchannel.events.topics import Topic
from backchannel_deploy.erase import tables
from backchannel_deploy.erase.check import check
from backchannel_deploy.erase.proof import SigningKey
from backchannel_deploy.erase.run import Erased, Eraser
from backchannel_deploy.erase.subject import Subject
from backchannel_deploy.errors import UserError
from backchannel_deploy.verify.compare import Mismatch
from backchannel_deploy.verify.stored import lost
from backchannel_deploy.verify.windows import Span, check_windows
from support.rows_of_events import rows
from support.streamed import GROUPINGS, Streamed

pytestmark = pytest.mark.integration

DAY_US = 86_400_000_000
NOW_US = SYSTEM_CLOCK.now_us() // DAY_US * DAY_US
NOON_US = NOW_US - DAY_US // 2
CLOCK = {"ahead_s": 60, "behind_s": 86_400}
KEY = SigningKey("k" * 32)


class KilledError(Exception):
    """The process ends here."""


class Topics:
    """``chat.control``, and logs that are stored to their ends."""

    def __init__(self) -> None:
        self.said: list[Tombstone] = []
        self.forgotten: list[tuple[str, ...]] = []
        self.waiting = 0

    async def tombstones(self) -> list[Tombstone]:
        return self.said

    async def say(self, control: Tombstone) -> None:
        self.said.append(control)

    async def unapplied(self) -> int:
        return self.waiting

    async def forget_budgets(self, tombstone: Tombstone) -> int:
        self.forgotten.append(tombstone.keys)
        return 1

    async def ends(self, topics: Iterable[Topic]) -> dict[TopicPartition, int]:
        return {}

    async def not_stored(self, wanted: Mapping[TopicPartition, int]) -> int:
        return 0


class Dying:
    """A client whose process is killed before its n-th statement that writes."""

    def __init__(self, client: Client, writes: int) -> None:
        self._client = client
        self._left = writes

    def __getattr__(self, name: str) -> Any:
        if name in ("command", "insert"):
            self._left -= 1
            if self._left < 0:
                raise KilledError
        return getattr(self._client, name)


class TickingClock(ManualClock):
    """A clock on which no two readings are the same."""

    def now_us(self) -> int:
        self.advance(us=1)
        return super().now_us()


@pytest.fixture
def topics() -> Topics:
    return Topics()


@pytest.fixture
def streamed(analyst: Client) -> Iterator[Streamed]:
    """Thirty turns of five users in a window that is closed, and the request of one of them."""
    streamed = Streamed(analyst)
    events: list[Event] = [
        Interaction(
            ts_us=NOON_US + n,
            producer_id="bot",
            seq=n + 1,
            tenant_id=f"t{n % 3}",
            user_id=f"u{n % 5}",
            conversation_id=f"c{n % 6}",
            session_id=f"s{n}",
            duration_us=n,
            input_tokens=n,
            cost_picousd=n,
        )
        for n in range(30)
    ]
    asked = Erasure(
        ts_us=NOON_US + 31,
        producer_id="bot",
        seq=31,
        subject="user",
        subject_key="u1",
        requested_at_us=NOON_US + 31,
    )
    streamed.publish([*events, asked], broker_us=NOON_US)
    streamed.close(NOW_US + 3_600_000_000)
    yield streamed
    for table in ("erasures", "erased_events", "erased_windows"):
        analyst.command(f"TRUNCATE TABLE {table}")


async def erase(
    client: Client, topics: Topics, subject: Subject, *, killed_after: int | None = None
) -> Erased:
    used = client if killed_after is None else cast(Client, Dying(client, killed_after))
    clock = TickingClock(NOW_US + 3_600_000_000)
    return await Eraser(used, topics, topics, KEY, CLOCK, clock, taken_in_s=0).erase(subject, "me")


def mismatches(client: Client) -> list[Mismatch]:
    since_s, until_s = (NOW_US - DAY_US) // 10**6, NOW_US // 10**6
    return check_windows(client, Span(since_s, until_s, NOW_US, 60, 86_400, GROUPINGS)).mismatches


def number(client: Client, sql: str) -> int:
    return int(client.query(sql).result_rows[0][0])


USER = Subject("user", ("u1",))


@pytest.mark.parametrize("writes", [0, 3, 6, 10, 12])
async def test_an_erasure_that_is_killed_anywhere_goes_on_and_removes_everything(
    analyst: Client, topics: Topics, streamed: Streamed, writes: int
) -> None:
    with suppress(KilledError):
        await erase(analyst, topics, USER, killed_after=writes)
    done = await erase(analyst, topics, USER)

    assert len(topics.said) == 1
    assert done.removed == {"events": 6, "metric_windows": 15}
    assert number(analyst, "SELECT count() FROM events WHERE user_id = 'u1'") == 0
    assert number(analyst, "SELECT sum(input_tokens) FROM erased_windows FINAL") == 81
    assert mismatches(analyst) == []


async def test_without_a_worker_nothing_is_removed_and_it_goes_on_once_there_is_one(
    analyst: Client, topics: Topics, streamed: Streamed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backchannel_deploy.erase.run._APPLIED_TIMEOUT_S", 0)
    topics.waiting = 24
    with pytest.raises(UserError, match="24 partitions of the stream have not let go"):
        await erase(analyst, topics, USER)
    assert number(analyst, "SELECT count() FROM events WHERE user_id = 'u1'") == 6
    topics.waiting = 0
    assert (await erase(analyst, topics, USER)).removed["events"] == 6
    assert len(topics.said) == 1


async def test_sums_stay_and_nothing_is_taken_for_lost(
    analyst: Client, topics: Topics, streamed: Streamed
) -> None:
    turns = "SELECT sum(count) FROM v_latency WHERE grouping = '' AND window_s = 60"
    before = number(analyst, turns)
    await erase(analyst, topics, USER)

    after = number(analyst, turns)
    assert before == after == 30
    assert lost(analyst, 0)[0] == 0
    users = rows(analyst, "SELECT DISTINCT dims['user'] AS user FROM metric_windows ORDER BY user")
    assert [row["user"] for row in users] == ["", "u0", "u2", "u3", "u4"]


async def test_what_was_asked_for_and_done_stands_in_the_view(
    analyst: Client, topics: Topics, streamed: Streamed
) -> None:
    (asked,) = rows(analyst, "SELECT rows_left, done, step FROM v_erasures")
    assert asked == {"rows_left": 6, "done": False, "step": ""}
    await erase(analyst, topics, USER)

    (done,) = rows(analyst, "SELECT rows_left, done, step, removed FROM v_erasures")
    assert done == {"rows_left": 0, "done": True, "step": "completed", "removed": 21}


@pytest.mark.parametrize(
    "subject", [Subject("tenant", ("t1",)), Subject("conversation", ("c2",))], ids=lambda s: s.kind
)
async def test_tenants_and_conversations_go_and_windows_still_agree(
    analyst: Client, topics: Topics, streamed: Streamed, subject: Subject
) -> None:
    done = await erase(analyst, topics, subject)

    assert done.removed["events"] == (10 if subject.kind == "tenant" else 5)
    assert tables.count(analyst, done.tombstone) == {}
    assert mismatches(analyst) == []


async def test_a_tenant_goes_after_one_of_its_users(
    analyst: Client, topics: Topics, streamed: Streamed
) -> None:
    await erase(analyst, topics, USER)
    await erase(analyst, topics, Subject("tenant", ("t1",)))

    assert number(analyst, "SELECT countIf(dims['tenant'] = 't1') FROM erased_windows") == 0
    assert number(analyst, "SELECT sum(count) FROM erased_windows FINAL") == 14
    assert mismatches(analyst) == []


async def test_the_plain_id_is_kept_only_where_a_row_has_it(
    analyst: Client, topics: Topics, streamed: Streamed
) -> None:
    pseudonym = "hmac:k:" + "0" * 32
    await erase(analyst, topics, Subject("user", ("nobody", pseudonym)))
    await erase(analyst, topics, Subject("user", ("u1", pseudonym)))

    assert [each.keys for each in topics.said] == [(pseudonym,), ("u1", pseudonym)]


async def test_what_the_stream_says_of_a_conversation_goes_with_its_user(
    analyst: Client, topics: Topics, streamed: Streamed
) -> None:
    analyst.command(
        "INSERT INTO conversations (tenant_id, conversation_id, segment, _broker_time) VALUES"
        " ('t1', 'c1', 'a', now()), ('t1', 'c2', 'b', now())"
    )
    done = await erase(analyst, topics, USER)

    assert done.removed["conversations"] == 1
    assert number(analyst, "SELECT count() FROM conversations WHERE conversation_id = 'c1'") == 0
    analyst.command("TRUNCATE TABLE conversations")


async def test_asked_again_nothing_happens_and_later_events_stay(
    analyst: Client, topics: Topics, streamed: Streamed
) -> None:
    first = await erase(analyst, topics, USER)
    later_us = NOW_US + 7_200_000_000
    streamed.publish([Interaction(user_id="u1", ts_us=later_us)], broker_us=later_us)
    again = await erase(analyst, topics, USER)

    assert again.was_done
    assert again.removed == first.removed
    assert number(analyst, "SELECT count() FROM events WHERE user_id = 'u1'") == 1


async def test_a_check_finds_a_changed_record_and_rows_that_are_there_again(
    analyst: Client, topics: Topics, streamed: Streamed
) -> None:
    await erase(analyst, topics, USER)
    assert [each.verdict for each in check(analyst, tables.noted(analyst), KEY)] == ["ok"]
    other = SigningKey("x" * 32)
    assert [each.verdict for each in check(analyst, tables.noted(analyst), other)] == ["wrong"]

    streamed.publish([Interaction(user_id="u1", ts_us=NOON_US)], broker_us=NOON_US)
    (found,) = check(analyst, tables.noted(analyst), KEY)
    assert "1 row of events" in found.told

    (completed,) = (each for each in tables.noted(analyst) if each.step == "completed")
    forged = replace(completed, record=completed.record.replace('"events":6', '"events":9'))
    (found,) = check(analyst, [forged], KEY)
    assert "not the one that was signed" in found.told


async def test_a_dead_letter_keeps_its_place_and_loses_its_line(
    analyst: Client, topics: Topics, streamed: Streamed
) -> None:
    analyst.command(
        "INSERT INTO dead_letters (topic, offset, broker_time, value) VALUES"
        """ ('chat.events', 1, now() - 90000, '{"user_id":"u1", oops'),
            ('chat.events', 2, now() - 90000, '{"user_id":"u11"')"""
    )
    done = await erase(analyst, topics, USER)

    assert done.removed["dead_letters"] == 1
    told = rows(analyst, "SELECT value FROM dead_letters ORDER BY offset")
    assert [row["value"] for row in told] == ["", '{"user_id":"u11"']
