"""A lane: records in order, blocks that can be built again, and where a new owner begins."""

import pytest

from backchannel_sinks.block import intent, read_intent
from backchannel_sinks.errors import SinkStoppedError
from backchannel_sinks.lane import BlockLimits, Lane, Position, starting_position
from backchannel_sinks.records import Place, Record

PLACE = Place("chat.events", 0)
LIMITS = BlockLimits(rows_max=3, bytes_max=10_000, linger_us=100)


def records(*offsets: int) -> list[Record]:
    return [Record(offset, 0, b"x", ()) for offset in offsets]


def lane(start: int = 5, in_doubt: int | None = None) -> Lane:
    return Lane(PLACE, Position(start, in_doubt), 0, LIMITS)


def test_records_that_came_before_are_skipped() -> None:
    each = lane()
    each.offer(records(3, 4, 5, 5, 6), 0)

    assert [record.offset for record in each.held] == [5, 6]


def test_a_hole_is_looked_at_once_more_and_then_believed() -> None:
    each = lane()

    assert each.offer(records(7), 0) == 5
    assert each.offer(records(7), 0) is None
    assert each.next_offset == 8


def test_a_block_waits_for_its_linger_or_until_it_is_full() -> None:
    each = lane()
    each.offer(records(5), 1_000)
    assert each.due_at_us(100) == 1_100

    each.offer(records(6, 7), 1_010)
    assert each.due_at_us(100) == 0


def test_a_block_under_way_stays_the_same_whatever_comes() -> None:
    each = lane()
    each.offer(records(5), 0)
    token = each.next_block().token
    each.offer(records(6), 0)

    assert each.next_block().token == token


def test_the_block_in_doubt_is_awaited_and_cut_exactly() -> None:
    each = lane(5, in_doubt=9)
    each.offer(records(5, 6, 7, 8), 0)
    assert each.due_at_us(100) is None

    each.offer(records(9, 10, 11), 0)
    assert each.due_at_us(100) == 0
    assert [record.offset for record in each.next_block().records] == [5, 6, 7, 8, 9]


def test_a_token_names_the_bytes() -> None:
    one, other = lane(), lane()
    one.offer([Record(5, 0, b"a", ())], 0)
    other.offer([Record(5, 0, b"b", ())], 0)

    assert one.next_block().token != other.next_block().token


def test_the_note_in_the_commit_is_read_back_and_anything_else_is_none() -> None:
    assert read_intent(intent(17)) == 17
    assert [read_intent(text) for text in ("", "v2:17", "v1:", "v1:-1")] == [None] * 4


@pytest.mark.parametrize(
    ("committed", "in_doubt", "expected"),
    [
        (None, None, Position(2, None)),
        (5, None, Position(5, None)),
        (5, 8, Position(5, 8)),
        (1, None, Position(2, None, lost=1)),
        (1, 8, Position(2, None, lost=1)),
    ],
)
def test_a_new_owner_begins_at_the_commit_or_where_the_log_does(
    committed: int | None, in_doubt: int | None, expected: Position
) -> None:
    position = starting_position(PLACE, committed=committed, in_doubt=in_doubt, beginning=2, end=10)

    assert position == expected


@pytest.mark.parametrize(("committed", "in_doubt"), [(11, None), (5, 10)])
def test_a_log_that_ends_before_what_was_stored_stops_the_sink(
    committed: int, in_doubt: int | None
) -> None:
    with pytest.raises(SinkStoppedError, match="made anew"):
        starting_position(PLACE, committed=committed, in_doubt=in_doubt, beginning=0, end=10)
