"""Rules files: what is wrong is said with file, rule, field and fix."""

from pathlib import Path

import pytest

from backchannel_processors.errors import RulesError
from backchannel_processors.groupings import Groupings
from backchannel_processors.rules import load_rules, parse_rules
from backchannel_processors.worker import shipped_rules

GROUPINGS = Groupings.parse(("", "tenant", "tenant,endpoint,model"))
GOOD = '[[rule]]\nname = "many"\nmetric = "count"\nthreshold = 5\n'


def test_the_rules_that_come_along_are_good() -> None:
    rules = load_rules(shipped_rules(), GROUPINGS)
    assert {rule.metric for rule in rules.all} == {"latency_ms", "error_rate", "tokens_per_minute"}


def test_a_rule_has_defaults() -> None:
    (rule,) = parse_rules(GOOD, GROUPINGS, source="x").all
    assert (rule.op, rule.window_s, rule.grouping, rule.severity) == (">", 60, "tenant", "warning")


def test_the_hash_names_the_version() -> None:
    one, other = (parse_rules(text, GROUPINGS, source="x").hash for text in (GOOD, GOOD + "#"))
    assert len(one) == len(other) == 16
    assert one != other


def test_no_rules_are_fine() -> None:
    assert parse_rules("", GROUPINGS, source="x").all == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rule = 5", r"rules\.toml: write rules as \[\[rule\]\] tables"),
        ("[[rule", r"rules\.toml: not TOML"),
        (GOOD + GOOD, r"rules\.toml: rule 'many': name: taken"),
        (GOOD + "window_s = 15", r"rule 'many': window_s: Input should be a multiple of 10"),
        (GOOD + "colour = 1", r"rule 'many': colour: Extra inputs"),
        (GOOD + 'agg = "p95"', r"rule 'many': .*agg: count has none, leave it out"),
        (
            GOOD + 'grouping = "model"',
            r'grouping: "model" is not computed; use one of "", "tenant"',
        ),
        ('[[rule]]\nname = "l"\nmetric = "latency_ms"\nthreshold = 1', "needs one of p50"),
        ("[[rule]]\nmetric = 'count'\nthreshold = nan", r"rule 1: name: .*threshold: "),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, said: str) -> None:
    with pytest.raises(RulesError, match=said):
        parse_rules(text, GROUPINGS, source="rules.toml")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(RulesError, match=r"none\.toml: cannot be read"):
        load_rules(tmp_path / "none.toml", GROUPINGS)
