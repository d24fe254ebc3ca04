"""Conversations hold what plain counting finds, wherever a worker was killed."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from backchannel.events import Interaction
from backchannel_processors.conversations import ClosedRow, Limit
from backchannel_processors.source_partition import Record, SourcePartition
from support.interactions import NOON_US, RULES, Changelog, interaction, record, source, tell

LIMITED = replace(RULES, limits=(Limit("tokens", 20),), conversation_silence_s=100)

steps_s = st.sampled_from((0, 1, 15, 30, 99, 100, 250))
turns = st.fixed_dictionaries(
    {
        "conversation_id": st.sampled_from(("c", "d", "")),
        "input_tokens": st.integers(0, 12),
        "status": st.sampled_from(("ok", "error")),
    }
)
histories = st.lists(st.tuples(steps_s, st.lists(turns, max_size=3)), max_size=10)

Told = dict[tuple[str, str], ClosedRow]
"""By conversation and segment, as the table keeps them: the highest revision."""


def records(history: Sequence[tuple[int, list[dict[str, Any]]]]) -> list[Record]:
    """Records whose turns come some seconds after those of the one before."""
    at_s = accumulate(step for step, _ in history)
    batches: list[list[Interaction]] = [
        [interaction(second, **fields) for fields in batch]
        for second, (_, batch) in zip(at_s, history, strict=True)
    ]
    silence = [interaction(100_000)]
    return [record(offset, batch) for offset, batch in enumerate([*batches, silence])]


def keep(told: Told, rows: list[ClosedRow]) -> None:
    for row in rows:
        known = told.setdefault((row.conversation_id, row.segment), row)
        assert known == row or known.revision != row.revision, "one revision has two contents"
        if row.revision > known.revision:
            told[row.conversation_id, row.segment] = row


def restored(changelog: Changelog) -> SourcePartition:
    part = source(LIMITED)
    part.restore(changelog.entries, NOON_US)
    return part


def expected(log: list[Record]) -> tuple[Told, object]:
    told: Told = {}
    part = source(LIMITED)
    for each in log:
        part.take(each, NOON_US)
    keep(told, part.closed())
    return told, tell({}, part.flush(fast_only=False))


@given(histories)
def test_every_turn_is_in_exactly_one_closed_conversation(
    history: list[tuple[int, list[dict[str, Any]]]],
) -> None:
    told, _ = expected(records(history))
    flat = [fields for _, batch in history for fields in batch if fields["conversation_id"]]
    assert sum(row.turns for row in told.values()) == len(flat)
    assert sum(row.input_tokens for row in told.values()) == sum(t["input_tokens"] for t in flat)


@given(histories, st.data())
def test_a_crash_at_any_point_changes_no_conversation_and_no_crossing(
    history: list[tuple[int, list[dict[str, Any]]]], data: st.DataObject
) -> None:
    log = records(history)
    told: Told = {}
    windows: dict[Any, Any] = {}
    changelog = Changelog()
    for _ in range(data.draw(st.integers(0, 6), label="lives")):
        part = restored(changelog)
        for each in log[part.next_offset :]:
            part.take(each, NOON_US)
            match data.draw(st.integers(0, 6), label="what happens"):
                case 0:
                    break  # killed
                case 1 | 2:
                    # Those that were closed are durable before any state is.
                    keep(told, part.closed())
                    tell(windows, part.flush(fast_only=False))
                    changelog.write(part)
                case 3:
                    keep(told, part.closed())
                    tell(windows, part.flush(fast_only=False))
                    # States go out side by side: any of them may be there, and others not.
                    first, _, _ = part.checkpoint()
                    changelog.entries += [
                        entry for entry in first if data.draw(st.booleans(), label="written")
                    ]
                    break
                case 4:
                    keep(told, part.closed())
                    tell(windows, part.flush(fast_only=False))
                    changelog.write(part, steps=2)
                    break  # killed before anything was taken away
    part = restored(changelog)
    for each in log[part.next_offset :]:
        part.take(each, NOON_US)
    keep(told, part.closed())
    tell(windows, part.flush(fast_only=False))
    assert (told, windows) == expected(log)
