"""Decides who is told of what and when. Pure: alerts and the time go in, messages come out.

    chat.alerts ──▶ offer ──▶ threads (route, target, group) ──▶ next_message ──▶ a target
    chat.control ─▶ hear  ──▶ silences, acknowledgements          delivered / failed ◀──┘

Everything that must outlive the process is in the threads; ``take_changes`` hands out those that
changed. Alerts that fire, silences and acknowledgements are read from their topics again.
"""

import random
from collections.abc import Callable, Iterable
from heapq import heappop, heappush

from backchannel.events import Ack, Alert, Silence
from backchannel_sinks.notifier.counters import Counters
from backchannel_sinks.notifier.message import ALERTS_MAX, Message, Origin
from backchannel_sinks.notifier.plan import Line, Plan
from backchannel_sinks.notifier.thread import Attempt, Entry, Thread

__all__ = ["GIVE_UP_US", "THREADS_MAX", "Dispatch"]

_SECOND_US = 1_000_000
GIVE_UP_US = 24 * 3_600 * _SECOND_US
"""How long a message is tried; also the age at which what is over is no news any more."""

THREADS_MAX = 10_000
"""Threads at once; alerts that would need one more are counted and left out."""

_BACKOFF_MAX_S = 300.0
_LOOK_AGAIN_US = _SECOND_US
_SEVERITIES = {"critical": 0, "error": 1, "warning": 2, "info": 3}


