"""Which offsets are missing, and what a person is told."""

from backchannel_deploy.verify.log import Reach
from backchannel_deploy.verify.offsets import Gap, OffsetsFound, gaps
from backchannel_deploy.verify.stored import Offsets
from backchannel_deploy.verify.verdict import Checked, healthy, judge
from backchannel_deploy.verify.windows import WindowsFound
from backchannel_sinks.records import Record


def found(beginning: int, committed: int, *stored: tuple[int, int]) -> list[tuple[int, int]]:
    reach = Reach(3, beginning, committed, committed)
    known = [Offsets(3, first, last) for first, last in stored]
    return [(gap.first, gap.last) for gap in gaps(reach, known)]


def test_a_gap_is_what_no_row_has_up_to_the_commit() -> None:
    assert found(0, 10, (0, 3), (6, 7)) == [(4, 5), (8, 9)]
    assert found(0, 10, (2, 9)) == [(0, 1)]


def test_what_is_not_committed_is_no_gap() -> None:
    assert found(0, 4, (0, 3)) == []
    assert found(0, 4, (0, 8)) == []


def test_a_log_that_has_expired_begins_where_the_rows_do() -> None:
    assert found(100, 110, (20, 50), (60, 109)) == [(51, 59)]


def test_nothing_stored_is_one_gap() -> None:
    assert found(5, 9) == [(5, 8)]
    assert Gap(3, 5, 8).offsets == 4


def test_a_lost_record_is_wrong_and_says_what_to_do() -> None:
    offsets = OffsetsFound(stored=10, lost={2: [Record(7, 0, b"", ())]})
    findings = judge(Checked(0, offsets, 0))

    assert not healthy(findings)
    told = next(each for each in findings if each.verdict == "wrong")
    assert "[2] from 7" in told.told
    assert "verify --repair" in told.advice


def test_repeats_and_holes_are_told_and_not_wrong() -> None:
    findings = judge(Checked(0, OffsetsFound(stored=10, repeats=3), 0, WindowsFound(compared=1)))

    assert healthy(findings)
    assert any("3 were there already" in each.told for each in findings)


def test_windows_are_not_judged_while_the_sink_is_behind() -> None:
    findings = judge(Checked(5, OffsetsFound(), 0))

    assert [each.subject for each in findings if each.verdict == "wrong"] == ["sink"]
