"""A rules file that changes under a running worker."""

from pathlib import Path

import pytest

from backchannel_processors.errors import RulesError
from backchannel_processors.groupings import Groupings
from backchannel_processors.rules_file import RulesFile

GROUPINGS = Groupings.parse(("", "tenant"))
RULE = '[[rule]]\nname = "many"\nmetric = "count"\nthreshold = 5\n'


def rules_file(folder: Path) -> RulesFile:
    (folder / "rules.toml").write_text(RULE)
    return RulesFile(folder / "rules.toml", GROUPINGS)


def test_a_file_that_stays_the_same_is_no_news(tmp_path: Path) -> None:
    assert rules_file(tmp_path).look() is None


def test_new_rules_are_taken(tmp_path: Path) -> None:
    file = rules_file(tmp_path)
    before = file.rules.hash
    file.path.write_text(RULE.replace("5", "6"))
    rules = file.look()
    assert rules is file.rules
    assert rules is not None
    assert rules.hash != before
    assert file.look() is None


def test_bad_rules_are_told_once_and_the_old_ones_kept(tmp_path: Path) -> None:
    file = rules_file(tmp_path)
    good = file.rules
    file.path.write_text(RULE.replace("count", "mood"))
    with pytest.raises(RulesError, match="'mood' is unknown"):
        file.look()
    assert file.look() is None
    assert (file.rules, file.rejected) == (good, 1)


def test_a_file_that_is_gone_for_a_while_changes_nothing(tmp_path: Path) -> None:
    file = rules_file(tmp_path)
    file.path.unlink()
    with pytest.raises(RulesError, match="cannot be read"):
        file.look()
    file.path.write_text(RULE)
    assert file.look() is None
    file.path.write_text(RULE + "# new")
    assert file.look() is file.rules


def test_a_worker_does_not_start_on_bad_rules(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text("nonsense")
    with pytest.raises(RulesError, match="not TOML"):
        RulesFile(tmp_path / "rules.toml", GROUPINGS)
