"""Random alerts, failures, writes and kills: nobody is left without word of how an alert is."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from backchannel.events import Alert
from backchannel_sinks.notifier.counters import Counters
from backchannel_sinks.notifier.dispatch import Dispatch
from backchannel_sinks.notifier.message import Message, Origin
from backchannel_sinks.notifier.plan import Plan
from backchannel_sinks.notifier.thread import Thread
from support.alerts import NOON_US, an_alert, fires_again, resolved

SECOND_US = 1_000_000
TARGETS = ("team", "boss")
PLAN = Plan.model_validate(
    {
        "target": {name: {"apprise": "json://localhost"} for name in TARGETS},
        "route": [{"to": list(TARGETS), "group_by": ["rule"], "group_wait": "5s"}],
    }
)

STEPS = st.lists(
    st.sampled_from(
        [
            *(("publish", number) for number in range(4)),
            *(("read", 0), ("read", 0), ("write", 0), ("write", 0), ("kill", 0)),
            *((what, target) for what in ("take", "refuse") for target in (0, 1)),
            *(("wait", seconds) for seconds in (1, 5, 61, 700)),
        ]
    ),
    min_size=5,
    max_size=60,
)


class World:
    """``chat.alerts``, ``chat.notifier`` and a notifier that may die between any two steps."""

    def __init__(self) -> None:
        self.log: list[Alert] = []
        self.written: dict[str, Thread] = {}
        self.committed = self.position = 0
        self.now_us = NOON_US
        self.told: defaultdict[str, list[Message]] = defaultdict(list)
        self.dispatch = Dispatch(PLAN, Counters(), chance=lambda: 0.5)

    def publish(self, number: int) -> None:
        last = next((a for a in reversed(self.log) if a.dims["tenant"] == f"t{number}"), None)
        if last is None:
            alert = an_alert(f"rule-{number % 2}", f"t{number}")
        else:
            alert = resolved(last) if last.state == "firing" else fires_again(last)
        self.log.append(alert)

    def read(self, _: int = 0) -> None:
        for offset in range(self.position, len(self.log)):
            origin = Origin(partition=0, offset=offset)
            self.dispatch.offer(self.log[offset], origin, self.now_us)
        self.position = len(self.log)

    def write(self, _: int = 0) -> None:
        for key, thread in self.dispatch.take_changes().items():
            self.written.pop(key, None)
            if thread is not None:
                self.written[key] = Thread.model_validate_json(thread.model_dump_json())
        self.committed = self.position

    def kill(self, _: int = 0) -> None:
        self.dispatch = Dispatch(PLAN, Counters(), chance=lambda: 0.5)
        self.dispatch.load(self.written.values())
        for alert in self.log[: self.committed]:
            self.dispatch.recall(alert)
        self.position = self.committed

    def take(self, target: int) -> bool:
        message = self.dispatch.next_message(TARGETS[target], self.now_us)
        if message is not None:
            self.told[TARGETS[target]].append(message)
            self.dispatch.delivered(message, self.now_us)
        return message is not None

    def refuse(self, target: int) -> None:
        message = self.dispatch.next_message(TARGETS[target], self.now_us)
        if message is not None:
            self.dispatch.failed(message, self.now_us)

    def wait(self, seconds: int) -> None:
        self.now_us += seconds * SECOND_US


@given(STEPS)
def test_every_target_is_told_how_every_alert_is(steps: list[tuple[str, int]]) -> None:
    world = World()
    for name, number in steps:
        getattr(world, name)(number)
    world.read()
    for _ in range(4):
        world.wait(700)
        for target in (0, 1):
            while world.take(target):
                pass

    last = {alert.alert_id: alert.transition for alert in world.log}
    for name in TARGETS:
        known: dict[str, int] = {}
        for message in world.told[name]:
            for alert_id, transition in message.news.items():
                known[alert_id] = max(known.get(alert_id, 0), transition)
        assert known == last, name


@given(STEPS)
def test_one_id_is_one_message(steps: list[tuple[str, int]]) -> None:
    world = World()
    for name, number in steps:
        getattr(world, name)(number)

    told: dict[str, Message] = {}
    for messages in world.told.values():
        for message in messages:
            known = told.setdefault(message.id, message)
            assert known.alerts == message.alerts


@given(STEPS)
def test_what_a_target_is_told_of_an_alert_never_goes_back_unless_somebody_died(
    steps: list[tuple[str, int]],
) -> None:
    world = World()
    for name, number in steps:
        if name != "kill":
            getattr(world, name)(number)

    for messages in world.told.values():
        known: dict[str, int] = {}
        for message in messages:
            for alert_id, transition in message.news.items():
                assert transition > known.get(alert_id, 0)
                known[alert_id] = transition