class Dispatch:
    """All threads, and what they are decided by. Owned by one event loop."""

    def __init__(
        self, plan: Plan, counters: Counters, *, chance: Callable[[], float] = random.random
    ) -> None:
        self._plan = plan
        self._counters = counters
        self._chance = chance
        self._silences: dict[str, Silence] = {}
        self._acks: set[tuple[str, int]] = set()
        self.clear()

    # -- what is known ---------------------------------------------------------------------------

    def clear(self) -> None:
        """Forgets all alerts and threads: somebody else takes care of them, or they are read
        again."""
        self._threads: dict[str, Thread] = {}
        self._changed: set[str] = set()
        self._queues: dict[str, list[tuple[int, str]]] = {}
        self._look_again: dict[str, int] = {}
        self._known: dict[str, int] = {}
        self._places: dict[str, set[str]] = {}
        self._firing: dict[str, Alert] = {}

    def use(self, plan: Plan) -> None:
        """Goes on with another plan: for what comes from now on. Who was told of an alert hears how
        it goes on; what a target that is gone has to be told waits, for it may come back."""
        self._plan = plan

    def load(self, threads: Iterable[Thread]) -> None:
        """Takes back what an earlier process left."""
        for thread in threads:
            if thread.target in self._plan.target:
                self._hold(thread)
            else:
                self._counters.orphaned += 1
                self._changed.add(thread.key)

    def recall(self, alert: Alert) -> None:
        """Notes an alert that was offered in an earlier process."""
        if alert.transition > self._known.get(alert.alert_id, 0):
            self._note(alert)

    def forget(self, alert_id: str) -> None:
        """Notes that an alert was of somebody who was erased. Who was told of it still hears of its
        end; what comes under the same id is counted from the beginning."""
        self._known.pop(alert_id, None)
        self._firing.pop(alert_id, None)

    def firing(self, alert_id: str) -> Alert | None:
        """Returns an alert, if it fires."""
        return self._firing.get(alert_id)

    def transition(self, alert_id: str) -> int:
        """Returns the last change that is known of an alert; 0 for none."""
        return self._known.get(alert_id, 0)

    def hear(self, control: Silence | Ack, now_us: int) -> None:
        """Notes a silence or an acknowledgement."""
        if isinstance(control, Ack):
            self._acks.add((control.alert_id, control.transition))
        elif control.ends_at_us > now_us:
            self._silences[control.silence_id] = control
        else:
            self._silences.pop(control.silence_id, None)

    def offer(self, alert: Alert, origin: Origin, now_us: int) -> None:
        """Takes a change of an alert."""
        self._counters.received += 1
        if alert.transition <= self._known.get(alert.alert_id, 0):
            self._counters.repeated += 1
            return
        self._note(alert)
        size = len(alert.model_dump_json())
        entry = Entry(alert=alert, origin=origin, size=size, due_us=now_us)
        # Who was told of it hears how it goes on, also when the plan is another one by now.
        holders = self._holders(alert.alert_id)
        for thread in holders:
            self._go_on(thread, entry)
        known = {(thread.target, thread.step) for thread in holders}
        added = [
            self._begin(line, entry)
            for line in self._plan.lines(alert)
            if (line.target, line.step) not in known and _is_news(entry, line, bool(holders))
        ]
        if holders or any(added):
            self._counters.routed += 1
        else:
            self._counters.unrouted += 1

    def _note(self, alert: Alert) -> None:
        self._known[alert.alert_id] = alert.transition
        if alert.state == "firing":
            self._firing[alert.alert_id] = alert
        else:
            self._firing.pop(alert.alert_id, None)

    def _go_on(self, thread: Thread, entry: Entry) -> None:
        """Puts a change in the place of what a thread knew of the alert."""
        alert_id = entry.alert.alert_id
        known = thread.entries[alert_id]
        if entry.alert.transition <= known.alert.transition:
            return
        # A new firing waits again, to be escalated always; an end only for the interval.
        fires = entry.alert.state == "firing"
        due_us = entry.due_us + (thread.wait_s * _SECOND_US if fires else 0)
        if known.is_news and not (fires and thread.step):
            due_us = known.due_us
        hushed = known.hushed and not fires
        kept = {"told": known.told, "hushed": hushed, "due_us": due_us}
        self._store(thread.with_entry(entry.model_copy(update=kept)))

    def _begin(self, line: Line, entry: Entry) -> bool:
        """Puts an alert into the thread of a line; says whether there was room for it."""
        empty = Thread.of(line)
        thread = self._threads.get(empty.key, empty)
        crowded = thread is empty and len(self._threads) >= THREADS_MAX
        if crowded or thread.is_full:
            self._counters.over_limit += 1
            return False
        due_us = entry.due_us + line.wait_s * _SECOND_US
        self._store(thread.with_entry(entry.model_copy(update={"due_us": due_us})))
        return True

    def _holders(self, alert_id: str) -> list[Thread]:
        """Returns the threads that an alert is in."""
        keys = self._places.get(alert_id, ())
        found = [self._threads[key] for key in keys if key in self._threads]
        return [thread for thread in found if alert_id in thread.entries]

    # -- what is to be told ----------------------------------------------------------------------

    def next_due_us(self, target: str) -> int | None:
        """Returns when the target has to be told something, at the earliest."""
        queue = self._queues.get(target, [])
        while queue and not self._is_valid(*queue[0]):
            heappop(queue)
        return queue[0][0] if queue else None

    def next_message(self, target: str, now_us: int) -> Message | None:
        """Returns what the target has to be told now: a new message, or an old one again."""
        while (due_us := self.next_due_us(target)) is not None and due_us <= now_us:
            _, key = heappop(self._queues[target])
            thread = self._threads[key]
            if thread.attempt is not None:
                self._queue_up(thread)  # until it is known what became of it
                return thread.attempt.message
            message = self._compose(thread, now_us)
            if message is not None:
                return message
        return None

    def _due_us(self, thread: Thread) -> int | None:
        due_us = thread.due_us
        return None if due_us is None else max(due_us, self._look_again.get(thread.key, 0))

    def _is_valid(self, due_us: int, key: str) -> bool:
        """Says whether a place in a queue is not outdated."""
        thread = self._threads.get(key)
        return thread is not None and self._due_us(thread) == due_us

    def _queue_up(self, thread: Thread) -> None:
        due_us = self._due_us(thread)
        if due_us is not None:
            heappush(self._queues.setdefault(thread.target, []), (due_us, thread.key))

    def _compose(self, thread: Thread, now_us: int) -> Message | None:
        self._look_again.pop(thread.key, None)
        news = self._news(thread, now_us)
        thread = self._threads[thread.key]
        if thread.is_done:
            self._drop(thread.key)
            return None
        if not news:
            # All of it is held back, by something that ends some time.
            self._look_again[thread.key] = now_us + _LOOK_AGAIN_US
            self._queue_up(thread)
            return None
        told, later = news[:ALERTS_MAX], news[ALERTS_MAX:]
        listed_ids = {entry.alert.alert_id for entry in told}
        known_ids = {entry.alert.alert_id for entry in later}
        still = [
            entry
            for alert_id, entry in thread.entries.items()
            if entry.alert.state == "firing"
            and (entry.told or alert_id in known_ids)
            and alert_id not in listed_ids
        ]
        listed = [*told, *still[: ALERTS_MAX - len(told)]]
        message = Message(
            thread=thread.key,
            target=thread.target,
            group=thread.group,
            step=thread.step,
            alerts=tuple(entry.alert for entry in listed),
            news={entry.alert.alert_id: entry.alert.transition for entry in told},
            left_out=len(told) + len(still) - len(listed),
            first_at_us=now_us,
            origin=told[0].origin,
        )
        self._counters.composed += 1
        attempt = Attempt(message=message, next_at_us=now_us)
        self._store(thread.model_copy(update={"attempt": attempt}))
        return message

    def _news(self, thread: Thread, now_us: int) -> list[Entry]:
        """Returns what may be told now, the worst first; lets go of what need not be told."""
        news = []
        for alert_id, entry in thread.entries.items():
            alert = entry.alert
            if not entry.is_news or entry.due_us > now_us:
                continue
            unheard_of = alert.state == "resolved" and not entry.told
            hushed = (alert.state == "firing" or unheard_of) and self._is_hushed(entry, now_us)
            acked = (alert_id, alert.transition) in self._acks
            if thread.step and acked and entry.told:
                # Who was told of an earlier firing hears of the end all the same.
                known = entry.model_copy(update={"told": alert.transition})
                thread = thread.with_entry(known)
            elif thread.step and (acked or unheard_of):
                thread = thread.without(alert_id)  # somebody has taken care of it
            elif unheard_of and (hushed or entry.hushed):
                thread = thread.without(alert_id)  # nobody was to know, and it is over
            elif hushed:
                thread = thread.with_entry(entry.model_copy(update={"hushed": True}))
            else:
                news.append(entry)
        if thread is not self._threads[thread.key]:
            self._store(thread)
        return sorted(
            news, key=lambda each: (_SEVERITIES[each.alert.severity], -each.alert.starts_at_us)
        )

    def _is_hushed(self, entry: Entry, now_us: int) -> bool:
        alert = entry.alert
        if any(silence.covers(alert, now_us) for silence in self._silences.values()):
            self._counters.silenced += not entry.hushed
            return True
        quieting = [rule for rule in self._plan.inhibit if rule.quiets.fits(alert)]
        if any(rule.holds_back(alert, each) for rule in quieting for each in self._firing.values()):
            self._counters.inhibited += not entry.hushed
            return True
        return False

    # -- what became of it -----------------------------------------------------------------------

    def delivered(self, message: Message, now_us: int) -> None:
        """Notes that the target has taken the message."""
        self._counters.delivered += 1
        self._done(message, now_us)

    def failed(self, message: Message, now_us: int, *, retry_after_s: float = 0.0) -> bool:
        """Notes that the target has not taken the message; it is tried again later, between half
        a second and five minutes. Returns whether it has been tried for a day: then it is to be
        put aside and ``gave_up``."""
        self._counters.failed += 1
        thread = self._threads.get(message.thread)
        if thread is None or thread.attempt is None or not _is_under_way(thread, message):
            return False
        failures = thread.attempt.failures + 1
        wait_s = min(_BACKOFF_MAX_S, 2.0 ** min(failures - 1, 10)) * (0.5 + self._chance() / 2)
        wait_s = max(wait_s, min(retry_after_s, _BACKOFF_MAX_S))
        attempt = thread.attempt.model_copy(
            update={"failures": failures, "next_at_us": now_us + round(wait_s * _SECOND_US)}
        )
        self._store(thread.model_copy(update={"attempt": attempt}))
        return now_us - message.first_at_us >= GIVE_UP_US

    def gave_up(self, message: Message, now_us: int) -> None:
        """Notes that the message stands on ``chat.dead``."""
        self._counters.dead += 1
        self._done(message, now_us)

    def _done(self, message: Message, now_us: int) -> None:
        thread = self._threads.get(message.thread)
        if thread is not None and _is_under_way(thread, message):
            self._store(thread.after(message, now_us))

    def sizes(self) -> dict[str, int]:
        """Returns how much it holds in memory."""
        waiting = sum(thread.attempt is not None for thread in self._threads.values())
        return {
            "threads": len(self._threads),
            "messages": waiting,
            "firing": len(self._firing),
            "silences": len(self._silences),
        }

    # -- keeping ---------------------------------------------------------------------------------

    def take_changes(self) -> dict[str, Thread | None]:
        """Returns the threads that changed since the last call; ``None`` for one that is over."""
        changed, self._changed = self._changed, set()
        return {key: self._threads.get(key) for key in changed}

    def put_back(self, keys: Iterable[str]) -> None:
        """Takes back what could not be written."""
        self._changed.update(keys)

    def _store(self, thread: Thread) -> None:
        self._hold(thread)
        self._changed.add(thread.key)

    def _hold(self, thread: Thread) -> None:
        self._threads[thread.key] = thread
        for alert_id in thread.entries:
            self._places.setdefault(alert_id, set()).add(thread.key)
        self._queue_up(thread)

    def _drop(self, key: str) -> None:
        self._threads.pop(key, None)
        self._look_again.pop(key, None)
        self._changed.add(key)


def _is_news(entry: Entry, line: Line, is_held: bool) -> bool:
    """Says whether somebody has to hear of an alert who has not yet. What is over is told only if
    nobody was told of it before, and it was not long ago."""
    alert = entry.alert
    if alert.state == "firing":
        return True
    return not is_held and not line.step and entry.due_us - alert.evaluated_at_us <= GIVE_UP_US


def _is_under_way(thread: Thread, message: Message) -> bool:
    return thread.attempt is not None and thread.attempt.message.id == message.id
