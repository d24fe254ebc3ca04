"""The conversations of one source partition: added up turn by turn, closed by silence. No I/O.

    turns, feedback ──▶ take ──▶ open conversations ──▶ close, when event time has left them behind
                          └─▶ Crossings: the turn by which one went over a limit of an alert rule

What becomes of a conversation is a pure function of the log up to a record, as for windows: all
records of one stand in one partition, and only their order and the watermark decide. A state that
was written ahead of a checkpoint says so by its offset, and skips what it contains.

A closed conversation is told before anything about it is written or forgotten. It may be told again
after a crash, the same, or with more turns under a higher revision.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

import msgspec

from backchannel.events import CONVERSATION_SCHEMA, SealedBatch
from backchannel.events.closed_conversation import Outcome
from backchannel_processors.counters import Counters
from backchannel_processors.counting import FAILED, is_unpriced
from backchannel_processors.erasures import Erasures
from backchannel_processors.measures import SUM_MAX
from backchannel_processors.observations import Crossing, Feedback, Interaction, Observation
from backchannel_processors.partials import VERSION
from backchannel_processors.sealed_lines import seal_lines
from backchannel_processors.states import Entry, decode_state, encode_state

__all__ = ["STATE_KIND", "ClosedRow", "Conversations", "Limit", "seal_closed"]

STATE_KIND = "conversation"
"""The kind of its entries on the changelog."""

_UNANSWERED_US = 10_000_000
"""A last turn that took longer was not waited for."""

_USERS_MAX = 16
"""Users of one conversation who are known; of one with more of them it is nobody's alone."""

_COST_MAX = 2**127 - 1
_WINDOW_US = 10_000_000


@dataclass(frozen=True, slots=True)
class Limit:
    """What an alert rule allows one conversation."""

    quantity: str
    """An attribute of a conversation: ``tokens``, ``cost_picousd``, ``turns`` ..."""
    most: int

    @property
    def label(self) -> str:
        """Its name in ``conversations_over``."""
        return f"{self.quantity}:{self.most}"


