"""Which rules are in force: what was pushed, else what stands in the worker's file."""

from pathlib import Path

import pytest

from backchannel.events import RulesPush
from backchannel_processors.errors import RulesError
from backchannel_processors.groupings import Groupings
from backchannel_processors.rules_source import PUSHES_MAX, RulesSource

GROUPINGS = Groupings.parse(("", "tenant"))
RULE = '[[rule]]\nname = "%s"\nmetric = "count"\nthreshold = 5\n'


def source_of(folder: Path) -> RulesSource:
    (folder / "rules.toml").write_text(RULE % "in-file")
    return RulesSource(folder / "rules.toml", GROUPINGS)


def pushed(name: str, text: str = "") -> RulesPush:
    return RulesPush(rules_hash=name, text=text or RULE % name, pushed_at_us=1, pushed_by="ann")


WITHDRAWN = RulesPush(pushed_at_us=2)


def in_force(source: RulesSource) -> str:
    return source.rules.all[0].name


def test_the_file_counts_while_nothing_is_pushed(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    assert source.look() is None
    (tmp_path / "rules.toml").write_text(RULE % "other")
    assert source.look() is source.rules
    assert in_force(source) == "other"


def test_what_is_pushed_takes_the_place_of_the_file(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    source.take(pushed("new"))
    assert source.look() is source.rules
    (tmp_path / "rules.toml").write_text(RULE % "other")
    assert source.look() is None
    assert (in_force(source), source.text) == ("new", RULE % "new")


def test_withdrawn_rules_give_the_file_back_as_it_is_by_then(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    source.take(pushed("new"))
    source.look()
    (tmp_path / "rules.toml").write_text(RULE % "other")
    source.take(WITHDRAWN)
    assert source.look() is source.rules
    assert (in_force(source), source.push) == ("other", None)


def test_a_push_that_does_not_fit_this_worker_keeps_the_one_before(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    source.take(pushed("good"))
    source.look()
    source.take(pushed("bad", RULE % "bad" + 'by = ["model"]\n'))
    assert source.look() is None
    assert (in_force(source), source.rejected) == ("good", 1)
    assert "windows are not computed by" in source.refused


def test_a_worker_that_starts_goes_back_to_the_newest_push_that_fits(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    for each in (pushed("old"), pushed("good"), pushed("bad", "nonsense")):
        source.take(each)
    assert source.look() is source.rules
    assert (in_force(source), source.rejected) == ("good", 1)
    assert "not TOML" in source.refused


def test_a_push_that_does_not_fit_after_a_withdrawal_leaves_the_file(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    for each in (pushed("old"), WITHDRAWN, pushed("bad", "nonsense")):
        source.take(each)
    source.look()
    assert in_force(source) == "in-file"
    assert source.refused


def test_rules_that_are_pushed_again_are_the_newest(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    for name in ("a", "b", "a"):
        source.take(pushed(name))
    source.look()
    assert in_force(source) == "a"


def test_only_so_many_pushes_are_remembered(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    source.take(pushed("good"))
    for number in range(PUSHES_MAX):
        source.take(pushed(f"bad-{number}", "nonsense"))
    source.look()
    assert in_force(source) == "in-file"


def test_a_bad_file_is_counted_once_and_the_old_rules_kept(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    (tmp_path / "rules.toml").write_text((RULE % "bad").replace("count", "mood"))
    assert source.look() is None
    assert source.look() is None
    assert (in_force(source), source.rejected) == ("in-file", 1)
    assert "'mood' is unknown" in source.refused


def test_a_worker_does_not_start_on_bad_rules(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text("nonsense")
    with pytest.raises(RulesError, match="not TOML"):
        RulesSource(tmp_path / "rules.toml", GROUPINGS)
