"""What was found, in sentences on which a person can act. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from backchannel_deploy.cli.amounts import counted
from backchannel_deploy.doctor.finding import Finding
from backchannel_deploy.verify.compare import Kind, Mismatch
from backchannel_deploy.verify.offsets import OffsetsFound, totals
from backchannel_deploy.verify.windows import WindowsFound

__all__ = ["Checked", "as_facts", "judge"]

_EXAMPLES_MAX = 3
_SHOWN_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Checked:
    """Everything that was looked at."""

    not_stored: int
    """Records that wait for the sink for longer than they should."""
    offsets: OffsetsFound
    doubled: int
    """Rows of events that stand there more than once."""
    windows: WindowsFound | None = None
    """``None`` when they were not looked at."""
    lost: int = 0
    """Numbers of producers that are missing."""
    unclean_ends: int = 0
    dead_letters: Mapping[str, int] | None = None
    corrected: int = 0
    """Windows that were corrected before this look."""
    stored_again: int = 0
    """Rows that were stored before this look, of records that were lost."""
    removed: int = 0
    """Doubled rows that were taken out before this look."""


def judge(checked: Checked) -> list[Finding]:
    """Returns a sentence on each part; ``wrong`` is what does not agree."""
    findings = [_of_sink(checked), *_of_offsets(checked.offsets), _of_doubled(checked)]
    if checked.windows is not None:
        findings += _of_windows(checked.windows)
        findings += [_of_losses(checked), _of_dead_letters(checked.dead_letters or {})]
    if checked.corrected or checked.stored_again or checked.removed:
        findings.append(
            Finding(
                "repair",
                "ok",
                f"{counted(checked.corrected, 'window')} corrected, "
                f"{counted(checked.stored_again, 'row')} stored that were lost, "
                f"{counted(checked.removed, 'row')} taken out that stood there twice.",
            )
        )
    return findings


def as_facts(checked: Checked) -> dict[str, Any]:
    """Returns the numbers, and the windows that differ, for a program."""
    facts: dict[str, Any] = {
        "not_stored": checked.not_stored,
        "offsets": totals(checked.offsets),
        "doubled": checked.doubled,
        "corrected": checked.corrected,
        "stored_again": checked.stored_again,
        "removed": checked.removed,
    }
    if checked.windows is not None:
        found = checked.windows
        facts |= {
            "windows": {
                "compared": found.compared,
                "events": found.events,
                "still_open": found.still_open,
                "bounded": found.bounded,
                "in_two_topics": found.in_two_topics,
                "hours_without_events": found.without_events,
                "different": len(found.mismatches) + found.more,
            },
            "different": [_facts(each) for each in found.mismatches[:_SHOWN_MAX]],
            "lost": checked.lost,
            "unclean_ends": checked.unclean_ends,
            "dead_letters": dict(checked.dead_letters or {}),
        }
    return facts


def _facts(mismatch: Mismatch) -> dict[str, Any]:
    identity = mismatch.identity
    return {
        "kind": mismatch.kind.value,
        "origin": identity.origin,
        "grouping": identity.grouping,
        "dims": list(identity.dims),
        "window_s": identity.window_s,
        "window_start": identity.window_start,
        "stored_count": mismatch.stored_count,
        "counted_count": mismatch.counted_count,
        "late": mismatch.late,
        "fields": list(mismatch.fields),
    }


def _of_sink(checked: Checked) -> Finding:
    if checked.not_stored:
        told = f"{counted(checked.not_stored, 'record')} of events and windows wait to be stored."
        advice = "What is not stored yet looks lost: verify again when the sink has caught up."
        return Finding("sink", "wrong", told, advice)
    return Finding("sink", "ok", "everything that Kafka has is stored.")


def _of_offsets(found: OffsetsFound) -> list[Finding]:
    findings = []
    if found.lost_count:
        places = ", ".join(
            f"[{partition}] from {records[0].offset:,}" for partition, records in found.lost.items()
        )
        told = f"committed and not in events: {counted(found.lost_count, 'record')} ({places})."
        advice = "Kafka still has them: backchannel verify --repair stores them."
        findings.append(Finding("offsets", "wrong", told, advice))
    if found.shrunk:
        places = ", ".join(f"[{partition}] by {n:,}" for partition, n in found.shrunk.items())
        told = f"the log of chat.events ends before what is stored already: {places}."
        advice = (
            "Kafka has lost its end (power loss?), or the topic was made anew: the sink will not "
            "go on there and says what to do."
        )
        findings.append(Finding("offsets", "wrong", told, advice))
    if not findings:
        told = f"{found.stored:,} of chat.events are stored" + _others(found) + "."
        findings.append(Finding("offsets", "ok", told))
    return findings


def _others(found: OffsetsFound) -> str:
    others = [
        (found.repeats, "were there already"),
        (found.erased, "belong to somebody who was erased"),
        (found.holes, "are holes in the log"),
        (found.unknown, "are not in Kafka any more, so nobody can say"),
    ]
    told = [f"{n:,} {what}" for n, what in others if n]
    return f"; of the others {', '.join(told)}" if told else ", without a gap"


def _of_doubled(checked: Checked) -> Finding:
    if checked.doubled:
        told = f"{counted(checked.doubled, 'row')} of events stand there more than once."
        advice = "backchannel verify --repair takes them out; it rewrites the months they are in."
        return Finding("repeats", "wrong", told, advice)
    return Finding("repeats", "ok", "no row of events stands there twice.")


def _of_windows(found: WindowsFound) -> list[Finding]:
    findings = []
    kinds = Counter(each.kind for each in found.mismatches)
    repair = "Correct them: backchannel verify --repair"
    if kinds[Kind.LATE]:
        told = f"{counted(kinds[Kind.LATE], 'closed window')} lack what came late"
        findings.append(_differ(found, Kind.LATE, told, repair))
    if kinds[Kind.MISSING]:
        told = f"{counted(kinds[Kind.MISSING], 'window')} are missing although there are events"
        findings.append(_differ(found, Kind.MISSING, told, repair))
    if kinds[Kind.EXCESS]:
        told = f"{counted(kinds[Kind.EXCESS], 'window')} say more than the events that are there"
        advice = (
            "Rows of events were removed by hand or by a shorter retention, or the stream counted "
            "twice. Nothing is corrected downwards: who is sure that the events are right deletes "
            "those rows of metric_windows, and then verify --repair makes them anew."
        )
        findings.append(_differ(found, Kind.EXCESS, told, advice))
    if found.more:
        told = f"{found.more:,} more windows differ."
        findings.append(Finding("windows", "wrong", told, "Verify a shorter span."))
    told = (
        f"{counted(found.compared, 'closed window')} compared with {counted(found.events, 'event')}"
        f"{_left_out(found)}."
    )
    if not findings:
        verdict = "ok" if found.compared else "skipped"
        return [Finding("windows", "ok" if verdict == "ok" else "skipped", told)]
    return [*findings, Finding("windows", "ok", told)]


def _left_out(found: WindowsFound) -> str:
    parts = [
        (found.still_open, "still open"),
        (found.bounded, "with more series than there is room for"),
        (found.in_two_topics, "of a topic that was made anew"),
    ]
    told = [f"{n:,} {what}" for n, what in parts if n]
    if found.without_events:
        told.append(f"{counted(found.without_events, 'hour')} whose events may have gone by age")
    return f"; not compared: {', '.join(told)}" if told else ""


def _differ(found: WindowsFound, kind: Kind, told: str, advice: str) -> Finding:
    mine = [each for each in found.mismatches if each.kind is kind]
    examples = "; ".join(map(_example, mine[:_EXAMPLES_MAX]))
    more = f"; and {len(mine) - _EXAMPLES_MAX:,} more" if len(mine) > _EXAMPLES_MAX else ""
    return Finding("windows", "wrong", f"{told}: {examples}{more}.", advice)


def _example(mismatch: Mismatch) -> str:
    identity = mismatch.identity
    at = f"{datetime.fromtimestamp(identity.window_start, UTC):%Y-%m-%d %H:%M:%S}"
    series = ",".join(identity.dims) or "all"
    return (
        f"{at} + {identity.window_s} s, {series}: {mismatch.stored_count:,} turns, "
        f"{mismatch.counted_count:,} by the events"
    )


def _of_losses(checked: Checked) -> Finding:
    ends = f"{counted(checked.unclean_ends, 'producer')} ended without saying so"
    if checked.lost:
        told = (
            f"{counted(checked.lost, 'event')} are missing from the numbers of producers; {ends}."
        )
        return Finding("loss", "wrong", told, "Which, and why: SELECT * FROM v_loss")
    if checked.unclean_ends:
        told = f"no number of a producer is missing; {ends}, and may have held some."
        return Finding("loss", "warning", told, "Which: SELECT * FROM v_loss")
    return Finding("loss", "ok", "no number of a producer is missing.")


def _of_dead_letters(found: Mapping[str, int]) -> Finding:
    if not found:
        return Finding("dead letters", "ok", "none.")
    told = ", ".join(f"{n:,} of {topic}" for topic, n in found.items())
    advice = "Which, and why: backchannel dead list"
    return Finding("dead letters", "warning", f"{told} could not be used.", advice)


def healthy(findings: Sequence[Finding]) -> bool:
    """Says whether everything agrees."""
    return all(each.verdict != "wrong" for each in findings)