class _Over(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """How a conversation went over a limit."""

    offset: int
    event_id: str
    total: int


class _Conversation(msgspec.Struct, array_like=True):
    """One open conversation, as it stands on the changelog."""

    v: int
    last_offset: int
    """Offset of the newest record that changed it."""
    segment: str
    started_us: int
    until_us: int
    """Event time at which it has been silent for long enough."""
    ended_us: int
    """When its turns have ended."""
    last_us: int
    last_event_id: str = ""
    last_status: str = "ok"
    last_duration_us: int = 0
    turns: int = 0
    errors: int = 0
    fallbacks: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_picousd: int = 0
    unpriced: int = 0
    sample_weight: int = 1
    escalated: bool = False
    completed: bool = False
    over: dict[str, _Over] = {}
    users: list[str] = []
    """Whose turns it has: they may be erased."""

    @classmethod
    def begun_by(cls, turn: Interaction) -> "_Conversation":
        at_us = turn.ts_us
        return cls(VERSION, -1, turn.event_id, at_us, at_us, at_us, last_us=-1)

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def duration_us(self) -> int:
        return max(0, self.ended_us - self.started_us)

    @property
    def outcome(self) -> Outcome:
        """How it ended, as ``v_conversations`` says it too."""
        if self.escalated:
            return "escalated"
        if self.completed:
            return "completed"
        if self.last_status in FAILED:
            return "errored"
        if self.last_status in ("cancelled", "blocked") or self.last_duration_us > _UNANSWERED_US:
            return "abandoned"
        return "answered"

    def add_turn(self, turn: Interaction, silence_us: int) -> None:
        at_us, status, duration_us = turn.ts_us, turn.status, turn.duration_us
        if at_us > self.last_us or (at_us == self.last_us and turn.event_id > self.last_event_id):
            self.last_us = at_us
            self.last_event_id = turn.event_id
            self.last_status = status
            self.last_duration_us = duration_us
        # Comparisons: for each turn there is, calls of min and max cost more than all the rest.
        if at_us < self.started_us:  # noqa: PLR1730
            self.started_us = at_us
        if at_us + silence_us > self.until_us:  # noqa: PLR1730
            self.until_us = at_us + silence_us
        if at_us + duration_us > self.ended_us:  # noqa: PLR1730
            self.ended_us = at_us + duration_us
        self.turns += 1
        self.input_tokens += turn.input_tokens
        self.output_tokens += turn.output_tokens
        if status != "ok" and status in FAILED:
            self.errors += 1
        if turn.fallback_used:
            self.fallbacks += 1
        if turn.cost_picousd is not None:
            self.cost_picousd += turn.cost_picousd
        elif is_unpriced(turn):
            self.unpriced += 1
        if turn.sample_weight > self.sample_weight:  # noqa: PLR1730
            self.sample_weight = turn.sample_weight
        user_id = turn.user_id
        if user_id and user_id not in self.users and len(self.users) < _USERS_MAX:
            self.users.append(user_id)

    def add_feedback(self, feedback: Feedback, silence_us: int) -> None:
        self.until_us = max(self.until_us, feedback.ts_us + silence_us)
        self.escalated |= feedback.kind == "escalated"
        self.completed |= feedback.kind == "task_completed" and (feedback.value or 0) > 0


class ClosedRow(msgspec.Struct, frozen=True, kw_only=True):
    """``backchannel.events.ClosedConversation``, quick to write: a test holds it to the same
    fields."""

    kind: str = "conversation.closed"
    origin: str
    tenant_id: str
    conversation_id: str
    segment: str
    revision: int
    outcome: Outcome
    started_at_us: int
    last_at_us: int
    closed_at_us: int
    duration_us: int
    turns: int
    errors: int
    fallbacks: int
    input_tokens: int
    output_tokens: int
    cost_picousd: int
    unpriced: int
    last_status: str
    last_event_id: str
    sample_weight: int


_Key = tuple[str, str, str]
"""Origin, tenant, conversation."""

_EntryKey = tuple[str, str, str, str]

_decode_key = msgspec.json.Decoder(_EntryKey).decode


class Conversations:
    """The open conversations of one partition of ``chat.events``. Owned by one task at a time.

    Beyond ``most`` of them a new one is not followed: ``conversations_without_room`` counts its
    turns.
    """

    def __init__(
        self, counters: Counters, *, silence_s: int, most: int, limits: Sequence[Limit] = ()
    ) -> None:
        self.watch(limits)
        self._counters = counters
        self._silence_us = silence_s * 1_000_000
        self._most = most
        self._open: dict[_Key, _Conversation] = {}
        self._due: dict[str, list[tuple[int, _Key]]] = {}
        """By origin, as heaps: when to look whether a conversation is silent."""
        self._looked_at: set[_Key] = set()
        """Those that stand in a heap."""
        self._contained: dict[_Key, int] = {}
        """Records up to here were in it when it was restored."""
        self._unsaved: dict[_Key, None] = {}
        self._closed: list[tuple[_Key, ClosedRow]] = []
        self._told: dict[_Key, None] = {}
        self._erasures = Erasures()
        self.whole_from_us = 0
        """What began earlier may have begun before the first record that was read, and is not told:
        its turns count as late. 0 but after a recount."""

    def take(
        self,
        origin: str,
        observations: Iterable[Observation],
        offset: int,
        *,
        reached_us: int,
        closed_us: int,
    ) -> list[Crossing]:
        """Adds turns and feedback of one record, when the watermark was ``reached_us``.

        Returns by which turns conversations went over a limit. Not by one whose 10 s window has
        ended at ``closed_us`` or before: it would be counted nowhere; the next turn is looked at.
        """
        crossings: list[Crossing] = []
        open_ones, contained, silence_us = self._open, self._contained, self._silence_us
        limits = len(self._limits)
        for each in observations:
            conversation_id = each.conversation_id
            if not conversation_id or not isinstance(each, (Interaction, Feedback)):
                continue
            key = (origin, each.tenant_id, conversation_id)
            known = open_ones.get(key)
            if contained and offset <= contained.get(key, -1):
                crossings += _crossed_before(known, each, offset)
                continue
            if known is None or not known.started_us < each.ts_us < known.until_us:
                known = self._joined(key, known, each, reached_us)
                if known is None:
                    continue
            known.last_offset = offset
            self._unsaved[key] = None
            if isinstance(each, Feedback):
                known.add_feedback(each, silence_us)
                continue
            known.add_turn(each, silence_us)
            if limits and len(known.over) < limits:
                window_end_us = (each.ts_us // _WINDOW_US + 1) * _WINDOW_US
                if window_end_us > closed_us:
                    crossings += self._crossed(known, each, offset)
        return crossings

    def watch(self, limits: Sequence[Limit]) -> None:
        """Tells from now on which turns take a conversation over one of these limits."""
        self._limits = tuple((limit.label, limit.quantity, limit.most) for limit in limits)

    def _joined(
        self, key: _Key, known: _Conversation | None, each: Interaction | Feedback, reached_us: int
    ) -> _Conversation | None:
        """Returns the conversation that a turn or feedback belongs to, a new one if need be;
        ``None`` when it is followed no longer, or not at all."""
        if known is not None and each.ts_us >= known.until_us:
            self._close(key, known)
            known = None
        since_us = known.started_us if known is not None else reached_us
        is_turn = isinstance(each, Interaction)
        if each.ts_us + self._silence_us <= since_us:
            self._counters.conversations_late += is_turn
            return None
        if self._erasures.covers_conversation(key[1], key[2], (each.user_id,), each.ts_us):
            return None
        if known is not None or not isinstance(each, Interaction):
            return known
        if len(self._open) >= self._most:
            self._counters.conversations_without_room += 1
            return None
        known = _Conversation.begun_by(each)
        self._hold(key, known)
        return known

    def _hold(self, key: _Key, conversation: _Conversation) -> None:
        self._open[key] = conversation
        self._look_again(key, conversation.until_us)

    def _look_again(self, key: _Key, due_us: int) -> None:
        if key not in self._looked_at:
            self._looked_at.add(key)
            heappush(self._due.setdefault(key[0], []), (due_us, key))

    def _crossed(
        self, conversation: _Conversation, turn: Interaction, offset: int
    ) -> list[Crossing]:
        crossings: list[Crossing] = []
        for label, quantity, most in self._limits:
            total: int = getattr(conversation, quantity)
            if total > most and label not in conversation.over:
                conversation.over[label] = _Over(offset, turn.event_id, total)
                crossings.append(Crossing.of(turn, label, total))
        return crossings

    # -- closing ---------------------------------------------------------------------------------

    def close(self, origin: str, reached_us: int) -> None:
        """Closes what has been silent for long enough at the watermark ``reached_us``."""
        due = self._due.get(origin)
        while due and due[0][0] <= reached_us:
            _, key = heappop(due)
            self._looked_at.remove(key)
            conversation = self._open.get(key)
            if conversation is None:
                continue
            if conversation.until_us > reached_us:
                self._look_again(key, conversation.until_us)
            else:
                self._close(key, conversation)
        if not due:
            self._due.pop(origin, None)

    def _close(self, key: _Key, conversation: _Conversation) -> None:
        del self._open[key]
        if conversation.started_us < self.whole_from_us:
            self._counters.conversations_late += conversation.turns
            self._told[key] = None
            return
        self._closed.append((key, self._row(key, conversation)))
        self._counters.conversations_closed += 1

    def _row(self, key: _Key, found: _Conversation) -> ClosedRow:
        return ClosedRow(
            origin=key[0],
            tenant_id=key[1],
            conversation_id=key[2],
            segment=found.segment,
            revision=found.last_offset + 1,
            outcome=found.outcome,
            started_at_us=found.started_us,
            last_at_us=found.last_us,
            # Of its own times alone: whenever that is noticed, the record is the same.
            closed_at_us=found.until_us,
            duration_us=min(found.duration_us, SUM_MAX),
            turns=found.turns,
            errors=found.errors,
            fallbacks=found.fallbacks,
            input_tokens=min(found.input_tokens, SUM_MAX),
            output_tokens=min(found.output_tokens, SUM_MAX),
            cost_picousd=min(found.cost_picousd, _COST_MAX),
            unpriced=found.unpriced,
            last_status=found.last_status,
            last_event_id=found.last_event_id,
            sample_weight=found.sample_weight,
        )

    def erase(self, erasures: Erasures) -> bool:
        """Lets go of the conversations of those who were erased, and follows none of theirs from
        now on; says whether there was one. Their closed ones are no matter of the stream."""
        self._erasures = erasures
        gone = [
            key
            for key, each in self._open.items()
            if erasures.covers_conversation(key[1], key[2], each.users, each.started_us)
        ]
        for key in gone:
            del self._open[key]
            self._unsaved.pop(key, None)
            self._told[key] = None
        return bool(gone)

    def closed(self) -> list[ClosedRow]:
        """Returns what was closed since the last call. To be durable before the next states."""
        told, self._closed = self._closed, []
        self._told.update(dict.fromkeys(key for key, _ in told))
        return [row for _, row in told]

    @property
    def has_closed(self) -> bool:
        """Something was closed that ``closed`` has not returned yet."""
        return bool(self._closed)

    # -- keeping ---------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._open)

    def changes(self) -> Iterator[Entry]:
        """Returns what is to be written since the last call: those open now, each as it is when it
        is reached."""
        changed, self._unsaved = self._unsaved, {}
        still_open = [(key, self._open[key]) for key in changed if key in self._open]
        return ((_entry_key(key), encode_state(each)) for key, each in still_open)

    def gone(self) -> Iterator[Entry]:
        """Returns the deletions of those that ``closed`` has returned, or that were erased."""
        told, self._told = self._told, {}
        gone = [key for key in told if key not in self._open]
        return ((_entry_key(key), None) for key in gone)

    def restore(self, entries: Iterable[Entry], next_offset: int) -> None:
        """Takes back what was written, in the order of the log; the higher offset counts.

        Raises:
            StateError: another version wrote it.
        """
        found: dict[_Key, _Conversation] = {}
        for raw, value in entries:
            key = _decode_key(raw)[1:]
            if value is None:
                found.pop(key, None)
                continue
            state = decode_state(value, _Conversation)
            known = found.get(key)
            if known is None or state.last_offset >= known.last_offset:
                found[key] = state
        for key, state in found.items():
            self._hold(key, state)
            if state.last_offset >= next_offset:
                self._contained[key] = state.last_offset


def _crossed_before(
    known: _Conversation | None, each: Interaction | Feedback, offset: int
) -> Iterator[Crossing]:
    """Yields what a record that is read again brought about: the windows may not have it."""
    if known is None or isinstance(each, Feedback):
        return
    for label, over in known.over.items():
        if (over.offset, over.event_id) == (offset, each.event_id):
            yield Crossing.of(each, label, over.total)


def _entry_key(key: _Key) -> bytes:
    return encode_state((STATE_KIND, *key))


def seal_closed(rows: Sequence[ClosedRow]) -> SealedBatch:
    """Returns one record of ``chat.metrics``: NDJSON, and headers by which it can be checked."""
    return seal_lines(rows, CONVERSATION_SCHEMA, ("kind", b"conversation.closed"))
