"""Where events enter: numbered, encoded, bounded, counted. All that a bot's code waits for.

Everything here takes microseconds and no system call. The sender takes the lines out on a thread
of its own; the two share nothing but this object.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Literal

from pydantic import ValidationError

from backchannel.events import EVENT_TYPES, LINE_BYTES_MAX, Event, Health, line_prefix
from backchannel.sending.stats import DropReason, ProducerStats
from backchannel.shaping.encoding import Encoding, Fields, encoding_of
from backchannel.shaping.privacy import Privacy
from backchannel.shaping.repair import build
from backchannel.shaping.sampling import WEIGHT_MAX, Sampling
from backchannel.shaping.stamps import Stamps

__all__ = ["EVENT_OVERHEAD_BYTES", "HEALTH_RESERVE_BYTES", "Intake", "Line", "Texts"]

EVENT_OVERHEAD_BYTES = 200
"""What an event costs in memory besides its line: the objects around it, and its key."""

Line = tuple[str, bytes]
"""Partition key, and the event as it will stand on the wire."""

HEALTH_RESERVE_BYTES = 32 * 1024
"""Room beyond the bound that only ``Health`` may take: some forty of them."""

_Form = tuple[type[Event], bytes, Encoding, frozenset[str]]
"""A type of event, what its lines begin with, its encoding, and its fields for free text."""

Texts = Sequence[tuple[str, str]]
"""Prompts and replies: the part that each is, and the text."""

_NEVER = 2**63
_AFTER_ACCEPTANCE: tuple[DropReason, ...] = ("displaced", "refused", "spill_damaged", "unsent")
_OURS = frozenset({"producer_id", "seq", "schema_version"})


class Intake:
    """Takes events from any thread. Nothing here blocks or raises.

    ``wake`` is called, from the thread that offers, when the sender has work and sleeps: at most
    once for each time that the sender has called ``sleep``.
    """

    def __init__(
        self,
        producer_id: str,
        bytes_max: int,
        *,
        privacy: Privacy | None = None,
        sampling: Sampling | None = None,
        disabled: bool = False,
        displace: bool = False,
    ) -> None:
        self.wake: Callable[[], None] = lambda: None
        self.on_texts: Callable[[Fields, Stamps, Texts], None] | None = None
        """Takes the texts of an event that was accepted; ``None`` where nobody wants them."""
        self.observe: Callable[[type[Event], Fields], None] | None = None
        """Is told of every event before sampling and bounds; ``None`` where nobody asks. It must
        be quick, change nothing and raise nothing."""
        self._bytes_max = bytes_max
        self._privacy = privacy or Privacy()
        self._privacy.failed = self._count_masking_failure
        self._pseudonymises = self._privacy.pseudonymises
        self._sampling = sampling
        self._displace = displace
        self._shut: DropReason | None = "disabled" if disabled else None
        self._abandoned = False
        self.restart(producer_id)

    def restart(self, producer_id: str) -> None:
        """Begins anew, empty and with all counts at zero: at first, and in a forked child, where
        what is held is the parent's. Only while no other thread is in here."""
        self.producer_id = producer_id
        texts = self._privacy.texts
        self._forms: dict[type[Event], _Form] = {
            model: (
                model,
                line_prefix(event_type, producer_id),
                encoding_of(model),
                texts.intersection(model.model_fields),
            )
            for event_type, model in EVENT_TYPES.items()
        }
        self._lines: deque[Line] = deque()
        # Reentrant, because a signal handler or a finalizer may track in the middle of a track.
        self._lock = threading.RLock()
        self._wake_at_bytes = 0
        self._offered = 0
        self._seq = 0
        self._accepted = 0
        self._accepted_bytes = 0
        self._taken = 0
        self._taken_bytes = 0
        self._settled = 0
        self._settled_bytes = 0
        self._acked = 0
        self._batches = 0
        self._reconnects = 0
        self._partitions = 0
        self._fields_repaired = 0
        self._sampled_out = 0
        self._masking_failures = 0
        self._spilled = 0
        self._spill_bytes = 0
        self._spill_failures = 0
        self._spill_damaged = 0
        self._recovered = 0
        self._dropped: Counter[DropReason] = Counter()

    # The bot's side.

    def offer(self, event: Event, stamps: Stamps) -> bool:
        """Takes an event. Returns whether it was accepted; if not, the reason is counted."""
        try:
            form = self._forms[type(event)]
            fields = form[2].said(event)
        except Exception:  # noqa: BLE001  # whatever a bot passes: it is counted, never raised
            return self._refuse_invalid()
        return self._take_in(form, fields, stamps)

    def offer_fields(
        self, model: type[Event], given: Fields, stamps: Stamps, texts: Texts = ()
    ) -> bool:
        """Takes the event of that type that these fields make: cheaper than making it first.

        ``texts`` go where content goes, if the event is accepted and not sampled out.

        What does not fit the contract is cut or left out, and counted. ``event_id`` and ``ts_us``
        are made up if they are not given. Returns what ``offer`` does.
        """
        try:
            form = self._forms[model]
            try:
                fields = form[2].checked(given)
            except ValidationError:
                event, repaired = build(model, given)
                fields = form[2].said(event)
                self.count_repaired(repaired)
        except Exception:  # noqa: BLE001  # as above
            return self._refuse_invalid()
        return self._take_in(form, fields, stamps, texts)

    def offer_line(self, key: str, line: bytes) -> bool:
        """Takes a line that is no event, so that it has no number. Returns what ``offer`` does."""
        with self._lock:
            self._offered += 1
            if self._shut is not None:
                self._dropped[self._shut] += 1
                return False
            put = self._put(key, line, self._bytes_max)
        if put == "wake":
            self._wake_sender()
        return put != "full"

    def _take_in(self, form: _Form, fields: Fields, stamps: Stamps, texts: Texts = ()) -> bool:
        try:
            model, prefix, encoding, free_text = form
            if not fields.keys().isdisjoint(_OURS):
                if "schema_version" in fields:  # not ours, since that is left out
                    return self._refuse_invalid()
                # It was sent before: both are ours to give.
                fields.pop("producer_id", None)
                fields.pop("seq", None)
            if self.observe is not None:
                self.observe(model, fields)
            if self._pseudonymises:
                self._privacy.pseudonymise(fields)
            if self._sampling is not None and not self._is_kept(model, fields, stamps):
                return self._leave_out()
            if not fields.keys().isdisjoint(free_text):
                self._privacy.mask(fields)
            body = encoding.json(fields)
            fragment = stamps.fragment(fields)
            key = stamps.partition_key(fields)
        except Exception:  # noqa: BLE001  # as above
            return self._refuse_invalid()
        with self._lock:
            self._offered += 1
            if self._shut is not None:
                self._dropped[self._shut] += 1
                return False
            self._seq = seq = self._seq + 1
            line = b"%b%d,%b%b" % (prefix, seq, fragment, body[1:])
            if len(line) > LINE_BYTES_MAX:
                self._dropped["too_large"] += 1
                return False
            put = self._put(key, line, self._bytes_max)
        if put == "wake":
            self._wake_sender()
        elif put == "full":
            return False
        if texts and self.on_texts is not None:
            self.on_texts(fields, stamps, texts)
        return True

    def _put(self, key: str, line: bytes, bytes_max: int) -> Literal["ok", "wake", "full"]:
        """Puts a line at the end, if there is room. Only under the lock."""
        size = len(line) + EVENT_OVERHEAD_BYTES
        excess = self._accepted_bytes + size - self._settled_bytes - bytes_max
        if excess > 0 and not (self._displace and self._make_room(excess)):
            self._dropped["buffer_full"] += 1
            return "full"
        self._lines.append((key, line))
        # Read again: after any call a finalizer or a signal may have tracked in between.
        self._accepted += 1
        self._accepted_bytes += size
        if self._accepted_bytes < self._wake_at_bytes:
            return "ok"
        self._wake_at_bytes = _NEVER
        return "wake"

    def offer_health(self, health: Health, stamps: Stamps, *, final: bool = False) -> None:
        """Takes a ``Health`` of the producer's own, even when the buffer is full or closed.

        ``final`` gives it its own ``seq`` as ``final_seq``: nothing may be offered after it.
        """
        _, prefix, encoding, _ = self._forms[Health]
        fields = encoding.said(health)
        if self.observe is not None:
            self.observe(Health, fields)
        self._privacy.pseudonymise(fields)
        self._privacy.mask(fields)
        body = encoding.json(fields)
        fragment, key = stamps.fragment(fields), stamps.partition_key(fields)
        with self._lock:
            if self._abandoned or self._shut == "disabled":
                return
            self._offered += 1
            self._seq = seq = self._seq + 1
            if final:
                fragment += b'"final_seq":%d,' % seq
            line = b"%b%d,%b%b" % (prefix, seq, fragment, body[1:])
            put = self._put(key, line, self._bytes_max + HEALTH_RESERVE_BYTES)
        if put == "wake":
            self._wake_sender()

    def pseudonym(self, user_id: str) -> str:
        """Returns a user's id as it stands in events."""
        fields: Fields = {"user_id": user_id}
        self._privacy.pseudonymise(fields)
        return str(fields["user_id"])

    def count_repaired(self, fields: int) -> None:
        """Counts fields that did not fit the contract."""
        with self._lock:
            self._fields_repaired += fields

    def count_invalid(self) -> None:
        """Counts an event that could not even be made; it takes a ``seq``, so it shows as lost."""
        self._refuse_invalid()

    def close(self) -> None:
        """Takes nothing from now on."""
        with self._lock:
            self._shut = self._shut or "closed"

    def stats(self) -> ProducerStats:
        """Returns all counts as of one moment."""
        with self._lock:
            return ProducerStats(
                producer_id=self.producer_id,
                offered=self._offered,
                accepted=self._accepted + self._sampled_out,
                acked=self._acked,
                held=self._accepted - self._settled,
                held_bytes=self._accepted_bytes - self._settled_bytes,
                dropped={reason: count for reason, count in self._dropped.items() if count},
                sampled_out=self._sampled_out,
                last_seq=self._seq,
                fields_repaired=self._fields_repaired,
                masking_failures=self._masking_failures,
                batches=self._batches,
                reconnects=self._reconnects,
                partitions=self._partitions,
                spilled=self._spilled,
                spill_bytes=self._spill_bytes,
                spill_failures=self._spill_failures,
                spill_damaged=self._spill_damaged,
                recovered=self._recovered,
            )

    def _make_room(self, excess: int) -> bool:
        """Drops the oldest events that the sender has not taken yet. Under the lock."""
        while excess > 0 and self._lines:
            _, line = self._lines.popleft()
            freed = len(line) + EVENT_OVERHEAD_BYTES
            excess -= freed
            self._taken += 1
            self._taken_bytes += freed
            self._settled += 1
            self._settled_bytes += freed
            self._dropped["displaced"] += 1
        return excess <= 0

    # The sender's side. One thread.

    def sleep(self, more_bytes: int) -> bool:
        """Asks for a wake once ``more_bytes`` have come in; returns whether they have already."""
        with self._lock:
            wake_at_bytes = self._taken_bytes + more_bytes
            if self._accepted_bytes >= wake_at_bytes:
                self._wake_at_bytes = _NEVER
                return True
            self._wake_at_bytes = wake_at_bytes
            return False

    def take(self, count_max: int) -> Sequence[Line]:
        """Takes the oldest lines out, in the order they were offered."""
        fresh: deque[Line] = deque()
        with self._lock:
            if len(self._lines) <= count_max:
                # All of them. No call in between, after which a finalizer might track.
                lines, self._lines = self._lines, fresh
                self._taken, self._taken_bytes = self._accepted, self._accepted_bytes
                return lines
            popleft = self._lines.popleft
            oldest = [popleft() for _ in range(count_max)]
            size = sum(len(line) for _, line in oldest) + count_max * EVENT_OVERHEAD_BYTES
            self._taken += count_max
            self._taken_bytes += size
            return oldest

    def settle(
        self, events: int, line_bytes: int, lost: DropReason | None = None, *, spilled: bool = False
    ) -> None:
        """Counts a batch as acknowledged, or as lost for a reason, and frees its bytes: those of
        one that was ``spilled`` are free already."""
        with self._lock:
            if self._abandoned:  # its events are counted as unsent already
                return
            self._settled += events
            if spilled:
                self._spilled -= events
            else:
                self._settled_bytes += line_bytes + events * EVENT_OVERHEAD_BYTES
            if lost is None:
                self._acked += events
                self._batches += 1
            else:
                self._dropped[lost] += events

    def spill(self, events: int, line_bytes: int) -> None:
        """Frees the bytes of a batch that is on disk from now on."""
        with self._lock:
            if self._abandoned:
                return
            self._spilled += events
            self._settled_bytes += line_bytes + events * EVENT_OVERHEAD_BYTES

    def note_spill(self, size: int, damaged: int) -> None:
        """Notes how much is on disk, and how many batches of it could not be read so far."""
        with self._lock:
            self._spill_bytes = size
            self._spill_damaged = damaged

    def count_spill_failure(self) -> None:
        """Counts a disk that could not be used."""
        with self._lock:
            self._spill_failures += 1

    def count_recovered(self, events: int) -> None:
        """Counts events of an earlier process that are acknowledged now."""
        with self._lock:
            self._recovered += events

    def connected(self, partitions: int) -> None:
        """Notes how many partitions there are."""
        with self._lock:
            self._partitions = partitions

    def count_reconnect(self) -> None:
        """Counts a connection that broke."""
        with self._lock:
            self._reconnects += 1

    def abandon(self) -> None:
        """Gives up what is held in memory: it counts as unsent. Nothing is settled after that."""
        with self._lock:
            self._shut = self._shut or "closed"
            self._abandoned = True
            unsent = self._accepted - self._settled - self._spilled
            if unsent:
                self._dropped["unsent"] += unsent
            self._settled += unsent
            self._settled_bytes = self._accepted_bytes
            self._lines.clear()

    @property
    def accepted(self) -> int:
        """Events accepted so far."""
        return self._accepted

    @property
    def taken(self) -> int:
        """Events that the sender has taken so far."""
        return self._taken

    @property
    def settled(self) -> int:
        """Events that are acknowledged or lost so far."""
        return self._settled

    @property
    def holds(self) -> bool:
        """Whether anything is accepted and neither acknowledged nor lost."""
        with self._lock:
            return self._accepted > self._settled

    @property
    def lost(self) -> int:
        """Accepted events that are lost so far."""
        return sum(self._dropped[reason] for reason in _AFTER_ACCEPTANCE)

    @property
    def held_bytes(self) -> int:
        """Memory of what is accepted and not settled."""
        return self._accepted_bytes - self._settled_bytes

    @property
    def under_way_bytes(self) -> int:
        """Memory of what the sender has taken, of that."""
        return self._taken_bytes - self._settled_bytes

    def _wake_sender(self) -> None:
        try:
            self.wake()
        except RuntimeError:
            # The sender's loop is closed, or no thread can be started any more: the interpreter is
            # on its way out. The next event asks again.
            self._wake_at_bytes = 0

    def _is_kept(self, model: type[Event], fields: Fields, stamps: Stamps) -> bool:
        """Draws, and notes in the event for how many it stands."""
        assert self._sampling is not None
        weight = self._sampling.weight(model, fields, stamps)
        if weight > 1:
            weight *= stamps.value("sample_weight", fields, 1)  # a bot may have sampled before
            fields["sample_weight"] = min(weight, WEIGHT_MAX)
        return weight > 0

    def _leave_out(self) -> bool:
        with self._lock:
            self._offered += 1
            if self._shut is not None:
                self._dropped[self._shut] += 1
                return False
            self._sampled_out += 1
        return True

    def _count_masking_failure(self) -> None:
        with self._lock:
            self._masking_failures += 1

    def _refuse_invalid(self) -> bool:
        with self._lock:
            self._offered += 1
            if self._shut is None:
                self._seq += 1
            self._dropped[self._shut or "invalid"] += 1
        return False
