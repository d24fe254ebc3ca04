"""Tests of rules as files: they pass when they should, and say what is wrong when not."""

from pathlib import Path

import pytest

from backchannel_processors.errors import RulesError
from backchannel_processors.groupings import Groupings
from backchannel_processors.rule_script import run_script
from backchannel_processors.worker import shipped_rules

GROUPINGS = Groupings.parse(("", "tenant", "tenant,endpoint,model"))
RULES = '[[rule]]\nname = "many"\nmetric = "count"\nthreshold = 5\nmin_samples = 1\n'
SCRIPT = """
rules = "rules.toml"
[[test]]
name = "six are many"
[[test.send]]
times = 6
event = { tenant_id = "a" }
[[test.expect]]
at = "4s"
rule = "many"
firing = []
[[test.expect]]
at = "5s"
rule = "many"
firing = [{ tenant = "a" }]
"""


def ran(folder: Path, script: str) -> tuple[str, ...]:
    (folder / "rules.toml").write_text(RULES)
    (folder / "test.toml").write_text(script)
    (outcome,) = run_script(folder / "test.toml", GROUPINGS, shipped_rules())
    return outcome.failures


def test_the_shipped_rules_pass_their_tests() -> None:
    path = shipped_rules().with_name("default.test.toml")
    outcomes = run_script(path, GROUPINGS, shipped_rules())
    assert [failure for outcome in outcomes for failure in outcome.failures] == []


def test_what_comes_true_passes(tmp_path: Path) -> None:
    assert ran(tmp_path, SCRIPT) == ()


def test_what_does_not_come_true_is_told(tmp_path: Path) -> None:
    (failure,) = ran(tmp_path, SCRIPT.replace('firing = [{ tenant = "a" }]', "firing = []"))
    assert failure == "at 5s many should fire for nothing; it fires for tenant=a"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'rule = "many"',
            'rule = "few"',
            r"test 'six are many': there is no rule 'few'",
        ),
        ('at = "4s"', 'at = "soon"', r"test\.0\.expect\.0\.at: .*'soon' is no duration"),
        ("times = 6", "time = 6", r"test\.0\.send\.0\.time: Extra inputs"),
        ('tenant_id = "a"', "duration_us = -1", r"event: .*duration_us: .*greater than or equal"),
        ("[[test]]", "[[test", r"not TOML"),
    ],
)
def test_a_script_with_a_mistake_is_told_with_its_place(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    with pytest.raises(RulesError, match=r"test\.toml: .*" + said):
        ran(tmp_path, SCRIPT.replace(old, new, 1))
