"""What the status of a pipeline comes to."""

from dataclasses import replace

import pytest

from backchannel_deploy.doctor.finding import Finding
from backchannel_deploy.status import Agent, Alert, Freshness, Reader, Status, judge

ALERT = Alert("latency-p95", "firing", "warning", {"tenant": "acme"}, "2026-11-21 12:00:00")
WELL = Status(
    readers=(
        Reader("worker", "backchannel-processors", "Stable", 3, has_begun=True),
        Reader("sink", "backchannel-sink", "Stable", 5, has_begun=True),
    ),
    tables=(Freshness("events", 0.8, 1_200), Freshness("alerts", None, 0)),
    lost=0,
    dropped={},
    dead_letters=0,
    firing=(),
    last_alert=None,
    agents=(Agent("merge", "w-1", 0, 0.0, "abc", ""), Agent("merge", "w-2", 0, 0.0, "abc", "")),
)


def finding(status: Status, subject: str) -> Finding:
    (found,) = (each for each in judge(status) if each.subject == subject)
    return found


def test_a_pipeline_that_is_well_says_so() -> None:
    assert {each.verdict for each in judge(WELL)} == {"ok", "skipped"}
    assert finding(WELL, "table events").told == "newest row 0.8 s ago, 1,200 in the last minute."


@pytest.mark.parametrize("place", [0, 1], ids=["worker", "sink"])
def test_records_that_nobody_reads_are_wrong(place: int) -> None:
    readers = list(WELL.readers)
    readers[place] = replace(readers[place], state="Empty")
    found = finding(replace(WELL, readers=tuple(readers)), readers[place].name)

    assert found.verdict == "wrong"
    assert found.advice.endswith(f"backchannel {readers[place].name}")


def test_a_reader_that_is_not_needed_now_is_fine() -> None:
    idle = Reader("worker", "g", "Empty", 0, has_begun=True)

    assert finding(replace(WELL, readers=(idle,)), "worker").verdict == "ok"


def test_a_group_that_never_began_is_a_warning() -> None:
    never = Reader("sink", "backchannel-sink", "Dead", 0, has_begun=False)

    assert finding(replace(WELL, readers=(never,)), "sink").verdict == "warning"


def test_a_sink_that_is_behind_while_its_table_grows_old_is_wrong() -> None:
    stale = replace(WELL, tables=(Freshness("events", 90.0, 0),))

    assert finding(stale, "sink").verdict == "wrong"
    assert finding(stale, "worker").verdict == "ok"


@pytest.mark.parametrize(
    "what", [{"lost": 7}, {"dead_letters": 2}, {"dropped": {"buffer_full": 9}}], ids=str
)
def test_every_loss_is_a_warning(what: dict[str, int]) -> None:
    assert finding(replace(WELL, **what), "loss").verdict == "warning"  # type: ignore[arg-type]


def test_what_fires_is_named() -> None:
    found = finding(replace(WELL, firing=(ALERT,), last_alert=ALERT), "alerts")

    assert (found.verdict, found.told) == ("warning", "1 firing: latency-p95 (tenant=acme).")


def test_the_last_alert_is_told_when_none_fires() -> None:
    found = finding(replace(WELL, last_alert=replace(ALERT, state="resolved")), "alerts")

    assert found.verdict == "ok"
    assert "latency-p95 (tenant=acme), resolved at 2026-11-21 12:00:00" in found.told


def test_workers_that_decide_by_the_same_rules_are_well() -> None:
    assert finding(WELL, "rules").told == "version abc, everywhere (2)."


def test_a_worker_that_refuses_newer_rules_is_wrong() -> None:
    refusing = Agent("merge", "w-2", 0, 0.0, "abc", "rule 'x': metric: 'mood' is unknown")
    found = finding(replace(WELL, agents=(WELL.agents[0], refusing)), "rules")

    assert (found.verdict, "w-2" in found.told, "'mood'" in found.told) == ("wrong", True, True)
    assert "rules push" in found.advice


def test_two_workers_with_different_rules_are_wrong() -> None:
    other = Agent("merge", "w-2", 0, 0.0, "def", "")

    assert finding(replace(WELL, agents=(WELL.agents[0], other)), "rules").verdict == "wrong"


def test_a_notifier_that_nobody_wants_is_no_trouble() -> None:
    none = Reader("notifier", "g", "Dead", 0, has_begun=False)

    assert finding(replace(WELL, readers=(none,)), "notifier").verdict == "skipped"
