"""Whatever happens to a worker, what stands on chat.alerts is one story of every alert.

The book is driven through random samples, silences, kills at every point between deciding and a
checkpoint, repeated deliveries, changed rules and wall clocks that jump. The log is what a broker
would hold; a kill loses what was not written, and may lose or keep the last record.
"""

import os
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from backchannel.events import Alert
from backchannel_processors.alerting import AlertBook, Clocks
from backchannel_processors.measures import Measures
from backchannel_processors.rule import AnyRule
from backchannel_processors.rules import Rules
from support.interactions import NOON_US
from support.rules import NOON, SECOND_US, measures, rule_of

# Each trace is some forty steps; the long form walks twelve thousand.
TRACES = 12_000 if os.environ.get("BACKCHANNEL_FAULTS") == "full" else 1_500
CHUNKS = 10


def rules_of(chance: Random) -> Rules:
    """Returns rules of every patience, over the same series."""
    patience: dict[str, Any] = {
        "hold": chance.choice(("0s", "20s")),
        "keep_firing_for": chance.choice(("0s", "30s")),
    }
    count: dict[str, Any] = {"metric": "count", "min_samples": 1, "window": "20s", "threshold": 6}
    several: tuple[AnyRule, ...] = (
        rule_of(**count, **patience, clear_threshold=chance.choice((6, 3))),
        rule_of(metric="error_rate", threshold=0.5, min_samples=4, **patience).model_copy(
            update={"name": "errors"}
        ),
        rule_of("no_data", window="30s", forget_after="5m").model_copy(update={"name": "silent"}),
        rule_of("budget", metric="count", threshold=30, period="hour").model_copy(
            update={"name": "spent"}
        ),
    )
    return Rules(several, "hash")


class World:
    """A broker's logs, the windows that a partition holds, and the worker that owns it now."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.rules = rules_of(chance)
        self.log: list[Alert] = []
        self.changelog: list[tuple[bytes, bytes | None]] = []
        self.windows: dict[int, Measures] = {}
        self.event_s = 0
        self.wall_us = NOON_US
        self.read_us = NOON_US
        self.start()

    def start(self) -> None:
        """Starts a worker on what the logs hold."""
        self.book = AlertBook(self.rules)
        self.book.restore(self.chance.sample(self.log, len(self.log)))
        for key, value in self.changelog:
            self.book.restore_entry(key[2 : key.index(b'"', 2)].decode(), key, value)
        self.book.restored()
        self.log += self.book.retire(self.wall_us)

    def step(self) -> None:
        """Lets one thing happen."""
        chance = self.chance
        self.wall_us += round(chance.choice((1, 1, 1, -3_600, 7_200)) * SECOND_US)
        match chance.randrange(10):
            case 0 | 1 | 2 | 3:
                self.event_s += chance.choice((0, 1, 5, 12))
                self.count(chance.choice((1, 3, 8)), chance.choice((0, 1)))
            case 4:
                self.event_s += chance.choice((20, 40, 120, 1_800))
            case 5:
                self.book.changed("tenant", ("a",), (0, ""))  # a repeat
            case 6:
                self.read_us += chance.choice((5, 20, 400)) * SECOND_US
            case 7:
                self.changelog += [*self.book.changes(), *self.book.forget()]
            case 8:
                self.let_go()
            case _:
                self.kill()
        self.decide()

    def count(self, turns: int, failed: int) -> None:
        at_us = NOON_US + self.event_s * SECOND_US
        start = at_us // SECOND_US // 10 * 10
        new = measures(turns, errors=turns * failed, at_us=at_us)
        self.windows.setdefault(start, Measures()).add(new)
        self.book.changed("tenant", ("a",), new.newest)

    def let_go(self) -> None:
        """Folds old windows, in one checkpoint with the past that they become."""
        for start in sorted(self.windows):
            if start < NOON + self.event_s - 180:
                self.book.fold(start, [(("tenant", ("a",)), self.windows.pop(start))])
        self.changelog += self.book.changes()

    def kill(self) -> None:
        """Ends the worker: after deciding, before the record is there; or with nothing lost."""
        if self.chance.random() < 0.3:
            self.book.decide(self.held, self.clocks())
        self.start()
        self.book.look_at("tenant", ("a",))

    def decide(self) -> None:
        alerts = self.book.decide(self.held, self.clocks())
        if alerts and self.chance.random() < 0.1:
            # The first ones are on the log, the worker dies before the others are.
            self.log += alerts[: self.chance.randrange(len(alerts) + 1)]
            self.start()
            self.book.look_at("tenant", ("a",))
            return
        self.log += alerts

    def clocks(self) -> Clocks:
        return Clocks(self.wall_us, NOON_US + self.event_s * SECOND_US, self.read_us)

    def held(self, grouping: str, dims: tuple[str, ...]) -> list[tuple[int, Measures]]:
        return list(self.windows.items()) if dims == ("a",) else []


def assert_one_story(log: list[Alert]) -> None:
    by_alert: dict[str, dict[int, Alert]] = {}
    for alert in log:
        known = by_alert.setdefault(alert.alert_id, {}).setdefault(alert.transition, alert)
        assert known == alert, "two different transitions under one id"
    for story in by_alert.values():
        assert sorted(story) == list(range(1, len(story) + 1)), "a transition is lost"
        told = [story[number] for number in sorted(story)]
        assert told[0].state == "firing", "what ends has begun"
        for before, after in pairwise(told):
            assert {before.state, after.state} == {"firing", "resolved"}, "fires once, ends once"
        for ended in told[1::2]:
            assert ended.reason
            assert ended.starts_at_us == story[ended.transition - 1].starts_at_us


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_firing_has_one_end_and_no_transition_is_told_in_two_ways(chunk: int) -> None:
    for trace in range(TRACES // CHUNKS):
        world = World(Random(chunk * 1_000_003 + trace))
        for _ in range(world.chance.randrange(10, 60)):
            world.step()
        assert_one_story(world.log)


def test_the_traces_reach_every_kind_of_end() -> None:
    reasons: set[str] = set()
    for trace in range(200):
        world = World(Random(trace))
        for _ in range(60):
            world.step()
        reasons |= {f"{alert.rule} {alert.reason}".strip() for alert in world.log}
    assert reasons >= {
        "rule",
        "rule clear",
        "rule no_data",
        "errors clear",
        "errors no_data",
        "silent",
        "silent clear",
        "spent",
        "spent period_over",
    }


@pytest.mark.parametrize("seed", range(20))
def test_when_all_is_quiet_nothing_fires_any_more(seed: int) -> None:
    world = World(Random(seed))
    for _ in range(60):
        world.step()
    world.event_s += 7_200
    for _ in range(30):
        world.event_s += 60
        world.read_us += 30 * SECOND_US
        world.decide()
        world.changelog += world.book.changes()
    last = {alert.alert_id: alert for alert in world.log}
    assert {alert.state for alert in last.values()} <= {"resolved"}
